"""Combinators on denoisers: guidance of one model by another or by a classifier, and bounds on the predicted x_0.

At a fixed (x_t, t) eps, v and score are affine in x_0, so a guided x_0 is the guided eps of the papers: weights w and
1 - w sum to one. A weight is `[]`, or `[B]`, one per sample; w = 1 is the model itself and w > 1 goes beyond it.
An argument outside of the range that its docstring gives is a ValueError.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.axes import per_sample
from diffusion_jax.drift import without_signal
from diffusion_jax.ranges import ascending, within
from diffusion_jax.types import Cond, Denoiser, DenoiserWithVariance, Schedule

__all__ = ['auto', 'classifier', 'classifier_free', 'clip', 'dynamic_threshold', 'interval']

GuidanceWeight = float | Float[Array, ''] | Float[Array, ' b']
_Either = Callable[[Array, Array], Any]  # Denoiser or DenoiserWithVariance
D = TypeVar('D', Denoiser, DenoiserWithVariance)
LogProb = Callable[[Array, Array], Array]  # (x_t [B, ...], t [B]) -> log p(y | x_t) of each sample's own y, [B]


def classifier_free(
    bind: Callable[[Cond], Denoiser], cond: Cond, null: Any, w: GuidanceWeight, rescale: float = 0.0
) -> Denoiser:
    """The denoiser w D(x, t | cond) + (1 - w) D(x, t | null), by one call of 2 B rows (arXiv 2207.12598, its w + 1).

    Args:
        bind: a condition `[2 B, ...]` -> the model's denoiser under it, without dropout.
        cond: the conditions, a pytree of rows `[B, ...]`.
        null: what stands for no condition, a pytree like it, each leaf broadcast to the rows: the row that tells
            nothing, or negative conditions.
        w: the guidance weight, in (-inf, inf); 0 is the unconditional model.
        rescale: in [0, 1], see `auto`.
    """
    guided = classifier_free_with_variance(lambda cond: with_unused_variance(bind(cond)), cond, null, w, rescale)
    return lambda x, t: guided(x, t)[0]


def classifier_free_with_variance(
    bind: Callable[[Cond], DenoiserWithVariance],
    cond: Cond,
    null: Any,
    w: GuidanceWeight,
    rescale: float = 0.0,
) -> DenoiserWithVariance:
    """The same for models that predict a variance, which is that of the conditional model: only x_0 is guided.

    w is in (-inf, inf) and rescale in [0, 1].
    """
    within('(-inf, inf)', w=w)
    within('[0, 1]', rescale=rescale)

    def guided(x, t):
        without = jax.tree.map(lambda c, n: jnp.broadcast_to(jnp.asarray(n, c.dtype), c.shape), cond, null)
        conds = jax.tree.map(_interleave, cond, without)
        x_0, logits = bind(conds)(_interleave(x, x), _interleave(t, t))
        return _extrapolate(*_separate(x_0), w, rescale), _separate(logits)[0]

    return guided


def auto(denoise: Denoiser, weak: Denoiser, w: GuidanceWeight, rescale: float = 0.0) -> Denoiser:
    """Autoguidance, w D + (1 - w) D_weak: away from a smaller or less trained model of the data (arXiv 2406.02507).

    Args:
        denoise: the model.
        weak: the worse one, under the same condition.
        w: the guidance weight, in (-inf, inf).
        rescale: share phi in [0, 1] of the guided x_0 that is brought back to the standard deviation of the model's
            own over each sample (arXiv 2305.08891, section 3.4, there of the network's output).
    """
    within('(-inf, inf)', w=w)
    within('[0, 1]', rescale=rescale)
    return lambda x, t: _extrapolate(denoise(x, t), weak(x, t), w, rescale)


def classifier(
    denoise: Denoiser, schedule: Schedule, log_prob: LogProb, w: GuidanceWeight = 1.0, rescale: float = 0.0
) -> Denoiser:
    """Classifier guidance: eps - w sigma grad log p(y | x_t) (arXiv 2105.05233), x_0 + w sigma^2 / alpha grad log p.

    With w = 1 and the exact classifier this is the exact conditional denoiser, since its score is the sum of theirs.
    Where alpha = 0 (and nearly so, see `without_signal`) x_t says nothing of y: the gradient of a true classifier
    is 0 there, what sigma^2 / alpha makes of its rounding is not, and the model is left alone.

    Args:
        denoise: a model that does not know y, or one under y (both by the paper, table 4).
        schedule: its schedule.
        log_prob: the classifier, trained on noisy data, differentiable in x.
        w: the guidance weight, in (-inf, inf), here 0 for none.
        rescale: in [0, 1], see `auto`.
    """
    within('(-inf, inf)', w=w)
    within('[0, 1]', rescale=rescale)

    def guided(x, t):
        blind = without_signal(schedule, t)
        scale = schedule.sigma(t) ** 2 / jnp.where(blind, 1, schedule.alpha(t))
        gradient = jax.grad(lambda x: jnp.sum(log_prob(x, t)))(x)
        x_0 = denoise(x, t)
        moved = x_0 + jnp.where(per_sample(blind, x), 0, per_sample(w * scale, x) * gradient)
        return _rescaled(moved, x_0, rescale)

    return guided


def interval(guided: _Either, plain: _Either, schedule: Schedule, low: float, high: float) -> _Either:
    """Guidance at low < sigma / alpha <= high only, elsewhere the conditional model `plain` (arXiv 2404.07724).

    Each of the two is evaluated only where a sample of the batch needs it, so that steps outside cost half. Both may be
    denoisers with a variance. `low` is in [0, inf) and below `high`, which is in (0, inf].
    """
    within('[0, inf)', low=low)
    within('(0, inf]', high=high)
    ascending(low=low, high=high)

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        level = jnp.where(alpha > 0, sigma / jnp.where(alpha > 0, alpha, 1), jnp.inf)
        inside = (low < level) & (level <= high)
        a = _evaluate_if(jnp.any(inside), guided, x, t)
        b = _evaluate_if(jnp.any(~inside), plain, x, t)
        return jax.tree.map(lambda a, b: jnp.where(per_sample(inside, a), a, b), a, b)

    return denoise


def clip(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """Keeps x_0 in [low, high], the range of the data, as DDPM's sampler does; low below high, in [-inf, inf]."""
    within('[-inf, inf]', low=low, high=high)
    ascending(low=low, high=high)
    return lambda x, t: jnp.clip(denoise(x, t), low, high)


def dynamic_threshold(denoise: Denoiser, p: float = 0.995) -> Denoiser:
    """Keeps x_0 in [-1, 1]: clipped to [-s, s] and divided by s, the p-quantile of |x_0| or 1 (arXiv 2205.11487).

    The larger of the two, for each sample alone; p in [0, 1], where with 1 no value is clipped.
    """
    within('[0, 1]', p=p)

    def threshold(x, t):
        x_0 = denoise(x, t)
        s = per_sample(jnp.maximum(jnp.quantile(jnp.abs(x_0).reshape(len(x_0), -1), p, axis=1), 1), x_0)
        return jnp.clip(x_0, -s, s) / s

    return threshold


def on_x_0(combinator: Callable[[Denoiser], Denoiser], denoise: DenoiserWithVariance) -> DenoiserWithVariance:
    """Applies a combinator that evaluates its denoiser once, at the point given, to the x_0 half of (x_0, logits)."""

    def combined(x, t):
        x_0, logits = denoise(x, t)
        return combinator(lambda *_: x_0)(x, t), logits

    return combined


def with_unused_variance(denoise: Denoiser) -> DenoiserWithVariance:
    """A denoiser where one with a variance is taken and nobody reads the variance."""

    def x_0_and_itself(x, t):
        x_0 = denoise(x, t)
        return x_0, x_0

    return x_0_and_itself


def _extrapolate(x_0, other, w, rescale):
    w = per_sample(jnp.asarray(w, x_0.dtype), x_0)
    return _rescaled(w * x_0 + (1 - w) * other, x_0, rescale)


def _rescaled(guided, x_0, rescale):
    if not rescale:
        return guided
    axes = tuple(range(1, x_0.ndim))
    std = jnp.std(guided, axes, keepdims=True)
    ratio = jnp.where(std > 0, jnp.std(x_0, axes, keepdims=True) / jnp.where(std > 0, std, 1), 1)
    return (rescale * ratio + 1 - rescale) * guided


def _interleave(a, b):
    """`[B, ...]` and `[B, ...]` as `[2 B, ...]`, row by row, so that both rows of a sample lie on one device."""
    return jnp.stack([a, b], 1).reshape(2 * len(a), *a.shape[1:])


def _separate(rows):
    pairs = rows.reshape(len(rows) // 2, 2, *rows.shape[1:])
    return pairs[:, 0], pairs[:, 1]


def _evaluate_if(wanted, denoise, x, t):
    """denoise(x, t), or zeros like it at no cost."""
    shapes = jax.eval_shape(denoise, x, t)
    return jax.lax.cond(wanted, denoise, lambda *_: jax.tree.map(jnp.zeros_like, shapes), x, t)
