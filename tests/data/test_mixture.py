"""The mixture's closed forms against numerical integration, automatic differentiation and sampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from diffusion_jax.data import mixture


class Path(NamedTuple):
    """alpha and sigma as given constants."""

    a: float
    s: float

    t_max = 1.0

    def alpha(self, t):
        return jnp.full_like(t, self.a)

    def sigma(self, t):
        return jnp.full_like(t, self.s)


PATHS = [Path(0.8, 0.6), Path(1.0, 2.0), Path(0.3, 0.05), Path(1.0, 0.01)]


def as_float64(components):
    return jax.tree.map(lambda part: jnp.asarray(np.asarray(part), jnp.float64), components)


@pytest.mark.parametrize('path', PATHS)
def test_one_dimension_against_quadrature(path):
    with jax.enable_x64(True):
        components = as_float64(mixture.random(jax.random.key(0), 3, 1))
        x = jnp.array([[-1.3], [0.0], [0.4], [2.5]])
        t = jnp.zeros(4)
        mean = mixture.denoiser(components, path)(x, t)
        log_p = mixture.log_prob(components, path, x, t)
        assert mean.dtype == log_p.dtype == jnp.float64
        grid = np.linspace(-16, 16, 200_001)
        prior = np.array([np.asarray(part)[:, 0] for part in components[1:]])
        p_0 = sum(
            w * stats.norm.pdf(grid, m, s) for w, m, s in zip(np.asarray(components.weights), *prior, strict=True)
        )
        for row in range(4):
            joint = p_0 * stats.norm.pdf(float(x[row, 0]), path.a * grid, path.s)
            evidence = integrate.trapezoid(joint, grid)
            assert np.isclose(log_p[row], np.log(evidence), rtol=1e-9)
            assert np.isclose(mean[row, 0], integrate.trapezoid(grid * joint, grid) / evidence, rtol=1e-8)


def test_two_dimensions_against_quadrature():
    path = Path(0.7, 0.5)
    with jax.enable_x64(True):
        components = as_float64(mixture.random(jax.random.key(1), 3, 2))
        x = np.array([0.3, -0.4])
        mean = mixture.denoiser(components, path)(jnp.asarray(x)[None], jnp.zeros(1))[0]
        log_p = mixture.log_prob(components, path, jnp.asarray(x)[None], jnp.zeros(1))[0]
    line = np.linspace(-6, 6, 801)
    points = np.stack(np.meshgrid(line, line, indexing='ij'), -1)
    weights, means, stds = (np.asarray(part) for part in components)
    p_0 = sum(w * stats.norm.pdf(points, m, s).prod(-1) for w, m, s in zip(weights, means, stds, strict=True))
    joint = p_0 * stats.norm.pdf(x, path.a * points, path.s).prod(-1)
    cell = (line[1] - line[0]) ** 2
    np.testing.assert_allclose(log_p, np.log(joint.sum() * cell), rtol=1e-7)
    np.testing.assert_allclose(mean, (points * joint[..., None]).sum((0, 1)) / joint.sum(), rtol=1e-7)


@pytest.mark.parametrize('path', PATHS)
def test_score_is_the_gradient_and_tweedie_holds(path):
    with jax.enable_x64(True):
        components = as_float64(mixture.random(jax.random.key(2), 4, 3))
        x, t = jax.random.normal(jax.random.key(3), (16, 3), jnp.float64), jnp.zeros(16)
        score = mixture.score(components, path, x, t)
        by_autodiff = jax.grad(lambda x: mixture.log_prob(components, path, x, t).sum())(x)
        np.testing.assert_allclose(score, by_autodiff, rtol=1e-8, atol=1e-8)
        # Tweedie's formula: E[x_0 | x_t] = (x_t + sigma^2 score) / alpha.
        denoised = mixture.denoiser(components, path)(x, t)
        np.testing.assert_allclose(denoised, (x + path.s**2 * score) / path.a, rtol=1e-8, atol=1e-8)


def test_no_signal_returns_the_prior_mean():
    components = mixture.random(jax.random.key(0), 3, 2)
    x = 5 * jax.random.normal(jax.random.key(1), (4, 2))
    denoised = jax.jit(mixture.denoiser(components, Path(0.0, 1.0)))(x, jnp.ones(4))
    expected = np.asarray(components.weights) @ np.asarray(components.means)
    np.testing.assert_allclose(denoised, np.tile(expected, (4, 1)), rtol=1e-5)


@pytest.mark.parametrize('std', [0.05, 0.0])
def test_no_noise_returns_the_input(std):
    components = mixture.ring(8, std=std)
    x = components.means  # the only possible values when the components are points
    denoised = mixture.denoiser(components, Path(0.5, 0.0))(0.5 * x, jnp.zeros(8))
    np.testing.assert_allclose(denoised, x, atol=1e-6)


def test_points_at_small_noise_give_the_nearest_point():
    components = mixture.ring(8, std=0.0)
    x = components.means + 0.1
    for sigma in (1e-3, 1e-12, 0.0):
        denoised = mixture.denoiser(components, Path(1.0, sigma))(x, jnp.zeros(8))
        np.testing.assert_allclose(denoised, components.means, atol=1e-6)


def test_everything_is_finite_far_away():
    components = mixture.ring(8, std=0.01)
    x, t = jnp.array([[1e4, -1e4], [1e-20, 0.0]]), jnp.zeros(2)
    for path in (Path(1.0, 0.0), Path(0.0, 1.0), Path(1.0, 80.0)):
        outputs = (
            mixture.denoiser(components, path)(x, t),
            mixture.score(components, path, x, t),
            mixture.log_prob(components, path, x, t),
            jax.grad(lambda x, path=path: mixture.denoiser(components, path)(x, t).sum())(x),
        )
        assert all(jnp.isfinite(output).all() for output in outputs)


def test_samples_have_the_moments_of_the_mixture():
    components = mixture.random(jax.random.key(5), 3, 2)
    weights, means, stds = (np.asarray(part, np.float64) for part in components)
    x, component = mixture.sample_labelled(components, jax.random.key(6), 100_000)
    np.testing.assert_array_equal(x, mixture.sample(components, jax.random.key(6), 100_000))
    mean = weights @ means
    covariance = np.diag(weights @ stds**2) + (means - mean).T @ np.diag(weights) @ (means - mean)
    np.testing.assert_allclose(np.mean(x, 0), mean, atol=5 * np.sqrt(covariance.max() / 1e5))
    np.testing.assert_allclose(np.cov(np.asarray(x).T), covariance, atol=0.02)
    np.testing.assert_allclose(np.bincount(component) / 1e5, weights, atol=0.01)
    for k in range(3):
        np.testing.assert_allclose(np.std(np.asarray(x)[np.asarray(component) == k], 0), stds[k], rtol=0.02)


def test_constructors_need_a_component():
    for make, most in ((mixture.ring, 2**31), (mixture.grid, 2**15), (mixture.cloud, 2**31)):
        for k in (0, -1, most):
            with pytest.raises(ValueError, match='k must be a whole number in'):
                make(k)


def test_a_cloud_has_the_standard_deviation_that_it_says():
    clouds = [mixture.cloud(k=16, d=64, scale=scale, seed=seed) for scale, seed in ((0.5, 0), (0.5, 1), (2.0, 0))]
    spreads = [float(jnp.std(mixture.sample(c, jax.random.key(0), 20_000), axis=0).mean()) for c in clouds]
    np.testing.assert_allclose(spreads, [0.5, 0.5, 2.0], rtol=0.1)
    assert clouds[0].means.shape == (16, 64)
    np.testing.assert_allclose(clouds[2].means, 4 * clouds[0].means, rtol=1e-6)
    assert not np.allclose(clouds[0].means, clouds[1].means)
    for arguments, name in (({'d': 0}, 'd'), ({'scale': 0.0}, 'scale'), ({'seed': -1}, 'seed')):
        with pytest.raises(ValueError, match=f'^{name} must be'):
            mixture.cloud(**arguments)


def test_constructors():
    ring = mixture.ring(6, radius=2.0, std=0.1)
    np.testing.assert_allclose(jnp.linalg.norm(ring.means, axis=1), 2.0, rtol=1e-6)
    grid = mixture.grid(3, extent=2.0)
    expected = {(a, b) for a in (-2, 0, 2) for b in (-2, 0, 2)}
    assert {tuple(m) for m in np.asarray(grid.means)} == expected
    for components in (ring, grid, mixture.random(jax.random.key(0), 4, 7)):
        np.testing.assert_allclose(components.weights.sum(), 1, rtol=1e-6)
        assert components.means.shape == components.stds.shape
