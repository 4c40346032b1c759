"""The MeanFlow loss at and near the exact average velocity of Gaussian data, in float64.

The bugs planted against these tests are in tests/planted/mean_flow.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, precond, schedules, times
from diffusion_jax.objectives import velocities, weights
from diffusion_jax.objectives.velocities import Velocity
from diffusion_jax.types import Batch, Frozen
from tests.oracles import GAUSSIAN as DATA
from tests.test_flow_map import average

FLOW = schedules.RectifiedFlow()
PAIRS = times.logit_normal_pairs(share=0.5)
KEY, STEP = jax.random.key(0), jnp.array(0)


def model(params, cond=None, key=None):
    """For params = 1 the exact average velocity."""
    return lambda x, t, s: params * average(x, t, s)


def exact_denoiser(params, cond=None, key=None):
    return lambda x, t: params * DATA.denoise(x, 1 - t[:, None], t[:, None])


def at(t, r):
    """All pairs at (t, r)."""
    return lambda key, shape, step: (jnp.full(shape, t), jnp.full(shape, r))


def data(n=64, dim=2):
    return Batch(DATA.mean + np.sqrt(DATA.var) * jax.random.normal(jax.random.key(1), (n, dim)))


def run(loss, params, batch, frozen=None):
    """Loss, metrics, gradient."""
    frozen = Frozen() if frozen is None else frozen
    (value, metrics), grad = compiled(loss)(params, frozen, KEY, batch, STEP)
    return float(value), metrics, grad


@functools.cache
def compiled(loss):
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def noise(shape):
    """The eps that KEY draws: x_t at t = 1."""
    seen = {}

    def record(frozen, batch, path, u):
        return lambda z, t: seen.setdefault('eps', z)

    loss = objectives.mean_flow(lambda *_: lambda x, t, s: x, FLOW, at(1.0, 1.0), velocity=Velocity(record)).loss
    loss(None, Frozen(), KEY, Batch(jnp.zeros(shape)), STEP)
    return np.asarray(seen['eps'])


@pytest.mark.parametrize('p', [0.0, 1.0])
def test_the_identity_holds_at_the_exact_average_velocity_and_only_there(p, x64):
    """With the marginal velocity, by distillation, the residual is zero for every sample."""
    teacher = velocities.of_a_teacher(exact_denoiser, FLOW)
    loss = objectives.mean_flow(model, FLOW, PAIRS, p, velocity=teacher).loss
    value, metrics, grad = run(loss, 1.0, data(), Frozen(teacher=1.0))
    assert value < 1e-20
    assert metrics['squared_error'] < 1e-20
    assert abs(grad) < 1e-10
    off = [run(loss, q, data(), Frozen(teacher=1.0)) for q in (0.8, 0.9, 1.1, 1.2)]
    assert off[0][0] > off[1][0] > 1e-4 < off[2][0] < off[3][0]
    assert off[1][2] < 0 < off[2][2]
    assert run(loss, 1.0, data(), Frozen(teacher=1.1))[0] > 1e-4


def matched(n=512):
    """Data that, with the noise which KEY draws, have the exact second moments c (var, 0, 1); and c."""
    eps = noise((n, 1))
    x = np.random.default_rng(0).normal(size=eps.shape)
    x -= eps * (x * eps).sum() / (eps**2).sum()
    c = (eps**2).mean()
    return Batch(jnp.asarray(x * np.sqrt(DATA.var * c / (x**2).mean()))), c


@pytest.mark.parametrize(('t', 'r'), [(0.9, 0.9), (0.9, 0.2), (0.6, 0.5), (1.0, 0.0)])
def test_training_has_the_exact_function_as_its_fixed_point(t, r, x64):
    """By the data's velocities the residual is noise of variance (v_r / v_t) Var[v | z], of mean (q - 1) v at q u."""
    batch, c = matched()
    loss = objectives.mean_flow(
        lambda q, *_: lambda x, t, s: q * average(x, t, s, mean=0.0), FLOW, at(t, r), p=0.0
    ).loss
    v_t, v_r = ((1 - s) ** 2 * DATA.var + s**2 for s in (t, r))
    slope_v = (t - (1 - t) * DATA.var) / v_t
    slope_u = slope_v if t == r else (1 - np.sqrt(v_r / v_t)) / (t - r)
    np.testing.assert_allclose(run(loss, 1.0, batch)[0], c * v_r / v_t * (1 + DATA.var - slope_v**2 * v_t), rtol=1e-9)
    for q in (0.9, 1.0, 1.2):
        want = 2 * (q - 1) * c * slope_u * slope_v * v_t
        np.testing.assert_allclose(run(loss, q, batch)[2], want, rtol=1e-9, atol=1e-12)


def test_on_another_schedule_the_velocity_is_its_own(x64):
    """On TrigFlow with sigma_data^2 = var every marginal is the data's: v = u = 0, and the residual is the sample's."""
    schedule = schedules.TrigFlow(float(np.sqrt(DATA.var)))
    batch, c = matched()
    loss = objectives.mean_flow(lambda q, *_: lambda x, t, s: q * x, schedule, at(1.0, 0.4), p=0.0).loss
    value, _, grad = run(loss, 0.0, batch)
    np.testing.assert_allclose(value, c * DATA.var, rtol=1e-9)
    np.testing.assert_allclose(grad, 0, atol=1e-12)


def test_where_r_is_t_it_is_flow_matching():
    """The same draws, the same dropout; the norm is a sum where `denoising` takes the mean."""

    def net(params, x, c_noise, cond, key):
        out = params * x * jnp.cos(c_noise.reshape(len(x), -1)[:, :1] / 1000)
        return out * jax.random.bernoulli(key, 0.8, out.shape)

    def together(key, shape, step):
        t = times.logit_normal()(key, shape)
        return t, t

    loss = objectives.mean_flow(precond.average_velocity(net, 1000.0), FLOW, together, p=0.0).loss
    flow = objectives.denoising(
        precond.denoiser(precond.flow(FLOW), net), FLOW, times.logit_normal(), weights.flow(FLOW)
    ).loss
    batch = data(dim=3)
    value, metrics, grad = run(loss, jnp.float32(0.7), batch)
    want, _, want_grad = run(flow, jnp.float32(0.7), batch)
    np.testing.assert_allclose([value, grad], [3 * want, 3 * want_grad], rtol=1e-4)
    np.testing.assert_allclose(metrics['squared_error'], value, rtol=1e-6)


@pytest.mark.parametrize(('p', 'c'), [(0.0, 1e-3), (0.5, 0.3), (1.0, 1e-3), (2.0, 5.0)])
def test_the_adaptive_weight_is_per_sample_and_constant_in_the_gradient(p, c, x64):
    shape = (5, 2, 3)
    eps, x = noise(shape), np.random.default_rng(0).normal(size=shape)
    loss = objectives.mean_flow(lambda q, *_: lambda x, t, s: q + 0 * x, FLOW, at(0.7, 0.2), p, c).loss
    value, metrics, grad = run(loss, jnp.array(0.4), Batch(jnp.asarray(x)))
    error = 0.4 - (eps - x)  # du/dt = 0
    square = (error**2).sum((1, 2))
    np.testing.assert_allclose(value, np.mean(square / (square + c) ** p), rtol=1e-10)
    np.testing.assert_allclose(grad, np.mean(2 * error.sum((1, 2)) / (square + c) ** p), rtol=1e-10)
    np.testing.assert_allclose(metrics['squared_error'], square.mean(), rtol=1e-10)


def test_tangent_norm_is_the_mean_norm_of_the_total_derivative(x64):
    shape = (5, 2, 3)
    eps, x = noise(shape), np.random.default_rng(0).normal(size=shape)
    loss = objectives.mean_flow(
        lambda q, *_: lambda x, t, s: q * x + (3 * t + 5 * s)[:, None, None], FLOW, at(0.7, 0.7)
    ).loss
    _, metrics, _ = run(loss, jnp.array(0.4), Batch(jnp.asarray(x)))
    du_dt = 0.4 * (eps - x) + 3
    np.testing.assert_allclose(metrics['tangent_norm'], np.mean(np.sqrt((du_dt**2).sum((1, 2)))), rtol=1e-10)


CLASSES, NULL = 2, 2


def by_class(seen):
    """The model w_k z + t - s of class k, recording what it was asked for; the null class is the third."""

    def bind(w, cond, key=None):
        seen.append({'cond': cond, 'key': key})

        def u(x, t, s):
            if not isinstance(x, jax.core.Tracer):
                seen[-1] |= {'z': np.asarray(x), 't': np.asarray(t), 's': np.asarray(s)}
            return w[cond][:, None] * x + (t - s)[:, None]

        return u

    return bind


@pytest.mark.parametrize('drop', [0.0, 0.4])
@pytest.mark.parametrize(
    ('omega', 'kappa', 'inside'), [(2.0, 0.0, (0.0, 1.0)), (0.5, 0.8, (0.3, 0.6)), (1.0, 0.5, (0.0, 1.0))]
)
def test_guided_target(omega, kappa, inside, drop, x64):
    """The whole loss and its gradient by hand, from what the model saw."""
    n, seen = 400, []
    x, label = np.random.default_rng(0).normal(size=(n, 1)), np.arange(n) % CLASSES
    drawn = []

    def pairs(*args):
        drawn.append(tuple(map(np.asarray, PAIRS(*args))))
        return PAIRS(*args)

    w = np.array([0.3, -0.4, 0.7])
    loss = objectives.mean_flow(
        by_class(seen), FLOW, pairs, 0.0, 1e-3, omega, kappa, *inside, drop=drop, null=NULL
    ).loss
    args = Frozen(), KEY, Batch(jnp.asarray(x), jnp.asarray(label)), STEP
    (value, _), grad = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(w), *args)
    t, r = (v[:, None] for v in drawn[0])
    z = next(s['z'] for s in seen if 'z' in s)
    cond = np.asarray(next(s['cond'] for s in seen if s['key'] is not None))
    for call in seen:
        if call['key'] is None:  # instantaneous, and without dropout
            np.testing.assert_array_equal(call['t'], t[:, 0])
            np.testing.assert_array_equal(call['s'], t[:, 0])
    assert set(cond[cond != label]) == ({NULL} if drop else set())
    assert abs(np.mean(cond == NULL) - drop) < 4 * np.sqrt(drop * (1 - drop) / n) + 1e-9

    v = (z - x) / t
    u_c, u_null = w[cond][:, None] * z, w[NULL] * z
    guided = ((inside[0] <= t) & (t <= inside[1])) & (cond != NULL)[:, None]
    assert 0.1 < guided.mean()
    v = np.where(guided, omega * v + kappa * u_c + (1 - omega - kappa) * u_null, v)
    error = u_c + t - r - (v - (t - r) * (w[cond][:, None] * v + 1))
    np.testing.assert_allclose(value, np.mean(error**2), rtol=1e-10)
    want = [np.sum((2 * error * z)[cond == k]) / n for k in range(3)]
    np.testing.assert_allclose(grad, want, rtol=1e-10, atol=1e-14)


def test_guidance_of_scale_one_is_none_and_a_part_of_its_own_velocity_is_no_scale(x64):
    """Omega = 1 - kappa has scale 1: the fixed point is that of the unguided loss."""
    x, label = np.random.default_rng(0).normal(size=(64, 1)), jnp.arange(64) % CLASSES
    w, batch = jnp.array([0.3, -0.4, 0.7]), Batch(jnp.asarray(x), label)
    plain = objectives.mean_flow(by_class([]), FLOW, PAIRS).loss
    undropped = objectives.mean_flow(by_class([]), FLOW, PAIRS, drop=0.0, null=NULL).loss
    jax.tree.map(np.testing.assert_array_equal, run(undropped, w, batch), run(plain, w, batch))
    teacher = velocities.of_a_teacher(exact_denoiser, FLOW)
    scale_one = objectives.mean_flow(model, FLOW, PAIRS, omega=0.5, kappa=0.5, null=NULL, velocity=teacher).loss
    assert run(scale_one, 1.0, batch, Frozen(teacher=1.0))[1]['squared_error'] < 1e-20


def test_a_teacher_is_asked_with_the_label_that_the_student_sees():
    seen, asked = [], []

    def velocity(frozen, batch, path, u):
        asked.append(np.asarray(batch.cond))
        return lambda z, t: z

    loss = objectives.mean_flow(by_class(seen), FLOW, PAIRS, drop=0.5, null=NULL, velocity=Velocity(velocity)).loss
    loss(jnp.ones(3), Frozen(), KEY, Batch(jnp.ones((64, 1)), jnp.arange(64) % CLASSES), STEP)
    (call,) = seen
    np.testing.assert_array_equal(asked[0], call['cond'])
    assert {*asked[0].tolist()} == {0, 1, 2}


def test_every_draw_has_its_own_key():
    n, seen, drawn = 4000, {}, {}

    def bind(params, cond, key):
        seen.update(cond=np.asarray(cond), key=key)
        return lambda x, t, s: x

    def pairs(key, shape, step):
        t = jax.random.uniform(key, shape)
        drawn['times'] = np.asarray(t)
        return t, t

    def velocity(frozen, batch, path, u):
        return lambda z, t: seen.setdefault('z', z)

    loss = objectives.mean_flow(bind, FLOW, pairs, drop=0.5, null=NULL, velocity=Velocity(velocity)).loss
    loss({}, Frozen(), KEY, Batch(jnp.zeros((n, 1)), jnp.zeros(n, jnp.int32)), STEP)
    drawn['noise'] = np.asarray(seen['z'])[:, 0] / drawn['times']
    drawn['labels'] = seen['cond'] == NULL
    drawn['dropout'] = np.asarray(jax.random.uniform(seen['key'], (n,)))
    off = np.corrcoef(np.array([*drawn.values()], np.float64)) - np.eye(4)
    assert abs(off).max() < 0.08, off  # a shared key would make it at least 0.8


def test_times_and_tangents_stay_float32_around_a_coarse_network():
    seen = []

    def net(params, x, c_noise, cond, key):
        seen.append((x.dtype, c_noise.dtype))
        coarse = (params * x).astype(jnp.bfloat16) * jnp.cos(c_noise[:, :1]).astype(jnp.bfloat16)
        return coarse.astype(jnp.float32)

    loss = objectives.mean_flow(precond.average_velocity(net), FLOW, PAIRS).loss
    _, metrics, grad = run(loss, jnp.float32(0.5), data())
    assert set(seen) == {(jnp.dtype('float32'), jnp.dtype('float32'))}
    fine = objectives.mean_flow(
        precond.average_velocity(lambda params, x, c, *_: params * x * jnp.cos(c[:, :1])), FLOW, PAIRS
    ).loss
    np.testing.assert_allclose(
        metrics['tangent_norm'], run(fine, jnp.float32(0.5), data())[1]['tangent_norm'], rtol=0.02
    )
    assert grad.dtype == jnp.float32


def test_an_infinite_derivative_shows_in_its_norm():
    loss = objectives.mean_flow(lambda q, *_: lambda x, t, s: q * x + jnp.sqrt(t - s)[:, None], FLOW, at(0.5, 0.5)).loss
    assert not jnp.isfinite(run(loss, jnp.float32(1.0), data())[1]['tangent_norm'])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'omega': 2.0}, 'the model has none'),
        ({'kappa': 0.5}, 'the model has none'),
        ({'kappa': 1.0, 'null': 2}, r'\[0, 1\)'),
        ({'kappa': -0.1, 'null': 2}, r'\[0, 1\)'),
    ],
)
def test_impossible_guidance_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        objectives.mean_flow(model, FLOW, PAIRS, **options)
