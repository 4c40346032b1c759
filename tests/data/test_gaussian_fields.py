"""Gaussian fields: the law of what is drawn, the exact denoiser and the exact forecast, by plain covariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders, schedules
from diffusion_jax.data import fields, gaussian_fields
from diffusion_jax.data.errors import DataError

SIZE = 4
LAWS = {
    'power_law': lambda: gaussian_fields.power_law(SIZE, slope=2.0),
    'advected': lambda: gaussian_fields.advected(SIZE, shift=1, damping=0.2, diffusion=0.1),
}


def covariance(law):
    """Of all values `[H W C, H W C]`, by summing waves: E x_i(r) x_j(r + d) = mean_k Re S_ji(k) e^(2 pi i k d / H)."""
    S = np.asarray(law.spectrum)
    h, w, c, _ = S.shape
    r = np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing='ij'), -1).reshape(-1, 2)
    apart = r[None] - r[:, None]  # d = r' - r
    wave = np.exp(2j * np.pi * (np.einsum('abi,ki->abk', apart, r) / h))
    by_cell = np.einsum('abk,kji->aibj', wave, S.reshape(h * w, c, c)).real / (h * w)
    return by_cell.reshape(h * w * c, h * w * c)


@pytest.mark.parametrize('name', LAWS)
def test_what_is_drawn_has_the_covariance_of_the_law(name, x64):
    law, n = LAWS[name](), 10_000
    x = np.asarray(gaussian_fields.sample(law, jax.random.key(0), n)).reshape(n, -1)
    exact = covariance(law)
    np.testing.assert_allclose(np.diag(exact), 0.25, rtol=1e-9)
    # A covariance of n draws varies by at most sqrt(2 / n) of the product of the two standard deviations.
    assert np.abs(x.T @ x / n - exact).max() < 5 * np.sqrt(2 / n) * 0.25
    assert np.abs(x.mean(0)).max() < 5 * 0.5 / np.sqrt(n)


@pytest.mark.parametrize('name', LAWS)
@pytest.mark.parametrize('t', [0.0, 0.3, 1.0])
def test_the_denoiser_is_the_conditional_mean(name, t, x64):
    """With C the covariance, alpha C (alpha^2 C + sigma^2 I)^-1 x, from noise alone to clean data."""
    law, schedule = LAWS[name](), schedules.RectifiedFlow()
    C = covariance(law)
    alpha, sigma = 1 - t, t
    x = np.random.default_rng(0).multivariate_normal(np.zeros(len(C)), alpha**2 * C + sigma**2 * np.eye(len(C)), 3)
    shape = 3, *law.spectrum.shape[:3]
    found = gaussian_fields.denoiser(law, schedule)(jnp.asarray(x.reshape(shape)), jnp.full(3, t))
    expected = x @ np.linalg.solve(alpha**2 * C + sigma**2 * np.eye(len(C)), alpha * C)
    np.testing.assert_allclose(np.asarray(found).reshape(3, -1), expected, atol=1e-9)


def test_a_state_moves_by_its_shift(x64):
    """Hardly damped, what follows is the state one cell further along both axes."""
    law = gaussian_fields.advected(8, shift=3, damping=1e-9, diffusion=0.0)
    before, after = np.moveaxis(np.asarray(gaussian_fields.sample(law, jax.random.key(0), 2)), -1, 0)
    np.testing.assert_allclose(after, np.roll(before, (3, 3), (1, 2)), atol=1e-3)


def test_the_forecast_is_the_conditional_law(x64):
    law = LAWS['advected']()
    C = covariance(law).reshape(SIZE**2, 2, SIZE**2, 2)
    C_aa, C_ba, C_bb = C[:, 0, :, 0], C[:, 1, :, 0], C[:, 1, :, 1]
    gain = C_ba @ np.linalg.inv(C_aa)
    exact = gaussian_fields.forecast(law)
    x = np.random.default_rng(0).normal(size=(2, SIZE, SIZE, 1))
    np.testing.assert_allclose(
        np.asarray(exact.mean(jnp.asarray(x))).reshape(2, -1), x.reshape(2, -1) @ gain.T, atol=1e-9
    )
    left = C_bb - gain @ C_ba.T
    np.testing.assert_allclose(covariance(exact.remainder), left, atol=1e-9)
    np.testing.assert_allclose(float(exact.std) ** 2, left[0, 0], rtol=1e-9)


def test_as_data():
    """Splits differ, a state is told where it is asked for, and what cannot be told is refused."""
    law = LAWS['advected']()
    whole, test = (fields.gaussian(law, 10, 0, split) for split in ('train', 'test'))
    assert whole.x.shape == (10, SIZE, SIZE, 2)
    assert not np.isclose(whole.x, test.x).any()
    told = fields.gaussian(law, 10, 0, condition='before')
    np.testing.assert_array_equal(told.x, whole.x[..., 1:])
    np.testing.assert_array_equal(told.cond.values, whole.x[..., :1])
    assert told.cond.mask.all()
    for name, value in (('split', 'valid'), ('condition', 'after')):
        with pytest.raises(DataError, match=value):
            fields.gaussian(law, 10, 0, **{name: value})
    with pytest.raises(DataError, match='several channels'):
        fields.gaussian(LAWS['power_law'](), 10, 0, condition='before')


def test_a_config_names_the_law():
    law = {'name': 'power_law', 'size': 8}
    source = builders.build_source({'name': 'gaussian_fields', 'law': law, 'n': 5, 'seed': 1})
    assert (source.kind.name, source.kind.shape, source.kind.levels) == ('field', (8, 8, 1), None)
