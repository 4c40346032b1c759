"""What a whole batch says of x_0 given x_t: less noise in every target that would be one sample's."""

import jax
import jax.numpy as jnp

from diffusion_jax.types import Batch, Denoiser, Schedule


def batch_denoiser(batch: Batch, schedule: Schedule) -> Denoiser:
    """E[x_0 | x_t] if the data were this batch: sum_i w_i x_i, w_i in proportion to N(x_t; alpha x_i, sigma^2).

    For an x_t that was made from a sample of the batch this is the mean of that sample given the batch and x_t, so its
    own mean given x_t is E[x_0 | x_t] for batches of any size: the sample's x_0 with part of its variance taken away
    (Rao and Blackwell). Most of it goes at high noise levels; at low ones w is the sample's own. The estimator is that
    of arXiv 2302.00670, there for denoising and with a larger batch. Only rows of the same condition count.

    Needs sigma(t) > 0, and x_t in the order of the batch.
    """
    x = batch.x.reshape(len(batch.x), -1)
    middle = jnp.mean(x, axis=0, keepdims=True)  # distances do not depend on it, and their rounding does
    centred = x - middle
    alike = _alike(batch.cond, len(x))

    def denoise(x_t, t):
        alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
        z = x_t.reshape(len(x), -1) - alpha * middle
        products = jnp.matmul(z, centred.T, precision='highest')
        # ||z - alpha x_i||^2 without ||z||^2, which is the same for all i
        squares = alpha**2 * jnp.sum(centred**2, axis=1)[None] - 2 * alpha * products
        w = jax.nn.softmax(jnp.where(alike, -squares / (2 * sigma**2), -jnp.inf), axis=1)
        return (jnp.matmul(w, centred, precision='highest') + middle).reshape(x_t.shape)

    return denoise


def _alike(cond, n):
    """Which rows [B, B] have the same condition."""
    alike = jnp.ones((n, n), bool)
    for leaf in jax.tree.leaves(cond):
        rows = leaf.reshape(n, -1)
        alike &= jnp.all(rows[:, None] == rows[None], axis=-1)
    return alike
