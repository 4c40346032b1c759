"""How strange rows look to a model of other data, and how well that tells anomalies from normal rows.

A score is `(key, x [B, ...]) -> [B]`, x in the range of the data: the higher, the stranger. Scores of different models,
or of one at different depths, have no common scale.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax import editing
from diffusion_jax.axes import as_times, mean_square
from diffusion_jax.likelihood import Dequantiser
from diffusion_jax.likelihood.dequantise import LogDensity, dequantised
from diffusion_jax.process import gaussian
from diffusion_jax.ranges import whole
from diffusion_jax.types import Denoiser, Key, Sampler, Schedule

Rebuild = Callable[[Key, Array], Array]  # (key, x [B, ...]) -> what a model makes of x, [B, ...]
Score = Callable[[Key, Array], Array]  # (key, x [B, ...]) -> [B], the higher, the stranger


def error(rebuild: Rebuild, draws: int = 1) -> Score:
    """Mean square error per value of a reconstruction, the mean over `draws` of its noise, in [1, inf).

    Raises:
        ValueError: for draws outside of their range.
    """
    whole('[1, inf)', draws=draws)

    def score(key, x):
        errors = jax.lax.map(lambda k: mean_square(rebuild(k, x) - x), jax.random.split(key, draws))
        return jnp.mean(errors, axis=0)

    return score


def latent(denoise: Denoiser, schedule: Schedule, times: Float[np.ndarray, ' s_plus_1']) -> Rebuild:
    """DDIM encodes x up to times[0], its depth, and decodes it again (arXiv 2010.02502, section 4.3).

    Both ways are the same ODE, whose exact solution returns to any x whatever: what is measured is the error of the
    grid, larger where the field bends more, and it goes to 0 with more steps. At depth 0, the grid `[0.]`, x is itself.

    Args:
        denoise: the model.
        schedule: its schedule.
        times: decreasing, down to 0; `editing.part_below(grid, depth)`.
    """
    if len(times) < 2:
        return lambda key, x: x
    return lambda key, x: editing.transfer(denoise, denoise, schedule, x, times)


def noised(sampler: Sampler, schedule: Schedule, times: Float[np.ndarray, ' s_plus_1']) -> Rebuild:
    """Noise to times[0], its depth, and denoising by a sampler: to the normal data near x (arXiv 2211.07740).

    The depth is the bottleneck: without noise x is itself, and with all of it what comes out knows nothing of x.

    Args:
        sampler: of the model.
        schedule: its schedule.
        times: decreasing, down to 0; `editing.part_below(grid, depth)`.
    """
    if len(times) < 2:
        return lambda key, x: x
    return lambda key, x: editing.sdedit(sampler, schedule, key, x, times)


def one_step(predict: Denoiser, schedule: Schedule, t: float) -> Rebuild:
    """f(alpha x + sigma eps, t), one evaluation: of a consistency function a sample near x, of a denoiser the mean.

    Where a denoiser's training objective draws t, its score here is the loss of the row (arXiv 2006.11239, eq. 14).

    Args:
        predict: x_0 from x_t: a consistency function, or a denoiser.
        schedule: its schedule.
        t: the depth.
    """

    def rebuild(key, x):
        at = as_times(t, x)
        t_of_each = jnp.broadcast_to(at, x.shape[:1])
        return predict(gaussian(schedule, t).corrupt(key, x, t_of_each), t_of_each)

    return rebuild


def surprise(log_p: LogDensity, dequantise: Dequantiser | None = None) -> Score:
    """-log2 p(x) per value, or with a dequantiser a bound on -log2 P(x): `likelihood.dequantised`.

    Args:
        log_p: (key, y [B, ...]) -> log-density [B] in nats, such as `likelihood.ode(...)`'s `log_p`.
        dequantise: spreads quantised x over their bins; without it x is taken for continuous.
    """
    return dequantised(dequantise or (lambda key, x: (x, jnp.zeros(x.shape[:1], x.dtype))), log_p)


def atypicality(surprise: Float[np.ndarray, ' n'], of_training: Float[np.ndarray, ' m']) -> Float[np.ndarray, ' n']:
    """|-log p(x) - H| with H the mean of -log p over training rows: the test of arXiv 1906.02994 for one row at a time.

    In many dimensions the likeliest points are themselves not typical: rows can be strange by being too likely.
    """
    return np.abs(surprise - np.mean(of_training))


def standardised(score: Float[np.ndarray, ' n'], of_training: Float[np.ndarray, ' m']) -> Float[np.ndarray, ' n']:
    """A score on the scale of training rows, whose mean is 0 and deviation 1: what scores must have to be averaged."""
    return (score - np.mean(of_training)) / np.std(of_training)


class Verdict(NamedTuple):
    """How well a score separates anomalies from normal rows."""

    auroc: float  # the chance that an anomaly has the higher score of a random pair; 0.5 for no use
    average_precision: float  # the area below precision over recall; the share of anomalies for no use


def judged(normal: Float[np.ndarray, ' n'], anomalous: Float[np.ndarray, ' m']) -> Verdict:
    """Area under the ROC curve and average precision of scores, by scikit-learn.

    Raises:
        ValueError: for no rows of one kind, or scores that are not finite.
    """
    from sklearn import metrics  # a second to import

    if not len(normal) or not len(anomalous):
        raise ValueError(f'needs normal and anomalous rows; got {len(normal)} and {len(anomalous)}')
    score = np.concatenate([normal, anomalous])
    if not np.isfinite(score).all():
        raise ValueError(f'{int((~np.isfinite(score)).sum())} of {len(score)} scores are not finite')
    is_anomaly = np.repeat([False, True], [len(normal), len(anomalous)])
    return Verdict(
        float(metrics.roc_auc_score(is_anomaly, score)), float(metrics.average_precision_score(is_anomaly, score))
    )


def chance_error(n: int, m: int) -> float:
    """Standard error around 0.5 of the AUROC, of n and m rows, of a score that knows nothing of them.

    It is that of the Mann-Whitney statistic, sqrt((n + m + 1) / (12 n m)), without ties.
    """
    return float(np.sqrt((n + m + 1) / (12 * n * m)))
