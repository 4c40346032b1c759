"""The Inception Score by hand, by its definition and against torch-fidelity."""

import functools

import numpy as np
import pytest

from diffusion_jax.evaluation import inception_score as score
from tests import fidelity

LOGITS = np.random.default_rng(0).normal(size=(103, 7)) * 3


def test_sure_and_diverse_is_the_number_of_classes_and_sure_of_one_is_one():
    sure = np.where(np.eye(4) > 0, 0, -1e4)  # exp underflows to 0: 0 log 0 is 0
    np.testing.assert_allclose(score.inception_score(np.tile(sure, (5, 1)), 1).mean, 4)
    np.testing.assert_allclose(score.inception_score(np.tile(sure[:1], (8, 1)), 1).mean, 1)
    np.testing.assert_allclose(score.inception_score(np.zeros((8, 4)), 2).mean, 1)  # never sure
    # Half of the samples sure of one of two classes, the others undecided: exp(log 2 / 2).
    half = np.log([[1, 1e-300], [1e-300, 1], [0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_allclose(score.inception_score(half, 1).mean, np.sqrt(2))


def test_batches_add_up_to_the_definition():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    kl = (p * (np.log(p) - np.log(p.mean(0)))).sum(1)
    sums = functools.reduce(score.add, map(score.class_sums, np.split(LOGITS, [1, 50])))
    np.testing.assert_allclose(score.score(sums), np.exp(kl.mean()), rtol=1e-12)


@pytest.mark.parametrize('splits', [1, 10])
def test_it_is_torch_fidelitys(splits):
    isc = fidelity.module('metric_isc')
    torch = pytest.importorskip('torch')
    theirs = isc.isc_features_to_metric(torch.tensor(LOGITS.astype(np.float32)), splits, shuffle=False)
    ours = score.inception_score(LOGITS.astype(np.float32), splits)
    np.testing.assert_allclose(ours[:2], list(theirs.values()), rtol=1e-6)


def test_too_few_are_refused():
    with pytest.raises(ValueError, match='9 samples cannot be cut into 10 splits'):
        score.inception_score(LOGITS[:9])
    with pytest.raises(ValueError, match='no samples'):
        score.score(score.ClassSums(0, np.zeros(3), 0.0))
