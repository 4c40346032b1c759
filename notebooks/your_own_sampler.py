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
# # Your own sampler
#
# A sampler is two pure functions, `init(x_T) -> state` and `step(key, state, t, s) -> state`; the loop exists once.
# Ten lines are a sampler, a dozen more measure its order, and a name with dots in it runs it on any trained model. In
# Colab, first `!pip install git+URL` of the repo.
#
# ## A file of your own
#
# Adams and Bashforth's method of order 2: in x / α the ODE is d(x / α) = ε dL with L = σ / α, and the line through
# this step's ε and the last one's is integrated. So the state is x, that ε, and how long the last step was.

# %%
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from diffusion_jax import samplers, schedules
from diffusion_jax.data import mixture

MY_ADAMS = """
from typing import Any, NamedTuple

import jax.numpy as jnp

from diffusion_jax.schedules import eps_from_x_0
from diffusion_jax.types import Sampler


class State(NamedTuple):
    x: Any
    eps: Any  # of the last step
    h: Any  # and its length in L, 0 before the first


def second(denoise, schedule):
    def step(key, state, t, s):
        x, (alpha_t, alpha_s) = state.x, (schedule.alpha(t), schedule.alpha(s))
        eps = eps_from_x_0(schedule, x, denoise(x, jnp.full(len(x), t)), t)
        h = schedule.sigma(s) / alpha_s - schedule.sigma(t) / alpha_t
        slope = jnp.where(state.h == 0, 0, (eps - state.eps) / jnp.where(state.h == 0, 1, state.h))
        return State(alpha_s * (x / alpha_t + h * eps + h**2 / 2 * slope), eps, h)

    return Sampler(lambda x: State(x, jnp.zeros_like(x), jnp.zeros((), x.dtype)), step, order=2)
"""
folder = Path(tempfile.mkdtemp())
(folder / 'my_adams.py').write_text(MY_ADAMS)
(folder / 'my_slip.py').write_text(MY_ADAMS.replace('h**2 / 2 * slope', 'h**2 * slope'))  # a bug, to be found below
sys.path.insert(0, str(folder))
my_adams, my_slip = importlib.import_module('my_adams'), importlib.import_module('my_slip')

# %% [markdown]
# ## Its order, measured
#
# Data N(0.3, 0.5²) on a line: the ODE's map between two times is that of their two Gaussians. The slip looks as good
# in a picture, and converges too; its slope tells.

# %%
schedule = schedules.RectifiedFlow()
data = mixture.GaussianMixture(jnp.ones(1), jnp.full((1, 1), 0.3), jnp.full((1, 1), 0.5))
denoise = mixture.denoiser(data, schedule)


def grid(n):
    """The grid of n equal steps of log(α / σ) from -2 to 1."""
    return 1 / (1 + np.exp(-2 + 3 * np.arange(n + 1) / n))


def marginal(t):
    """Mean and standard deviation of x_t."""
    return (1 - t) * 0.3, np.hypot((1 - t) * 0.5, t)


(m_t, s_t), (m_s, s_s) = map(marginal, grid(1))
z = np.linspace(-2, 2, 64)[:, None]
x_t, exact = jnp.asarray(m_t + s_t * z, jnp.float32), m_s + s_s * z
STEPS = np.array([15, 30, 60])
solvers = {
    'mine': my_adams.second,
    'with a slip': my_slip.second,
    'Euler (DDIM)': samplers.euler,
    'DPM-Solver++(2M)': samplers.dpm_solver_pp,
}
errors, order = {}, {}
for name, solver in solvers.items():
    ends = [samplers.sample(solver(denoise, schedule), jax.random.key(0), x_t, grid(n)) for n in STEPS]
    errors[name] = [float(np.sqrt(np.mean((np.asarray(x) - exact) ** 2))) for x in ends]
    order[name] = float(-np.polyfit(np.log(STEPS), np.log(errors[name]), 1)[0])
    print(f'{name:17s} order {order[name]:.2f}')

# %% [markdown]
# ## On a trained model
#
# Any command finds `my_adams.second` where Python finds it: here in the folder that it runs in. A small model of
# eight Gaussians is trained, then sampled with the new sampler.


# %%
def command(*words):
    """diffusion-jax, in the folder where my_adams.py is."""
    env = {k: v for k, v in os.environ.items() if k != 'FORCE_COLOR'}  # Jupyter's, under which bars of progress move
    env['PYTHONPATH'] = os.pathsep.join([str(folder), *filter(None, [os.environ.get('PYTHONPATH')])])
    subprocess.run([sys.executable, '-m', 'diffusion_jax', *words], cwd=folder, env=env, check=True)


train = ('--config.train.steps=400', '--config.train.batch_size=256', '--config.train.sample_every=0')
command('train', '--config=toy2d:runlocal', '--workdir=run', *train)
for name in ('my_adams.second', 'heun'):
    command('sample', '--workdir=run', f'--sampler={name}', '--steps=250', '--num=256', f'--out={name}')
mine, heun = (np.load(folder / f'{name}.npz')['samples'] for name in ('my_adams.second', 'heun'))
apart = float(np.linalg.norm(mine - heun, axis=1).mean())
scale = float(heun.std())
print(f'mine and Heun from the same noise: {apart:.4f} apart, of points with a standard deviation of {scale:.2f}')

# %%
plt.rcParams.update({'font.size': 15, 'axes.spines.top': False, 'axes.spines.right': False, 'figure.dpi': 100})
figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 5), width_ratios=[1.4, 1], layout='constrained')
for (name, error), style in zip(errors.items(), ('C0o-', 'C3x--', 'C7s-', 'C2^-'), strict=True):
    left.loglog(STEPS, error, style, ms=9, lw=2, label=f'{name}: order {order[name]:.2f}')
left.set_xticks(STEPS, [str(n) for n in STEPS])
left.set_xticks([], minor=True)
left.set(xlabel='steps', ylabel='error of $x$ (root mean square)', title='Ten lines, measured')
left.legend(frameon=False, fontsize=13)
right.plot(*heun.T, 'o', color='0.7', ms=8)
right.plot(*mine.T, 'C0.', ms=5)
right.set(xlabel='$x_1$', ylabel='$x_2$', aspect='equal', title='250 steps: Heun (grey), mine (blue)')
plt.show()

# %% [markdown]
# What this notebook claims, as a test that it runs:

# %%
assert abs(order['mine'] - 2) < 0.25
assert abs(order['Euler (DDIM)'] - 1) < 0.25
assert order['with a slip'] < 1.5
assert apart < 0.05 * scale
