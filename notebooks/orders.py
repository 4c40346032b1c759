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
# # What the order of a sampler means
#
# A sampler of order p has an error that falls as S⁻ᵖ in the number of steps S. Papers name the order, tables of FID
# hide it. Here the end of every trajectory is known, so that it can be read off a ruler. No training; in Colab, first
# `!pip install git+URL` of the repo.
#
# ## A problem with a known answer
#
# Three Gaussians on a line, and straight paths x_t = (1 - t) x_0 + t ε. The ODE keeps every point's quantile, so that
# its exact map between two times is that of the two distribution functions. In float64, far below the errors' size.

# %%
from functools import partial

import jax
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from diffusion_jax import samplers, schedules
from diffusion_jax.data import mixture

jax.config.update('jax_enable_x64', True)
schedule = schedules.RectifiedFlow()
weights, means, stds = np.array([0.3, 0.5, 0.2]), np.array([-1.0, 0.8, 0.2]), np.array([0.25, 0.3, 0.45])
denoise = mixture.denoiser(mixture.GaussianMixture(weights, means[:, None], stds[:, None]), schedule)


def cdf(x, t):
    """P(x_t < x)."""
    return norm.cdf((x[:, None] - (1 - t) * means) / np.sqrt(((1 - t) * stds) ** 2 + t**2)) @ weights


def quantile(q, t):
    """The x with P(x_t < x) = q, by bisection."""
    low, high = np.full_like(q, -10.0), np.full_like(q, 10.0)
    for _ in range(60):
        mid = (low + high) / 2
        low, high = np.where(cdf(mid, t) < q, mid, low), np.where(cdf(mid, t) < q, high, mid)
    return mid


# %% [markdown]
# ## A fair grid
#
# From λ = log(α / σ) = -2.5 to 1, in steps that grow from short ones. Multistep solvers know nothing before their
# first step, which so is of order 1: taken as long as the others it would leave its error on the whole run. And the
# end is not clean data, where λ is infinite and no solver keeps its order.


# %%
def grid(n):
    """The grid of n steps from λ = -2.5 to 1."""
    return 1 / (1 + np.exp(-2.5 + 3.5 * (np.arange(n + 1) / n) ** 2))


q = (np.arange(128) + 0.5) / 128
x_T, exact = (quantile(q, t)[:, None] for t in (grid(1)[0], grid(1)[1]))
steps = np.array([40, 80, 160])
solvers = {
    'Euler (DDIM)': (samplers.euler, 1),
    'Heun': (samplers.heun, 2),
    'DPM-Solver++(2M)': (samplers.dpm_solver_pp, 2),
    'DEIS, 3 points': (partial(samplers.deis, order=3), 3),
    'UniPC-2': (partial(samplers.unipc, order=2), 3),
}
errors, slopes, spread = {}, {}, {}
for name, (solver, order) in solvers.items():
    sampler = solver(denoise, schedule)
    assert sampler.order == order  # what it declares
    ends = [samplers.sample(sampler, jax.random.key(0), jax.numpy.asarray(x_T), grid(n)) for n in steps]
    errors[name] = np.array([np.sqrt(np.mean((np.asarray(x) - exact) ** 2)) for x in ends])
    each = -np.diff(np.log(errors[name])) / np.log(2)  # from one number of steps to the next
    slopes[name], spread[name] = -np.polyfit(np.log(steps), np.log(errors[name]), 1)[0], np.ptp(each) / 2
    print(f'{name:17s} declares {order}, measured {slopes[name]:.2f} ± {spread[name]:.2f}')

# %% [markdown]
# ## What it buys
#
# A tenth of the error costs ten times the steps at order 1, three times at order 2, twice at order 3. Heun asks the
# network twice a step, the multistep solvers once: at equal evaluations Heun's line moves right by a factor of two.

# %%
plt.rcParams.update({'font.size': 15, 'axes.spines.top': False, 'axes.spines.right': False, 'figure.dpi': 100})
figure, axes = plt.subplots(figsize=(9, 7), layout='constrained')
for (name, error), marker in zip(errors.items(), 'os^vD', strict=True):
    slope = f'{name}: slope {slopes[name]:.2f} ± {spread[name]:.2f}'
    axes.loglog(steps, error, marker=marker, ms=9, lw=2, label=slope)
axes.set_xticks(steps, [str(n) for n in steps], minor=False)
axes.set_xticks([], minor=True)
axes.set(xlabel='steps S', ylabel='error of $x$ (root mean square)', title='A solver of order p: error ~ S$^{-p}$')
axes.legend(frameon=False, fontsize=13, loc='upper center', bbox_to_anchor=(0.5, -0.14), ncols=2)
plt.show()

# %% [markdown]
# ± is half of the range of the slopes between neighbouring numbers of steps. What this notebook claims, as a test
# that it runs: every order is the declared one.

# %%
for name, (_, order) in solvers.items():
    assert abs(slopes[name] - order) < 0.25, name
    assert errors[name][-1] < 0.02, name
assert errors['UniPC-2'][-1] < errors['DPM-Solver++(2M)'][-1] < errors['Euler (DDIM)'][-1]
