"""Improved MeanFlow, alpha-Flow and distillation without data at and beside the exact average velocity, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, schedules, times
from diffusion_jax.types import Batch, Frozen
from tests.objectives.test_mean_flow import KEY, PAIRS, STEP, at, data, exact_denoiser, matched, model, run
from tests.oracles import GAUSSIAN as DATA
from tests.test_flow_map import average

FLOW = schedules.RectifiedFlow()


def centred(q, *_):
    return lambda x, t, s: q * average(x, t, s, mean=0.0)


def scales(t, r):
    v_t, v_r = ((1 - s) ** 2 * DATA.var + s**2 for s in (t, r))
    slope_v = (t - (1 - t) * DATA.var) / v_t
    return v_t, v_r, slope_v, (slope_v if t == r else (1 - np.sqrt(v_r / v_t)) / (t - r))


@pytest.mark.parametrize(('t', 'r'), [(0.9, 0.9), (0.9, 0.2), (0.6, 0.5), (1.0, 0.0)])
def test_improved_mean_flow_by_hand(t, r, x64):
    """Of u = q slope_u z the function V is q (slope_u + (t - r)(slope_u' + q slope_u slope_v)) z, and no sample's."""
    batch, c = matched()
    v_t, _, slope_v, slope_u = scales(t, r)
    loss = objectives.improved_mean_flow(centred, FLOW, at(t, r), p=0.0).loss
    slope = lambda time: scales(time, r)[3]  # noqa: E731
    h = 1e-5
    d_slope = (slope(t + h) - slope(t - h)) / (2 * h) if t != r else 0.0
    for q in (0.9, 1.0, 1.2):
        V = q * (slope_u + (t - r) * (d_slope + slope_u * q * slope_v))
        np.testing.assert_allclose(
            run(loss, q, batch)[0], c * (1 + DATA.var - 2 * V * slope_v * v_t + V**2 * v_t), rtol=1e-7
        )
        want = 2 * (V - slope_v) * slope_u * v_t * c
        np.testing.assert_allclose(run(loss, q, batch)[2], want, rtol=1e-6, atol=1e-9)
    assert abs(run(loss, 1.0, batch)[2]) < 1e-9


def test_the_noise_of_improved_mean_flow_is_flow_matchings(x64):
    """Per sample its error at the exact map is v - E[v | z]; MeanFlow's is dX/dz times that, a square of v_r / v_t."""
    t, r = 0.9, 0.2
    batch, c = matched()
    v_t, v_r, slope_v, _ = scales(t, r)
    noise = c * (1 + DATA.var - slope_v**2 * v_t)
    improved = objectives.improved_mean_flow(centred, FLOW, at(t, r), p=0.0).loss
    plain = objectives.mean_flow(centred, FLOW, at(t, r), p=0.0).loss
    np.testing.assert_allclose(run(improved, 1.0, batch)[0], noise, rtol=1e-9)
    np.testing.assert_allclose(run(plain, 1.0, batch)[0], noise * v_r / v_t, rtol=1e-9)


def constant(a):
    return lambda step: jnp.asarray(a, float)


@pytest.mark.slow
def test_alpha_flow_is_flow_matching_at_one_and_mean_flow_at_zero(x64):
    for p in (0.0, 1.0):
        start = objectives.alpha_flow(model, FLOW, PAIRS, constant(1.0), p).loss
        t_alone = objectives.mean_flow(lambda q, *_: lambda x, t, s: jnp.full_like(x, q), FLOW, PAIRS, p).loss
        flat = objectives.alpha_flow(lambda q, *_: lambda x, t, s: jnp.full_like(x, q), FLOW, PAIRS, constant(1.0), p)
        np.testing.assert_allclose(run(flat.loss, 0.3, data())[::2], run(t_alone, 0.3, data())[::2], rtol=1e-10)
        end = objectives.alpha_flow(model, FLOW, PAIRS, constant(0.0), p).loss
        plain = objectives.mean_flow(model, FLOW, PAIRS, p).loss
        np.testing.assert_allclose(run(end, 0.9, data())[2], run(plain, 0.9, data())[2], rtol=1e-10)
        np.testing.assert_allclose(
            run(end, 0.9, data())[1]['squared_error'], run(plain, 0.9, data())[1]['squared_error'], rtol=1e-10
        )
        assert run(start, 0.9, data())[0] > 0.1


def test_alpha_flow_reaches_mean_flow_with_order_one_in_alpha(x64):
    want = run(objectives.mean_flow(model, FLOW, PAIRS, p=0.0).loss, 0.9, data())[2]
    errors = [
        abs(run(objectives.alpha_flow(model, FLOW, PAIRS, constant(a), p=0.0).loss, 0.9, data())[2] - want)
        for a in (0.02, 0.01, 0.005)
    ]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, atol=0.1)


def test_alpha_flow_by_hand_and_its_target_is_frozen(x64):
    """Of u = w z: the value (w z - alpha v - (1 - alpha) w^- z_m)^2 / alpha, and nothing flows through w^-."""
    t, r, a = 0.8, 0.3, 0.4
    linear = lambda w, *_: lambda x, t, s: w * x  # noqa: E731
    loss = objectives.alpha_flow(linear, FLOW, at(t, r), constant(a), p=0.0).loss
    batch = data()
    eps = np.asarray(jax.random.normal(jax.random.split(KEY, 3)[1], batch.x.shape))
    x = np.asarray(batch.x)
    z, v = (1 - t) * x + t * eps, eps - x
    error = 0.5 * z - a * v - (1 - a) * 0.7 * (z - a * (t - r) * v)
    got = run(loss, jnp.array(0.5), batch, Frozen(target=jnp.array(0.7)))
    np.testing.assert_allclose(got[0], np.mean(np.sum(error**2, -1)) / a, rtol=1e-10)
    np.testing.assert_allclose(got[2], np.mean(np.sum(2 * error * z, -1)) / a, rtol=1e-10)
    np.testing.assert_allclose(got[1]['alpha'], a)
    grad = jax.grad(lambda f: loss(jnp.array(0.5), f, KEY, batch, STEP)[0])(Frozen(target=jnp.array(0.7)))
    assert grad.target == 0


def test_without_data_the_exact_map_is_the_minimum_and_the_data_are_not_read(x64):
    loss = objectives.data_free(model, exact_denoiser, FLOW, times.logit_normal()).loss
    exact = Frozen(teacher=jnp.array(1.0))
    value, _, grad = run(loss, 1.0, data(), exact)
    assert value < 1e-24
    assert abs(grad) < 1e-11
    below, above = (run(loss, q, data(), exact) for q in (0.9, 1.1))
    assert below[0] > 1e-4 < above[0]
    assert below[2] < 0 < above[2]
    assert run(loss, 0.9, Batch(jnp.full((64, 2), jnp.nan)), exact)[0] == below[0]


@pytest.mark.parametrize(('schedule', 'std'), [(FLOW, 1.0), (schedules.VE(0.002, 2.0), 2.0)])
def test_without_data_the_model_is_asked_from_the_prior_alone(schedule, std):
    seen, asked = {}, {}

    def record(q, *_):
        def u(x, t, s):
            seen.update(t=t)
            return q * x

        return u

    def teacher(q, cond, key):
        return lambda x, s: asked.setdefault('call', (x, s))[0]

    def ends(key, shape):
        return jnp.full(shape, 0.5)

    loss = objectives.data_free(record, teacher, schedule, ends).loss
    loss(0.0, Frozen(), KEY, Batch(jnp.zeros((4000, 2))), STEP)
    x, s = asked['call']
    assert abs(x.std() / std - 1) < 0.05  # u = 0 stays at z
    np.testing.assert_array_equal(s, 0.5)
    np.testing.assert_array_equal(seen['t'], schedule.t_max)
