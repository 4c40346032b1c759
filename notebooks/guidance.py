# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Guidance, and what it does to a distribution
#
# Classifier-free guidance (Ho & Salimans, arXiv 2207.12598) replaces E[x_0 | x_t, y] by w E[x_0 | x_t, y] + (1 - w)
# E[x_0 | x_t]. It is often said to sample from p(x | y)^w p(x)^(1 - w). With exact denoisers one can look: it does
# not. No training; in Colab, first `!pip install git+URL` of the repo.
#
# ## Two Gaussians, where everything has a closed form
#
# All data N(0, 1), those of the class N(0, 1/4). Every guided field is linear, so that the ODE only scales: on the VE
# path by sqrt((s² + a²) / (s² + b²)) from noise level b to a under each denoiser alone, and by the product of the
# powers w and 1 - w under the guided one. At the end the standard deviation is s_y^w s^(1 - w). The tilted density
# p(x | y)^w p(x)^(1 - w) has another: its precision is w / s_y² + (1 - w) / s².

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from diffusion_jax import guidance, samplers, schedules, times
from diffusion_jax.data import mixture

schedule = schedules.VE()
S_Y, S = 0.5, 1.0
LOW, HIGH = 0.3, 2.0  # noise levels of the interval


def bind_of(denoisers):
    """Condition k [B] -> the denoiser that asks the k-th for each row; the last one is unconditional."""
    return lambda cond: lambda x, t: jnp.stack([d(x, t) for d in denoisers], 1)[jnp.arange(len(x)), cond]


def gaussian(std):
    """N(0, std²) on a line."""
    return mixture.GaussianMixture(jnp.ones(1), jnp.zeros((1, 1)), jnp.full((1, 1), std))


def draw(bind, cond, null, w, x_T, limited):
    """Heun on the guided ODE; `limited` guides between the two levels only. w is [B], one weight for each sample."""
    denoise = guidance.classifier_free(bind, cond, null, w)
    if limited:
        denoise = guidance.interval(denoise, bind(cond), schedule, LOW, HIGH)
    grid = np.sort(np.append(times.karras(80), [LOW, HIGH]))[::-1]
    return samplers.sample(samplers.heun(denoise, schedule), jax.random.key(0), x_T, grid)


WEIGHTS, N = np.array([0.0, 1.0, 2.0, 3.0, 4.0]), 1000
x_T = samplers.prior(jax.random.key(1), schedule, (len(WEIGHTS) * N, 1), t_max=80.0)
bind = bind_of([mixture.denoiser(gaussian(s), schedule) for s in (S_Y, S)])
w = jnp.asarray(np.repeat(WEIGHTS, N), jnp.float32)
std = {
    limited: np.asarray(draw(bind, jnp.zeros(len(w), int), 1, w, x_T, limited)).reshape(-1, N).std(1)
    for limited in (False, True)
}
# The spread of the noises that were drawn is divided out, as the map is linear: no sampling error is left.
std = {k: v / (np.asarray(x_T).reshape(-1, N).std(1) / 80) for k, v in std.items()}


def shrink(s, a, b):
    """What the ODE of N(0, s²) does to x from level b to a."""
    return np.sqrt((s**2 + a**2) / (s**2 + b**2))


def exact(w, low, high):
    """Standard deviation at the end with guidance between two levels."""
    inside = shrink(S_Y, low, high) ** w * shrink(S, low, high) ** (1 - w)
    return 80 * shrink(S_Y, high, 80) * inside * shrink(S_Y, 0, low)


for i, weight in enumerate(WEIGHTS):
    print(f'w = {weight:.0f}: {std[False][i]:.3f} (exact {exact(weight, 0, 80):.3f}), interval {std[True][i]:.3f}')

# %% [markdown]
# So guidance narrows more than the tilted density does, and it has no such density at all. The interval (Kynkäänniemi
# et al., arXiv 2404.07724) guides where the levels of noise decide what is drawn and leaves both ends alone: less
# narrow.
#
# ## Three classes of points
#
# The same in the plane. w = 3 pushes the class off its own place, away from the others; the interval less so.

# %%
ring = mixture.ring(k=3, radius=0.8, std=0.25)
classes = [mixture.GaussianMixture(jnp.ones(1), ring.means[k : k + 1], ring.stds[k : k + 1]) for k in range(3)]
bind = bind_of([mixture.denoiser(part, schedule) for part in (*classes, ring)])
cond = jnp.repeat(jnp.arange(3), 200)
noise = samplers.prior(jax.random.key(2), schedule, (2 * len(cond), 2), t_max=80.0)
w = jnp.repeat(jnp.asarray([1.0, 3.0]), len(cond))
plain, guided = np.split(np.asarray(draw(bind, jnp.tile(cond, 2), 3, w, noise, limited=False)), 2)
limited = np.split(np.asarray(draw(bind, jnp.tile(cond, 2), 3, w, noise, limited=True)), 2)[1]
reach = [float(np.hypot(*x.reshape(3, -1, 2).mean(1).T).mean()) for x in (plain, limited, guided)]
print('distance of a class from the origin:', reach)

# %%
plt.rcParams.update({'font.size': 15, 'axes.spines.top': False, 'axes.spines.right': False, 'figure.dpi': 100})
figure, (left, *rest) = plt.subplots(1, 4, figsize=(13, 4), width_ratios=[1.8, 1, 1, 1], layout='constrained')
fine = np.linspace(0, 4, 100)
left.plot(fine, exact(fine, 0, 80), 'C0', lw=3, label='guided ODE, exact')
left.plot(fine, exact(fine, LOW, HIGH), 'C2', lw=3, label='in an interval, exact')
left.plot(fine, (fine / S_Y**2 + (1 - fine) / S**2) ** -0.5, 'C3--', lw=3, label=r'$p(x|y)^w p(x)^{1-w}$')
for limits, colour in ((False, 'C0'), (True, 'C2')):
    left.plot(WEIGHTS, std[limits], 'o', color=colour, ms=9)
left.set(xlabel='guidance weight $w$', ylabel='standard deviation of $x_0$', title='Samples (dots) and theory')
left.legend(frameon=False, fontsize=12)
for axes, x, title in zip(rest, (plain, limited, guided), ('$w = 1$', 'interval, $w = 3$', '$w = 3$'), strict=True):
    axes.scatter(*x.T, c=np.asarray(cond), cmap='Dark2', s=8, alpha=0.6)
    axes.plot(*np.asarray(ring.means).T, 'k+', ms=14, mew=2)
    axes.set(xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), aspect='equal', xlabel='$x_1$', title=title)
rest[0].set(ylabel='$x_2$')
plt.show()

# %% [markdown]
# What this notebook claims, as a test that it runs:

# %%
assert np.allclose(std[False], exact(WEIGHTS, 0, 80), rtol=0.03)
assert np.allclose(std[False], S_Y**WEIGHTS * S ** (1 - WEIGHTS), rtol=0.03)
assert np.allclose(std[True], exact(WEIGHTS, LOW, HIGH), rtol=0.05)
assert std[False][2] < 0.75 * (2 / S_Y**2 - 1 / S**2) ** -0.5  # not the tilted density's
assert abs(reach[0] - 0.8) < 0.05
assert reach[0] < reach[1] < reach[2]
