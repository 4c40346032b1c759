"""sCT and sCD at and near the exact consistency function of Gaussian data, in float64.

The bugs planted against these tests are in tests/planted/continuous.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from diffusion_jax import nets, objectives, precond, schedules, times
from diffusion_jax.objectives.adaptive import AdaptiveWeight
from diffusion_jax.objectives.continuous import tangent
from diffusion_jax.types import Batch, Frozen
from tests import oracles
from tests.nets.cases import randomised

SD = 0.5
DATA = oracles.Gaussian(np.float64(0.3), np.float64(0.6))  # not the variance that sigma_data says
TRIG = schedules.TrigFlow(SD)
KEY = jax.random.key(0)
WARMUP, DONE = 100, jnp.array(1000)
HUGE = 1e9  # as c of the normalisation: g / (||g|| + c) is then g / c
ANGLES = (0.2, 0.8, 1.3)
P_T = times.arctan_log_normal(sigma_data=SD)


def at(t):
    return lambda key, shape: jnp.full(shape, t)


def scales(t):
    return np.cos(t), SD * np.sin(t)


def variance(t):
    return jnp.cos(t) ** 2 * DATA.var + (SD * jnp.sin(t)) ** 2


def model(params, cond=None, key=None):
    """The identity at t = 0; for params = 1 the exact consistency function, the ODE's map from t to 0."""

    def f(x, t):
        return DATA.mean + ((DATA.var / variance(t)) ** (params / 2))[:, None] * (x - jnp.cos(t)[:, None] * DATA.mean)

    return f


def teacher(params, cond=None, key=None):
    """For params = 1 the exact denoiser."""
    assert key is None
    return lambda x, t: params * DATA.denoise(x, jnp.cos(t)[:, None], SD * jnp.sin(t)[:, None])


@functools.cache
def compiled(loss):
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@functools.cache
def make(distils, p_t=P_T, **kwargs):
    kwargs = {'warmup': WARMUP, **kwargs}
    if distils:
        return objectives.continuous_distillation(model, teacher, TRIG, p_t, **kwargs).loss
    return objectives.continuous(model, TRIG, p_t, **kwargs).loss


def run(loss, params, batch, step=DONE, teacher_params=1.0):
    """Value, metrics, gradient."""
    frozen = Frozen(None, jnp.asarray(teacher_params))
    (value, metrics), grad = compiled(loss)(jnp.asarray(params), frozen, KEY, batch, step)
    return float(value), {k: float(v) for k, v in metrics.items()}, float(grad)


def noise(shape):
    """The z that the losses draw with KEY: what a teacher sees when the data are 0."""
    seen = {}

    def recorder(params, cond, key):
        return lambda x, t: seen.setdefault('x', x)

    loss = objectives.continuous_distillation(model, recorder, TRIG, at(1.0)).loss
    loss(jnp.array(1.0), Frozen(), KEY, Batch(jnp.zeros(shape)), DONE)
    return np.asarray(seen['x']) / np.sin(1.0)


def data(n=64, dim=2):
    return Batch(DATA.mean + np.sqrt(DATA.var) * jax.random.normal(jax.random.key(1), (n, dim)))


def exact_moments_batch(n=512):
    """One-dimensional data whose second moments with the noise are c (var, 0, sigma_data^2); and c."""
    z = noise((n, 1))
    u = np.random.default_rng(0).normal(size=z.shape)
    u -= z * (u * z).sum() / (z**2).sum()
    c = (z**2).mean() / SD**2
    return Batch(jnp.asarray(DATA.mean + u * np.sqrt(DATA.var * c / (u**2).mean()))), c


def test_the_oracle_is_the_odes_map(x64):
    x, t = np.array([[-1.0], [0.5]]), np.array([0.4, 1.2])
    want = [DATA.pf_ode(x[i], scales(t[i]), (1.0, 0.0)) for i in range(2)]
    np.testing.assert_allclose(model(1.0)(jnp.asarray(x), jnp.asarray(t)), want, rtol=1e-12)


def test_the_noise_is_of_the_datas_scale(x64):
    assert stats.kstest(noise((2000, 1)).ravel() / SD, 'norm').pvalue > 1e-3


def test_distillation_vanishes_at_the_exact_function_and_only_there(x64):
    loss = make(True)
    value, metrics, grad = run(loss, 1.0, data())
    assert value < 1e-20
    assert metrics['tangent_norm'] < 1e-10
    assert abs(grad) < 1e-10
    results = [run(loss, p, data()) for p in (0.8, 0.9, 1.1, 1.2)]
    for off in ([value for value, _, _ in results], [metrics['tangent_norm'] for _, metrics, _ in results]):
        assert off[0] > off[1] > 1e-6 < off[2] < off[3]
    assert [np.sign(grad) for _, _, grad in results] == [-1, -1, 1, 1]
    assert run(loss, 1.0, data(), teacher_params=0.9)[0] > 1e-3


@pytest.mark.parametrize('distils', [False, True])
@pytest.mark.parametrize('t', ANGLES)
def test_gradient_in_closed_form(distils, t, x64):
    """With the data's exact moments, and the normalisation's constant divided out.

    f = mean + k a with a = x - cos(t) mean and k = (var / V)^(p / 2), so F changes by -k_p a / (sd sin t), and along
    the ODE, where a' = a V' / 2 V, f by k V' / 2 V (1 - p) a. At p = 1 that is 0, although not for one sample of sCT.
    """
    batch, c = exact_moments_batch()
    loss = make(distils, at(t), c=HUGE)
    V, dV = np.cos(t) ** 2 * DATA.var + (SD * np.sin(t)) ** 2, np.sin(2 * t) * (SD**2 - DATA.var)
    for p in (0.7, 1.0, 1.4):
        k = (DATA.var / V) ** (p / 2)
        dF = -k * np.log(DATA.var / V) / 2 / (SD * np.sin(t))
        g = np.cos(t) * k * dV / (2 * V) * (1 - p)
        grad = HUGE * run(loss, p, batch)[2]
        np.testing.assert_allclose(grad, -2 * dF * g * V * c, rtol=1e-6, atol=1e-9)
        assert np.sign(round(grad, 8)) == np.sign(p - 1)


def test_one_samples_tangent_in_training_is_not_zero_but_its_mean_is(x64):
    """A z-test of the gradient at the exact function, which finds p a fifth off."""
    n = 20_000
    batch = data(n, 1)
    loss = make(False, c=HUGE)

    def one(params, key, x):
        return HUGE * loss(params, Frozen(), key, Batch(x[None]), DONE)[0]

    grads = jax.jit(jax.vmap(jax.grad(one), (None, 0, 0)))
    keys = jax.random.split(KEY, n)
    z = {p: np.mean(g) / np.std(g) * np.sqrt(n) for p in (0.8, 1.0, 1.2) for g in [grads(jnp.array(p), keys, batch.x)]}
    assert run(loss, 1.0, batch)[1]['tangent_norm'] > 0.1
    assert abs(z[1.0]) < 3
    assert z[0.8] < -4
    assert z[1.2] > 4


@pytest.mark.parametrize('distils', [False, True])
@pytest.mark.parametrize(('step', 'r'), [(0, 0.0), (WARMUP // 2, 0.5), (WARMUP, 1.0), (2 * WARMUP, 1.0)])
def test_tangent_is_the_algorithms_with_a_finite_difference_for_dF_dt(distils, step, r, x64):
    """Its norm, the normalised loss and the gradient, from F along the path, in NumPy."""
    x_0, t, h, p, c = np.asarray(data(16, 3).x), 0.7, 1e-5, 1.3, 0.1
    z = noise(x_0.shape)
    x_t = np.cos(t) * x_0 + np.sin(t) * z

    def path(u):
        return DATA.pf_ode(x_t, scales(t), scales(u)) if distils else np.cos(u) * x_0 + np.sin(u) * z

    def F(u, p=p):
        a, s = scales(u)
        f = DATA.mean + (DATA.var / (a**2 * DATA.var + s**2)) ** (p / 2) * (path(u) - a * DATA.mean)
        return (a * path(u) - f) / s

    dF_dt, dx_dt = ((y(t + h) - y(t - h)) / (2 * h) for y in (F, path))
    g = -(np.cos(t) ** 2) * (SD * F(t) - dx_dt) - r * np.cos(t) * np.sin(t) * (x_t + SD * dF_dt)
    norm = np.sqrt((g**2).sum(1))
    value, metrics, grad = run(make(distils, at(t), c=c), p, Batch(jnp.asarray(x_0)), jnp.array(step))
    np.testing.assert_allclose(metrics['tangent_norm'], norm.mean(), rtol=1e-7)
    np.testing.assert_allclose(value, ((norm / (norm + c)) ** 2).mean() / 3, rtol=1e-7)
    assert metrics['loss'] == value
    dF_dp = (F(t, p + h) - F(t, p - h)) / (2 * h)
    np.testing.assert_allclose(grad, -2 * (dF_dp * g / (norm + c)[:, None]).mean(), rtol=1e-7)


def test_without_a_warmup_it_is_over_at_step_0(x64):
    loss = make(True, warmup=0)
    assert run(loss, 1.0, data(), jnp.array(0))[0] < 1e-20
    assert run(loss, 0.9, data(), jnp.array(0)) == run(loss, 0.9, data(), DONE)


def test_a_student_that_starts_as_its_teacher_has_no_tangent_at_first(x64):
    def student(params, cond, key):
        return lambda x, t: params * teacher(1.0)(x, t)

    loss = objectives.continuous_distillation(student, teacher, TRIG, P_T).loss
    assert run(loss, 1.0, data(), jnp.array(0))[1]['tangent_norm'] < 1e-10
    assert run(loss, 1.1, data(), jnp.array(0))[1]['tangent_norm'] > 1e-3
    assert run(loss, 1.0, data(), DONE)[1]['tangent_norm'] > 1e-3


def test_the_teacher_gets_no_gradient(x64):
    def of(params, frozen):
        return make(True)(params, frozen, KEY, data(), DONE)[0]

    grad, grad_frozen = jax.grad(of, (0, 1))(jnp.array(0.9), Frozen(None, jnp.array(1.1)))
    assert abs(grad) > 1e-3
    assert grad_frozen == Frozen(None, 0.0)


def test_the_adaptive_weight_and_its_optimum(x64):
    """The gradient in w vanishes at e^-w = E||.||^2 / D, at each noise level by itself; and w sees log tan t."""
    batch, bare = data(8, 3), make(True)

    def log_weight(phi, c_noise):
        return phi['a'] + phi['b'] * c_noise

    def student(params, cond, key):
        return model(params['p'])

    loss = objectives.continuous_distillation(
        student, teacher, TRIG, P_T, AdaptiveWeight(None, log_weight), warmup=WARMUP
    ).loss

    def weighted(p, a, b):
        params = {'p': jnp.array(p), 'log_weight': {'a': jnp.array(a), 'b': jnp.array(b)}}
        return jax.value_and_grad(loss, has_aux=True)(params, Frozen(None, jnp.array(1.0)), KEY, batch, DONE)

    error, _, grad = run(bare, 0.8, batch)
    (value, metrics), grads = weighted(0.8, -np.log(error), 0.0)
    np.testing.assert_allclose(value, 1 + np.log(error), rtol=1e-10)
    np.testing.assert_allclose(grads['p'], grad / error, rtol=1e-10)
    assert abs(grads['log_weight']['a']) < 1e-12
    assert weighted(0.8, -np.log(error) - 0.5, 0.0)[1]['log_weight']['a'] < -0.1
    assert metrics['loss'] == value
    # w = log tan t for each sample: e^w = tan t
    seen = {}

    def recorded(key, shape):
        return seen.setdefault('t', P_T(key, shape))

    loss = objectives.continuous_distillation(
        student, teacher, TRIG, recorded, AdaptiveWeight(None, log_weight), warmup=WARMUP
    ).loss
    params = {'p': jnp.array(0.8), 'log_weight': {'a': jnp.array(0.0), 'b': jnp.array(1.0)}}
    value, _ = loss(params, Frozen(None, jnp.array(1.0)), KEY, batch, DONE)
    t = np.asarray(seen['t'])[:, None]
    x_t = np.cos(t) * np.asarray(batch.x) + np.sin(t) * noise(batch.x.shape)
    dx_dt = (np.cos(t) * x_t - DATA.denoise(x_t, *scales(t))) / np.sin(t)
    g = tangent(model(0.8), jnp.asarray(x_t), seen['t'], jnp.asarray(dx_dt), jnp.array(1.0))[1]
    norm = np.linalg.norm(g, axis=1)
    errors, tan = (norm / (norm + 0.1)) ** 2 / 3, np.tan(t[:, 0])
    np.testing.assert_allclose(value, np.mean(tan * errors - np.log(tan)), rtol=1e-10)


def network(dtype=None):
    """An MLP's numbers computed in another type, as a network's output in TrigFlow's parameterisation."""
    init, apply = nets.functional(nets.MLP(out_dim=2, width=16, depth=1))
    params = randomised(jax.eval_shape(init, jax.random.key(0), jnp.ones((1, 2)), jnp.ones(1)))

    def net(params, x, c_noise, cond, key):
        if dtype is None:
            return apply(params, x, c_noise, cond, key)
        params, x = jax.tree.map(lambda a: a.astype(dtype), (params, x))
        return apply(params, x, c_noise.astype(jnp.promote_types(dtype, jnp.float32)), cond, key).astype(dtype)

    return params, precond.denoiser(precond.trig(SD), net)


@pytest.mark.parametrize(('dtype', 'rtol'), [(None, 2e-6), (jnp.bfloat16, 0.03)])
def test_low_precision_networks_have_float64s_tangent(dtype, rtol, x64):
    """At small times as well, where sigma_d F = (cos(t) x - f) / sin(t) divides rounding errors by t."""
    n = 32
    x, dx_dt = (jax.random.normal(jax.random.key(i), (n, 2)) for i in range(2))
    t = jnp.geomspace(1e-4, np.pi / 2 - 1e-3, n)
    low = [a.astype(jnp.float32) for a in (x, t, dx_dt)]
    x, t, dx_dt = (a.astype(jnp.float64) for a in low)
    (params, want_model), (_, got_model) = network(jnp.float64), network(dtype)
    want = tangent(want_model(params), x, t, dx_dt, jnp.float64(1))[1]
    sigma_F, got = tangent(got_model(jax.tree.map(lambda a: a.astype(jnp.float32), params)), *low, jnp.float32(1))
    assert got.dtype == sigma_F.dtype == jnp.float32
    error = np.linalg.norm(got - want, axis=1) / np.linalg.norm(want, axis=1)
    assert error.max() < rtol, error


@pytest.mark.parametrize('x_dtype', [jnp.bfloat16, jnp.float32])
def test_the_network_sees_float32(x_dtype):
    seen = []

    def student(params, cond, key):
        def f(x, t):
            seen.append((x.dtype, t.dtype))
            return x

        return f

    for loss in (
        objectives.continuous(student, TRIG, P_T).loss,
        objectives.continuous_distillation(student, lambda *_: lambda x, t: x.astype(jnp.bfloat16), TRIG, P_T).loss,
    ):
        loss(None, Frozen(), KEY, Batch(jnp.ones((2, 3), x_dtype)), jnp.array(1))
    assert seen == [(jnp.float32, jnp.float32)] * 2


@pytest.mark.parametrize('slope', [np.nan, np.inf, 1e30])
def test_a_tangent_that_is_not_finite_shows_in_its_metric(slope):
    """One sample of many; 1e30 is finite, but its norm is not, and normalised it would be 0."""

    def student(params, cond, key):
        def f(x, t):
            bad = (jnp.arange(len(t)) == 3)[:, None]
            return x + jnp.where(bad, x - jax.lax.stop_gradient(x), 0) * slope

        return f

    loss = objectives.continuous(student, TRIG, P_T, warmup=0).loss
    value, metrics = loss(None, Frozen(), KEY, Batch(jnp.ones((8, 3))), jnp.array(1))
    assert not np.isfinite(metrics['tangent_norm'])
    assert np.isfinite(value) == (slope == 1e30)


def test_dropout_is_the_students_alone_and_one_evaluation_gives_output_and_tangent():
    seen = []

    def net(params, x, c_noise, cond, key):
        seen.append((float(params), key is None, cond is cond_of_batch))
        return jax.lax.stop_gradient(params) * x

    cond_of_batch = jnp.array([0, 1])
    linear = precond.denoiser(precond.trig(SD), net)
    loss = objectives.continuous_distillation(linear, linear, TRIG, P_T).loss
    loss(jnp.array(0.5), Frozen(jnp.array(1.0), jnp.array(2.0)), KEY, Batch(jnp.ones((2, 3)), cond_of_batch), DONE)
    assert seen == [(2.0, True, True), (0.5, False, True)]


def test_any_parameterisation_will_do(x64):
    """A rescaled EDM network, f(x, t) = D(x / cos t, sd tan t), is TrigFlow's with -F(x / sd, ln(sd tan t) / 4)."""

    def net(params, x, c_noise, cond, key):
        return jnp.tanh(params * x + jnp.sin(c_noise)[:, None])

    def rescaled(params, cond, key):
        denoise = precond.denoiser(precond.edm(SD), net)(params)
        return lambda x, t: denoise(x / jnp.cos(t)[:, None], SD * jnp.tan(t))

    def negative(params, x, t, cond, key):
        return -net(params, x, jnp.log(SD * jnp.tan(t)) / 4, cond, key)

    results = [
        run(objectives.continuous(f, TRIG, P_T, warmup=WARMUP).loss, 0.7, data(), jnp.array(WARMUP // 3))
        for f in (rescaled, precond.denoiser(precond.trig(SD), negative))
    ]
    np.testing.assert_allclose(*[[value, grad] for value, _, grad in results], rtol=1e-10)


def test_finite_at_both_ends():
    """At float32's pi/2, which is above pi/2, and at the least times that a log-normal distribution draws."""
    linear = precond.denoiser(precond.trig(SD), lambda params, x, c_noise, cond, key: params['p'] * x)
    params = {'p': jnp.array(0.5), 'log_weight': jnp.array(0.1)}
    for t in (1e-4, np.float32(np.pi / 2)):
        for loss in (
            objectives.continuous(linear, TRIG, at(t), AdaptiveWeight(None, lambda phi, c: phi * c)).loss,
            objectives.continuous_distillation(
                linear, linear, TRIG, at(t), AdaptiveWeight(None, lambda phi, c: phi * c)
            ).loss,
        ):
            (value, metrics), grad = jax.value_and_grad(loss, has_aux=True)(
                params, Frozen(None, {'p': jnp.array(0.2)}), KEY, data(4), jnp.array(100)
            )
            assert all(jnp.isfinite(leaf) for leaf in jax.tree.leaves((value, metrics, grad)))


def test_training_finds_the_exact_function():
    """From p = 0.3 to 1, normalisation and warm-up included."""
    loss, tx, steps = make(False, warmup=50), optax.adam(optax.linear_schedule(0.05, 0.0, 300)), 300

    def step(state, i):
        params, opt_state = state
        key = jax.random.fold_in(KEY, i)
        x = DATA.mean + np.sqrt(DATA.var) * jax.random.normal(jax.random.fold_in(key, 1), (512, 1))
        grad = jax.grad(lambda p: loss(p, Frozen(), key, Batch(x.astype(jnp.float32)), i)[0])(params)
        updates, opt_state = tx.update(grad, opt_state)
        return (optax.apply_updates(params, updates), opt_state), params

    start = jnp.float32(0.3)
    (p, _), _ = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), jnp.arange(steps)))(start)
    assert abs(p - 1) < 0.05


def test_other_schedules_are_refused():
    with pytest.raises(ValueError, match='TrigFlow'):
        objectives.continuous(model, schedules.VE(), P_T)
