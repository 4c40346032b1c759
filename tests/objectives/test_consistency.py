"""Consistency losses at and near the exact consistency function of Gaussian data, in float64.

The bugs planted against these tests, one at a time, are in tests/planted/core.py: the sign of P_mean, t and s swapped,
a missing stop-gradient, a wrong boundary coefficient, N one off, a second noise, a second dropout key.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, precond, samplers, schedules, times
from diffusion_jax.objectives import distances, pair_weights, weights
from diffusion_jax.objectives.consistency import OdeStep
from diffusion_jax.times import curricula
from diffusion_jax.types import Batch, Frozen
from tests import oracles
from tests.oracles import GAUSSIAN as DATA

VE = schedules.VE()
SIGMA_MIN = 0.002
KEY, STEP = jax.random.key(0), jnp.array(60)  # ECT's seventh stage
N = curricula.constant(18)
# name: pairs, distance, weight
METHODS = {
    'CT': (times.uniform_pairs(N), distances.l2(), pair_weights.uniform()),
    'iCT': (times.log_normal_pairs(N), distances.pseudo_huber(), pair_weights.inverse_gap()),
    'ECT': (times.continuous_pairs(80, 8), distances.pseudo_huber(0.0001), pair_weights.inverse_gap()),
}


def model(params, cond=None, key=None):
    """For params = 1 the exact consistency function: the ODE's map from t to SIGMA_MIN."""

    def f(x, t):
        ratio = (DATA.var + SIGMA_MIN**2) / (DATA.var + t[:, None] ** 2)
        return DATA.mean + ratio ** (params / 2) * (x - DATA.mean)

    return f


def exact_step(frozen, batch):
    """The ODE's map from t to s."""

    def x_s(x, t, s):
        return DATA.mean + jnp.sqrt((DATA.var + s**2) / (DATA.var + t**2))[:, None] * (x - DATA.mean)

    return x_s


def exact_denoiser(params, cond=None, key=None):
    return lambda x, t: DATA.denoise(x, 1.0, t[:, None])


def data(n=64, dim=2):
    return Batch(DATA.mean + np.sqrt(DATA.var) * jax.random.normal(jax.random.key(1), (n, dim)))


def value_and_grad(loss, params=1.0, frozen=None, batch=None):
    frozen = Frozen() if frozen is None else frozen
    (value, _), grad = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        jnp.asarray(params), frozen, KEY, data() if batch is None else batch, STEP
    )
    return float(value), float(grad)


def apart(t, dt):
    """All pairs at (t, t - dt)."""
    return lambda key, shape, step: (jnp.full(shape, t), jnp.full(shape, t - dt))


@pytest.mark.parametrize('name', METHODS)
def test_distillation_vanishes_at_the_exact_function_and_only_there(name, x64):
    loss = objectives.consistency(model, VE, *METHODS[name], OdeStep(exact_step)).loss
    value, grad = value_and_grad(loss)
    assert value < 1e-20
    assert abs(grad) < 1e-10
    for target in (None, jnp.array(1.0)):
        off = [value_and_grad(loss, p, Frozen(target))[0] for p in (0.8, 0.9, 1.1, 1.2)]
        assert off[0] > off[1] > 1e-6 < off[2] < off[3]


@pytest.mark.parametrize(('solver', 'local'), [(samplers.euler_step, 2), (samplers.heun_step, 3)])
def test_distillation_by_a_solver_has_its_local_error(solver, local, x64):
    """The root of the squared loss is the solver's error in one step: h^2 for Euler, h^3 for Heun."""
    step = objectives.teacher_step(exact_denoiser, VE, solver)
    ns = np.array([8, 16, 32, 64])
    losses = [
        value_and_grad(
            objectives.consistency(model, VE, apart(1.0, 1 / n), distances.l2(), pair_weights.uniform(), step).loss
        )[0]
        for n in ns
    ]
    assert abs(oracles.order(ns, np.sqrt(losses)) - local) < 0.15, losses


def exact_moments_batch(n=4096):
    """Data that, with the noise which KEY draws, have the exact second moments c (var, 0, 1); and c."""
    seen = {}

    def recorder(params, cond, key):
        return lambda x, t: seen.setdefault('eps', x)

    loss = objectives.consistency(recorder, VE, apart(1.0, 0.5), distances.l2(), pair_weights.uniform()).loss
    loss(None, Frozen(), KEY, Batch(jnp.zeros((n, 1))), STEP)
    eps = np.asarray(seen['eps'])
    x = np.random.default_rng(0).normal(size=eps.shape)
    x -= eps * (x * eps).sum() / (eps**2).sum()
    c = (eps**2).mean()
    return Batch(jnp.asarray(DATA.mean + x * np.sqrt(DATA.var * c / (x**2).mean()))), c


def test_training_at_the_exact_function_vanishes_with_the_gap_at_order_2(x64):
    """One sample's difference is of order dt, its mean given x_t of order dt^2: so are the loss and its gradient."""
    batch, c = exact_moments_batch()
    t, gaps = 1.0, np.array([0.1, 0.05, 0.025, 0.0125])
    got = np.array(
        [
            value_and_grad(
                objectives.consistency(model, VE, apart(t, dt), distances.l2(), pair_weights.uniform()).loss,
                batch=batch,
            )
            for dt in gaps
        ]
    )
    s = t - gaps
    v_t, v_s, v_min = DATA.var + t**2, DATA.var + s**2, DATA.var + SIGMA_MIN**2
    f_t, f_s = np.sqrt(v_min / v_t), np.sqrt(v_min / v_s)
    value = f_t**2 * v_t + f_s**2 * v_s - 2 * f_t * f_s * (DATA.var + t * s)
    d_f_t = f_t * np.log(v_min / v_t) / 2
    grad = 2 * d_f_t * (f_t * v_t - f_s * (DATA.var + t * s))
    np.testing.assert_allclose(got, c * np.array([value, grad]).T, rtol=1e-8)
    for series in got.T:
        assert abs(oracles.order(1 / gaps, np.abs(series)) - 2) < 0.15, series


@pytest.mark.parametrize('name', METHODS)
def test_training_pulls_towards_the_exact_function(name, x64):
    """Against the exact target the gradient points back from both sides."""
    loss = objectives.consistency(model, VE, *METHODS[name]).loss
    below, above = (value_and_grad(loss, p, Frozen(jnp.array(1.0)), data(4096))[1] for p in (0.5, 1.5))
    assert below < 0 < above


@pytest.mark.parametrize('name', METHODS)
@pytest.mark.parametrize('distils', [False, True])
def test_frozen_parameters_get_no_gradient_and_none_is_the_current_ones(name, distils, x64):
    def teacher(params, cond, key):
        return lambda x, t: params * exact_denoiser(None)(x, t)

    ode_step = objectives.teacher_step(teacher, VE, samplers.euler_step) if distils else None
    loss = objectives.consistency(model, VE, *METHODS[name], ode_step).loss

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
            seen.append((params, key, np.asarray(x), np.asarray(t)))
            return x * params

        return f

    loss = objectives.consistency(recorder, VE, *METHODS['iCT']).loss
    batch = Batch(jnp.full((4, 3), 0.5))
    loss(jnp.array(2.0), Frozen(jnp.array(3.0)), KEY, batch, STEP)
    (p_t, key_t, x_t, t), (p_s, key_s, x_s, s) = seen
    assert (float(p_t), float(p_s)) == (2, 3)
    assert key_t is key_s
    assert (t > s).all()
    np.testing.assert_allclose((x_t - 0.5) / t[:, None], (x_s - 0.5) / s[:, None], rtol=1e-3, atol=1e-3)


def test_ects_first_stage_is_the_denoising_loss():
    """Where s = 0 the bound function is the identity, so the target is the data; no NaN from ln 0."""
    consistency = precond.denoiser(
        precond.consistency(0.5, 0.0), lambda params, x, c, cond, key: params * x * c[:, None]
    )

    def to_zero(key, shape, step):
        return times.log_normal(-1.1, 2.0)(key, shape), jnp.zeros(shape)

    loss = objectives.consistency(consistency, VE, to_zero, distances.l2(), pair_weights.uniform()).loss
    want = objectives.denoising(consistency, VE, times.log_normal(-1.1, 2.0), weights.uniform()).loss
    got, want = (
        jax.value_and_grad(f, has_aux=True)(jnp.float32(0.3), Frozen(), KEY, data(), STEP) for f in (loss, want)
    )
    np.testing.assert_allclose(got[0][0], want[0][0], rtol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-5)
