"""Distribution matching of a generator a + b z with Gaussian data, where KL divergence and fake score are known.

Everything is of second degree in the draws, so that signs with all their products balanced, in place of normal
draws, make a batch of eight an exact expectation. The bugs planted against these tests are in
tests/planted/distribution_matching.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, schedules, times
from diffusion_jax.objectives import weights
from diffusion_jax.types import Batch, Frozen
from tests.oracles import GAUSSIAN as DATA
from tests.oracles import Gaussian

VE, FLOW, TRIG = schedules.VE(), schedules.RectifiedFlow(), schedules.TrigFlow(0.5)
SCHEDULES = {'VE': (VE, 0.7), 'VE late': (VE, 5.0), 'flow': (FLOW, 0.4), 'trig': (TRIG, 1.0)}
EXACT = {'a': float(DATA.mean), 'b': float(np.sqrt(DATA.var))}
BESIDE = [{'a': 0.1, 'b': 0.5}, {'a': 0.3, 'b': 0.8}, {'a': -0.4, 'b': 0.2}]
KEY, STEP = jax.random.key(0), jnp.array(0)


def scales(schedule, t):
    t = jnp.asarray(t, float)
    return float(schedule.alpha(t)), float(schedule.sigma(t))


def generator(schedule, params, cond=None, key=None):
    """G(z) = a + b z, from x_t = sigma(t) z."""
    return lambda x, t: params['a'] + params['b'] * x / schedule.sigma(t)[:, None]


def denoiser(schedule, params, cond=None, key=None):
    """The exact denoiser of that generator's samples."""
    samples = Gaussian(params['a'], params['b'] ** 2)
    return lambda x, t: samples.denoise(x, schedule.alpha(t)[:, None], schedule.sigma(t)[:, None])


def made(schedule, t, gradient_weight=None, weight=None, **options):
    """The objective with every time t."""
    return objectives.distribution_matching(
        functools.partial(generator, schedule),
        functools.partial(denoiser, schedule),
        schedule,
        lambda key, shape: jnp.full(shape, t),
        weight or weights.uniform(),
        gradient_weight,
        **options,
    )


@pytest.fixture
def signs(monkeypatch, x64):
    """Draws of +-1 in place of normal ones, for a batch of eight: the first three are independent, exactly."""
    columns, drawn = np.array([[(i >> k & 1) * 2.0 - 1 for k in range(3)] for i in range(8)]).T, []

    def normal(key, shape, dtype=float):
        drawn.append(key)
        return jnp.broadcast_to(jnp.asarray(columns[(len(drawn) - 1) % 3])[:, None], shape)

    monkeypatch.setattr(jax.random, 'normal', normal)
    return Batch(jnp.zeros((8, 1)))


def value_and_grads(loss, params, frozen, batch):
    """Loss, gradient, gradient in frozen."""
    (value, _), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, frozen, KEY, batch, STEP)
    return float(value), *grads


def kl_gradient(a, b, alpha, sigma):
    """The derivative of KL(N(alpha a, alpha^2 b^2 + sigma^2) || the noised data) / d(a, b)."""
    (m_f, v_f), (m_r, v_r) = Gaussian(a, b**2).marginal(alpha, sigma), DATA.marginal(alpha, sigma)
    return {'a': alpha * (m_f - m_r) / v_r, 'b': alpha**2 * b * (1 / v_r - 1 / v_f)}


@pytest.mark.parametrize('gradient_weight', [None, weights.uniform()], ids=['eq. 8', 'uniform'])
@pytest.mark.parametrize('name', SCHEDULES)
def test_the_exact_generator_has_no_gradient(name, gradient_weight, x64):
    """With the fake score of its own samples, which then is the teacher's, for every draw."""
    schedule, t = SCHEDULES[name]
    loss = made(schedule, t, gradient_weight).loss
    value, grad, _ = value_and_grads(loss, EXACT, Frozen(teacher=EXACT, other=EXACT), Batch(jnp.zeros((16, 3))))
    assert value < 1e-28
    assert max(abs(g) for g in grad.values()) < 1e-14
    # A fake score that lags behind moves it, though it is exact.
    _, grad, _ = value_and_grads(loss, EXACT, Frozen(teacher=EXACT, other=BESIDE[0]), Batch(jnp.zeros((16, 3))))
    assert abs(grad['a']) > 1e-3


@pytest.mark.parametrize('params', BESIDE)
@pytest.mark.parametrize('name', SCHEDULES)
def test_beside_it_the_gradient_is_that_of_the_weighted_divergence(name, params, signs):
    """w_t alpha (s_fake - s_real) with w_t = w sigma^2 / alpha^2: 1 for weights.snr, the KL divergence itself."""
    schedule, t = SCHEDULES[name]
    alpha, sigma = scales(schedule, t)
    want = kl_gradient(**params, alpha=alpha, sigma=sigma)
    for w, scale in ((weights.snr(schedule), 1.0), (weights.uniform(), (sigma / alpha) ** 2)):
        loss = made(schedule, t, w).loss
        _, grad, of_frozen = value_and_grads(loss, params, Frozen(teacher=EXACT, other=params), signs)
        for k in 'ab':
            np.testing.assert_allclose(grad[k], scale * want[k], rtol=1e-9, atol=1e-13)
        assert all(g == 0 for g in jax.tree.leaves(of_frozen))


@pytest.mark.parametrize('name', SCHEDULES)
def test_the_papers_weight(name, x64):
    """Eq. 4, 5, 7 and 8 with scores, sample by sample, from what teacher and fake score are asked."""
    (schedule, t), shape, asked = SCHEDULES[name], (5, 2, 3), []
    alpha, sigma = scales(schedule, t)

    def shifted(params, cond, key):
        def denoise(x_t, t):
            asked.append(np.asarray(x_t))
            return params * jnp.tanh(x_t)

        return denoise

    objective = objectives.distribution_matching(
        lambda x, *_: lambda x_t, t: x, shifted, schedule, lambda key, shape: jnp.full(shape, t), weights.uniform()
    )
    x = np.random.default_rng(0).normal(size=shape)
    value, gradient, _ = value_and_grads(
        objective.loss, jnp.asarray(x), Frozen(teacher=0.8, other=0.5), Batch(jnp.zeros(shape))
    )
    x_t, (mu_base, mu_fake) = asked[0], (c * np.tanh(asked[0]) for c in (0.8, 0.5))
    np.testing.assert_array_equal(asked[1], x_t)
    s_real, s_fake = (-(x_t - alpha * mu) / sigma**2 for mu in (mu_base, mu_fake))
    w_t = sigma**2 / alpha * 6 / np.abs(mu_base - x).sum((1, 2), keepdims=True)
    want = w_t * alpha * (s_fake - s_real)
    np.testing.assert_allclose(gradient, want / x.size, rtol=1e-9)
    np.testing.assert_allclose(value, np.mean(want**2) / 2, rtol=1e-9)


@pytest.mark.parametrize('params', BESIDE)
@pytest.mark.parametrize('name', ['VE', 'flow'])
def test_the_fake_score_is_best_as_the_generators_own_denoiser(name, params, signs):
    """Its loss there is w times the posterior's variance, and greater beside it."""
    schedule, t = SCHEDULES[name]
    loss = made(schedule, t, weight=weights.edm()).second.loss
    of = lambda fake: value_and_grads(loss, fake, Frozen(teacher=EXACT, other=params), signs)  # noqa: E731
    value, grad, of_frozen = of(params)
    variance = Gaussian(params['a'], params['b'] ** 2).posterior_variance(*scales(schedule, t))
    np.testing.assert_allclose(value, (t**2 + 0.25) / (0.5 * t) ** 2 * variance, rtol=1e-9)
    assert max(abs(g) for g in grad.values()) < 1e-13
    assert all(g == 0 for g in jax.tree.leaves(of_frozen))
    for k in 'ab':
        for by in (-0.1, 0.1):
            other = {**params, k: params[k] + by}
            assert of(other)[0] > value + 1e-6
            assert by * of(other)[1][k] > 1e-5


@pytest.mark.slow
def test_two_time_scales_lead_to_the_data(x64):
    """By gradient descent with exact expectations, five steps of the fake score for each of the generator."""
    objective = made(VE, 0.7, weights.uniform())
    assert objective.second.updates == 5
    assert objective.reads_teacher
    fake = objective.second.init(KEY, EXACT)
    assert fake == EXACT
    G, batch = {'a': jnp.array(-0.4), 'b': jnp.array(0.2)}, Batch(jnp.zeros((4096, 1)))
    of_the_fake, of_G = (jax.jit(jax.grad(f, has_aux=True)) for f in (objective.second.loss, objective.loss))
    for k in range(200):
        key = jax.random.fold_in(KEY, k)
        for i in range(5):
            grad, _ = of_the_fake(fake, Frozen(None, EXACT, G), jax.random.fold_in(key, i), batch, STEP)
            fake = jax.tree.map(lambda p, g: p - 0.5 * g, fake, grad)
        grad, _ = of_G(G, Frozen(None, EXACT, fake), jax.random.fold_in(key, 5), batch, STEP)
        G = jax.tree.map(lambda p, g: p - 0.2 * g, G, grad)
    np.testing.assert_allclose([G['a'], G['b']], [EXACT['a'], EXACT['b']], atol=0.03)


def test_in_several_steps_the_generator_is_asked_what_the_sampler_asks(monkeypatch, x64):
    """With all draws 1: 80, from G there to 2, from G there to 0.5. The steps before are constant."""
    monkeypatch.setattr(jax.random, 'normal', lambda key, shape, dtype=float: jnp.ones(shape))
    at, params, asked = (80.0, 2.0, 0.5), {'a': jnp.array(0.1), 'b': jnp.array(0.6)}, []

    def recorded(params, cond, key):
        def G(x, t):
            asked.append((np.asarray(jax.lax.stop_gradient(x)), np.asarray(t)))
            return generator(VE, params)(x, t)

        return G

    objective = objectives.distribution_matching(
        recorded, functools.partial(denoiser, VE), VE, lambda key, shape: jnp.full(shape, 0.7), weights.uniform(),
        weights.uniform(), at=at,
    )  # fmt: skip
    _, grad, _ = value_and_grads(
        objective.loss, params, Frozen(teacher=EXACT, other=BESIDE[0]), Batch(jnp.zeros((600, 1)))
    )
    x, t = asked[-1]
    start = {80.0: 80.0}
    for before, now in ((80.0, 2.0), (2.0, 0.5)):
        start[now] = 0.1 + 0.6 * start[before] / before + np.sqrt(now**2 - 0.002**2)
    assert {*np.unique(t)} == {*at}
    np.testing.assert_allclose(x[:, 0], [start[v] for v in t], rtol=1e-6)
    assert min((t == v).mean() for v in at) > 0.26
    u = np.array([start[v] / v for v in t])
    x_t = 0.1 + 0.6 * u + 0.7
    fake, real = (Gaussian(p['a'], p['b'] ** 2).denoise(x_t, 1, 0.7) for p in (BESIDE[0], EXACT))
    np.testing.assert_allclose(grad['a'], np.mean(fake - real), rtol=1e-6)
    np.testing.assert_allclose(grad['b'], np.mean((fake - real) * u), rtol=1e-6)


def test_every_draw_has_its_own_key_and_a_condition_reaches_all(monkeypatch):
    """No two draws are alike, in the generator's loss and in the fake score's; dropout is for what learns."""
    normal, keys, seen = jax.random.normal, [], []

    def recorded(key, *args, **kwargs):
        keys.append(key)
        return normal(key, *args, **kwargs)

    def bind(name):
        def model(params, cond, key):
            seen.append((name, float(params), np.asarray(cond), key is not None))
            keys.extend([] if key is None else [key])
            return lambda x, t: params * x / (1 + t[:, None])

        return model

    def p_t(key, shape):
        keys.append(key)
        return times.karras_uniform()(key, shape)

    monkeypatch.setattr(jax.random, 'normal', recorded)
    objective = objectives.distribution_matching(bind('G'), bind('D'), VE, p_t, weights.edm(), at=(80.0, 1.0))
    batch = Batch(jnp.zeros((4, 1)), jnp.arange(4))
    objective.loss(jnp.array(1.0), Frozen(None, jnp.array(2.0), jnp.array(3.0)), KEY, batch, STEP)
    assert len({tuple(jax.random.key_data(k).tolist()) for k in keys}) == len(keys) == 5
    assert [call[:2] + call[3:] for call in seen] == [('G', 1.0, True), ('D', 2.0, False), ('D', 3.0, False)]
    keys.clear()
    objective.second.loss(jnp.array(3.0), Frozen(None, jnp.array(2.0), jnp.array(1.0)), KEY, batch, STEP)
    assert len({tuple(jax.random.key_data(k).tolist()) for k in keys}) == len(keys) == 6
    assert [call[:2] + call[3:] for call in seen[3:]] == [('G', 1.0, True), ('D', 3.0, True)]
    for call in seen:
        np.testing.assert_array_equal(call[2], batch.cond)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'updates': 0}, r'updates must be a whole number in \[1, inf\); got 0'),
        ({'at': (1.0, 2.0)}, r'at must be decreasing times; got \(1.0, 2.0\)'),
        ({'at': ()}, 'at must be decreasing times'),
        ({'at': (1.0, 0.0)}, r'at must be in \(0, inf\); got'),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        made(VE, 0.7, **options)
