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
# # DDPM from scratch in 60 lines
#
# A denoising diffusion model (Ho et al. 2020, arXiv 2006.11239) of 8x8 digits, trained on a CPU within a minute: no
# config, no trainer, only the functions that these are made of. In Colab, first `!pip install git+URL` of the repo.
#
# ## Noise comes in
#
# Clean data x_0 become noise along a Gaussian path, x_t = α(t) x_0 + σ(t) ε. DDPM's is a table of 1000 variances β.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from diffusion_jax import guidance, nets, objectives, precond, samplers, schedules, times
from diffusion_jax.data import sources
from diffusion_jax.objectives import weights
from diffusion_jax.types import Batch, Frozen

data = sources.digits('train').x.reshape(-1, 64).astype(np.float32) / 8 - 1  # [1500, 64] in [-1, 1]
schedule = schedules.DiscreteVP(schedules.linear_betas(1000))

ts = jnp.linspace(0, 1, 9)
x_0 = jnp.broadcast_to(data[0], (9, 64))
x_t = schedules.q_sample(schedule, x_0, ts, jax.random.normal(jax.random.key(0), x_0.shape))


def show(images, title):
    """A row of digits."""
    plt.figure(figsize=(len(images) * 0.7, 1.1))
    row = np.concatenate([np.pad(image.reshape(8, 8), 1) for image in images], 1)
    plt.imshow(row, cmap='gray', vmin=-1, vmax=1)
    plt.title(title, fontsize=9, loc='left')
    plt.axis('off')
    plt.show()


show(x_t, 'x_t for t = 0 .. 1')

# %% [markdown]
# ## A network that sees the noise
#
# The network F predicts ε; `precond.eps` turns that into a denoiser D(x_t, t), the expected x_0. The loss L_simple is
# the error of ε, which is the error of x_0 weighted by the signal-to-noise ratio.

# %%
STEPS = 3000
init, apply = nets.functional(nets.MLP(out_dim=64, width=256, depth=4))  # or nets.UNet(..), nets.DiT(..)
model = precond.denoiser(precond.eps(schedule), apply)  # model(params, cond, key) is D
loss = objectives.denoising(model, schedule, times.discrete_uniform(1000), weights.snr(schedule)).loss

params = jax.jit(init)(jax.random.key(1), jnp.zeros((1, 64)), jnp.zeros(1))
tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.warmup_cosine_decay_schedule(0, 2e-3, 100, STEPS)))


@jax.jit
def train_step(params, average, state, step):
    """Adam on a random batch, and an average of the parameters: what is sampled from."""
    key, key_rows = jax.random.split(jax.random.fold_in(jax.random.key(2), step))
    batch = Batch(jnp.asarray(data)[jax.random.choice(key_rows, len(data), (128,))])
    (value, _), grads = jax.value_and_grad(loss, has_aux=True)(params, Frozen(), key, batch, step)
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    decay = jnp.minimum(0.995, (1 + step) / (10 + step))
    return params, jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params), state, value


average, state, losses = params, tx.init(params), []
for step in range(STEPS):
    params, average, state, value = train_step(params, average, state, step)
    losses.append(float(value))
print(f'loss {np.mean(losses[:50]):.3f} -> {np.mean(losses[-50:]):.3f}')

# %% [markdown]
# ## Noise goes out
#
# DDPM draws x_s from p(x_s | x_t), a thousand times or on fewer steps. DDIM takes the same denoiser along an ordinary
# differential equation: from the same noise twenty steps and 250 end at nearly the same digit.

# %%
denoise = guidance.clip(model(average, None, None))
key_noise, key = jax.random.split(jax.random.key(3))
x_T = samplers.prior(key_noise, schedule, (16, 64), t_max=1.0)
steps = {'DDPM': samplers.ancestral(denoise, schedule, variance='large'), 'DDIM': samplers.ddim(denoise, schedule)}
drawn = {
    name: {n: samplers.sample(step, key, x_T, times.uniform(n)) for n in (20, 250)} for name, step in steps.items()
}
for name, images in drawn.items():
    for n, x in images.items():
        show(x, f'{name}, {n} steps')

# %% [markdown]
# The same in one command, with checkpoints, metrics and a consistency model distilled from it:
# `diffusion-jax quickstart --workdir=runs/quickstart`.
