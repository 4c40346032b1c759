"""Curricula against the released code's integers and the papers' own end points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.times import curricula


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


def test_what_a_run_of_some_length_can_carry():
    """The papers' ends for the papers' lengths, and fewer intervals for fewer steps."""
    for steps, s_1 in ((0, 2), (4, 2), (400, 10), (1000, 16), (4000, 32), (90_000, 150), (800_000, 150)):
        assert at(curricula.square_root(steps), [steps]) == [s_1 + (steps > 0)]
    assert at(curricula.square_root(0, s_0=7), [0]) == [7]
    for steps, stages in (
        (1, 1),
        (64, 1),
        (180, 1),
        (182, 2),
        (1000, 4),
        (4000, 6),
        (11_000, 7),
        (12_000, 8),
        (10**6, 8),
    ):
        assert curricula.stages_in(steps) == stages
        N = curricula.doubling(2 * steps)
        assert at(N, [0, 2 * steps - 1, 2 * steps]) == [11, *2 * [10 * 2 ** (stages - 1) + 1]]
    assert curricula.stages_in(0) == 1


def test_halving_has_the_papers_stages():
    """From a teacher of 1024 steps: 50,000 training steps a stage, 100,000 for 2 steps and for 1."""
    N = curricula.halving(600_000, n_0=512)
    starts = [50_000 * j for j in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10)]
    stages = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
    assert at(N, starts) == stages
    assert at(N, [k - 1 for k in starts[1:]]) == stages[:-1]
    assert at(N, [600_000, 2**30]) == [1, 1]
    n, ends = curricula.halving_stages(600_000, None, 512, 1, 2)
    assert n.tolist() == stages
    assert ends.tolist() == [*starts[1:], 600_000]
    assert at(curricula.halving(30, None, 8, 2, 1), [0, 9, 10, 20, 30, 99]) == [8, 8, 4, 2, 2, 2]
    assert at(curricula.halving(35, None, 12, 3), [0, 10, 11, 22]) == [12, 12, 6, 3]
    assert at(curricula.halving(35, 10, 12, 3), [0, 9, 10, 20]) == [12, 12, 6, 3]
    assert at(curricula.halving(10, 10, 4, 4), [0, 100]) == [4, 4]


@pytest.mark.parametrize(
    'arguments', [(99, 10, 12, 2), (99, 10, 1, 2), (99, 10, 4, 0), (99, 0, 4, 1), (99, 10, 4, 1, 0)]
)
def test_halving_refuses_what_it_cannot_halve(arguments):
    with pytest.raises(ValueError, match=r'power of two|(n_1|each|stretch) must be .*in \[1, inf\); got 0'):
        curricula.halving(*arguments)


def test_stages_longer_than_the_run_are_refused():
    curricula.halving(50, 10, 4)
    with pytest.raises(ValueError, match='must have the 50 steps of the stages, with each=10; got 49'):
        curricula.halving(49, 10, 4)
    with pytest.raises(ValueError, match='must have the 5 steps of the stages, with each=1; got 4'):
        curricula.halving(4, None, 4)
    assert at(curricula.halving(0, None, 4), [0]) == [4]


def test_constant():
    assert at(curricula.constant(18), [0, 10**6]) == [18, 18]
    with pytest.raises(ValueError, match=r'n must be a whole number in \[2, inf\)'):
        curricula.constant(1)
    with pytest.raises(ValueError, match='too few'):
        curricula.doubling(3, s_1=1280)


def test_target_decay_by_both_counts(x64):
    N = curricula.square_root(1000, s_1=150)
    k = jnp.array([0, 500, 1000])
    points = np.array([2.0, at(N, [500])[0], 151.0])
    paper = jax.vmap(curricula.target_decay(N))(k)
    released = jax.vmap(curricula.target_decay(N, count='intervals'))(k)
    np.testing.assert_allclose(paper, 0.9 ** (2 / points), rtol=1e-12)
    np.testing.assert_allclose(released, 0.9 ** (2 / (points - 1)), rtol=1e-12)
    np.testing.assert_allclose([paper[0], released[0]], [0.9, 0.81])
    with pytest.raises(ValueError, match=r'intervals.*points.*pints'):
        curricula.target_decay(N, count='pints')


def test_constant_decay():
    decay = curricula.constant_decay(0.95)
    np.testing.assert_array_equal([decay(jnp.int32(k)) for k in (0, 7, 10**6)], np.float32(0.95))
    assert curricula.constant_decay()(jnp.int32(3)) == 0


def test_falling_is_one_then_a_sigmoid_then_zero(x64):
    alpha = jax.vmap(curricula.falling(1000, 0.2, 0.8))
    a = np.asarray(alpha(jnp.array([0, 200, 450, 500, 550, 800, 1000, 5000])))
    np.testing.assert_array_equal(a[[0, 1, 5, 6, 7]], [1, 1, 0, 0, 0])
    np.testing.assert_allclose(a[2:5], 1 / (1 + np.exp(25 * (np.array([5 / 12, 0.5, 7 / 12]) - 0.5))), rtol=1e-12)
    unclamped = curricula.falling(1000, 0.2, 0.8, clamp=0.0)
    assert 0 < unclamped(jnp.array(800)) < 5e-3
    assert np.all(np.diff(np.asarray(alpha(jnp.arange(1000)))) <= 0)
