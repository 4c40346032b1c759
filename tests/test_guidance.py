"""Guidance against exact conditional denoisers, moments in closed form, and the papers' formulas in other variables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp

from diffusion_jax import guidance, samplers, schedules, times
from diffusion_jax.types import Denoiser
from tests import oracles
from tests.oracles import MIXTURE, Gaussian
from tests.samplers.test_ancestral import PATHS, affine_steps, bind, scales

X, T = jnp.array([[-3.0, -0.5, 0.5, 3.0]]), jnp.array([0.5])
KEY = jax.random.key(0)
FLOW = schedules.RectifiedFlow()
POINTS = np.random.default_rng(0).normal(size=(5, 2))
TIMES = np.array([0.9, 0.7, 0.5, 0.3, 0.1])


def linear(cond):
    """A model whose x_0 says exactly which row, time and condition it was given."""
    return lambda x, t: x * (1 + cond[:, None]) + t[:, None] * (cond[:, None] - 3)


COND, NULL = jnp.array([1, 2, 5, 0, 3]), 7


def test_clip_bounds_the_prediction():
    np.testing.assert_array_equal(guidance.clip(lambda x, t: x)(X, T), [[-1, -0.5, 0.5, 1]])
    np.testing.assert_array_equal(
        guidance.clip(lambda x, t: x * t[:, None], -0.25, 5.0)(X, T), [[-0.25, -0.25, 0.25, 1.5]]
    )


def test_on_x_0_leaves_the_logits_alone():
    calls = []

    def denoise(x, t):
        calls.append(1)
        return x, 2 * x

    x_0, logits = guidance.on_x_0(guidance.clip, denoise)(X, T)
    np.testing.assert_array_equal(x_0, [[-1, -0.5, 0.5, 1]])
    np.testing.assert_array_equal(logits, 2 * X)
    assert len(calls) == 1


@pytest.mark.parametrize('w', [0.0, 1.0, 2.5, jnp.array([0.0, 1.0, 2.0, 3.0, -1.0])], ids=['0', '1', '2.5', 'each'])
def test_classifier_free_is_the_papers_eps_by_one_call(w, x64):
    """The paper (arXiv 2207.12598) guides eps, by (1 + w') eps(c) - w' eps(null) with w' = w - 1: the same x_0."""
    calls = []

    def counted(cond):
        return lambda x, t: calls.append(len(x)) or linear(cond)(x, t)

    x, t = jnp.asarray(POINTS), jnp.asarray(TIMES)
    x_0 = guidance.classifier_free(counted, COND, NULL, w)(x, t)
    assert calls == [10]
    eps_c, eps_null = ((x - (1 - t[:, None]) * linear(c)(x, t)) / t[:, None] for c in (COND, jnp.full(5, NULL)))
    more = np.broadcast_to(np.asarray(w), 5)[:, None] - 1
    eps = (1 + more) * np.asarray(eps_c) - more * np.asarray(eps_null)
    np.testing.assert_allclose(schedules.eps_from_x_0(FLOW, x, x_0, t), eps, rtol=1e-10)


def test_a_variance_is_the_conditional_models(x64):
    def with_variance(cond):
        return lambda x, t: (linear(cond)(x, t), cond[:, None] + x)

    x, t = jnp.asarray(POINTS), jnp.asarray(TIMES)
    x_0, logits = guidance.classifier_free_with_variance(with_variance, COND, NULL, 2.0)(x, t)
    np.testing.assert_array_equal(x_0, guidance.classifier_free(linear, COND, NULL, 2.0)(x, t))
    np.testing.assert_array_equal(logits, COND[:, None] + x)


def test_the_null_condition_may_be_a_row_of_its_own(x64):
    """Conditions that are vectors, as of a text; a negative one in place of none."""
    cond, null = jnp.asarray(POINTS[:, :1] + 1), jnp.array([0.25])

    def model(cond):
        return lambda x, t: x * cond

    x_0 = guidance.classifier_free(model, cond, null, 3.0)(jnp.asarray(POINTS), jnp.asarray(TIMES))
    np.testing.assert_allclose(x_0, POINTS * (3 * np.asarray(cond) - 2 * 0.25), rtol=1e-12)


A, B = Gaussian(np.float64(0.5), np.float64(0.09)), Gaussian(np.float64(-0.1), np.float64(0.36))


def free(schedule, w, a=A, b=B) -> Denoiser:
    """Guidance of Gaussian data a away from b, as a model with the classes 0 and 1."""

    def model(cond):
        def denoise(x, t):
            exact = [bind(data, schedule)(x, t) for data in (a, b)]
            return jnp.where(cond[:, None] == 0, *exact)

        return denoise

    return lambda x, t: guidance.classifier_free(model, jnp.zeros(len(x), jnp.int32), 1, w)(x, t)


@pytest.mark.parametrize('name', ['table linear', 'VE'])
def test_every_guided_step_and_the_moments_of_the_whole_run(name, x64):
    """Two Gaussians: the guided denoiser is affine, and so is DDIM's step (arXiv 2010.02502, eq. 12)."""
    schedule, t_max = PATHS[name]
    w, eta, grid = 3.0, 0.5, times.uniform(6, t_max)
    got = affine_steps(samplers.ddim(free(schedule, w), schedule, eta), grid)
    want = []
    for start, end in zip(*(scales(schedule, g) for g in (grid[:-1], grid[1:])), strict=True):
        parts = [oracles.ddim_step(data, start, end, eta) for data in (A, B)]
        affine = [w * p - (1 - w) * -q for p, q in zip(*parts, strict=True)]
        want.append(oracles.Affine(affine[0], affine[1], parts[0].std))
    np.testing.assert_allclose(np.array(got), np.array(want), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(*(oracles.moments(s, 0.0, 1.0) for s in (got, want)), rtol=1e-8)


def test_where_guidance_of_gaussians_leads(x64):
    """On VE with means 0, d log x / d sigma = sigma (w / (v_c + sigma^2) + (1 - w) / (v + sigma^2)).

    So a run from a large sigma ends with the standard deviation v_c^(w/2) v^((1-w)/2): guidance narrows.
    """
    VE, w = schedules.VE(), 2.0
    a, b = (Gaussian(np.float64(0), data.var) for data in (A, B))
    exact = np.exp(w / 2 * np.log(a.var / (a.var + 80**2)) + (1 - w) / 2 * np.log(b.var / (b.var + 80**2))) * 80
    np.testing.assert_allclose(exact, 0.09 / 0.6, rtol=1e-4)
    ns, errors = (40, 80, 160), []
    for n in ns:
        grid = times.karras(n, 0.002, 80.0)
        run = jax.jit(lambda x, grid: samplers.sample(samplers.heun(free(VE, w, a, b), VE), KEY, x, grid))
        errors.append(abs(float(run(jnp.array([[80.0]]), grid)[0, 0]) - exact))
    assert abs(oracles.order(ns, errors) - 2) < 0.15, errors
    assert errors[-1] < 1e-3


def log_class(schedule, k):
    """The exact classifier: log p(component k | x_t) of the mixture, for k `[B]`."""

    def log_prob(x, t):
        a, s = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
        var = a**2 * MIXTURE.vars[None] + s**2
        squares = jnp.sum((x[:, None, :] - a[..., None] * MIXTURE.means[None]) ** 2, -1)
        joint = np.log(MIXTURE.weights)[None] - squares / (2 * var) - x.shape[-1] / 2 * jnp.log(var)
        return joint[jnp.arange(len(x)), k] - logsumexp(joint, 1)

    return log_prob


def component(k):
    return Gaussian(MIXTURE.means[k], MIXTURE.vars[k][..., None])


@pytest.mark.parametrize('name', ['table cosine', 'VE', 'RectifiedFlow', 'TrigFlow'])
def test_the_exact_classifier_makes_the_exact_conditional_denoiser(name, x64):
    schedule, t_max = PATHS[name]
    k, t = np.array([0, 1, 2, 0, 2]), jnp.asarray(TIMES) * t_max
    a, s = (np.asarray(f(t))[:, None] for f in (schedule.alpha, schedule.sigma))
    x = s * POINTS
    guided = jax.jit(guidance.classifier(bind(MIXTURE, schedule), schedule, log_class(schedule, k)))(x, t)
    np.testing.assert_allclose(guided, component(k).denoise(x, a, s), rtol=1e-10, atol=1e-10)


def test_sampling_one_component_by_the_exact_classifier(x64):
    """From alpha = 0, where the first step is unguided: the error of that step is its length, no more."""
    k, ns, errors = np.array([0, 1, 2, 0, 2]), (50, 100, 200), []
    denoise = guidance.classifier(bind(MIXTURE, FLOW), FLOW, log_class(FLOW, k))
    exact = component(k).pf_ode(POINTS, (0.0, 1.0), (1.0, 0.0))
    for n in ns:
        sampler = samplers.euler(denoise, FLOW)
        x = jax.jit(lambda x, grid, s=sampler: samplers.sample(s, KEY, x, grid))(jnp.asarray(POINTS), times.uniform(n))
        errors.append(np.sqrt(np.mean((np.asarray(x) - exact) ** 2)))
    assert abs(oracles.order(ns, errors) - 1) < 0.15, errors
    assert errors[-1] < 0.02


def test_the_classifier_at_the_ends_of_the_path():
    """Without signal the model is left alone, without noise too; in float32, where cos(pi / 2) is -4e-8."""
    x, t, w = jnp.asarray(POINTS, jnp.float32), jnp.array([0.0, 1.0, 1.0, 0.5, 0.0]), jnp.linspace(1, 3, 5)

    def guided(w):
        return guidance.classifier(linear(COND), schedules.CosineVP(), lambda x, t: 1e30 * jnp.sum(x, 1), w)(x, t)

    changed = np.any(np.asarray(guided(w) != linear(COND)(x, t)), 1)
    np.testing.assert_array_equal(changed, [False, False, False, True, False])
    assert jnp.isfinite(jax.grad(lambda w: jnp.sum(guided(w)))(w)).all()


def test_weights_of_the_classifier_add_its_gradient(x64):
    x, t, w = jnp.asarray(POINTS), jnp.asarray(TIMES), jnp.array([0.0, 1.0, 2.0, 3.0, -1.0])
    by = {v: guidance.classifier(linear(COND), FLOW, log_class(FLOW, COND % 3), v)(x, t) for v in (0.0, 1.0)}
    guided = guidance.classifier(linear(COND), FLOW, log_class(FLOW, COND % 3), w)(x, t)
    np.testing.assert_array_equal(by[0.0], linear(COND)(x, t))
    np.testing.assert_allclose(guided, by[0.0] + w[:, None] * (by[1.0] - by[0.0]), rtol=1e-10)


def test_autoguidance_goes_away_from_the_weak_model(x64):
    x, t, w = jnp.asarray(POINTS), jnp.asarray(TIMES), jnp.array([0.0, 1.0, 2.0, 3.0, -1.0])
    strong, weak = linear(COND), linear(COND * 0.5)
    guided = guidance.auto(strong, weak, w)(x, t)
    np.testing.assert_allclose(guided[2], 2 * strong(x, t)[2] - weak(x, t)[2], rtol=1e-12)
    np.testing.assert_allclose(guided[4], 2 * weak(x, t)[4] - strong(x, t)[4], rtol=1e-12)
    np.testing.assert_allclose(guided[0], weak(x, t)[0])
    np.testing.assert_allclose(guided[1], strong(x, t)[1])


def test_the_interval_is_of_noise_levels_open_below_and_closed_above(x64):
    """Per sample, and at alpha = 0, where the level is infinite; only what is needed is evaluated."""
    calls = []

    def telling(value):
        def denoise(x, t):
            jax.debug.callback(lambda: calls.append(value))
            return jnp.full_like(x, value), -jnp.full_like(x, value)

        return denoise

    t = jnp.array([0.2, 0.5, 0.75, 1.0, 0.0])  # sigma / alpha = 1/4, 1, 3, inf, 0
    x = jnp.zeros((5, 2))

    def interval(low, high):
        return jax.jit(guidance.interval(telling(1.0), telling(2.0), FLOW, low, high))

    for low, high, want in [
        (1.0, 3.0, [2, 2, 1, 2, 2]),
        (0.25, 1.0, [2, 1, 2, 2, 2]),
        (0.0, np.inf, [1, 1, 1, 1, 2]),
    ]:
        x_0, logits = interval(low, high)(x, t)
        np.testing.assert_array_equal(x_0[:, 0], want)
        np.testing.assert_array_equal(logits, -x_0)
    jax.effects_barrier()
    calls.clear()
    run = interval(0.5, 3.0)
    for level, value in ((0.5, 1.0), (0.9, 2.0)):
        run(x, jnp.full(5, level))
        jax.effects_barrier()
        assert calls == [value]
        calls.clear()


def test_rescale_brings_back_the_conditional_spread(x64):
    """By arXiv 2305.08891, section 3.4, on images of two channels."""
    x, t = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, 2))), jnp.full(3, 0.5)

    def model(cond):
        return lambda x, t: x**2 * (1 + cond[:, None, None]) + x

    cond, w = jnp.array([1, 2, 3]), jnp.array([1.0, 4.0, 8.0])
    plain, guided = model(cond)(x, t), guidance.classifier_free(model, cond, 0, w)(x, t)
    whole, part = (guidance.classifier_free(model, cond, 0, w, phi)(x, t) for phi in (1.0, 0.7))
    np.testing.assert_allclose(np.std(whole, axis=(1, 2)), np.std(plain, axis=(1, 2)), rtol=1e-12)
    np.testing.assert_allclose(part, 0.7 * whole + 0.3 * guided, rtol=1e-12)
    np.testing.assert_allclose(whole / guided, np.broadcast_to((whole / guided)[:, :1, :1], x.shape), rtol=1e-10)
    by_auto = guidance.auto(model(cond), model(jnp.zeros(3)), w, 1.0)(x, t)
    np.testing.assert_allclose(by_auto, whole, rtol=1e-12)
    flat = guidance.auto(lambda x, t: 0 * x, lambda x, t: 0 * x, 2.0, 0.7)(x, t)  # 0 / 0
    np.testing.assert_array_equal(flat, 0 * x)


def test_rescale_of_what_a_classifier_moves(x64):
    x, t = jnp.asarray(np.random.default_rng(3).normal(size=(3, 4, 2))), jnp.full(3, 0.5)

    def guided(w, phi):
        return guidance.classifier(lambda x, t: x, FLOW, lambda x, t: 5 * x[:, 0, 0] ** 2, w, phi)(x, t)

    plain, moved, w = guided(0.0, 0.0), guided(3.0, 0.0), 3.0
    assert (np.std(moved, axis=(1, 2)) > 1.5 * np.std(plain, axis=(1, 2))).any()
    ratio = (np.std(plain, axis=(1, 2)) / np.std(moved, axis=(1, 2)))[:, None, None]
    np.testing.assert_allclose(guided(w, 0.7), (0.7 * ratio + 0.3) * np.asarray(moved), rtol=1e-10)


def test_dynamic_thresholding(x64):
    """The quantile by NumPy, over each sample alone; within [-1, 1] nothing changes."""
    x = np.random.default_rng(2).normal(size=(3, 5, 5, 2)) * np.array([0.1, 1.0, 4.0])[:, None, None, None]
    got = guidance.dynamic_threshold(lambda x, t: x, 0.9)(jnp.asarray(x), T)
    s = np.array([max(np.quantile(np.abs(row), 0.9), 1) for row in x])[:, None, None, None]
    assert s[0] == 1 < s[1] < s[2]
    np.testing.assert_allclose(got, np.clip(x, -s, s) / s, rtol=1e-12)
