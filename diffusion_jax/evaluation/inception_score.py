"""The Inception Score of a classifier's logits: exp E_x KL(p(y|x) || p(y)) (arXiv 1606.03498).

By the entropies, log IS = E_x sum_y p(y|x) log p(y|x) - sum_y p(y) log p(y): two running sums are all it takes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Shaped


class ClassSums(NamedTuple):
    """What n samples leave behind, in float64. Those of two sets are added field by field."""

    n: int
    p: Float64[np.ndarray, ' c']  # sum of p(y|x)
    p_log_p: float  # sum of sum_y p(y|x) log p(y|x)


class InceptionScore(NamedTuple):
    """Mean over the splits, its standard error, and the splits' standard deviation, which papers quote as an error.

    The error is of this mean over fresh samples. It says nothing of the score's bias, which is that of a split's size.
    """

    mean: float
    std: float  # of the splits, over their number, as in the released code; grows with the number of splits
    standard_error: float  # NaN for one split


def class_sums(logits: Shaped[np.ndarray, 'n c']) -> ClassSums:
    """The sums over one batch."""
    from scipy.special import log_softmax  # a fifth of a second to import

    log_p = log_softmax(np.asarray(logits, np.float64), axis=1)
    p = np.exp(log_p)
    return ClassSums(len(p), p.sum(axis=0), float((p * log_p).sum()))


def add(a: ClassSums, b: ClassSums) -> ClassSums:
    """The sums over two sets together."""
    return ClassSums(a.n + b.n, a.p + b.p, a.p_log_p + b.p_log_p)


def score(sums: ClassSums) -> float:
    """The score of one set; between 1 and the number of classes.

    Raises:
        ValueError: for no samples.
    """
    if not sums.n:
        raise ValueError('there is no Inception Score of no samples')
    p = sums.p / sums.n
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1.0)))
    return float(np.exp(sums.p_log_p / sums.n + entropy))


def inception_score(logits: Float[np.ndarray, 'n c'], splits: int = 10) -> InceptionScore:
    """Of n samples cut into `splits` runs of neighbours: put them into random order first if they have one.

    Raises:
        ValueError: for fewer samples than splits.
    """
    n = len(logits)
    if not 1 <= splits <= n:
        raise ValueError(f'{n} samples cannot be cut into {splits} splits')
    cuts = [logits[i * n // splits : (i + 1) * n // splits] for i in range(splits)]
    return over_splits([class_sums(cut) for cut in cuts])


def over_splits(sums: list[ClassSums]) -> InceptionScore:
    """Mean and spread of the scores of several sets."""
    scores = [score(s) for s in sums]
    error = np.std(scores, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.nan
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), float(error))
