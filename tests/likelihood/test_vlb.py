import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from diffusion_jax import likelihood, reverse, schedules
from tests import oracles

LN2 = np.log(2)
DATA = oracles.GAUSSIAN


def table(T):
    # abar_T is 5e-5 for every T: the prior term is nothing, and the first noise level is well above a bin.
    return schedules.DiscreteVP(schedules.linear_betas(T, 0.1 / T, min(20 / T, 0.99)))


def test_kl_by_quadrature(x64):
    for m_1, v_1, m_2, v_2 in [(0.0, 1.0, 0.0, 1.0), (0.5, 0.2, -0.3, 0.7), (-1.0, 2.0, 1.0, 0.1)]:
        p, q = stats.norm(m_1, np.sqrt(v_1)), stats.norm(m_2, np.sqrt(v_2))
        want, _ = integrate.quad(lambda x, p=p, q=q: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -20, 20, points=[m_1])
        got = likelihood.normal_kl(*map(jnp.asarray, (m_1, np.log(v_1), m_2, np.log(v_2))))
        np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize('levels', [2, 8, 256])
@pytest.mark.parametrize(('mean', 'std'), [(0.0, 1.0), (0.3, 0.1), (-0.99, 0.01), (1.2, 0.05), (0.002, 0.003)])
def test_decoder_masses(levels, mean, std, x64):
    x = np.linspace(-1, 1, levels)
    args = [jnp.asarray(v)[:, None] for v in (x, np.full(levels, mean), np.full(levels, 2 * np.log(std)))]
    nll = np.asarray(likelihood.discretized_gaussian_nll(*args, levels))[:, 0]
    np.testing.assert_allclose(np.exp(-nll).sum(), 1, rtol=1e-6)
    edges = np.concatenate([[-np.inf], (x[1:] + x[:-1]) / 2, [np.inf]])
    normal = stats.norm(mean, std)
    # The survival function on the right of the mean: there the difference of cdf cancels.
    mass = np.where(edges[:-1] > mean, normal.sf(edges[:-1]) - normal.sf(edges[1:]), np.diff(normal.cdf(edges)))
    seen = mass > 1e-250
    np.testing.assert_allclose(nll[seen], -np.log(mass[seen]), rtol=1e-6, atol=1e-9)


def test_decoder_holds_in_float32():
    x = jnp.linspace(-1, 1, 256)[:, None]
    for mean, std in ((0.0, 1.0), (0.3, 0.02), (-0.5, 0.004)):
        nll = likelihood.discretized_gaussian_nll(x, jnp.full_like(x, mean), jnp.float32(2 * np.log(std)))
        np.testing.assert_allclose(jnp.exp(-nll).sum(), 1, rtol=2e-4)


@pytest.mark.parametrize('x_0', [-1.0, 0.0, 1.0])
@pytest.mark.parametrize('log_variance', [-20.0, 0.0, 5.0])
@pytest.mark.parametrize('mean', [-3.0, 1.0, 50.0])
def test_decoder_is_finite_at_extremes(x_0, log_variance, mean):
    def nll(mean, log_variance):
        x = jnp.full((1, 1), x_0)
        return likelihood.discretized_gaussian_nll(x, jnp.reshape(mean, (1, 1)), log_variance)[0, 0]

    value, grads = jax.value_and_grad(nll, (0, 1))(mean, log_variance)
    assert jnp.isfinite(value)
    assert value >= -1e-6
    assert all(jnp.isfinite(g) for g in grads)
    # Downhill is towards the data, far from it.
    if abs(mean - x_0) > 1 and abs(x_0) < 1:
        assert jnp.sign(grads[0]) == jnp.sign(mean - x_0)


def test_prior_by_quadrature(x64):
    schedule = schedules.DiscreteVP(np.full(5, 0.2))
    x_0 = jnp.array([[0.5, -1.0]])
    a, s = np.sqrt(0.8**5), np.sqrt(1 - 0.8**5)
    want = 0
    for x in np.asarray(x_0)[0]:
        q, p = stats.norm(a * x, s), stats.norm()
        want += integrate.quad(lambda z, q=q, p=p: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -15, 15)[0] / 2 / LN2
    np.testing.assert_allclose(likelihood.prior_term(schedule, x_0), [want], rtol=1e-7)


def test_terms_are_kl_of_bayes_posterior_and_decoder(x64):
    betas, T = schedules.linear_betas(10, 0.01, 0.3), 10
    schedule, (a, s) = schedules.DiscreteVP(betas), oracles.table(betas)
    p = reverse.fixed(lambda x, t: 0.5 * x, schedule, reverse.large)
    for k in (1, 2, 7, 10):
        x_0, x_t = np.array([[0.2, -0.6]]), np.array([[0.5, -1.0]])
        t, u = jnp.array([k / T]), jnp.array([(k - 1) / T])
        got = likelihood.vlb_term(p, schedule, jnp.asarray(x_0), jnp.asarray(x_t), t, u, levels=11)
        mean_p, var_p = (0.5 * x_t, None) if k == 1 else oracles.bayes_posterior(
            x_t, 0.5 * x_t, (a[k], s[k]), (a[k - 1], s[k - 1])
        )  # fmt: skip
        if k == 1:  # the decoder's std is that of the second step's posterior, for `large` as for `small`
            std = np.sqrt(oracles.bayes_posterior(0.0, 0.0, (a[2], s[2]), (a[1], s[1]))[1])
            normal = stats.norm(mean_p, std)
            want = -np.log(normal.cdf(x_0 + 0.1) - normal.cdf(x_0 - 0.1)).mean() / LN2
        else:
            mean_q, var_q = oracles.bayes_posterior(x_t, x_0, (a[k], s[k]), (a[k - 1], s[k - 1]))
            assert var_q == var_p
            var_p = betas[k - 1]
            kl = 0.5 * (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1)
            want = kl.mean() / LN2
        np.testing.assert_allclose(got, [want], rtol=1e-7)


def denoiser(schedule):
    return lambda x, t: DATA.denoise(x, schedule.alpha(t)[:, None], schedule.sigma(t)[:, None])


def exact_variance(schedule, t, s):
    """Log-variance of the true p(x_s | x_t) of Gaussian data: with it the bound is tight."""
    c_0 = schedules.posterior_coefficients(schedule, t, s)[1]
    v = 1 / (1 / DATA.var + (schedule.alpha(t) / schedule.sigma(t)) ** 2)
    return jnp.log(schedules.posterior_variance(schedule, t, s) + c_0**2 * v)


def beta(schedule, t, s):
    """`large` without the released code's exception at s = 0."""
    return jnp.log(schedules.transition(schedule, t, s)[1])


LEVELS = 1025


def expected_bound(T, log_variance, x_0):
    """The bound at x_0 with the expectation over each x_t by Gauss-Hermite quadrature: no sampling error."""
    schedule = table(T)
    p = reverse.fixed(denoiser(schedule), schedule, log_variance)
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    k, eps = (g.ravel() for g in np.meshgrid(np.arange(1, T + 1), nodes, indexing='ij'))

    @jax.jit
    def terms(t, s, eps):
        x = jnp.full((len(k), 1), x_0)
        x_t = schedules.q_sample(schedule, x, t, eps[:, None])
        return likelihood.vlb_term(p, schedule, x, x_t, t, s, LEVELS), likelihood.prior_term(schedule, x)[0]

    values, prior = terms(jnp.asarray(k / T), jnp.asarray((k - 1) / T), jnp.asarray(eps))
    return float(prior) + float(np.asarray(values) @ np.tile(weights, T) / weights.sum())


def exact_nll(x_0):
    half = 1 / (LEVELS - 1)
    normal = stats.norm(DATA.mean, np.sqrt(DATA.var))
    return -np.log2(normal.cdf(x_0 + half) - normal.cdf(x_0 - half))


@pytest.mark.parametrize('x_0', [0.25, -0.75])
def test_bound_is_tight_for_the_exact_reverse_process(x_0, x64):
    assert abs(expected_bound(50, exact_variance, x_0) - exact_nll(x_0)) < 1e-3


@pytest.mark.slow
def test_bound_holds_and_closes_in_as_T_grows(x64):
    x = 0.25
    gaps = [expected_bound(T, beta, x) - exact_nll(x) for T in (50, 100, 200, 400)]
    assert min(gaps) > 0
    assert (np.diff(gaps) < 0).all(), gaps
    assert abs(oracles.order((50, 100, 200, 400), gaps) - 1) < 0.2, gaps
    # beta-tilde is right for data at a point, not for these: its gap does not close.
    assert expected_bound(200, reverse.small, x) - exact_nll(x) > 10 * gaps[2]


@pytest.mark.slow
def test_vlb_estimates_the_expected_bound(x64):
    T, n, x_0 = 20, 4000, 0.25
    schedule = table(T)
    p = reverse.fixed(denoiser(schedule), schedule, reverse.large)
    want = expected_bound(T, reverse.large, x_0)
    for terms in (None, 1, 4):
        bound = jax.jit(likelihood.vlb(p, schedule, T, LEVELS, terms))(jax.random.key(0), jnp.full((n, 1), x_0))
        m = terms or T - 1
        assert bound.kl.shape == bound.k.shape == (n, m)
        assert bound.k.min() >= 2
        assert bound.k.max() <= T
        total = bound.prior + bound.kl.sum(1) * (T - 1) / m + bound.decoder
        np.testing.assert_allclose(bound.total, total, rtol=1e-9)
        assert abs(total.mean() - want) < 4 * total.std() / np.sqrt(n), terms
        if terms is None:
            np.testing.assert_array_equal(bound.k, np.tile(np.arange(2, T + 1), (n, 1)))


def test_every_term_has_its_own_noise():
    # With x_0 = 0 and a model mean of 0 a KL term is a function of the square of its noise: shared noise correlates.
    bound = likelihood.vlb(lambda x, t, s: (jnp.zeros_like(x), jnp.zeros_like(x)), table(5), 5)
    kl = np.asarray(jax.jit(bound)(jax.random.key(0), jnp.zeros((2000, 1))).kl)
    assert np.abs(np.corrcoef(kl.T) - np.eye(4)).max() < 0.1


@pytest.mark.parametrize('terms', [0, 20])
def test_impossible_numbers_of_terms_are_refused(terms):
    with pytest.raises(ValueError, match='terms must be between 1 and T - 1 = 19'):
        likelihood.vlb(lambda x, t, s: (x, t), table(20), 20, terms=terms)


def test_bits_per_dim():
    np.testing.assert_allclose(likelihood.bits_per_dim(jnp.full((2, 3, 4), LN2)), [1, 1], rtol=1e-6)
