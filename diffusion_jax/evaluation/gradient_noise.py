"""How much of a training step's gradient is the same for every batch, and how much is the luck of one."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from diffusion_jax.types import Metrics


class Noise(NamedTuple):
    """Of the gradients g of independent batches."""

    metrics: dict[str, float]  # means
    errors: dict[str, float]  # their standard errors
    signal: float  # ||E g||^2, estimated without bias, so that it may be below 0
    noise: float  # tr Cov g


def gradient_noise(
    metrics_and_grad: Callable[..., tuple[Metrics, Any]],
) -> Callable[[Iterable[tuple[Any, ...]]], Noise]:
    """Unbiased, of R batches: tr Cov g = sum_r ||g_r - m||^2 / (R - 1) and ||E g||^2 = ||m||^2 - tr Cov g / R.

    m is the mean of the g_r. What comes back is compiled once, and may be called for draws of several kinds.

    Args:
        metrics_and_grad: of one batch, from arrays.

    Returns:
        (the arguments of each of R >= 2 calls) -> `Noise`; ValueError for fewer.
    """

    @jax.jit
    def after(n, mean, square, draw):
        # Welford's: the noise may be far less than the signal, and a difference of sums of squares would lose it.
        metrics, g = metrics_and_grad(*draw)
        from_before = jax.tree.map(jnp.subtract, g, mean)
        mean = jax.tree.map(lambda m, d: m + d / n, mean, from_before)
        return metrics, mean, square + optax.tree.vdot(from_before, jax.tree.map(jnp.subtract, g, mean))

    def measure(draws):
        all_metrics, mean, square = [], None, jnp.zeros(())
        for n, draw in enumerate(draws, 1):
            if mean is None:
                mean = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(metrics_and_grad, *draw)[1])
            metrics, mean, square = after(jnp.asarray(n, jnp.float32), mean, square, draw)
            all_metrics.append(jax.device_get(metrics))
        R = len(all_metrics)
        if R < 2:
            raise ValueError(f'a variance needs at least two batches; got {R}')
        values = {name: np.array([float(m[name]) for m in all_metrics]) for name in all_metrics[0]}
        noise = float(square) / (R - 1)
        return Noise(
            {name: float(v.mean()) for name, v in values.items()},
            {name: float(v.std(ddof=1) / np.sqrt(R)) for name, v in values.items()},
            float(jnp.asarray(optax.tree.vdot(mean, mean))) - noise / R,
            noise,
        )

    return measure
