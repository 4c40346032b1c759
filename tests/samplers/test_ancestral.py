"""DDPM and DDIM against the exact moment recursion, Bayes' rule and the exact probability-flow ODE map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules, times
from tests import oracles
from tests.oracles import GAUSSIAN as DATA
from tests.oracles import MIXTURE

LINEAR = schedules.DiscreteVP(schedules.linear_betas())
# schedule and largest time
PATHS = {
    'table linear': (LINEAR, 1.0),
    'table cosine': (schedules.DiscreteVP(schedules.cosine_betas()), 1.0),
    'LinearVP': (schedules.LinearVP(), 1.0),
    'CosineVP': (schedules.CosineVP(), 1.0),
    'RectifiedFlow': (schedules.RectifiedFlow(), 1.0),
    'TrigFlow': (schedules.TrigFlow(0.5), np.pi / 2),
    'VE': (schedules.VE(), 20.0),
}
ETAS = (0.0, 0.2, 0.5, 1.0)


def scales(schedule, grid):
    grid = jnp.asarray(grid)
    return list(zip(np.asarray(schedule.alpha(grid)), np.asarray(schedule.sigma(grid)), strict=True))


def bind(data, schedule):
    """The oracle's denoiser at a schedule's times."""

    def denoise(x, t):
        a, s = schedule.alpha(t), schedule.sigma(t)
        return (
            gaussian(data, x, a[:, None], s[:, None]) if isinstance(data, oracles.Gaussian) else mixture(data, x, a, s)
        )

    return denoise


def gaussian(data, x, a, s):
    return data.denoise(x, a, s)  # plain arithmetic: works on traced values as it stands


def mixture(data, x, a, s):
    a, s = a[:, None], s[:, None]
    var = a**2 * data.vars[None] + s**2
    residual = x[:, None, :] - a[..., None] * data.means[None]
    log_r = np.log(data.weights)[None] - jnp.sum(residual**2, -1) / (2 * var) - x.shape[-1] / 2 * jnp.log(var)
    gain = (a * data.vars[None] / var)[..., None]
    return jnp.sum(jax.nn.softmax(log_r)[..., None] * (data.means[None] + gain * residual), 1)


def affine_steps(sampler, grid):
    """Reads slope, intercept and noise std off every step: four evaluations of an affine map."""
    x = jnp.array([[0.0], [1.0]])
    keys = [jnp.stack([jax.random.key(i)] * 2) for i in (1, 2)]
    noise = [np.asarray(samplers.noise(key, x))[0, 0] for key in keys]

    @jax.jit
    @jax.vmap
    def run(t, s):
        return jnp.stack([sampler.step(key, sampler.init(x), t, s).x[:, 0] for key in keys])

    out = np.asarray(run(jnp.asarray(grid[:-1]), jnp.asarray(grid[1:])))
    std = (out[:, 0, 0] - out[:, 1, 0]) / (noise[0] - noise[1])
    return [
        oracles.Affine(*v) for v in zip(out[:, 0, 1] - out[:, 0, 0], out[:, 0, 0] - std * noise[0], std, strict=True)
    ]


def grid_for(name, n):
    return times.karras(n, 0.02, 20.0) if name == 'VE' else times.uniform(n, PATHS[name][1])


@pytest.mark.parametrize('name', PATHS)
@pytest.mark.parametrize('eta', ETAS)
def test_every_step_and_its_moments_are_exact(name, eta, x64):
    schedule, _ = PATHS[name]
    grid = grid_for(name, 10)
    got = affine_steps(samplers.ddim(bind(DATA, schedule), schedule, eta), grid)
    want = [
        oracles.ddim_step(DATA, *pair, eta) for pair in zip(*(scales(schedule, grid)[i:] for i in (0, 1)), strict=False)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9)
    mean, var = DATA.marginal(*scales(schedule, grid)[0])
    run = oracles.moments(got, mean, var)
    np.testing.assert_allclose(run, oracles.ddim_moments(DATA, scales(schedule, grid), eta, mean, var), rtol=1e-8)
    # No noise in the last step.
    assert got[-1].std == 0


@pytest.mark.parametrize('name', PATHS)
def test_ancestral_small_is_ddim_with_eta_1(name, x64):
    schedule, _ = PATHS[name]
    denoise, grid = bind(DATA, schedule), grid_for(name, 10)
    x = jnp.linspace(-1, 1, 4)[:, None]
    runs = [
        samplers.sample(sampler, jax.random.key(0), x, grid)
        for sampler in (samplers.ancestral(denoise, schedule, 'small'), samplers.ddim(denoise, schedule, 1.0))
    ]
    np.testing.assert_allclose(*runs, rtol=1e-7)


@pytest.mark.parametrize('name', ['table linear', 'table cosine', 'LinearVP', 'CosineVP', 'VE'])
def test_ancestral_large_is_the_sigma_hat_row(name, x64):
    schedule, _ = PATHS[name]
    grid = grid_for(name, 10)
    got = affine_steps(samplers.ancestral(bind(DATA, schedule), schedule, 'large'), grid)
    small = affine_steps(samplers.ancestral(bind(DATA, schedule), schedule, 'small'), grid)
    ab = np.array(scales(schedule, grid))
    # The mean of eta = 1, and a noise variance of 1 - abar_t / abar_s (for VE, sigma_t^2 - sigma_s^2).
    np.testing.assert_allclose([g[:2] for g in got], [g[:2] for g in small], rtol=1e-9)
    a, s = ab.T
    want = np.sqrt(s[:-1] ** 2 - (a[:-1] / a[1:] * s[1:]) ** 2)
    if name != 'VE':
        np.testing.assert_allclose(want, np.sqrt(1 - (a[:-1] / a[1:]) ** 2), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose([g.std for g in got], np.append(want[:-1], 0), rtol=1e-8)


def test_learned_variance_spans_small_and_large(x64):
    grid = times.trailing(10)
    denoise = bind(DATA, LINEAR)
    for logit, variance in ((-1.0, 'small'), (1.0, 'large')):
        learned = samplers.ancestral_learned(lambda x, t, c=logit: (denoise(x, t), jnp.full_like(x, c)), LINEAR)
        got, want = affine_steps(learned, grid), affine_steps(samplers.ancestral(denoise, LINEAR, variance), grid)
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('name', PATHS)
@pytest.mark.parametrize('eta', ETAS)
def test_known_x_0_keeps_its_marginal_for_every_eta(name, eta, x64):
    schedule, _ = PATHS[name]
    grid = grid_for(name, 7)
    steps = affine_steps(samplers.ddim(lambda x, t: jnp.full_like(x, 0.7), schedule, eta), grid)
    ab = scales(schedule, grid)
    mean, var = oracles.moments(steps, ab[0][0] * 0.7, ab[0][1] ** 2)
    np.testing.assert_allclose(mean, [a * 0.7 for a, _ in ab[1:]], rtol=1e-8)
    np.testing.assert_allclose(var, [s**2 for _, s in ab[1:]], rtol=1e-7, atol=1e-12)


def test_ddpm_is_biased_at_finite_step_count_and_the_bias_falls():
    ab = {
        S: list(zip(*(c[:: 1000 // S][::-1] for c in oracles.table(schedules.linear_betas())), strict=True))
        for S in (10, 100, 1000)
    }
    gaps = [abs(oracles.ddim_moments(DATA, ab[S], 1.0, *DATA.marginal(*ab[S][0]))[1][-1] - DATA.var) for S in ab]
    assert gaps[0] > 0.01
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]


@pytest.mark.parametrize('variance', ['small', 'large', 0.5])
def test_whole_run_has_the_moments_of_the_recursion(variance):
    """By sampling: this alone sees a key that two steps share."""
    n, grid = 100_000, times.trailing(20)
    denoise = bind(DATA, LINEAR)
    ancestral = isinstance(variance, str)
    sampler = samplers.ancestral(denoise, LINEAR, variance) if ancestral else samplers.ddim(denoise, LINEAR, variance)
    x = samplers.prior(jax.random.key(0), LINEAR, (n, 1), 1.0)
    out = np.asarray(jax.jit(lambda k, x: samplers.sample(sampler, k, x, grid))(jax.random.key(0), x), np.float64)
    a, s = oracles.table(schedules.linear_betas())
    ab = list(zip(a[::50][::-1], s[::50][::-1], strict=True))
    eta = {'small': 1.0, 'large': 'hat'}.get(variance, variance)
    mean, var = oracles.ddim_moments(DATA, ab, eta, 0.0, s[-1] ** 2)[:, -1]
    assert abs(out.mean() - mean) < 4 * np.sqrt(var / n)
    assert abs(out.var() / var - 1) < 4 * np.sqrt(2 / n)


@pytest.mark.parametrize('name', PATHS)
def test_ddim_converges_to_the_exact_ode_map_with_order_1(name, x64):
    schedule, t_max = PATHS[name]
    # The table takes its own points and the others their whole range; alpha = 0 at the start of three of them.
    ns = (40, 80, 160)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2))) * schedule.sigma(jnp.asarray(t_max))
    sampler = samplers.ddim(bind(MIXTURE, schedule), schedule)
    errors = []
    for n in ns:
        grid = times.karras(n, 0.05, t_max)[:-1] if name == 'VE' else times.uniform(n, t_max)
        got = jax.jit(lambda x, grid=grid: samplers.sample(sampler, jax.random.key(0), x, grid))(x)
        ab = scales(schedule, grid[[0, -1]])
        exact = MIXTURE.pf_ode(np.asarray(x), *ab)
        errors.append(np.sqrt(np.mean((np.asarray(got) - exact) ** 2)))
    assert errors[-1] < 0.05
    assert abs(oracles.order(ns, errors) - 1) < 0.15, errors


def test_encoding_and_decoding_close_in_as_in_table_2(x64):
    """DDIM paper, Table 2: .014 .0065 .0023 .0009 .0004 .0001 for these S, a slope of about one, and never up."""
    ns = (10, 20, 50, 100, 200, 500)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 2))) * 0.3 + MIXTURE.means[1][None]
    denoise = bind(MIXTURE, LINEAR)
    errors, latent_errors = [], []
    for n in ns:
        grid = times.trailing(n)

        @jax.jit
        def there_and_back(x, grid=grid):
            key = jax.random.key(0)
            z = samplers.sample(samplers.ddim_encode(denoise, LINEAR), key, x, grid[::-1])
            return z, samplers.sample(samplers.ddim(denoise, LINEAR), key, z, grid)

        z, back = there_and_back(x)
        errors.append(float(jnp.sqrt(jnp.mean((back - x) ** 2))))
        latent_errors.append(np.sqrt(np.mean((np.asarray(z) - exact_latent(np.asarray(x))) ** 2)))
    assert (np.diff(errors) < 0).all(), errors
    assert errors[-1] < 0.01
    assert abs(oracles.order(ns[2:], errors[2:]) - 1) < 0.35, errors
    assert (np.diff(latent_errors) < 0).all(), latent_errors


@pytest.mark.parametrize('name', ['table linear', 'RectifiedFlow', 'VE'])
def test_encoding_starts_from_the_data_itself(name, x64):
    schedule, _ = PATHS[name]
    x, s = jnp.array([[0.5, -1.0]]), jnp.asarray(0.25)
    encode = samplers.ddim_encode(lambda x, t: 0.3 * x + t[:, None], schedule)
    got = encode.step(jax.random.key(0), encode.init(x), jnp.zeros(()), s).x
    a, b = float(schedule.alpha(s)), float(schedule.sigma(s))
    eps = (x - a * (0.3 * x + 0.25)) / b  # what the model makes of the data, given the time ahead
    np.testing.assert_allclose(got, a * x + b * eps, rtol=1e-9)


def exact_latent(x_0):
    a, s = oracles.table(schedules.linear_betas())
    return MIXTURE.pf_ode(x_0, (1.0, 0.0), (a[-1], s[-1]))


@pytest.mark.parametrize('make', [samplers.ancestral, samplers.ddim, lambda d, s: samplers.ddim(d, s, 0.5)])
@pytest.mark.parametrize('steps', [1, 3])
def test_starts_without_signal_stay_finite(make, steps):
    betas = np.append(schedules.linear_betas(999), 1.0)
    for schedule, t_max in [(schedules.DiscreteVP(betas), 1.0), (schedules.CosineVP(), 1.0), PATHS['RectifiedFlow']]:
        sampler = make(lambda x, t: 0.5 * x, schedule)
        out = samplers.sample(sampler, jax.random.key(0), jnp.ones((2, 1)), times.uniform(steps, t_max))
        assert jnp.isfinite(out).all()


def test_unknown_variance_is_refused():
    with pytest.raises(ValueError, match=r'large.*small.*smal'):
        samplers.ancestral(lambda x, t: x, LINEAR, 'smal')
