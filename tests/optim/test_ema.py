"""Averages against their closed forms."""

import fractions

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from diffusion_jax.optim import ema as emas

PARAMS = (
    np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
)  # those after steps 1 .. 7, the first before


def run(ema):
    ema, average = jax.jit(ema), {'w': jnp.asarray(PARAMS[0])}
    for k in range(7):
        average = ema(average, {'w': jnp.asarray(PARAMS[k + 1])}, jnp.int32(k))
    return average['w']


@pytest.mark.parametrize('decay', [0.5, 0.9, 0.9999])
def test_constant_is_the_geometric_sum(decay):
    weights = np.append(decay**7, (1 - decay) * decay ** np.arange(6, -1, -1))
    np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(run(emas.constant(decay)), weights @ PARAMS, atol=1e-6)


def test_warm_up_is_its_formula():
    expected, decays = PARAMS[0].astype(np.float64), []
    for k in range(7):
        decays.append(min(0.3, (1 + k) / (10 + k)))
        expected = decays[-1] * expected + (1 - decays[-1]) * PARAMS[k + 1]
    assert decays[0] == 0.1
    assert decays[1] == 2 / 11
    assert decays[-1] == 0.3
    np.testing.assert_allclose(run(emas.warm_up(0.3)), expected, atol=1e-6)


def test_none_is_the_current_parameters():
    np.testing.assert_array_equal(run(emas.none()), PARAMS[-1])


def sigma_rel_of(gamma):
    """By scipy: t / T of the profile t^gamma is distributed as Beta(gamma + 1, 1)."""
    return float(scipy.stats.beta(gamma + 1, 1).std())


@pytest.mark.parametrize('gamma', [0.01, 0.5, 1.0, 6.94, 16.97, 100.0, 1e4])
def test_gamma_is_that_of_the_beta_distribution(gamma):
    np.testing.assert_allclose(emas.gamma_of(sigma_rel_of(gamma)), gamma, rtol=1e-6, atol=1e-9)


def test_gamma_of_the_papers_two_tracks():
    """What NVlabs/edm2's `std_to_exp` says of 0.05 and 0.10."""
    np.testing.assert_allclose([emas.gamma_of(s) for s in (0.05, 0.1)], [16.9721986023, 6.9372039376], rtol=1e-10)


@pytest.mark.parametrize('sigma_rel', [0.0, -0.1, 0.288675, 0.5, 1e-7, float('nan'), float('inf')])
def test_lengths_that_no_profile_has(sigma_rel):
    with pytest.raises(ValueError, match=r'^sigma_rel must be in \[1e-6, 0.288675\); got'):
        emas.power(sigma_rel)


@pytest.mark.parametrize('sigma_rel', [0.02, 0.1, 0.28])
def test_power_has_the_weights_of_its_profile(sigma_rel):
    """Those of an integral of (gamma + 1) t^gamma / 7^(gamma + 1) over each step; of the initial parameters nothing."""
    profile = scipy.stats.beta(emas.gamma_of(sigma_rel) + 1, 1).cdf
    weights = np.array([0, *np.diff(profile(np.arange(8) / 7))])
    np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(run(emas.power(sigma_rel)), weights @ PARAMS, atol=1e-6)


@pytest.mark.parametrize('k', [1, 2, 1000, 10**6, 10**8])
def test_power_takes_its_share_after_any_number_of_steps(k):
    """1 - (1 - 1/k)^(gamma + 1), by exact fractions of Python's integers where gamma is one."""
    gamma = 7
    exact = float(1 - (1 - fractions.Fraction(1, k)) ** (gamma + 1))
    share = jax.jit(emas.power(sigma_rel_of(gamma)))(jnp.zeros(()), jnp.ones(()), jnp.int32(k - 1))
    np.testing.assert_allclose(share, exact, rtol=2e-6)
