"""Spectra, structure functions and scores of forecasts against closed forms."""

import jax
import numpy as np
import pytest
from scipy import stats

from diffusion_jax.data import gaussian_fields
from diffusion_jax.evaluation import fields


def test_a_wave_has_its_power_in_its_shell():
    """Of a cosine of amplitude a over N cells, a^2 N / 4 in each of two coefficients."""
    y, x = np.mgrid[:16, :16]
    wave = 2.0 * np.cos(2 * np.pi * 3 * x / 16 + 0.3) + 1.0
    other = np.cos(2 * np.pi * (3 * x + 4 * y) / 16)
    power = fields.spectrum(np.stack([np.stack([wave, other], -1)] * 2)).power
    shell = fields.shells(16, 16)
    expected = np.zeros((9, 2))
    expected[3, 0] = 2 * (2.0**2 * 256 / 4) / (shell == 3).sum()
    expected[0, 0] = 256
    expected[5, 1] = 2 * 256 / 4 / (shell == 5).sum()
    np.testing.assert_allclose(power, expected, atol=1e-9)


def test_shells_end_at_the_resolved_range():
    shell = fields.shells(8, 12)
    assert shell.max() == 4
    assert shell[0, 0] == 0
    assert shell[4, 0] == 4
    assert shell[2, 2] == 3  # of 2.83 waves
    assert shell[0, 5] == shell[0, 6] == shell[4, 4] == -1


def test_samples_of_a_law_have_its_spectrum_and_structure():
    """Within errors that are right themselves: a tenth of the deviations is beyond 1.64 of them."""
    law = gaussian_fields.advected(16)
    x = np.asarray(gaussian_fields.sample(law, jax.random.key(0), 2000))
    found = fields.spectrum(x)
    z = (found.power - fields.spectrum_of_law(np.asarray(law.spectrum))) / found.error
    assert np.abs(z).max() < 4
    assert 0.5 < z.std() < 1.5
    for p in (2.0, 3.0):
        exact = fields.structure_function_of_law(np.asarray(law.spectrum), p)
        np.testing.assert_allclose(fields.structure_function(x, p), exact, rtol=0.03)


def test_structure_functions_are_of_differences():
    """Of a ramp round the circle all differences are known."""
    x = np.broadcast_to(np.arange(6.0)[None, None, :, None], (1, 2, 6, 1))
    np.testing.assert_allclose(fields.structure_function(x, 1.0)[:, 0], [(5 * 1 + 5) / 6, (4 * 2 + 2 * 4) / 6, 3])


@pytest.mark.parametrize('m', [2, 5])
def test_the_score_is_unbiased_in_the_number_of_members(m):
    """Against the closed form for a normal law, whose members are wrong by a shift and a factor."""
    mean, std, n = 0.4, 1.5, 200_000
    rng = np.random.default_rng(0)
    members, y = mean + std * rng.normal(size=(m, n)), rng.normal(size=n)
    z = (y - mean) / std
    exact = std * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
    scores = fields.crps(members, y)
    assert abs((scores - exact).mean()) < 4 * (scores - exact).std() / np.sqrt(n)


def test_the_law_itself_has_the_least_score():
    rng = np.random.default_rng(1)
    y = 0.7 * rng.normal(size=100_000)
    scores = [fields.crps(0.7 * a * rng.normal(size=(8, len(y))), y).mean() for a in (0.6, 1.0, 1.5)]
    np.testing.assert_allclose(scores[1], fields.gaussian_crps(0.7), rtol=0.02)
    assert scores[1] < min(scores[0], scores[2])


@pytest.mark.parametrize('m', [2, 20])
def test_spread_over_error_is_one_for_members_like_the_truth(m):
    rng = np.random.default_rng(2)
    centre = rng.normal(size=50_000)
    y, members = centre + 0.5 * rng.normal(size=50_000), centre + 0.5 * rng.normal(size=(m, 50_000))
    np.testing.assert_allclose(fields.spread_over_error(members, y), 1, rtol=0.02)
    np.testing.assert_allclose(fields.spread_over_error(centre + 0.5 * (members - centre), y), 0.5, rtol=0.3)
