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
# # A likelihood
#
# The probability-flow ODE maps data to noise and back, so a diffusion model has a density (Song et al. 2020, arXiv
# 2011.13456): that of the noise at the end of the path, and what the path stretches. Here the density is known, and
# the ODE has to find it to the digit. No training; in Colab, first `!pip install git+URL` of the repo.
#
# ## Eight Gaussians, and the ODE's answer

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from diffusion_jax import likelihood, schedules
from diffusion_jax.data import mixture

schedule = schedules.LinearVP()
data = mixture.ring(k=8, radius=0.8, std=0.1)
x = mixture.sample(data, jax.random.key(0), 256)
zero = jnp.zeros(len(x))


def of_std(std):
    """The ring with other standard deviations, as a model that has learnt it badly."""
    return data._replace(stds=jnp.full_like(data.stds, std))


@jax.jit
def log_p(std):
    """Log density, in nats, of the model whose denoiser is exact for a ring of this std; by the exact trace."""
    denoise = mixture.denoiser(of_std(std), schedule)
    ode = likelihood.ode(denoise, schedule, t_max=1.0, probes=likelihood.exact, rtol=1e-4, atol=1e-4)
    return ode(jax.random.key(0), x).log_p


STDS = (0.07, 0.1, 0.15)
by_ode = {std: np.asarray(log_p(std)) for std in STDS}
known = {std: np.asarray(mixture.log_prob(of_std(std), schedule, x, zero)) for std in STDS}
gap = {std: float(abs(by_ode[std] - known[std]).max()) for std in STDS}
print('largest difference over 256 points, nats:', gap)

# %% [markdown]
# ## Bits
#
# Papers give bits per dimension: nats over D log 2. For data on 256 levels over [-1, 1], of which a continuous
# density knows nothing, log2(127.5) is added, the width of a level. A wrong model pays the difference of its entropy
# and ours, KL(data || model) / (D log 2).


# %%
def bits(log_density):
    """Bits per dimension of each point of the plane."""
    return -log_density / (2 * np.log(2))


nll = {std: (bits(by_ode[std]).mean(), bits(known[std]).mean()) for std in STDS}
for std, (ours, true) in nll.items():
    print(f'model of std {std}: {ours:.4f} bits/dim by the ODE, {true:.4f} exactly')
print(f'on 256 levels: {nll[0.1][0] + np.log2(127.5):.3f} bits/dim')

# %% [markdown]
# ## Hutchinson's trace
#
# With thousands of pixels the trace is estimated from random vectors v, v · J v. It is unbiased: single points are
# off, their mean is not.

# %%
denoise = mixture.denoiser(data, schedule)
estimate = jax.jit(likelihood.ode(denoise, schedule, 1.0, likelihood.hutchinson(1), rtol=1e-4, atol=1e-4))
guess = np.asarray(estimate(jax.random.key(1), x).log_p)
off = bits(guess) - bits(known[0.1])
error = off.std() / np.sqrt(len(x))
print(f'Hutchinson: single points ± {off.std():.2f} bits/dim, mean off by {off.mean():.4f} ± {error:.4f}')

# %%
plt.rcParams.update({'font.size': 15, 'axes.spines.top': False, 'axes.spines.right': False, 'figure.dpi': 100})
figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.8), layout='constrained')
left.plot(bits(known[0.1]), bits(guess), 'C1.', alpha=0.5, ms=7, label='one random vector')
left.plot(bits(known[0.1]), bits(by_ode[0.1]), 'C0.', ms=7, label='exact trace')
left.axline((0, 0), slope=1, color='k', lw=1)
left.set(xlabel='known density (bits/dim)', ylabel='by the ODE (bits/dim)', title='256 points')
left.legend(frameon=False, fontsize=13)
at = np.arange(len(STDS))
paired = [2 * (bits(by_ode[s]) - bits(known[0.1])).std() / np.sqrt(len(x)) for s in STDS]
right.errorbar(
    at, [nll[s][0] for s in STDS], paired, fmt='o', ms=11, capsize=6, label='ODE (± 2 s.e. of the gap to truth)'
)
right.plot(at, [nll[s][1] for s in STDS], 'k_', ms=34, mew=2, label='known')
right.set_xticks(at, [f'{s:g}' for s in STDS])
right.set(
    xlabel='standard deviation that the model believes (data: 0.1)', ylabel='NLL (bits/dim)', title='A wrong model pays'
)
right.set(xlim=(-0.5, 2.5))
right.legend(frameon=False, fontsize=13, loc='upper right')
right.margins(y=0.35)
plt.show()

# %% [markdown]
# What this notebook claims, as a test that it runs:

# %%
assert max(gap.values()) < 0.05
assert all(abs(ours - true) < 0.005 for ours, true in nll.values())
assert nll[0.1][0] < min(nll[0.07][0], nll[0.15][0]) - 0.05
assert abs(off.mean()) < 4 * error
assert off.std() > 0.02  # one vector is not the trace
