"""Scores of anomalies where their law is known: linear models of a Gaussian, and a judge that is told the answer."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffusion_jax import editing, likelihood, samplers, schedules, times
from diffusion_jax.axes import per_sample
from diffusion_jax.evaluation import anomaly
from experiments.anomaly import baselines

VE = schedules.VE()
MEAN, VARIANCE = np.array([0.3, -0.2, 0.0, 0.1]), np.array([0.5, 0.1, 0.02, 0.3])
M, V = (jnp.asarray(a, jnp.float32)[None] for a in (MEAN, VARIANCE))
GRID = times.karras(6, sigma_max=3.0)
KEY = jax.random.key(0)


def denoise(x, t):
    """E[x_0 | x_t] of N(MEAN, diag VARIANCE): shrinkage to the mean in each direction."""
    s2 = per_sample(t, x) ** 2
    return M + V / (V + s2) * (x - M)


def consistency(x, t):
    """The end of the probability-flow ODE of the same law."""
    s2 = per_sample(t, x) ** 2
    return M + jnp.sqrt(V / (V + s2)) * (x - M)


def rows(n=5):
    return jnp.asarray(np.random.default_rng(1).normal(0, 1, (n, 4)), jnp.float32)


def ddim_factor(t, s):
    """What an Euler step of the ODE from t > 0 to s multiplies x - MEAN by."""
    g = VARIANCE / (VARIANCE + t**2)
    return g + s / t * (1 - g)


def decoded(part):
    return np.prod([ddim_factor(t, s) for t, s in itertools.pairwise(part)], axis=0)


def encoded(part):
    up = part[::-1]
    first = 1 + up[1] ** 2 / (VARIANCE + up[1] ** 2)  # clean data have no noise of their own: it is the model's at s
    return first * np.prod([ddim_factor(t, s) for t, s in itertools.pairwise(up[1:])], axis=0)


@pytest.mark.parametrize('rebuild', [anomaly.latent(denoise, VE, np.zeros(1)),
                                     anomaly.noised(samplers.ddim(denoise, VE), VE, np.zeros(1))])  # fmt: skip
def test_at_depth_0_the_error_is_0(rebuild):
    np.testing.assert_array_equal(anomaly.error(rebuild)(KEY, rows()), 0)


@pytest.mark.parametrize('depth', [0.3, 3.0])
def test_the_latent_of_a_linear_model_returns_with_the_error_of_its_grid(depth):
    part = editing.part_below(GRID, depth)
    off = (encoded(part) * decoded(part) - 1) * np.asarray(rows() - M)
    found = anomaly.error(anomaly.latent(denoise, VE, part))(KEY, rows())
    np.testing.assert_allclose(found, (off**2).mean(1), rtol=1e-4)


def test_more_steps_return_anything_to_itself():
    """The ODE's exact solution tells no anomaly from anything: what the score measures is the grid."""
    errors = [anomaly.error(anomaly.latent(denoise, VE, times.karras(n, sigma_max=3.0)))(KEY, rows()) for n in (8, 256)]
    assert (errors[1] < errors[0] / 100).all()


T = 0.7
PART = editing.part_below(GRID, T)


@pytest.mark.parametrize(
    ('rebuild', 'factor'),
    [
        (anomaly.one_step(denoise, VE, T), VARIANCE / (VARIANCE + T**2)),
        (anomaly.one_step(consistency, VE, T), np.sqrt(VARIANCE / (VARIANCE + T**2))),
        (anomaly.noised(samplers.ddim(denoise, VE), VE, PART), decoded(PART)),
    ],
    ids=['one-denoising', 'consistency', 'ddim'],
)
def test_from_noise_the_expected_error_is_shrinkage_and_noise(rebuild, factor):
    """E || c (x + t z - mean) + mean - x ||^2 = (1 - c)^2 (x - mean)^2 + c^2 t^2 in each direction."""
    n = 4000
    found = np.asarray(jax.jit(anomaly.error(rebuild, n))(KEY, rows()))
    away = np.asarray(rows() - M) ** 2
    expected = ((1 - factor) ** 2 * away + factor**2 * T**2).mean(1)
    b = factor * T
    variance = (2 * b**4 + 4 * b**2 * (1 - factor) ** 2 * away).sum(1) / 16  # of a square of a + b z, over 4 values
    assert (np.abs(found - expected) < 4 * np.sqrt(variance / n)).all()


def test_on_a_plane_one_denoising_is_pca():
    """Without variance across a plane and much of it within, the error is PCA's and a constant."""
    rng, d, k, t = np.random.default_rng(0), 6, 3, 0.5
    plane = np.linalg.qr(rng.normal(size=(d, d)))[0][:, :k]
    train = (10 * rng.normal(size=(400, k))) @ plane.T + 1
    centre = train.mean(0)

    def project(x, t):
        return centre[None] + (x - centre[None]) @ (plane @ plane.T)

    x = train[:8] + rng.normal(size=(8, d)) * np.linspace(0.1, 2, 8)[:, None]
    pca = baselines.fitted(train, 0)[baselines.PCA](x)
    n = 4000
    found = np.asarray(jax.jit(anomaly.error(anomaly.one_step(project, VE, t), n))(KEY, jnp.asarray(x)))
    constant = k * t**2 / d
    np.testing.assert_allclose(found - constant, pca, atol=4 * t**2 * np.sqrt(2 * k / n) / d + 1e-5)
    np.testing.assert_array_equal(np.argsort(found), np.argsort(pca))


def test_the_likelihood_is_the_density_and_orders_by_it():
    x = rows(8)
    log_p = likelihood.ode(denoise, VE, 80.0, likelihood.exact, 1e-2)
    found = np.asarray(jax.jit(anomaly.surprise(lambda key, y: log_p(key, y).log_p))(KEY, x))
    exact = stats.norm.logpdf(x, MEAN, np.sqrt(VARIANCE + 1e-4)).sum(1)
    np.testing.assert_allclose(found, -exact / np.log(2) / 4, atol=0.01)
    np.testing.assert_array_equal(np.argsort(found), np.argsort(-exact))


def test_quantised_rows_cost_what_their_bins_hold():
    """Of a density that is constant over bins: -log2 of one bin's share of it, with no error of the dequantiser."""
    levels = 5
    dequantise = likelihood.uniform(levels)
    score = anomaly.surprise(lambda key, y: jnp.full(len(y), 2 * np.log(1 / 2.5)), dequantise)  # of width 2.5
    np.testing.assert_allclose(score(KEY, jnp.zeros((3, 2))), np.log2(levels), rtol=1e-5)


def test_the_likeliest_point_is_not_typical():
    """|-log p(0) - H| = d / 2 nats of N(0, 1) in d dimensions, and 0 on the sphere of radius sqrt(d)."""
    d = 200
    draws = np.random.default_rng(0).normal(size=(4000, d))

    def surprise(x):
        return -stats.norm.logpdf(x).sum(1)

    x = np.stack([np.zeros(d), np.ones(d), np.full(d, np.sqrt(2))])
    found = anomaly.atypicality(surprise(x), surprise(draws))
    np.testing.assert_allclose(found, [d / 2, 0, d / 2], atol=4 * np.sqrt(d / 2 / 4000))
    assert surprise(x)[0] < surprise(draws).min()


def test_standardised_scores_have_the_scale_of_the_training_rows():
    of_training = np.array([1.0, 3.0, 5.0])
    np.testing.assert_allclose(anomaly.standardised(np.array([3.0, 7.0]), of_training), [0, 4 / np.sqrt(8 / 3)])


def test_the_judge_counts_pairs_and_precision():
    """Against the Mann-Whitney statistic, ties included, and precision summed over the recall that each row adds."""
    rng = np.random.default_rng(0)
    normal, anomalous = np.round(rng.normal(0, 1, 40), 1), np.round(rng.normal(1, 1, 25), 1)
    found = anomaly.judged(normal, anomalous)
    assert found.auroc == pytest.approx(stats.mannwhitneyu(anomalous, normal).statistic / (40 * 25))
    area, above = 0.0, [(score, int((anomalous == score).sum())) for score in np.unique(anomalous)]
    for score, adds in above:
        hits, alarms = (anomalous >= score).sum(), (anomalous >= score).sum() + (normal >= score).sum()
        area += adds / 25 * hits / alarms
    assert found.average_precision == pytest.approx(area)
    assert anomaly.judged(np.zeros(3), np.ones(2)) == (1.0, 1.0)
    assert anomaly.judged(np.ones(3), np.zeros(2)).auroc == 0.0


def test_a_score_that_knows_nothing_has_half_within_its_error():
    rng, n, m = np.random.default_rng(0), 60, 20
    found = [anomaly.judged(rng.normal(size=n), rng.normal(size=m)).auroc for _ in range(150)]
    error = anomaly.chance_error(n, m)
    assert np.mean(found) == pytest.approx(0.5, abs=4 * error / np.sqrt(150))
    assert np.std(found) == pytest.approx(error, rel=0.2)


@pytest.mark.parametrize(
    ('normal', 'anomalous', 'said'),
    [([], [1.0], 'got 0 and 1'), ([1.0], [], 'got 1 and 0'), ([1.0, np.nan], [1.0], '1 of 3 scores are not finite')],
)
def test_what_cannot_be_judged_is_refused(normal, anomalous, said):
    with pytest.raises(ValueError, match=said):
        anomaly.judged(np.array(normal), np.array(anomalous))


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match='draws'):
        anomaly.error(anomaly.one_step(denoise, VE, T), 0)
