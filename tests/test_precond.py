import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import precond, schedules
from diffusion_jax.objectives import weights
from tests.oracles import GAUSSIAN

VP = schedules.DiscreteVP(schedules.linear_betas(1000))
TRIG = schedules.TrigFlow()
FLOW = schedules.RectifiedFlow()


def mu_target(schedule, x_t, x_0, eps, t):
    # E[x_{k-1} | x_k, x_0] as DDPM's sampler writes it: (x_k - beta / sigma eps) / sqrt(1 - beta).
    k = np.round(np.asarray(t) * 1000).astype(int)
    beta = np.linspace(1e-4, 0.02, 1000)[k - 1][:, None]
    sigma = np.sqrt(1 - np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[k - 1])[:, None]
    return (x_t - beta / sigma * eps) / np.sqrt(1 - beta)


def edm_target(schedule, x_t, x_0, eps, t, sd=0.5):
    s = np.asarray(t)[:, None]
    return (x_0 - sd**2 / (s**2 + sd**2) * x_t) * np.sqrt(s**2 + sd**2) / (s * sd)


def v_target(schedule, x_t, x_0, eps, t):
    return schedule.alpha(t)[:, None] * eps - schedule.sigma(t)[:, None] * x_0


TABLE_TIMES = [0.001, 0.002, 0.5, 1.0]
# name: schedule, parameterisation, its target, its weight, times
CASES = {
    'eps': (VP, precond.eps(VP), lambda *a: a[3], weights.snr(VP), TABLE_TIMES),
    'eps VE': (schedules.VE(), precond.eps(schedules.VE()), lambda *a: a[3], weights.snr(schedules.VE()), [0.01, 80.0]),
    'x0': (VP, precond.x0(), lambda *a: a[2], weights.uniform(), TABLE_TIMES),
    'v': (VP, precond.v(VP), v_target, weights.v(VP), TABLE_TIMES),
    'v cosine': (
        schedules.CosineVP(),
        precond.v(schedules.CosineVP()),
        v_target,
        weights.v(schedules.CosineVP()),
        [0.1, 1.0],
    ),
    'v not VP': (FLOW, precond.v(FLOW), v_target, weights.v(FLOW), [0.1, 0.9, 1.0]),
    'mu': (VP, precond.mu(VP), mu_target, weights.mu(VP), TABLE_TIMES),
    'flow': (FLOW, precond.flow(FLOW), lambda *a: a[3] - a[2], weights.flow(FLOW), [0.1, 0.9, 1.0]),
    'continuous eps': (VP, precond.continuous_eps(VP), lambda *a: a[3], weights.snr(VP), [0.1, 0.5, 1.0]),
    'score': (schedules.VE(), precond.score(), lambda *a: -a[3], weights.snr(schedules.VE()), [0.02, 1.0, 80.0]),
    'interpolant': (FLOW, precond.interpolant(FLOW), lambda *a: a[2] - a[3], weights.flow(FLOW), [0.1, 0.9, 1.0]),
    'flow on TrigFlow': (TRIG, precond.flow(TRIG), lambda *a: a[3] - a[2], weights.flow(TRIG), [0.2, np.pi / 2]),
    'trig': (
        schedules.TrigFlow(0.5),
        precond.trig(0.5),
        lambda schedule, x_t, x_0, eps, t: jnp.cos(t)[:, None] * eps - jnp.sin(t)[:, None] * x_0 / 0.5,
        weights.trig(schedules.TrigFlow(0.5)),
        [0.2, np.pi / 2],
    ),
    'edm': (schedules.VE(), precond.edm(0.5), edm_target, weights.edm(0.5), [0.002, 1.0, 80.0]),
}


def draw(schedule, times):
    rng = np.random.default_rng(0)
    x_0, eps, error = (jnp.asarray(rng.normal(size=(len(times), 3))) for _ in range(3))
    t = jnp.asarray(times, jnp.float64)
    return x_0, eps, error, t, schedules.q_sample(schedule, x_0, t, eps)


@pytest.mark.parametrize('name', CASES)
def test_exact_target_gives_x_0_and_weights_give_its_error(name, x64):
    schedule, p, target, weight, times = CASES[name]
    x_0, eps, error, t, x_t = draw(schedule, times)
    F = jnp.asarray(target(schedule, x_t, x_0, eps, t))
    D = precond.denoiser(p, lambda params, x, c_noise, cond, key: F)(None)(x_t, t)
    np.testing.assert_allclose(D, x_0, rtol=1e-8, atol=1e-8)
    # Off the target by `error` in the network's space, the weighted error of D is the plain error of F.
    D = precond.denoiser(p, lambda params, x, c_noise, cond, key: F + error)(None)(x_t, t)
    np.testing.assert_allclose(weight(t) * jnp.sum((D - x_0) ** 2, 1), jnp.sum(error**2, 1), rtol=1e-7)


@pytest.mark.parametrize(
    ('p', 'schedule'),
    [(precond.v(VP), VP), (precond.v(TRIG), TRIG), (precond.flow(FLOW), FLOW), (precond.flow(VP), VP)],
)
def test_clean_data_denoise_to_themselves(p, schedule):
    x = jnp.array([[0.5, -1.0]])
    D = precond.denoiser(p, lambda params, x, c_noise, cond, key: 7 * jnp.ones_like(x))(None)(x, jnp.zeros(1))
    np.testing.assert_allclose(D, x)


@pytest.mark.parametrize('T', [1000, 4000])
def test_the_network_sees_ddpms_index(T):
    t = jnp.arange(1, T + 1) / T
    schedule = schedules.DiscreteVP(schedules.linear_betas(T))
    for p in (precond.eps(schedule, T), precond.x0(T), precond.v(schedule, T), precond.mu(schedule, T)):
        np.testing.assert_allclose(p.c_noise(t), np.arange(T) * (1000 / T), atol=2e-4)
        np.testing.assert_array_equal(p.c_in(t), 1)


def test_the_network_sees_what_the_precond_says():
    seen = {}

    def net(params, x, c_noise, cond, key):
        seen.update(params=params, x=x, c_noise=c_noise, cond=cond, key=key)
        return x

    x, t, cond = jnp.full((2, 3), 4.0), jnp.array([1.0, 2.0]), jnp.array([3, 4])
    precond.denoiser(precond.edm(0.5), net)('params', cond, 'key')(x, t)
    np.testing.assert_allclose(seen['x'], 4 / np.sqrt(np.array([[1.25], [4.25]])) * np.ones((2, 3)), rtol=1e-6)
    np.testing.assert_allclose(seen['c_noise'], [0, np.log(2) / 4], atol=1e-7)
    assert (seen['params'], seen['key']) == ('params', 'key')
    np.testing.assert_array_equal(seen['cond'], cond)


def test_variance_logits_ride_along():
    model = precond.denoiser_with_variance(
        precond.v(VP), lambda params, x, c_noise, cond, key: jnp.concatenate([2 * x, 3 * x], -1)
    )
    x, t = jnp.array([[0.5, -1.0]]), jnp.array([0.5])
    x_0, logits = model(None)(x, t)
    alone = precond.denoiser(precond.v(VP), lambda params, x, c_noise, cond, key: 2 * x)(None)(x, t)
    np.testing.assert_allclose(x_0, alone)
    np.testing.assert_allclose(logits, 3 * x)
    np.testing.assert_allclose(precond.without_variance(model)(None)(x, t), x_0)


@pytest.mark.parametrize('sigma_min', [0.002, 0.0])
def test_consistency_functions_are_the_identity_at_sigma_min_to_the_last_bit(sigma_min):
    p, t = precond.consistency(0.5, sigma_min), jnp.full(1, sigma_min, jnp.float32)
    assert (p.c_skip(t), p.c_out(t)) == (1, 0)
    x = jnp.array([[0.3, -1.7]])
    D = precond.denoiser(p, lambda params, x, c_noise, cond, key: 7 * x + c_noise[:, None])(None)(x, t)
    np.testing.assert_array_equal(D, x)


def test_consistency_coefficients(x64):
    t = jnp.array([0.002, 0.5, 80.0])
    p, T = precond.consistency(0.5, 0.002), np.asarray(t)
    np.testing.assert_allclose(p.c_skip(t), 0.25 / (0.25 + (T - 0.002) ** 2), rtol=1e-12)
    np.testing.assert_allclose(p.c_out(t), 0.5 * (T - 0.002) / np.sqrt(0.25 + T**2), rtol=1e-12)
    np.testing.assert_allclose(p.c_in(t), 1 / np.sqrt(0.25 + T**2), rtol=1e-12)
    np.testing.assert_allclose(p.c_noise(t), np.log(T) / 4, rtol=1e-12)
    np.testing.assert_allclose(precond.consistency(noise_scale=250.0).c_noise(t), 250 * np.log(T), rtol=1e-12)
    for c, d in zip(precond.consistency(0.5, 0.0), precond.edm(0.5), strict=True):
        np.testing.assert_allclose(c(t), d(t), rtol=1e-12)


def test_trig_at_both_ends():
    x, t = jnp.array([[0.3, -1.7], [0.3, -1.7]]), jnp.array([0.0, np.pi / 2])
    seen = {}

    def net(params, x, c_noise, cond, key):
        seen.update(x=x, c_noise=c_noise)
        return x + 2

    D = precond.denoiser(precond.trig(0.5), net)(None)(x, t)
    np.testing.assert_allclose(seen['x'], 2 * x, rtol=1e-6)
    np.testing.assert_array_equal(seen['c_noise'], t)
    np.testing.assert_array_equal(D[0], x[0])
    np.testing.assert_allclose(D[1], -0.5 * (2 * x[1] + 2), rtol=1e-5)


@pytest.mark.parametrize(
    'schedule', [schedules.TrigFlow(0.5), schedules.LinearVP(), schedules.VE()], ids=lambda s: type(s).__name__
)
def test_rescaled_coefficients_are_the_same_function_of_what_ve_would_see(schedule, x64):
    """One network on VE and on another path: D(x, t) = D_VE(x / alpha, sigma / alpha), point by point."""
    rng = np.random.default_rng(0)
    x, t = jnp.asarray(rng.normal(size=(5, 3))), jnp.asarray([0.01, 0.2, 0.5, 0.9, 0.99])
    alpha, noise = np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t)) / np.asarray(schedule.alpha(t))

    def net(params, x, c_noise, cond, key):
        return jnp.sin(3 * x) * c_noise[:, None] + jnp.roll(x, 1, axis=1)

    ve = precond.denoiser(precond.edm(0.5), net)(None)(x / alpha[:, None], jnp.asarray(noise))
    ours = precond.denoiser(precond.rescaled(precond.edm(0.5), schedule), net)(None)(x, t)
    np.testing.assert_allclose(ours, ve, rtol=1e-10)
    assert np.ptp(noise) > 0.7


@pytest.mark.parametrize('schedule', [schedules.TrigFlow(0.5), schedules.LinearVP()], ids=lambda s: type(s).__name__)
def test_a_network_that_is_exact_on_ve_is_exact_on_another_path(schedule, x64):
    """The network solved by hand from EDM's table 1 for the exact denoiser of a Gaussian."""
    data, sd = GAUSSIAN, 0.5

    def net(params, x_in, c_noise, cond, key):
        s = jnp.exp(4 * c_noise)[:, None]
        x = x_in * jnp.sqrt(s**2 + sd**2)
        return (data.denoise(x, 1.0, s) - sd**2 / (s**2 + sd**2) * x) * jnp.sqrt(s**2 + sd**2) / (s * sd)

    x, t = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3))), jnp.asarray([0.05, 0.3, 0.7, 0.95])
    a, s = np.asarray(schedule.alpha(t))[:, None], np.asarray(schedule.sigma(t))[:, None]
    D = precond.denoiser(precond.rescaled(precond.edm(sd), schedule), net)(None)(x, t)
    np.testing.assert_allclose(D, data.denoise(np.asarray(x), a, s), rtol=1e-9)


def test_logits_are_channels_of_each_place():
    """Of two channels with four levels: one-hot channels of mean square 1 go in, in the order that the logits have."""
    seen = []

    def net(params, x, c_noise, cond, key):
        seen.append((x, c_noise))
        return jnp.broadcast_to(100.0 * jnp.repeat(jnp.arange(2), 4) + jnp.tile(jnp.arange(4), 2), (*x.shape[:-1], 8))

    x = jnp.array([[[0, 4], [1, 2], [3, 3]]])
    logits = precond.logits(net, 4)({})(x, jnp.ones(1))
    assert logits.shape == (1, 3, 2, 4)
    np.testing.assert_array_equal(logits[0, 1], [[0, 1, 2, 3], [100, 101, 102, 103]])
    given, c_noise = seen[0]
    np.testing.assert_array_equal(given.reshape(1, 3, 2, 5).argmax(-1), x)
    np.testing.assert_allclose((given**2).mean(-1), 1, rtol=1e-6)
    assert (c_noise == 0).all()
