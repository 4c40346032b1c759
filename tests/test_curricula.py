"""Curricula against the released code's integers and the papers' own end points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import curricula


def at(N, steps):
    return [int(N(jnp.array(k))) for k in steps]


def test_square_root_starts_and_ends_where_the_paper_says():
    K = 800_000
    N = curricula.square_root(K)
    steps = [0, 1, 1000, 100_000, 400_000, 799_999, K, 2 * K]
    k = np.minimum(steps, K)
    want = np.ceil(np.sqrt(k / K * (151.0**2 - 2.0**2) + 2.0**2) - 1) + 1
    assert at(N, steps) == want.astype(int).tolist()
    assert (want[0], want[-1]) == (2, 151)


def test_doubling_goes_from_11_to_1281_points():
    """400,000 steps are eight equal stages: 10, 20, .. 1280 intervals."""
    N = curricula.doubling(400_000)
    stages = [11, 21, 41, 81, 161, 321, 641, 1281]
    assert at(N, range(0, 400_000, 50_000)) == stages
    assert at(N, range(49_999, 400_000, 50_000)) == stages
    assert at(N, [400_000, 2**30]) == [1281, 1281]
    # log2(100) + 1 = 7.64 stages: 130 steps each, and in the last one s_1 itself.
    assert at(curricula.doubling(1000, 10, 1000), [0, 129, 130, 909, 910, 999]) == [11, 11, 21, 641, 1001, 1001]


def test_constant():
    assert at(curricula.constant(18), [0, 10**6]) == [18, 18]
    with pytest.raises(ValueError, match='2 grid points'):
        curricula.constant(1)
    with pytest.raises(ValueError, match='too few'):
        curricula.doubling(3)


def test_target_decay_by_both_counts(x64):
    N = curricula.square_root(1000)
    k = jnp.array([0, 500, 1000])
    points = np.array([2.0, at(N, [500])[0], 151.0])
    paper = jax.vmap(curricula.target_decay(N))(k)
    released = jax.vmap(curricula.target_decay(N, count='intervals'))(k)
    np.testing.assert_allclose(paper, 0.9 ** (2 / points), rtol=1e-12)
    np.testing.assert_allclose(released, 0.9 ** (2 / (points - 1)), rtol=1e-12)
    np.testing.assert_allclose([paper[0], released[0]], [0.9, 0.81])
    with pytest.raises(ValueError, match=r'intervals.*points.*pints'):
        curricula.target_decay(N, count='pints')
