"""The ODE's log-density against the exact one of a mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from diffusion_jax import likelihood, schedules
from tests.oracles import MIXTURE
from tests.samplers.test_ancestral import PATHS, bind

# Schedules that end in pure noise, where the prior N(0, sigma^2) is the marginal itself.
ENDED = {
    'LinearVP': (schedules.LinearVP(beta_max=60.0), 1.0),
    'VE': (schedules.VE(), 1e5),
    'RectifiedFlow': PATHS['RectifiedFlow'],
    'TrigFlow': PATHS['TrigFlow'],
}
X = np.random.default_rng(0).normal(size=(6, 2))
KEY = jax.random.key(0)
TIGHT = {'sigma_min': 3e-4, 'rtol': 1e-6, 'atol': 1e-6}


@pytest.mark.parametrize(
    'name',
    ['RectifiedFlow', *(pytest.param(name, marks=pytest.mark.slow) for name in ENDED if name != 'RectifiedFlow')],
)
def test_exact_divergence_gives_the_exact_density(name, x64):
    schedule, t_max = ENDED[name]
    density = likelihood.ode(bind(MIXTURE, schedule), schedule, t_max, likelihood.exact, **TIGHT)
    terms = jax.jit(density)(KEY, jnp.asarray(X))
    np.testing.assert_allclose(terms.log_p, MIXTURE.log_p(X), atol=1e-4)
    # What is left is the noise of sigma_min: against the density of data noised as much it is the solver's tolerance.
    angle = np.arctan(3e-4)
    np.testing.assert_allclose(terms.log_p, MIXTURE.log_p(X, np.cos(angle), np.sin(angle)), atol=3e-5)
    np.testing.assert_allclose(terms.prior + terms.change, terms.log_p, rtol=1e-12)
    assert terms.steps.max() < 60


def test_hutchinson_is_unbiased(x64):
    schedule, t_max = ENDED['RectifiedFlow']
    density = likelihood.ode(bind(MIXTURE, schedule), schedule, t_max, likelihood.hutchinson(2), **TIGHT)
    x = jnp.tile(jnp.asarray(X[:3]), (200, 1))
    got = np.asarray(jax.jit(density)(KEY, x).log_p).reshape(200, 3)
    standard_error = got.std(0, ddof=1) / np.sqrt(200)
    assert (standard_error > 1e-3).all()  # the probes differ between samples
    assert (np.abs(got.mean(0) - MIXTURE.log_p(X[:3])) < 3 * standard_error).all()


def test_a_sample_does_not_depend_on_its_batch_and_has_its_own_condition(x64):
    """The denoiser holds one condition per sample, the variance of its data; every sample has its own steps."""
    schedule = schedules.RectifiedFlow()

    @jax.jit
    def log_p(cond, x):
        def denoise(x, t):
            return (cond * (1 - t) / (cond * (1 - t) ** 2 + t**2))[:, None] * x

        return likelihood.ode(denoise, schedule, 1.0, likelihood.exact, rtol=1e-4, atol=1e-4)(KEY, x)

    cond, x = jnp.array([0.1, 0.5, 3.0, 0.9]), jnp.asarray(X[:4])
    together = log_p(cond, x)
    np.testing.assert_allclose(together.log_p, norm.logpdf(x, scale=np.sqrt(cond)[:, None]).sum(1), atol=1e-3)
    rows = np.array([3, 0, 3, 0])  # of the same shape, so that nothing is compiled again
    apart = log_p(cond[rows], x[rows])
    np.testing.assert_allclose(apart.log_p, together.log_p[rows], rtol=1e-10)
    np.testing.assert_array_equal(apart.steps, together.steps[rows])
    assert len(set(together.steps.tolist())) > 1


def test_probes_refuse_to_be_none():
    with pytest.raises(ValueError, match='n must be at least 1; got 0'):
        likelihood.hutchinson(0)
