"""Multistep consistency at and near its exact function on Gaussian data, in float64, and its two ends.

The bugs planted against these tests are in tests/planted/multistep_consistency.py.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, precond, samplers, schedules, times
from diffusion_jax.objectives import distances, weights
from diffusion_jax.objectives.consistency import OdeStep
from diffusion_jax.objectives.multistep_consistency import start_of_segment
from diffusion_jax.types import Batch, Frozen
from tests import oracles
from tests.objectives.test_consistency import KEY, METHODS, SIGMA_MIN, STEP, apart, data, exact_moments_batch
from tests.objectives.test_consistency import model as bound_model
from tests.oracles import GAUSSIAN as DATA

VE = schedules.VE()
# name: schedule, t_max
PATHS = {
    'flow': (schedules.RectifiedFlow(), 1.0),
    'trig': (schedules.TrigFlow(0.8), np.pi / 2),
    'VE': (VE, 80.0),
}


def moments(schedule, t):
    """Mean and variance of x_t."""
    a, s = schedule.alpha(t), schedule.sigma(t)
    return a * DATA.mean, a**2 * DATA.var + s**2


def exact_step(schedule):
    """The ODE's map from t to s."""

    def bind(frozen, batch):
        def x_s(x, t, s):
            (m_t, v_t), (m_s, v_s) = moments(schedule, t[:, None]), moments(schedule, s[:, None])
            return m_s + jnp.sqrt(v_s / v_t) * (x - m_t)

        return x_s

    return OdeStep(bind, reads_teacher=True)


def exact(schedule, grid):
    """For params = 1 the x_0 whose DDIM step from t is the ODE's map to the start of its segment."""

    def bind(params, cond=None, key=None):
        def f(x, t):
            r = start_of_segment(grid)(t)[:, None]
            t = t[:, None]
            (m_t, v_t), (m_r, v_r) = moments(schedule, t), moments(schedule, r)
            z_r = m_r + (v_r / v_t) ** (params / 2) * (x - m_t)
            ratio = schedule.sigma(r) / schedule.sigma(t)
            return (z_r - ratio * x) / (schedule.alpha(r) - ratio * schedule.alpha(t))

        return f

    return bind


def anywhere(t_max):
    """T on all of (0, t_max), s anywhere below, so mostly in another segment."""

    def pairs(key, shape, step):
        u, v = jax.random.uniform(key, (2, *shape), minval=0.01, maxval=0.99)
        return t_max * u, t_max * u * v

    return pairs


def run(objective, params: Any = 1.0, frozen=None, batch=None):
    frozen = Frozen() if frozen is None else frozen
    batch = data() if batch is None else batch
    (value, _), grad = compiled(objective.loss)(jnp.asarray(params), frozen, KEY, batch, STEP)
    return float(value), float(grad)


@functools.cache
def compiled(loss):
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize('K', [1, 3])
@pytest.mark.parametrize('name', PATHS)
def test_distillation_vanishes_at_the_exact_function_and_only_there(name, K, x64):
    schedule, t_max = PATHS[name]
    grid = times.uniform(K, t_max)
    objective = objectives.multistep_consistency(
        exact(schedule, grid), schedule, anywhere(t_max), grid, distances.l2(), weights.uniform(), exact_step(schedule)
    )
    assert objective.reads_teacher
    value, grad = run(objective)
    assert value < 1e-20
    assert abs(grad) < 1e-10
    for target in (None, jnp.array(1.0)):
        off = [run(objective, p, Frozen(target))[0] for p in (0.8, 0.9, 1.1, 1.2)]
        assert off[0] > off[1] > 1e-5 < off[2] < off[3]


@pytest.mark.parametrize(('solver', 'local'), [(samplers.euler_step, 2), (samplers.heun_step, 3)])
def test_distillation_by_a_solver_has_its_local_error(solver, local, x64):
    """The root of the squared loss is the solver's error in one step, within a segment that is not the last."""
    schedule, grid = schedules.RectifiedFlow(), times.uniform(3)
    step = objectives.teacher_step(
        lambda *_: lambda x, t: DATA.denoise(x, 1 - t[:, None], t[:, None]), schedule, solver
    )
    ns = np.array([16, 32, 64, 128])
    losses = [
        run(
            objectives.multistep_consistency(
                exact(schedule, grid), schedule, apart(0.6, 1 / n), grid, distances.l2(), weights.uniform(), step
            )
        )[0]
        for n in ns
    ]
    assert abs(oracles.order(ns, np.sqrt(losses)) - local) < 0.15, losses


@pytest.mark.parametrize('t', [0.6, 0.25])
def test_training_at_the_exact_function_vanishes_with_the_gap_at_order_2(t, x64):
    """The residual is linear in x_0 and eps: the loss and its gradient by the paper's steps, DDIM and its inverse."""
    schedule, grid = schedules.RectifiedFlow(), times.uniform(3)
    r = {0.6: 1 / 3, 0.25: 0.0}[t]
    batch, c = exact_moments_batch()
    gaps = np.array([0.04, 0.02, 0.01, 0.005])
    got = np.array(
        [
            run(
                objectives.multistep_consistency(
                    exact(schedule, grid), schedule, apart(t, dt), grid, distances.l2(), weights.uniform()
                ),
                batch=batch,
            )
            for dt in gaps
        ]
    )
    s = t - gaps
    v_t, v_s, v_r = ((1 - u) ** 2 * DATA.var + u**2 for u in (t, s, r))
    x_t, x_s = np.array([1 - t + 0 * s, t + 0 * s]), np.array([1 - s, s])  # in units of x_0 - mean and eps
    f_t, f_s = ((np.sqrt(v_r / v) - r / u) / (1 - r - r / u * (1 - u)) for u, v in ((t, v_t), (s, v_s)))
    z_r = r / s * x_s + (1 - r - r / s * (1 - s)) * f_s * x_s  # DDIM from s
    x_tilde = (z_r - r / t * x_t) / (1 - r - r / t * (1 - t))  # its inverse from t
    d_f_t = np.sqrt(v_r / v_t) * np.log(v_r / v_t) / 2 / (1 - r - r / t * (1 - t))
    residual, slope = f_t * x_t - x_tilde, d_f_t * x_t
    value, grad = (np.array([DATA.var, 1]) @ v for v in (residual**2, 2 * residual * slope))
    np.testing.assert_allclose(got, c * np.array([value, grad]).T, rtol=1e-7)
    for series in got.T:
        assert abs(oracles.order(1 / gaps, np.abs(series)) - 2) < 0.15, series


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('distils', [False, True])
def test_one_segment_is_the_consistency_loss(name, distils, x64):
    """CT, CD and their like, whatever the weight and the distance: value and gradient, with a target of its own."""
    pairs, distance, _ = METHODS[name]
    grid = np.array([80.0, 0.0])

    def model(params, cond=None, key=None):
        return lambda x, t: bound_model(params)(x, jnp.maximum(t, SIGMA_MIN))

    step = (
        objectives.teacher_step(
            lambda p, *_: lambda x, t: p * DATA.denoise(x, 1.0, t[:, None]), VE, samplers.euler_step
        )
        if distils
        else None
    )

    def off_0(key, shape, step):
        """ECT's s may be 0, where one wants nothing of the model and the other that it is the identity."""
        t, s = pairs(key, shape, step)
        return t, jnp.maximum(s, SIGMA_MIN)

    one = objectives.multistep_consistency(model, VE, off_0, grid, distance, lambda t: 1 / t, step)
    two = objectives.consistency(model, VE, off_0, distance, lambda t, s: 1 / t, step)
    frozen = Frozen(jnp.array(1.1), jnp.array(0.9))
    np.testing.assert_allclose(run(one, 0.8, frozen), run(two, 0.8, frozen), rtol=1e-12)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_a_pair_that_is_a_segment_is_denoising(dtype, x64):
    """The target is x_0 itself, and a step of a teacher's gives the teacher's; no network is asked at time 0."""
    schedule, grid = VE, times.karras(30)

    def net(params, x, c_noise, cond, key):
        return params * x * jnp.cos(c_noise)[:, None]

    def teacher(params, cond=None, key=None):
        return lambda x, t: params * DATA.denoise(x, 1.0, t[:, None])

    model = precond.denoiser(precond.edm(), net)
    pairs = times.neighbours(grid)

    def p_t(key, shape):
        return pairs(key, shape, STEP)[0]

    batch = Batch(data().x.astype(dtype))
    args = distances.l2(), weights.edm()
    want = run(objectives.denoising(model, schedule, p_t, weights.edm()), jnp.asarray(0.7, dtype), batch=batch)
    got = run(
        objectives.multistep_consistency(model, schedule, pairs, grid, *args), jnp.asarray(0.7, dtype), batch=batch
    )
    np.testing.assert_allclose(got, want, rtol=1e-5 if dtype == 'float32' else 1e-12)
    euler = objectives.teacher_step(teacher, VE, samplers.euler_step)
    distilled = objectives.multistep_consistency(teacher, schedule, pairs, grid, *args, euler)
    assert run(distilled, 0.7, Frozen(None, jnp.array(0.7)))[0] < 1e-16
    assert run(distilled, 0.7, Frozen(None, jnp.array(0.8)))[0] > 1e-3


@pytest.mark.parametrize('K', [1, 2, 5])
@pytest.mark.parametrize('name', PATHS)
def test_ddim_on_the_segments_is_the_sampler(name, K, x64):
    """Of the exact function it is the ODE's map, in any number of steps."""
    schedule, t_max = PATHS[name]
    grid = times.uniform(K, t_max)
    x = jnp.array([[0.7], [-1.2]]) * schedule.sigma(jnp.asarray(t_max))
    sampler = samplers.ddim(exact(schedule, grid)(1.0), schedule)
    out = samplers.sample(sampler, jax.random.key(0), x, grid)
    start = tuple(float(scale(jnp.asarray(t_max))) for scale in (schedule.alpha, schedule.sigma))
    np.testing.assert_allclose(out, DATA.pf_ode(np.asarray(x), start, (1.0, 0.0)), rtol=1e-9)


@pytest.mark.parametrize('t_max', [1.0, 80.0, np.arctan(160)])
@pytest.mark.parametrize('K', [1, 3, 7])
def test_segments_hold_the_finer_grid_whatever_rounding_does(K, t_max):
    """In float32, where t_max j / K and t_max (j N) / (K N) are not always the same number."""
    N, start = 29, start_of_segment(times.uniform(K, t_max))
    i = np.arange(1, K * N + 1)
    t = jnp.asarray(t_max * (i / (K * N)), jnp.float32)
    np.testing.assert_allclose(start(t), t_max * ((i - 1) // N) / K, rtol=1e-6)
    np.testing.assert_allclose(start(jnp.array([2 * t_max])), t_max * (K - 1) / K, rtol=1e-6)


@pytest.mark.parametrize('grid', [np.array([1.0]), np.array([0.0, 1.0]), np.array([1.0, np.nan]), np.array([1.0, -1])])
def test_segments_are_a_grid(grid):
    with pytest.raises(ValueError, match='grid must be'):
        start_of_segment(grid)


@pytest.mark.parametrize('distils', [False, True])
def test_frozen_parameters_get_no_gradient_and_none_is_the_current_ones(distils, x64):
    schedule, grid = schedules.RectifiedFlow(), times.uniform(3)

    def teacher(params, cond, key):
        return lambda x, t: params * DATA.denoise(x, 1 - t[:, None], t[:, None])

    step = objectives.teacher_step(teacher, schedule, samplers.euler_step) if distils else None
    loss = objectives.multistep_consistency(
        exact(schedule, grid), schedule, anywhere(1.0), grid, distances.l2(), weights.uniform(), step
    ).loss

    def of(params, frozen):
        return loss(params, frozen, KEY, data(), STEP)[0]

    p, teacher_params = jnp.array(0.9), jnp.array(1.1)
    grad, grad_frozen = jax.grad(of, (0, 1))(p, Frozen(p, teacher_params))
    assert grad_frozen == Frozen(0.0, 0.0)
    without = Frozen(None, teacher_params)
    assert of(p, without) == of(p, Frozen(p, teacher_params))
    np.testing.assert_allclose(jax.grad(of)(p, without), grad, rtol=1e-12)
    if distils:
        assert of(p, Frozen(p, jnp.array(1.2))) != of(p, without)


def test_the_online_network_sees_the_noisier_point_and_both_one_noise_and_one_dropout_key():
    seen = []

    def recorder(params, cond, key):
        def f(x, t):
            seen.append((float(params), key, np.asarray(x), np.asarray(t)))
            return x * params

        return f

    loss = objectives.multistep_consistency(
        recorder, VE, METHODS['iCT'][0], np.array([80.0, 0.0]), distances.l2(), weights.uniform()
    ).loss
    loss(jnp.array(2.0), Frozen(jnp.array(3.0)), KEY, Batch(jnp.full((4, 3), 0.5)), STEP)
    (p_t, key_t, x_t, t), (p_s, key_s, x_s, s) = seen
    assert (p_t, p_s) == (2, 3)
    assert key_t is key_s
    assert (t > s).all()
    np.testing.assert_allclose((x_t - 0.5) / t[:, None], (x_s - 0.5) / s[:, None], rtol=1e-3, atol=1e-3)
