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
# # Editing without training for it
#
# Inpainting, SDEdit and interpolation are combinators: each changes the denoiser, the start or the grid, and goes
# with any sampler. On points of the plane one can see whether what comes out is what it should be. No training; in
# Colab, first `!pip install git+URL` of the repo.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from diffusion_jax import editing, samplers, schedules, times
from diffusion_jax.data import mixture

schedule = schedules.LinearVP()
weights, means, STD = np.array([0.15, 0.35, 0.5]), np.array([[-0.5, -0.6], [-0.5, 0.6], [0.6, 0.1]]), 0.2
data = mixture.GaussianMixture(
    jnp.asarray(weights, jnp.float32), jnp.asarray(means, jnp.float32), jnp.full((3, 2), STD, jnp.float32)
)
denoise = mixture.denoiser(data, schedule)
grid = times.uniform(100)

# %% [markdown]
# ## Inpainting
#
# Of every point x_1 = 0.1 is known, x_2 is not. `project` puts the known value into every prediction, `restore` runs
# the sampler. That is not quite p(x_2 | x_1): while x_1 is noisy it speaks for the wrong components, and what was
# drawn then is not drawn again. `time_travel` goes up and down again, so that both come to agree.

# %%
KNOWN, N = 0.1, 2000
operator = editing.inpaint(jnp.array([True, False]))
y = jnp.broadcast_to(jnp.array([KNOWN, 0.0]), (N, 2))
projected = samplers.ancestral(editing.project(denoise, operator, y), schedule)
inpainted = {
    'projected': editing.restore(projected, schedule, operator, jax.random.key(0), y, grid),
    'with time travel': editing.restore(
        editing.time_travel(projected, schedule), schedule, operator, jax.random.key(0), y, editing.travels(grid, 1, 5)
    ),
}
given = weights * norm.pdf(KNOWN, means[:, 0], STD)
given /= given.sum()  # p(component | x_1)
std = float(np.sqrt(given @ (means[:, 1] ** 2 + STD**2) - (given @ means[:, 1]) ** 2))
error = std / np.sqrt(N)  # about that of a measured std
measured = {name: float(x[:, 1].std()) for name, x in inpainted.items()}
print(f'std of x_2: exact {std:.3f}, measured', measured, f'± {error:.3f}')

# %% [markdown]
# ## SDEdit
#
# A sketch, here points where no data are, is noised up to t_0 and denoised from there. The later t_0, the likelier
# the result under the model and the less is left of the sketch. That it ends above the density of data is likely the
# sampler's own doing: DDPM with the smaller variance draws a little too narrowly on a hundred steps.

# %%
sketch = jnp.array([0.0, -0.35]) + 0.05 * jax.random.normal(jax.random.key(1), (N, 2))
sampler, T0 = samplers.ancestral(denoise, schedule), (0.1, 0.3, 0.8)
edits = [editing.sdedit(sampler, schedule, jax.random.key(2), sketch, editing.part_below(grid, t)) for t in T0]
moved = [jnp.linalg.norm(x - sketch, axis=1) for x in edits]
zero = jnp.zeros(N)
likely = [mixture.log_prob(data, schedule, x, zero) for x in edits]
of_data = float(mixture.log_prob(data, schedule, mixture.sample(data, jax.random.key(3), N), zero).mean())
print(
    'moved', [round(float(m.mean()), 2) for m in moved], 'log p', [round(float(v.mean()), 2) for v in likely], of_data
)

# %% [markdown]
# ## Interpolation
#
# Two data points are encoded by the ODE, the codes turned into each other on the sphere, and decoded. The straight
# line between them crosses where no data are; the decoded path stays where they are likelier.

# %%
w = jnp.linspace(0, 1, 41)
a, b = jnp.asarray(means[1], jnp.float32), jnp.asarray(means[2], jnp.float32)
ends = jnp.broadcast_to(a, (41, 2)), jnp.broadcast_to(b, (41, 2))
path = editing.interpolate(denoise, schedule, *ends, w, times.uniform(400))
line = (1 - w[:, None]) * a + w[:, None] * b
both = mixture.log_prob(data, schedule, jnp.concatenate([path, line]), zero[:82])
along = {'path': float(both[:41].mean()), 'line': float(both[41:].mean())}
missed = float(max(jnp.linalg.norm(path[0] - a), jnp.linalg.norm(path[-1] - b)))
print('mean log density', along, 'ends missed by', missed)

# %%
plt.rcParams.update({'font.size': 15, 'axes.spines.top': False, 'axes.spines.right': False, 'figure.dpi': 100})
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.3), layout='constrained')
fine = np.linspace(-1.3, 1.3, 200)
left.plot(fine, norm.pdf(fine[:, None], means[:, 1], STD) @ given, 'k', lw=5, alpha=0.3, label='exact')
for (name, x), colour in zip(inpainted.items(), ('C3', 'C0'), strict=True):
    left.hist(np.asarray(x[:, 1]), 40, range=(-1.3, 1.3), density=True, histtype='step', lw=2, color=colour, label=name)
left.set(xlabel='$x_2$, where $x_1 = 0.1$ is known', ylabel='density', title='Inpainting')
left.legend(frameon=False, fontsize=12, loc='upper left')
middle.errorbar(
    T0, [m.mean() for m in moved], [2 * m.std() / np.sqrt(N) for m in moved], fmt='C3s-', label='distance moved'
)
middle.errorbar(
    T0, [v.mean() for v in likely], [2 * v.std() / np.sqrt(N) for v in likely], fmt='C0o-', label='log density'
)
middle.axhline(of_data, color='C0', ls='--', label='log density of data')
middle.set(xlabel='$t_0$, up to which noise is added', ylabel='mean (± 2 s.e.; log in nats)', title='SDEdit')
middle.legend(frameon=False, fontsize=12)
across, upwards = (norm.pdf(fine[:, None], means[:, i], STD) for i in range(2))
right.contourf(fine, fine, (upwards * weights) @ across.T, 12, cmap='Greys', alpha=0.7)
right.plot(*line.T, 'C3--', lw=2, label='straight line')
right.plot(*path.T, 'C0.-', lw=2, label='through the codes')
right.set(xlabel='$x_1$', ylabel='$x_2$', aspect='equal', title='Interpolation')
right.legend(frameon=False, fontsize=12, loc='lower right')
plt.show()

# %% [markdown]
# What this notebook claims, as a test that it runs:

# %%
assert all((x[:, 0] == jnp.float32(KNOWN)).all() for x in inpainted.values())
assert abs(measured['with time travel'] - std) < 4 * error < abs(measured['projected'] - std)
assert all(np.diff([m.mean() for m in moved]) > 0)
assert all(np.diff([v.mean() for v in likely]) > 0)
assert float(likely[0].mean()) < of_data - 0.1  # not data yet
assert abs(float(likely[-1].mean()) - of_data) < 0.3
assert missed < 0.05
assert along['path'] > along['line']
