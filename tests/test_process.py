"""Masking and Gaussian paths as processes, and the doors between values and tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from diffusion_jax import process, samplers, schedules, times
from diffusion_jax.data.quantise import from_levels, to_levels

K = 5
MASKINGS = [schedules.PolynomialMasking(), schedules.PolynomialMasking(3.0), schedules.CosineMasking()]


@pytest.mark.parametrize('schedule', MASKINGS, ids=str)
def test_schedules_of_masking(schedule):
    t = jnp.linspace(0, 1, 65)
    alpha, sigma = np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t))
    np.testing.assert_allclose(alpha + sigma, 1, atol=1e-6)
    assert (alpha[0], sigma[0], alpha[-1], sigma[-1]) == (1, 0, 0, 1)
    assert (np.diff(sigma) > 0).all()


def test_their_weights_are_those_of_md4():
    """That is alpha' / (1 - alpha): -w / t, and -pi/2 tan(pi/2 (1 - t)), which is sin / cos of the same angle."""
    t = jnp.linspace(0.05, 0.95, 7)
    for w in (1.0, 3.0):
        alpha, sigma = schedules.rates(schedules.PolynomialMasking(w), t)
        np.testing.assert_allclose(alpha / schedules.PolynomialMasking(w).sigma(t), -w / t, rtol=1e-5)
        np.testing.assert_allclose(alpha, -sigma, rtol=1e-6)
    d_alpha = schedules.rates(schedules.CosineMasking(), t)[0]
    np.testing.assert_allclose(
        d_alpha / schedules.CosineMasking().sigma(t), -np.pi / 2 * np.tan(np.pi / 2 * (1 - t)), rtol=1e-5
    )


@pytest.mark.parametrize('schedule', MASKINGS, ids=str)
def test_tokens_are_there_with_probability_alpha(schedule):
    masking = process.masking(schedule, K)
    x_0 = jax.random.randint(jax.random.key(0), (4, 5000, 1), 0, K)
    t = jnp.array([0.0, 0.3, 0.8, 1.0])
    x_t = masking.corrupt(jax.random.key(1), x_0, t)
    hidden = np.asarray(x_t == K)
    assert x_t.dtype == x_0.dtype
    assert (x_t == x_0)[~hidden].all()
    assert not hidden[0].any()
    assert hidden[3].all()
    for row, u in zip(hidden[1:3], schedule.sigma(t)[1:3], strict=True):
        assert binomtest(int(row.sum()), row.size, float(u)).pvalue > 1e-3
    start = masking.prior(jax.random.key(2), (3, 7, 1))
    assert (start == K).all()
    assert start.shape == (3, 7, 1)
    assert jnp.issubdtype(start.dtype, jnp.integer)


@pytest.mark.parametrize(
    'make', [lambda: process.masking(MASKINGS[0], K), lambda: process.gaussian(schedules.VE(), 3.0)]
)
def test_with_a_key_for_each_sample_none_depends_on_the_batch(make):
    keys = jax.random.split(jax.random.key(0), 6)
    t, x = jnp.linspace(0.2, 0.7, 6), jnp.ones((6, 9), jnp.int32)
    x = x if make().prior(keys, (6, 9)).dtype == jnp.int32 else x.astype(jnp.float32)
    for draw in (lambda i: make().corrupt(keys[i], x[i], t[i]), lambda i: make().prior(keys[i], x[i].shape)):
        np.testing.assert_array_equal(draw(slice(None))[2:4], draw(slice(2, 4)))
    corrupted = make().corrupt(keys, x, jnp.full(6, 0.5))
    assert len(np.unique(np.asarray(corrupted), axis=0)) == 6


def test_a_gaussian_path_is_a_process():
    schedule, key = schedules.VE(), jax.random.key(0)
    gaussian = process.gaussian(schedule, 3.0)
    np.testing.assert_array_equal(gaussian.prior(key, (4, 2)), 3 * jax.random.normal(key, (4, 2)))
    np.testing.assert_array_equal(gaussian.prior(key, (4, 2)), samplers.prior(key, schedule, (4, 2), 3.0))
    x = jnp.full((4, 2), 0.5)
    np.testing.assert_allclose(
        gaussian.corrupt(key, x, jnp.full(4, 2.0)), 0.5 + 2 * jax.random.normal(key, (4, 2)), rtol=1e-6
    )


PAIRS = [(1.0, 0.6), (0.6, 0.25), (0.25, 0.0), (1.0, 0.0), (0.6, 0.6)]


@pytest.mark.parametrize(('t', 's'), PAIRS)
@pytest.mark.parametrize('schedule', MASKINGS, ids=str)
def test_the_posterior_is_bayes_rule(schedule, t, s):
    """From the chain's own transition, which keeps what is there with alpha_t / alpha_s."""
    a_t, a_s = (float(schedule.alpha(jnp.float32(v))) for v in (t, s))
    from_mask = {'mask': 1 - a_s, 'token': a_s * (1 - a_t / a_s if a_s else 0)}  # joint with a mask at t
    stays, forgotten = process.masking_posterior(schedule, jnp.float32(t), jnp.float32(s))
    np.testing.assert_allclose(stays, from_mask['mask'] / sum(from_mask.values()), atol=1e-6)
    assert forgotten == 0


@pytest.mark.parametrize('schedule', MASKINGS, ids=str)
def test_two_steps_are_one(schedule):
    """Chapman-Kolmogorov: a mask stays one over both."""
    t, u, s = (jnp.float32(v) for v in (0.9, 0.5, 0.2))
    both = process.masking_posterior(schedule, t, u)[0] * process.masking_posterior(schedule, u, s)[0]
    np.testing.assert_allclose(both, process.masking_posterior(schedule, t, s)[0], rtol=1e-5)


@pytest.mark.parametrize('eta', [0.0, 0.3, 1.0])
@pytest.mark.parametrize(('t', 's'), PAIRS)
@pytest.mark.parametrize('schedule', MASKINGS, ids=str)
def test_the_marginals_are_the_same_for_every_eta(schedule, t, s, eta):
    t, s = jnp.float32(t), jnp.float32(s)
    stays, forgotten = process.masking_posterior(schedule, t, s, eta)
    assert 0 <= stays <= 1 + 1e-6
    assert 0 <= forgotten <= 1 + 1e-6
    there = schedule.alpha(t) * (1 - forgotten) + schedule.sigma(t) * (1 - stays)
    np.testing.assert_allclose(there, schedule.alpha(s), atol=1e-6)
    if eta == 1 and schedule.alpha(t) > 0 and s > 0:
        assert max(float(forgotten), 1 - float(stays)) > 1 - 1e-5  # no more can be masked: the end of one range


def test_the_posterior_is_finite_where_nothing_is_left():
    for schedule in MASKINGS:
        for t in (0.0, 1.0):
            for s in (0.0, t):
                stays, forgotten = process.masking_posterior(schedule, jnp.float32(t), jnp.float32(s), 1.0)
                assert (float(stays), float(forgotten)) == ((1.0 if s else 0.0), 0.0)


@pytest.mark.parametrize('levels', [2, 17, 256, 2**16])
def test_tokens_and_values_are_those_of_files(levels):
    index = np.arange(levels)
    values = process.to_values(jnp.asarray(index), levels)
    np.testing.assert_allclose(values, from_levels(index, levels), atol=2e-7)
    np.testing.assert_array_equal(process.to_tokens(values, levels), index)
    x = np.random.default_rng(0).uniform(-1.1, 1.1, 500).astype(np.float32)
    np.testing.assert_array_equal(process.to_tokens(jnp.asarray(x), levels), to_levels(x, levels))
    assert np.isnan(process.to_values(jnp.array([levels]), levels)).all()


@pytest.mark.parametrize('schedule', [schedules.CosineVP(), schedules.VE(), schedules.TrigFlow()], ids=str)
def test_other_schedules_do_not_mask(schedule):
    with pytest.raises(ValueError, match=r'masking needs a schedule with alpha \+ sigma = 1'):
        process.masking(schedule, K)
    with pytest.raises(ValueError, match=r'levels must be a whole number in \[2, inf\)'):
        process.masking(MASKINGS[0], 1)


def test_low_discrepancy_times_are_evenly_apart_and_uniform():
    keys = jax.random.split(jax.random.key(0), 2000)
    t = np.asarray(jax.vmap(lambda key: times.low_discrepancy(2.0)(key, (8,)))(keys))
    assert t.min() >= 0
    assert t.max() < 2
    np.testing.assert_allclose(np.diff(np.sort(t, 1), axis=1), 0.25, atol=1e-5)
    assert kstest(t[:, 0], 'uniform', args=(0, 2)).pvalue > 1e-3
    assert kstest(t[:, 5], 'uniform', args=(0, 2)).pvalue > 1e-3
