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
# # DDIM and the ODE
#
# DDIM (Song et al. 2020, arXiv 2010.02502) is not a faster DDPM: it solves an ordinary differential equation, whose
# map from noise to data is fixed by the data alone. On points of a line that map is known exactly, so that everything
# DDIM does can be held against it. No training; in Colab, first `!pip install git+URL` of the repo.
#
# ## Data whose denoiser is known
#
# A mixture of three Gaussians. Noised by x_t = α(t) x_0 + σ(t) ε it stays a mixture, and E[x_0 | x_t] has a closed
# form.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from diffusion_jax import samplers, schedules, times
from diffusion_jax.data import mixture

schedule = schedules.RectifiedFlow()  # α = 1 - t, σ = t; DDIM is the same on every Gaussian path
weights, means, stds = np.array([0.3, 0.5, 0.2]), np.array([-0.8, 0.1, 0.8]), np.array([0.2, 0.25, 0.15])
data = mixture.GaussianMixture(*(jnp.asarray(a, jnp.float32) for a in (weights, means[:, None], stds[:, None])))
denoise = mixture.denoiser(data, schedule)  # (x_t [B, 1], t [B]) -> E[x_0 | x_t]

# %% [markdown]
# ## The exact map
#
# The ODE dx/dt = α' x_0 + σ' ε, with x_0 = E[x_0 | x_t] and the ε that x_t holds beside it, moves the law of x_T to
# the law of the data. On a line its trajectories cannot cross, so each keeps its quantile: F_0(x_0) = F_T(x_T).


# %%
def cdf(x, t):
    """P(x_t < x): that of a mixture with means α m and variances α² s² + σ²."""
    return norm.cdf((x[:, None] - (1 - t) * means) / np.hypot((1 - t) * stds, t)) @ weights


def exact(x_T):
    """The data point at the end of the ODE from x_T, by bisection on the quantile."""
    low, high = np.full_like(x_T, -3.0), np.full_like(x_T, 3.0)
    for _ in range(40):
        mid = (low + high) / 2
        below = cdf(mid, 0.0) < cdf(x_T, 1.0)
        low, high = np.where(below, mid, low), np.where(below, high, mid)
    return mid


x_T = np.linspace(-2.5, 2.5, 401)
x_0 = exact(x_T)


def ddim(x, n, key=0, eta=0.0):
    """DDIM on n equal steps."""
    sampler = samplers.ddim(denoise, schedule, eta)
    return np.asarray(
        samplers.sample(sampler, jax.random.key(key), jnp.asarray(x, jnp.float32)[:, None], times.uniform(n))
    )[:, 0]


drawn = {n: ddim(x_T, n) for n in (5, 40, 80)}
errors = {n: np.sqrt(np.mean((x - x_0) ** 2)) for n, x in drawn.items()}
print('\n'.join(f'{n:4d} steps: off the exact map by {e:.4f}' for n, e in errors.items()))

# %% [markdown]
# Twice the steps, half of the error: DDIM is the ODE's Euler method. DDPM from the same noises has no such limit, for
# it draws new noise in every step.
#
# ## There and back
#
# The same steps upwards encode data, without any noise being drawn. The error of both ways is the solver's alone.

# %%
points = mixture.sample(data, jax.random.key(1), 1000)
round_trip = {}
for n in (20, 80):
    encoder, grid = samplers.ddim_encode(denoise, schedule), times.uniform(n)
    z_T = samplers.sample(encoder, jax.random.key(0), points, grid[::-1])
    back = samplers.sample(samplers.ddim(denoise, schedule), jax.random.key(0), z_T, grid)
    round_trip[n] = float(jnp.sqrt(jnp.mean((back - points) ** 2)))
print(round_trip, 'std of the codes', float(z_T.std()))

# %% [markdown]
# ## η between 0 and 1 keeps the marginals
#
# With η each step loses a part of its direction, sqrt(σ_s² - std²) ε, and gains fresh noise of that std. A common
# slip is to add the noise and keep σ_s ε whole: then x_t holds too much noise all the way down, and more so the
# larger η is. The standard deviation at the end tells: it must be that of the data for every η.


# %%
def slip(eta):
    """DDIM with noise added to the whole direction."""
    right = samplers.ddim(denoise, schedule)

    def step(key, state, t, s):
        std = eta * jnp.sqrt(schedules.posterior_variance(schedule, t, s))
        x = right.step(key, state, t, s).x
        return type(state)(x + std * samplers.noise(key, x))

    return right._replace(step=step)


N, ETAS = 4000, (0.0, 0.5, 1.0)
noise = samplers.prior(jax.random.key(2), schedule, (N, 1), t_max=1.0)
half_way = np.linspace(1.0, 0.4, 61)  # to t = 0.4, where the law still has noise to lose
variance_0 = weights @ (means**2 + stds**2) - (weights @ means) ** 2
std_exact = float(np.sqrt(0.6**2 * variance_0 + 0.4**2))
std = {
    name: [float(samplers.sample(sampler(eta), jax.random.key(3), noise, half_way).std()) for eta in ETAS]
    for name, sampler in {'DDIM': lambda eta: samplers.ddim(denoise, schedule, eta), 'slip': slip}.items()
}

# %%
plt.rcParams.update({'font.size': 15, 'axes.spines.top': False, 'axes.spines.right': False, 'figure.dpi': 100})
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8), layout='constrained')
left.plot(x_T, x_0, 'k', lw=5, alpha=0.25, label='exact map')
for n, colour in ((5, 'C3'), (40, 'C0')):
    left.plot(x_T, drawn[n], colour, lw=2, label=f'DDIM, {n} steps')
left.set(xlabel='noise $x_T$', ylabel='data $x_0$', title='One noise, one point')
left.legend(frameon=False, fontsize=13)
bar = std_exact / np.sqrt(2 * N)
right.axhline(std_exact, color='k', lw=5, alpha=0.25, label='exact')
right.errorbar(ETAS, std['DDIM'], 2 * bar, fmt='o-', color='C0', capsize=4, label='DDIM (2 s.e.)')
right.errorbar(ETAS, std['slip'], 2 * bar, fmt='s--', color='C3', capsize=4, label='noise on top (2 s.e.)')
right.set(xlabel='$\\eta$', ylabel='standard deviation of $x_t$, t = 0.4', title='Every η keeps the marginal')
right.legend(frameon=False, fontsize=13)
plt.show()

# %% [markdown]
# What this notebook claims, as a test that it runs:

# %%
assert 1.6 < errors[40] / errors[80] < 2.5  # first order
assert round_trip[80] < round_trip[20] / 2.5
assert np.allclose(std['DDIM'], std_exact, atol=5 * bar)
assert std['slip'][-1] > std_exact + 20 * bar
