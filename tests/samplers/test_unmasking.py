"""Samplers of masked diffusion on enumerable spaces with the exact denoiser."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from diffusion_jax import editing, guidance, process, samplers, schedules, times
from diffusion_jax.data import markov
from diffusion_jax.samplers.unmasking import nucleus
from tests import enumerated

K, L, N = 3, 3, 8000
RNG = np.random.default_rng(2)
INITIAL, TRANSITION = RNG.dirichlet(np.ones(K)), RNG.dirichlet(np.ones(K) / 2, K)
JOINT = enumerated.joint(INITIAL, TRANSITION, L)
CHAIN = markov.MarkovChain(jnp.asarray(INITIAL, jnp.float32), jnp.asarray(TRANSITION, jnp.float32))
CHAIN_MODEL = markov.categorical(CHAIN)
INDEPENDENT = markov.categorical(markov.MarkovChain(CHAIN.initial, jnp.tile(CHAIN.initial, (K, 1))))
LINEAR, COSINE = schedules.PolynomialMasking(), schedules.CosineMasking()
ONE_STEP, FINE = times.uniform(1), times.uniform(300)


def start(n=N, length=L):
    return jnp.full((n, length, 1), K)


def counts(x):
    return np.bincount(np.ravel_multi_index(np.asarray(x)[..., 0].T, (K,) * L), minlength=K**L)


def draw(sampler, grid, n=N, seed=0, length=L):
    return jax.jit(lambda key: samplers.sample(sampler, key, start(n, length), grid))(jax.random.key(seed))


@pytest.mark.slow
@pytest.mark.parametrize('schedule', [LINEAR, COSINE], ids=str)
def test_one_token_at_a_time_is_the_exact_law(schedule):
    """On a fine grid two tokens hardly ever come in one step."""
    assert chisquare(counts(draw(samplers.unmask(CHAIN_MODEL, schedule, K), FINE)), N * JOINT).pvalue > 1e-3


def test_all_at_once_is_that_of_the_single_tokens():
    p = JOINT.reshape((K,) * L)
    single = np.einsum('a,b,c->abc', *(p.sum(axes) for axes in ((1, 2), (0, 2), (0, 1)))).ravel()
    found = counts(draw(samplers.unmask(CHAIN_MODEL, LINEAR, K), ONE_STEP))
    assert chisquare(found, N * single).pvalue > 1e-3
    assert chisquare(found, N * JOINT).pvalue < 1e-6  # so that the test above can see


@pytest.mark.parametrize('eta', [0.2, 1.0])
def test_remasking_keeps_the_law_of_independent_tokens(eta):
    p = np.prod(INITIAL[enumerated.sequences(K, L)], axis=1)
    found = draw(samplers.remask(INDEPENDENT, COSINE, K, eta), times.uniform(5))
    assert chisquare(counts(found), N * p).pvalue > 1e-3


def test_remasking_corrects():
    """What few steps of `unmask` get wrong, more of the same number's tokens drawn again bring nearer to the law."""

    def distance(sampler):
        return abs(counts(draw(sampler, times.uniform(20))) / N - JOINT).sum()

    crude = abs(counts(draw(samplers.unmask(CHAIN_MODEL, LINEAR, K), times.uniform(1))) / N - JOINT).sum()
    assert distance(samplers.remask(CHAIN_MODEL, LINEAR, K, 0.1)) < crude / 2


@pytest.mark.parametrize('eta', [0.0, 0.5, 1.0])
def test_so_many_are_masked_as_the_process_masks(eta):
    sampler, grid = samplers.remask(CHAIN_MODEL, COSINE, K, eta), times.uniform(6)
    way = jax.jit(lambda key: samplers.trajectory(sampler, key, start(), grid))(jax.random.key(1))
    hidden = np.asarray(way == K).reshape(len(grid), -1)
    assert hidden[0].all()
    assert not hidden[-1].any()
    for row, t in zip(hidden[1:-1], grid[1:-1], strict=True):
        assert binomtest(int(row.sum()), row.size, float(COSINE.sigma(jnp.float32(t)))).pvalue > 1e-4
    there = (way[:-1] != K) & (way[1:] != K)
    changed = (way[1:] != way[:-1]) & there
    assert not changed.any()  # a token is masked before it is another
    assert ((way[:-1] != K) & (way[1:] == K)).any() == (eta > 0)


MODELS = {
    'unmask': samplers.unmask,
    'remask': partial(samplers.remask, eta=0.5),
    'confident': samplers.unmask_confident,
}


@pytest.mark.parametrize('name', MODELS)
def test_samples_do_not_depend_on_their_batch(name):
    sampler, keys = MODELS[name](CHAIN_MODEL, LINEAR, K), jax.random.split(jax.random.key(0), 6)
    whole = samplers.sample(sampler, keys, start(6, 9), times.uniform(4))
    np.testing.assert_array_equal(samplers.sample(sampler, keys[2:4], start(2, 9), times.uniform(4)), whole[2:4])
    assert len(np.unique(whole, axis=0)) > 4
    assert whole.dtype == jnp.int32


def test_confidence_unmasks_the_promised_numbers_the_likeliest_first():
    """Almost certain tokens, so that the order is the model's: place i has the odds of `sure[i]`."""
    sure = np.array([8.0, 12.0, 9.0, 15.0, 10.0, 14.0, 11.0], np.float32)
    logits = jnp.zeros((1, 7, 1, K)).at[0, :, 0, 1].set(sure)
    sampler = samplers.unmask_confident(lambda x, t: jnp.tile(logits, (len(x), 1, 1, 1)), COSINE, K)
    grid = times.uniform(4)
    way = np.asarray(samplers.trajectory(sampler, jax.random.key(0), start(2, 7), grid))[..., 0]
    left, u = 7, np.sin(np.pi / 2 * np.asarray(grid))
    for step, x in enumerate(way[1:]):
        left = round(left * u[step + 1] / u[step])
        for row in x:
            assert set(np.flatnonzero(row == K)) == set(np.argsort(sure)[:left])
    assert left == 0
    one = np.asarray(samplers.trajectory(samplers.unmask_confident(CHAIN_MODEL, LINEAR, K), jax.random.key(0),
                                         start(5, 8), times.uniform(8)))  # fmt: skip
    np.testing.assert_array_equal((one == K).sum((2, 3)), np.tile(np.arange(8, -1, -1)[:, None], (1, 5)))


@pytest.mark.parametrize('top_p', [1e-6, 0.3, 0.8, 0.999])
def test_the_nucleus_is_the_smallest_set_of_that_mass(top_p):
    p = RNG.dirichlet(np.ones(6), 200)
    found = np.isfinite(np.asarray(nucleus(jnp.log(jnp.asarray(p, jnp.float32)), top_p)))
    for row, kept in zip(p, found, strict=True):
        falling = np.sort(row)[::-1]
        least = next(n for n in range(1, 7) if falling[:n].sum() >= top_p - 1e-6)
        assert kept.sum() == least
        assert set(np.flatnonzero(kept)) == set(np.argsort(-row)[:least])
    logits = jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32)
    np.testing.assert_array_equal(nucleus(logits, 1.0), logits)


@pytest.mark.parametrize('name', MODELS)
def test_top_p_draws_from_the_nucleus_alone(name):
    p = np.array([0.5, 0.3, 0.2])
    model = lambda x, t: jnp.broadcast_to(jnp.log(jnp.asarray(p, jnp.float32)), (*x.shape, K))  # noqa: E731
    x = draw(MODELS[name](model, LINEAR, K, top_p=0.7), times.uniform(2), n=2000, length=1)
    assert chisquare(np.bincount(np.asarray(x).ravel(), minlength=2), 2000 * p[:2] / p[:2].sum()).pvalue > 1e-3


def test_times_stay_float32_beside_integers():
    seen = []

    def model(x, t):
        seen.append((x.dtype, t.dtype, t.shape))
        return CHAIN_MODEL(x, t)

    samplers.sample(samplers.unmask(model, LINEAR, K), jax.random.key(0), start(4), times.uniform(3))
    assert seen[0] == (jnp.int32, jnp.float32, (4,))


@pytest.mark.parametrize('name', MODELS)
def test_what_a_model_does_not_know_is_no_sample(name):
    def broken(x, t):
        return CHAIN_MODEL(x, t) + jnp.where(jnp.arange(len(x)) == 1, jnp.nan, 0)[:, None, None, None]

    x = process.to_values(draw(MODELS[name](broken, LINEAR, K), times.uniform(3), n=4), K)
    np.testing.assert_array_equal(np.isnan(x).any((1, 2)), [False, True, False, False])


@pytest.mark.parametrize('name', MODELS)
def test_given_tokens_are_kept(name):
    known = jnp.array([True, False, True, False, False, True])[:, None]
    x_0 = jax.random.randint(jax.random.key(5), (50, 6, 1), 0, K)
    sampler = MODELS[name](editing.given(CHAIN_MODEL, known, x_0), LINEAR, K)
    x = editing.infill(sampler, K, jax.random.key(0), known, x_0, times.uniform(6))
    np.testing.assert_array_equal(x[:, known[:, 0]], x_0[:, known[:, 0]])
    assert (x < K).all()
    assert (x != x_0).any()


def test_infilling_one_token_at_a_time_is_the_conditional_law():
    known, x_0 = jnp.array([False, True, False])[:, None], jnp.broadcast_to(jnp.array([0, 2, 0])[:, None], (N, L, 1))
    sampler = samplers.unmask(editing.given(CHAIN_MODEL, known, x_0), LINEAR, K)
    x = jax.jit(lambda key: editing.infill(sampler, K, key, known, x_0, times.uniform(50)))(jax.random.key(0))
    p = JOINT.reshape((K,) * L)[:, 2] / JOINT.reshape((K,) * L)[:, 2].sum()
    found = counts(x).reshape((K,) * L)
    assert found.sum() == found[:, 2].sum() == N
    assert chisquare(found[:, 2].ravel(), N * p.ravel()).pvalue > 1e-3


def test_guidance_multiplies_likelihoods():
    """With w = 1 it is the model to the last bit; another w draws in proportion to p(x | c)^w p(x)^(1 - w)."""
    table = jnp.asarray(RNG.normal(size=(3, K)), jnp.float32)  # of two conditions, and of none
    bind = lambda cond: lambda x, t: jnp.broadcast_to(table[cond][:, None, None], (*x.shape, K))  # noqa: E731
    cond, x, t = jnp.array([0, 1] * 1000), start(2000, 1), jnp.ones(2000)
    np.testing.assert_array_equal(guidance.classifier_free(bind, cond, 2, 1.0)(x, t), bind(cond)(x, t))
    sampler = samplers.unmask(guidance.classifier_free(bind, cond, 2, 2.5), LINEAR, K)
    drawn = np.asarray(samplers.sample(sampler, jax.random.key(0), x, ONE_STEP)).ravel()
    p = np.exp(np.asarray(table, np.float64))
    p /= p.sum(1, keepdims=True)
    for c in (0, 1):
        expected = p[c] ** 2.5 / p[2] ** 1.5
        found = np.bincount(drawn[c::2], minlength=K)
        assert chisquare(found, 1000 * expected / expected.sum()).pvalue > 1e-3
