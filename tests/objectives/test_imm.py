"""Inductive moment matching: its discrepancy against other libraries, its mean on Gaussian data in closed form.

The bugs planted against these tests are in tests/planted/imm.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import erfcx

from diffusion_jax import objectives, schedules, times
from diffusion_jax.errors import UserError
from diffusion_jax.objectives import distances, kernels, weights
from diffusion_jax.objectives.imm import earlier, mmd2
from diffusion_jax.precond import flow_map
from diffusion_jax.types import Batch, Frozen
from tests import oracles
from tests.objectives.test_mean_flow import KEY, STEP, at, compiled, data
from tests.oracles import GAUSSIAN as DATA

FLOW = schedules.RectifiedFlow()
UNIFORM = weights.uniform()
T, S = 0.8, 0.3


def model(p, cond=None, key=None):
    """For p = 1 the exact average velocity; the map's means are exact for all p."""

    def u(x, t, s):
        t, s = t[:, None], s[:, None]
        v_t, v_s = (((1 - time) ** 2 * DATA.var + time**2) for time in (t, s))
        x_s = (1 - s) * DATA.mean + (v_s / v_t) ** (p / 2) * (x - (1 - t) * DATA.mean)
        return (x - x_s) / (t - s)

    return u


def groups(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_the_discrepancy_is_the_energy_distance_of_scipy(x64):
    y, z = groups((3, 7, 1)), 0.5 * groups((3, 7, 1), 1) + 0.2
    t = jnp.full(3, T)
    got = mmd2(kernels.energy(), jnp.asarray(y), jnp.asarray(z), t, t)
    want = [stats.energy_distance(a[:, 0], b[:, 0]) ** 2 for a, b in zip(y, z, strict=True)]
    np.testing.assert_allclose(got, want, rtol=1e-10)


@pytest.mark.parametrize('shape', [(2, 5, 3), (2, 5, 2, 2, 1)])
def test_the_laplace_kernel_is_of_euclidean_distances_over_the_dimension(shape, x64):
    y, z = groups(shape), 0.5 * groups(shape, 1)
    t, s = np.array([0.8, 0.5]), np.array([0.3, 0.4])
    got = mmd2(kernels.laplace(0.7), jnp.asarray(y), jnp.asarray(z), jnp.asarray(t), jnp.asarray(s))
    for i in range(2):
        a, b = y[i].reshape(5, -1), z[i].reshape(5, -1)
        k = [np.exp(-cdist(*pair) / a.shape[1] / (0.7 * (t[i] - s[i]))).mean() for pair in ((a, a), (b, b), (a, b))]
        np.testing.assert_allclose(got[i], k[0] + k[1] - 2 * k[2], rtol=1e-10)


@pytest.mark.parametrize('kernel', [kernels.laplace(), kernels.energy(0.5), kernels.energy(2.0)])
def test_equal_groups_have_none_and_a_finite_gradient_of_zero(kernel, x64):
    y = jnp.asarray(groups((2, 4, 3)))
    t = jnp.array([T, T])
    value, grad = jax.value_and_grad(lambda z: mmd2(kernel, z, y, t, t / 2).sum())(y[:, ::-1])
    assert abs(value) < 1e-14
    assert jnp.isfinite(grad).all()
    same = jnp.ones((2, 4, 3))
    assert (jax.grad(lambda z: mmd2(kernel, z, same, t, t / 2).sum())(same) == 0).all()
    assert mmd2(kernel, y, y + 0.1, t, t / 2).min() > 1e-4


def exact_mean(M, p, q, r):
    """E of the loss at map p and target q, one dimension, Laplace's kernel: E exp(-c |Z|) = erfcx(c sqrt(v / 2))."""
    v = {u: (1 - u) ** 2 * DATA.var + u**2 for u in (T, S, r)}
    g_y, g_z = (v[S] / v[T]) ** (p / 2), (v[S] / v[r]) ** (q / 2)
    own = g_y * np.array([1 - T, T]) - g_z * np.array([1 - r, r])  # y_i - z_i in units of x_0 - mean and eps
    v_y, v_z = g_y**2 * v[T], g_z**2 * v[r]
    c = 1 / (0.5 * (T - S))
    k = {
        name: erfcx(c * np.sqrt(var / 2))
        for name, var in (('yy', 2 * v_y), ('zz', 2 * v_z), ('yz', v_y + v_z), ('own', own**2 @ [DATA.var, 1]))
    }
    return (1 - 1 / M) * (k['yy'] + k['zz'] - 2 * k['yz']) + 2 / M * (1 - k['own'])


DECREMENT = 2.0  # of eta = 4: r = 2 / 3


def values_and_grads(M, maps, n):
    """At maps (p, q), by one compiled function."""
    loss = compiled(objectives.imm(model, FLOW, at(T, S), kernels.laplace(), UNIFORM, M, DECREMENT).loss)
    for p, q in maps:
        (value, _), grad = loss(jnp.asarray(p), Frozen(jnp.asarray(q)), KEY, data(n, 1), STEP)
        yield p, q, float(value), float(grad)


@pytest.mark.slow
@pytest.mark.parametrize('M', [1, 2, 8])
def test_loss_and_gradient_have_their_means(M, x64):
    """All pairs of two samples are without bias, and the M pairs of a sample with itself are 1 / M of the rest."""
    r, h = 2 / 3, 1e-5
    for p, q, value, grad in values_and_grads(M, ((1.0, 1.0), (0.6, 1.0), (1.5, 0.8)), 200_000):
        np.testing.assert_allclose(value, exact_mean(M, p, q, r), rtol=0.03, atol=1e-4)
        slope = (exact_mean(M, p + h, q, r) - exact_mean(M, p - h, q, r)) / (2 * h)
        np.testing.assert_allclose(grad, slope, rtol=0.05, atol=1e-3)


def test_the_exact_map_is_the_fixed_point_up_to_one_mth_of_the_consistency_losses_pull():
    """In the mean what pairs of two samples have is zero at the exact map, stationary there, and grows beside it."""
    r, h, M = 2 / 3, 1e-5, 10**9
    at_exact = exact_mean(M, 1.0, 1.0, r)
    assert abs(at_exact) < 1e-8
    assert abs(exact_mean(M, 1 + h, 1.0, r) - exact_mean(M, 1 - h, 1.0, r)) / h < 1e-7
    gaps = [exact_mean(M, p, 1.0, r) for p in (0.5, 0.8, 1.2, 1.5)]
    assert gaps[0] > gaps[1] > 1e-4 < gaps[2] < gaps[3]
    slopes = [exact_mean(m, 1 + h, 1.0, r) - exact_mean(m, 1 - h, 1.0, r) for m in (1, 4)]
    np.testing.assert_allclose(slopes[1], slopes[0] / 4, rtol=1e-5)


@pytest.mark.parametrize(('kernel', 'order'), [(kernels.laplace(), 1), (kernels.energy(2.0), 2)])
def test_at_the_exact_map_the_loss_of_one_sample_vanishes_with_the_decrement(kernel, order, x64):
    ns = np.array([32, 64, 128])
    losses = [objectives.imm(model, FLOW, at(T, S), kernel, UNIFORM, 1, 1 / n).loss for n in ns]
    values = [float(loss(jnp.array(1.0), Frozen(), KEY, data(256, 1), STEP)[0]) for loss in losses]
    assert abs(oracles.order(ns, values) - order) < 0.1, values


def test_one_sample_and_the_squared_distance_are_the_consistency_loss(x64):
    """Twice it, at s = 0, where the flow map is a consistency function."""
    dim, t, q = 3, 0.7, Frozen(jnp.array(1.2))
    r = float(earlier(FLOW, jnp.array([t]), jnp.zeros(1), 0.5)[0])

    def consistency(p, cond=None, key=None):
        return lambda x, t: flow_map(model)(p)(x, t, jnp.zeros_like(t))

    one = objectives.imm(model, FLOW, at(t, 0.0), kernels.energy(2.0), lambda t: 3 * t, 1, 0.5)
    two = objectives.consistency(consistency, FLOW, at(t, r), distances.l2(), lambda t, s: 3 * t)
    (got, grad), (want, want_grad) = (
        (value, grad)
        for o in (one, two)
        for (value, _), grad in [compiled(o.loss)(jnp.array(0.8), q, KEY, data(64, dim), STEP)]
    )
    np.testing.assert_allclose([got, grad], [2 * dim * want, 2 * dim * want_grad], rtol=1e-8)


def test_earlier_is_the_constant_decrement_of_eta(x64):
    t, s = jnp.array([0.9, 0.5, 0.5, 0.01]), jnp.array([0.1, 0.1, 0.4999, 0.002])
    eta = np.asarray(t / (1 - t)) - 0.04
    want = np.maximum(np.asarray(s), eta / (1 + eta))
    want[3] = 0.002
    np.testing.assert_allclose(earlier(FLOW, t, s, 0.04), want, rtol=1e-9)
    np.testing.assert_allclose(earlier(schedules.VE(), t, s, 0.04), np.maximum(t - 0.04, s), rtol=1e-9)
    cosine = 2 / np.pi * np.arctan(np.tan(np.pi / 2 * np.asarray(t)) - 0.04)
    np.testing.assert_allclose(earlier(schedules.CosineVP(), t, s, 0.04), np.maximum(cosine, s), rtol=1e-9)


def test_earlier_is_earlier_in_float32():
    t = jnp.linspace(0.01, 0.994, 50)
    r = earlier(FLOW, t, jnp.zeros(50), 160 / 2**12)
    eta = np.asarray(t, np.float64) / (1 - np.asarray(t, np.float64)) - 160 / 2**12
    assert (r < t).all()
    np.testing.assert_allclose(t - r, t - np.maximum(eta / (1 + eta), 0), rtol=0.05)


def test_groups_share_their_times_and_the_interpolant_their_noise():
    seen = []

    def recorder(p, cond, key):
        def u(x, t, s):
            seen.append((float(p), key, *(np.asarray(v) for v in (x, t, s))))
            return p * x

        return u

    loss = objectives.imm(recorder, FLOW, times.nested_pairs(0.1, 0.9), kernels.laplace(), UNIFORM, 3).loss
    x = np.asarray(data(12, 2).x)
    loss(jnp.array(2.0), Frozen(jnp.array(3.0)), KEY, Batch(jnp.asarray(x)), STEP)
    (p_y, key_y, x_t, t, s), (p_z, key_z, x_r, r, s_r) = seen
    assert (p_y, p_z) == (2, 3)
    assert key_y is key_z
    for v in (t, s, r):
        assert (v.reshape(4, 3) == v[::3, None]).all()
        assert len(set(v)) == 4
    np.testing.assert_array_equal(s, s_r)
    assert ((r < t) & (r >= s)).all()
    eps = [(a - (1 - v[:, None]) * x) / v[:, None] for a, v in ((x_t, t), (x_r, r))]
    np.testing.assert_allclose(*eps, rtol=1e-3, atol=1e-4)


def test_the_weight_is_per_group(x64):
    def weighted(weight):
        loss = objectives.imm(model, FLOW, times.nested_pairs(0.1, 0.9), kernels.laplace(), weight, 4).loss
        return loss(jnp.array(0.7), Frozen(), KEY, data(8, 2), STEP)[0]

    parts = []
    weighted(lambda t: parts.append(np.asarray(t)) or t)
    t = parts[0]
    assert t.shape == (2,)
    one, two = (weighted(lambda v, a=a: jnp.where(v == a, 1.0, 0.0)) for a in t)
    np.testing.assert_allclose(weighted(lambda v: v), t[0] * one + t[1] * two, rtol=1e-10)


def test_frozen_parameters_get_no_gradient_and_none_is_the_current_ones(x64):
    loss = objectives.imm(model, FLOW, times.nested_pairs(0.1, 0.9), kernels.laplace(), UNIFORM).loss

    def of(p, frozen):
        return loss(p, frozen, KEY, data(), STEP)[0]

    p = jnp.array(0.9)
    grad, grad_frozen = jax.grad(of, (0, 1))(p, Frozen(p))
    assert grad_frozen == Frozen(0.0)
    np.testing.assert_allclose(jax.grad(of)(p, Frozen()), grad, rtol=1e-12)
    assert of(p, Frozen(jnp.array(1.0))) != of(p, Frozen())


def test_a_batch_that_is_no_whole_number_of_groups_is_refused_in_one_line():
    loss = objectives.imm(model, FLOW, at(T, S), kernels.laplace(), UNIFORM, 3).loss
    with pytest.raises(UserError, match=r'config.objective.M=3 does not divide the 64 samples of a batch'):
        loss(jnp.array(1.0), Frozen(), KEY, data(), STEP)


@pytest.mark.parametrize(
    'bad',
    [
        lambda: objectives.imm(model, FLOW, at(T, S), kernels.laplace(), UNIFORM, 0),
        lambda: objectives.imm(model, FLOW, at(T, S), kernels.laplace(), UNIFORM, 4, 0.0),
        lambda: kernels.laplace(0.0),
        lambda: kernels.energy(2.1),
        lambda: weights.imm(FLOW, a=-1.0),
        lambda: weights.imm(FLOW, b=np.nan),
    ],
)
def test_arguments_outside_of_their_ranges_are_refused(bad):
    with pytest.raises(ValueError, match='must be'):
        bad()


def test_the_weight_of_the_paper(x64):
    t = jnp.array([0.2, 0.5])
    want = 0.5 / (1 + np.exp(2 * np.log([4.0, 1.0]) - 5)) * 2 / np.array([0.16, 0.25]) * np.array([0.8, 0.5]) ** 2
    np.testing.assert_allclose(weights.imm(FLOW, a=2.0)(t), want / np.array([0.68, 0.5]), rtol=1e-12)
