"""A Markov chain's closed forms against sums over all sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from diffusion_jax.data import markov
from tests import enumerated

K, L = 3, 4
RNG = np.random.default_rng(0)
INITIAL, TRANSITION = RNG.dirichlet(np.ones(K)), RNG.dirichlet(np.ones(K), K)
CHAIN = markov.MarkovChain(jnp.asarray(INITIAL, jnp.float32), jnp.asarray(TRANSITION, jnp.float32))
JOINT = enumerated.joint(INITIAL, TRANSITION, L)
ALL = jnp.asarray(enumerated.sequences(K, L))[..., None]


def test_the_posterior_is_that_of_all_sequences():
    x_t = np.array(list(np.ndindex(*(K + 1,) * L)))
    expected = np.stack([enumerated.conditional(JOINT, K, L, x) for x in x_t])
    log_p = markov.categorical(CHAIN)(jnp.asarray(x_t)[..., None], jnp.zeros(len(x_t)))
    assert log_p.shape == (len(x_t), L, 1, K)
    np.testing.assert_allclose(jnp.exp(log_p[:, :, 0]), expected, atol=1e-6)


def test_log_prob_and_entropy():
    np.testing.assert_allclose(markov.log_prob(CHAIN, ALL), np.log(JOINT), rtol=1e-5)
    np.testing.assert_allclose(markov.entropy(CHAIN, L), -(JOINT * np.log(JOINT)).sum(), rtol=1e-6)


def test_samples_have_the_law():
    x = markov.sample(CHAIN, jax.random.key(0), 20_000, L)
    found = np.bincount(np.ravel_multi_index(np.asarray(x)[..., 0].T, (K,) * L), minlength=K**L)
    assert chisquare(found, 20_000 * JOINT).pvalue > 1e-3


@pytest.mark.parametrize('k', [2, 5])
def test_the_ring_is_uniform_and_goes_round(k):
    chain = markov.cyclic(k, stay=0.2, jump=0.5)
    np.testing.assert_allclose(chain.transition.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(chain.initial @ chain.transition, chain.initial, rtol=1e-6)
    expected = {0: 0.5 * 0.2 + 0.5 / k, 1: 0.5 * 0.8 + 0.5 / k}
    np.testing.assert_allclose(chain.transition[k - 1, k - 1], expected[0], rtol=1e-6)
    np.testing.assert_allclose(chain.transition[k - 1, 0], expected[1], rtol=1e-6)
