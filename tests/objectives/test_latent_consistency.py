"""Latent consistency distillation of a Gaussian per class, whose guided ODE by DDIM is affine: all in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, precond, schedules, times
from diffusion_jax.objectives import distances, pair_weights
from diffusion_jax.objectives.latent_consistency import guided_step
from diffusion_jax.types import Batch, Frozen, Masked

pytestmark = pytest.mark.usefixtures('x64')
T = 50
SCHEDULE = schedules.DiscreteVP(schedules.linear_betas(T, 1e-3, 0.2))
GRID = times.leading(10, T, offset=4, last=1)  # k = 50, 45 .. 5, 1: steps of five
# Classes 0 and 1, and 2, which tells nothing: means and variances of two dimensions.
MEAN = np.array([[1.0, -0.5], [-0.7, 0.2], [0.1, -0.2]])
VAR = np.array([[0.3, 0.6], [0.5, 0.1], [0.9, 0.7]])
NULL = {'label': np.asarray(2), 'w': Masked(np.zeros(1), np.asarray(False))}
ALPHA_BAR = np.concatenate([[1.0], np.cumprod(1 - np.linspace(1e-3, 0.2, T))])


def teacher(params, cond=None, key=None):
    """E[x_0 | x_t] of each class; NaN if it is told a weight."""

    def denoise(x, t):
        m, v = jnp.asarray(MEAN)[cond['label']], jnp.asarray(VAR)[cond['label']]
        a, s = SCHEDULE.alpha(t)[:, None], SCHEDULE.sigma(t)[:, None]
        x_0 = m + a * v / (a**2 * v + s**2) * (x - a * m)
        return jnp.where(cond['w'].mask[:, None], jnp.nan, x_0)

    return denoise


def oracle_step(x, k, j, y, w):
    """DDIM in eps from k to j of the table, guided as the paper writes it, (1 + omega) c - omega nothing."""
    a, b = np.sqrt(ALPHA_BAR[[k, j]])
    s, r = np.sqrt(1 - ALPHA_BAR[[k, j]])

    def eps(c):
        return s * (x - a * MEAN[c]) / (a**2 * VAR[c] + s**2)

    omega = w - 1
    guided = (1 + omega) * eps(y) - omega * eps(2)
    return b / a * x - b * (s / a - r / b) * guided


def oracle_map(x, k, y, w):
    """From k along the grid to its end."""
    while k > 1:
        j = max(k - 5, 1)
        x, k = oracle_step(x, k, j, y, w), j
    return x


def _affine(k, y, w):
    """Slope and intercept of the map of each dimension."""
    at_0, at_1 = (oracle_map(np.full(2, x), k, y, w) for x in (0.0, 1.0))
    return at_1 - at_0, at_0


W = (2.0, 3.5)


def student(params, cond=None, key=None):
    """The exact map for weights W[0] .. W[1], to which the parameters are two errors; in w by a fine table."""
    ks, ws = [1, *range(5, T + 1, 5)], np.linspace(*W, 13)
    table = np.array([[[_affine(k, y, w) for w in ws] for y in range(2)] for k in ks])  # [k, y, w, 2, d]

    def f(x, t):
        k = jnp.round(t * T).astype(int)
        i, y, w = jnp.searchsorted(jnp.array(ks), k), cond['label'], cond['w'].values[:, 0]
        of = jnp.asarray(table)[i, y]  # [b, w, 2, d]
        # Polynomials of degree 12 in w: exact for maps of ten steps, each affine in w.
        weights = jnp.stack([jnp.prod(jnp.stack([(w - v) / (u - v) for v in ws if v != u]), 0) for u in ws], 1)
        slope, intercept = jnp.moveaxis(jnp.einsum('bw,bwsd->bsd', weights, of), 1, 0)
        return params['slope'][None] * slope * x + intercept + params['shift'][None] * (k > 1)[:, None]

    return f


EXACT = {'slope': jnp.ones(2), 'shift': jnp.zeros(2)}


def made(**changes):
    arguments = {
        'consistency_model': student,
        'teacher': teacher,
        'schedule': SCHEDULE,
        'null': NULL,
        'pairs': times.neighbours(GRID),
        'distance': distances.l2(),
        'pair_weight': pair_weights.uniform(),
        'w_min': W[0],
        'w_max': W[1],
    }
    return objectives.latent_consistency(**{**arguments, **changes})


def batch(n=64):
    y = np.arange(n) % 2
    x = MEAN[y] + np.sqrt(VAR[y]) * np.random.default_rng(0).standard_normal((n, 2))
    cond = {'label': jnp.asarray(y), 'w': Masked(jnp.zeros((n, 1)), jnp.zeros(n, bool))}
    return Batch(jnp.asarray(x), cond)


def test_a_guided_step_is_the_papers():
    n, w = 4, np.array([[1.0], [2.5], [8.0], [0.0]])
    told = Masked(jnp.asarray(w), jnp.ones(n, bool))
    given = batch(n)._replace(cond={'label': jnp.array([0, 1, 0, 1]), 'w': told})
    step = guided_step(teacher, SCHEDULE, NULL).step(Frozen(), given)
    for k, j in ((50, 45), (5, 1)):
        found = step(given.x, jnp.full(n, k / T), jnp.full(n, j / T))
        expected = [oracle_step(np.asarray(given.x)[i], k, j, i % 2, w[i, 0]) for i in range(n)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_loss_and_gradient_vanish_at_the_exact_guided_map():
    objective = made()
    assert objective.reads_teacher
    run = jax.jit(jax.value_and_grad(lambda p, key: objective.loss(p, Frozen(), key, batch(), jnp.array(0))[0]))
    value, grad = run(EXACT, jax.random.key(0))
    assert value < 1e-12
    assert max(jnp.abs(g).max() for g in grad.values()) < 1e-6
    wrong, _ = run({**EXACT, 'slope': jnp.full(2, 1.1)}, jax.random.key(0))
    assert wrong > 1e-6


def test_the_drawn_weight_is_told_to_the_student_alone():
    seen = []

    def model(params, cond, key=None):
        seen.append(cond['w'])
        return lambda x, t: x

    loss = made(consistency_model=model, w_min=-1.0, w_max=4.0).loss
    loss(EXACT, Frozen(), jax.random.key(0), batch(2000), jnp.array(0))
    w = np.asarray(seen[0].values)
    assert seen[0].mask.all()
    assert -1 <= w.min() < -0.95
    assert 3.95 < w.max() <= 4
    np.testing.assert_allclose(w.mean(), 1.5, atol=4 * 5 / np.sqrt(12 * 2000))


def test_boundary_coefficients_are_the_identity_at_the_first_point_of_the_table():
    table = schedules.DiscreteVP(schedules.scaled_linear_betas())
    of = precond.eps(table)
    made = precond.boundary(of)
    t = jnp.array([1.0, 2.0, 20.0, 1000.0]) / 1000
    tau = 10 * np.array([0.0, 1.0, 19.0, 999.0])
    skip, out = 0.25 / (tau**2 + 0.25), tau / np.sqrt(tau**2 + 0.25)
    np.testing.assert_allclose(made.c_skip(t), skip + out * of.c_skip(t), rtol=1e-6)
    np.testing.assert_allclose(made.c_out(t), out * of.c_out(t), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(made.c_skip(t)[0], 1, rtol=1e-6)
    np.testing.assert_allclose(made.c_noise(t), of.c_noise(t))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'null': np.asarray(2)}, 'told as the part w'),
        ({'null': {'w': NULL['w']}}, 'told as the part w'),
        ({'w_min': 9.0}, 'w_min must be at most w_max'),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        made(**changes)
