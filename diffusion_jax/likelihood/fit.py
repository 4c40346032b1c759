"""Training of a dequantiser on a model that is done."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from diffusion_jax.likelihood.dequantise import LogDensity
from diffusion_jax.progress import progress_bar
from diffusion_jax.types import Denoiser, Key, Params


def along(score: Callable[[Array], Array]) -> LogDensity:
    """A stand-in for the log-density with this score (y [B, ...] -> [B, ...]): of its gradient in y, not of its value.

    A dequantiser needs no more to be trained, and the score costs one evaluation of the denoiser, where the density
    costs an ODE. The bound that is reported holds for any dequantiser, however it came about.
    """

    def log_p(key, y):
        del key
        return jnp.sum(jax.lax.stop_gradient(score(y)) * y, axis=tuple(range(1, y.ndim)))

    return log_p


def score_at(denoise: Denoiser, alpha: float, sigma: float, t: float) -> Callable[[Array], Array]:
    """The score of z = x_t / r, r = sqrt(alpha^2 + sigma^2), by Tweedie: (cos E[x_0 | x_t] - z) / sin^2.

    cos and sin are alpha / r and sigma / r; z is what `likelihood.ode` takes for data.
    """
    r = (alpha**2 + sigma**2) ** 0.5

    def score(z):
        x_0 = denoise(r * z, jnp.full(len(z), t, z.dtype))
        return (alpha / r * x_0 - z) / (sigma / r) ** 2

    return score


def fit(
    loss: Callable[[Params, Params, Key, Any], Array],
    params: Params,
    frozen: Params,
    key: Key,
    at: Callable[[int], Any],
    steps: int,
    lr: float = 3e-3,
) -> Params:
    """The parameters after some steps of Adam, whose rate falls as a cosine.

    Args:
        loss: (params, frozen, key, batch) -> [], such as `elbo`.
        params: where it starts.
        frozen: what the loss reads as well: the model's parameters.
        key: of its noise.
        at: the batch of a step.
        steps: in [1, inf).
        lr: the rate at the start.

    Raises:
        ValueError: for less than one step.
    """
    if steps < 1:
        raise ValueError(f'steps must be at least 1; got {steps}')
    tx = optax.adam(optax.cosine_decay_schedule(lr, steps))

    @jax.jit
    def step(params, state, frozen, key, batch):
        updates, state = tx.update(jax.grad(loss)(params, frozen, key, batch), state)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    with progress_bar('dequantiser', steps) as progress:
        for i in range(steps):
            params, state = step(params, state, frozen, jax.random.fold_in(key, i), at(i))
            progress(i + 1)
    return params
