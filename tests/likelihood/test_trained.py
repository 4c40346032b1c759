"""The command's trained dequantiser on Gaussian data of four levels, whose bits are differences of its cdf."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from diffusion_jax import builders, likelihood, nets
from diffusion_jax.data import kinds
from diffusion_jax.data.sources import Source
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.types import Models
from tests import tiny

M, STD, LEVELS = 0.1, 0.15, 4
EDGES = np.array([-np.inf, -2 / 3, 0, 2 / 3, np.inf])
MASS = np.diff(norm.cdf(EDGES, M, STD))


@pytest.fixture(scope='module')
def gaussian():
    """A run whose model is the exact denoiser of N(M, STD^2) in every one of 2x2 pixels."""
    config = tiny.digits()
    experiment = builders.build(config)
    schedule = experiment.schedule

    def denoise(params, cond, key):
        def exact(x, t):
            a, s = (f(t).reshape(-1, 1, 1, 1) for f in (schedule.alpha, schedule.sigma))
            return M + a * STD**2 / (a**2 * STD**2 + s**2) * (x - a * M)

        return exact

    x = np.random.default_rng(0).choice(LEVELS, (512, 2, 2, 1), p=MASS).astype(np.uint8)
    source = Source(x, None, kinds.images((2, 2, 1), LEVELS), None, 'gaussian/train')
    experiment = experiment._replace(source=source, models=Models(denoise=denoise))
    return runs.Run(config, experiment, {}, 0, sharding.make_mesh(1))


@pytest.mark.slow
def test_the_trained_bound_is_below_the_uniform_one_and_near_the_exact_bits(gaussian):
    source = gaussian.experiment.source
    exact = -np.log2(MASS)[source.x[:256]].mean()
    uniform, trained = (
        runs.bits_per_dim(gaussian, source, 256, method={'name': 'ode', **method})
        for method in ({}, {'dequantise': 'trained', 'fit_steps': 400})
    )
    assert uniform['bits/dim'] > exact + 1
    assert abs(trained['bits/dim'] - exact) < 4 * trained['standard error'] + 0.03, (exact, trained, uniform)


def test_a_score_is_the_derivative_of_the_log_density(x64):
    """On VE, where z = x_t / r is N(cos M, cos^2 STD^2 + sin^2) and r is not 1."""
    alpha, sigma = 1.0, 0.7
    score = likelihood.score_at(
        lambda x, t: M + STD**2 / (STD**2 + t.reshape(-1, 1, 1, 1) ** 2) * (x - M), alpha, sigma, sigma
    )
    z = jnp.linspace(-1, 1, 12).reshape(3, 2, 2, 1)
    r = np.hypot(alpha, sigma)
    std = np.hypot(alpha * STD, sigma) / r
    want = jax.vmap(jax.grad(lambda z: jax.scipy.stats.norm.logpdf(z, alpha / r * M, std)))(z.ravel())
    np.testing.assert_allclose(score(z).ravel(), want, rtol=1e-6)


@pytest.mark.parametrize('shape', [(5,), (5, 2), (4, 4, 3), (3, 4, 4, 1)])
def test_a_fresh_network_is_the_uniform_dequantiser(shape):
    net = nets.Dequantiser()
    x = jax.random.uniform(jax.random.key(0), (3, *shape), minval=-1)
    params = net.init(jax.random.key(1), x)
    y, log_q = likelihood.variational(lambda x: net.apply(params, x), 16)(jax.random.key(2), x)
    np.testing.assert_allclose(log_q, np.prod(shape) * np.log(15 / 2), rtol=1e-5)
    assert np.abs(y - x).max() <= 1 / 15 + 1e-6
    assert y.shape == x.shape


def test_arguments_of_a_trained_dequantiser_that_there_are_not(gaussian):
    source, settings = gaussian.experiment.source, gaussian.config['eval']
    for spec, message in [
        ({'fit_steps': 5}, '--bits: ode: fit_steps=5 is of dequantise=trained, not of uniform'),
        ({'dequantise': 'trained', 'fit_steps': 0}, '--bits: ode: fit_steps must be at least 1; got 0'),
    ]:
        with pytest.raises(UserError) as error:
            builders.build_bits(gaussian.experiment, source, settings, {'name': 'ode', **spec})
        assert str(error.value) == message
