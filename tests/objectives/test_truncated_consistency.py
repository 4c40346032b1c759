"""Truncated consistency on Gaussian data in float64: its two parts, and what becomes of an error below the cut.

The bugs planted against these tests are in tests/planted/truncated_consistency.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, schedules, times
from diffusion_jax.objectives import distances, pair_weights
from diffusion_jax.types import Frozen
from tests import oracles
from tests.objectives.test_consistency import METHODS, N, apart, data, exact_moments_batch, model, value_and_grad

VE = schedules.VE()


def truncated(pairs, distance, weight, t_min, first=model):
    return objectives.truncated_consistency(model, first, VE, pairs, distance, weight, t_min).loss


@pytest.mark.parametrize('name', METHODS)
def test_cut_at_nothing_it_is_consistency_training(name, x64):
    """The first stage is never asked: no pair of these ends at 0 but ECT's, whose end is the identity of both."""
    pairs, distance, weight = METHODS[name]
    plain = value_and_grad(objectives.consistency(model, VE, pairs, distance, weight).loss, 0.8)
    first = model if name == 'ECT' else lambda params, cond, key: lambda x, t: jnp.nan * x
    teacher = jnp.array(0.8)
    np.testing.assert_allclose(
        value_and_grad(truncated(pairs, distance, weight, 0.0, first), 0.8, Frozen(None, teacher)), plain, rtol=1e-9
    )


def test_up_to_the_cut_it_learns_the_first_stage(x64):
    """The loss of consistency training towards a target that stands still, whatever its own target is."""
    pairs = times.uniform_pairs(N, sigma_max=1.0)
    distance, weight = distances.l2(), pair_weights.uniform()
    consistency = objectives.consistency(model, VE, pairs, distance, weight).loss
    expected = value_and_grad(consistency, 0.8, Frozen(jnp.array(1.1)))
    found = value_and_grad(truncated(pairs, distance, weight, 1.0), 0.8, Frozen(jnp.array(0.3), jnp.array(1.1)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_pair_across_the_cut_ends_in_the_first_stage(x64):
    """The pair's end decides, its s on the cut included, and not its beginning."""
    frozen = Frozen(jnp.array(0.3), jnp.array(1.1))
    parts = apart(1.0, 0.1), distances.l2(), pair_weights.uniform()
    s = 1.0 - 0.1
    for cut, target in ((s, 1.1), (s - 1e-6, 0.3)):
        expected = value_and_grad(objectives.consistency(model, VE, *parts).loss, 0.8, Frozen(jnp.array(target)))
        np.testing.assert_allclose(value_and_grad(truncated(*parts, cut), 0.8, frozen), expected, rtol=1e-12)


def test_what_is_wrong_below_the_cut_does_not_matter(x64):
    """A student that is nonsense there has the loss and the gradient of one that is not."""

    def lost(params, cond=None, key=None):
        return lambda x, t: jnp.where(t[:, None] > 0.5, model(params)(x, t), 1e3)

    pairs = times.uniform_pairs(N, sigma_min=0.5)
    parts = VE, pairs, distances.pseudo_huber(), pair_weights.inverse_gap()
    frozen = Frozen(None, jnp.array(1.0))
    expected, found = (
        value_and_grad(objectives.truncated_consistency(f, model, *parts, 0.5).loss, 0.9, frozen) for f in (model, lost)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize('t_min', [0.95, 0.1])
def test_the_exact_function_is_where_it_stands_still(t_min, x64):
    """On either side of the cut the gradient of one sample's path vanishes with the gap at order 2."""
    batch, _ = exact_moments_batch()
    gaps = np.array([0.05, 0.025, 0.0125]) if t_min == 0.1 else np.array([0.8, 0.4, 0.2]) / 4
    grads = [
        value_and_grad(
            truncated(apart(1.0, gap), distances.l2(), pair_weights.uniform(), t_min),
            1.0,
            Frozen(None, jnp.array(1.0)),
            batch,
        )[1]
        for gap in gaps
    ]
    assert abs(oracles.order(1 / gaps, np.abs(grads)) - 2) < 0.25, grads


def test_neither_the_first_stage_nor_the_target_gets_a_gradient(x64):
    loss = truncated(times.uniform_pairs(N, sigma_min=0.5), distances.l2(), pair_weights.uniform(), 0.5)
    grads = jax.grad(lambda frozen: loss(jnp.array(0.8), frozen, jax.random.key(0), data(), jnp.array(0))[0])(
        Frozen(jnp.array(0.9), jnp.array(1.1))
    )
    assert all(g == 0 for g in jax.tree.leaves(grads))


def test_a_cut_below_0_is_refused():
    with pytest.raises(ValueError, match='t_min'):
        truncated(*METHODS['CT'], -0.1)
