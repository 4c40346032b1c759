"""Progressive distillation against two DDIM steps written out in float64, at and near the student that makes both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, samplers, schedules, times
from diffusion_jax.objectives import weights
from diffusion_jax.optim import targets
from diffusion_jax.times import curricula
from diffusion_jax.types import Batch, Frozen
from tests.oracles import GAUSSIAN as DATA
from tests.oracles import MIXTURE, ddim_step
from tests.samplers.test_ancestral import PATHS, bind, scales

NAMES = ['LinearVP', 'CosineVP', 'RectifiedFlow', 'TrigFlow']
KEY, STEP = jax.random.key(0), jnp.array(0)
COSINE = schedules.CosineVP()


def steps(n):
    """A curriculum of n student steps always; `curricula.constant` counts grid points, and refuses 1."""
    return lambda step: jnp.full_like(step, n)


def data(n=32):
    return Batch(jax.random.normal(jax.random.key(1), (n, 2)))


def target_of(teacher, schedule, n, t_max, batch, params=1.0):
    """What the loss pulls the student to, read off its gradient, and where: x~, x_t, t."""
    seen = {}

    def recorder(out, cond, key):
        def student(x, t):
            seen.update(x=x, t=t)
            return out

        return student

    loss = objectives.progressive(recorder, teacher, schedule, steps(n), weights.uniform(), t_max).loss
    grad = jax.grad(lambda out: loss(out, Frozen(None, jnp.asarray(params)), KEY, batch, STEP)[0])(
        jnp.zeros_like(batch.x)
    )
    return tuple(np.asarray(v) for v in (-grad * grad.size / 2, seen['x'], seen['t']))


def exact(data, schedule):
    """The exact denoiser, times a parameter."""
    return lambda params, cond=None, key=None: lambda x, t: params * bind(data, schedule)(x, t)


def two_ddim_steps(x_t, grid):
    """Two steps of the exact denoiser's through three (a, s), and what makes one of them: x_s = small + gap x~."""
    start, middle, end = grid
    x_s = x_t
    for slope, intercept, _ in (ddim_step(DATA, start, middle, 0), ddim_step(DATA, middle, end, 0)):
        x_s = slope * x_s + intercept
    ratio = end[1] / start[1]
    return x_s, ratio * x_t, end[0] - ratio * start[0]


@pytest.mark.parametrize('n', [1, 4])
@pytest.mark.parametrize('name', NAMES)
def test_target_is_two_ddim_steps_solved_for_one(name, n, x64):
    """All times of the grid occur: t = t_max, where three of the schedules have alpha = 0, and the last step, to 0."""
    schedule, t_max = PATHS[name]
    got, x_t, t = target_of(exact(DATA, schedule), schedule, n, t_max, data())
    i = np.round(t * n / t_max).astype(int)
    assert set(i) == {*range(1, n + 1)}
    np.testing.assert_allclose(t, t_max * i / n, rtol=1e-14)
    for j in range(len(i)):
        x_s, small, gap = two_ddim_steps(x_t[j], scales(schedule, t_max * (i[j] - np.array([0, 0.5, 1])) / n))
        np.testing.assert_allclose(got[j], (x_s - small) / gap, rtol=1e-10)
        if i[j] == 1:
            np.testing.assert_allclose(got[j], x_s, rtol=1e-10)


def two_in_one(schedule, n, t_max):
    """For params = 1 the student whose one DDIM step is two of the exact denoiser's (arXiv 2202.00512, algorithm 2)."""
    denoise = bind(MIXTURE, schedule)

    def ddim(x, t, s):
        x_0 = denoise(x, t)
        eps = (x - schedule.alpha(t)[:, None] * x_0) / schedule.sigma(t)[:, None]
        return schedule.alpha(s)[:, None] * x_0 + schedule.sigma(s)[:, None] * eps

    def model(params, cond=None, key=None):
        def student(x, t):
            middle, s = t - 0.5 * t_max / n, jnp.where(t < 1.5 * t_max / n, 0, t - t_max / n)
            ratio = schedule.sigma(s) / schedule.sigma(t)
            x_0 = ddim(ddim(x, t, middle), middle, s) - ratio[:, None] * x
            return params * x_0 / (schedule.alpha(s) - ratio * schedule.alpha(t))[:, None]

        return student

    return model


@pytest.mark.parametrize('weight', [weights.v, weights.truncated_snr])
@pytest.mark.parametrize('name', NAMES)
def test_loss_vanishes_at_the_student_that_makes_both_steps_and_only_there(name, weight, x64):
    n, (schedule, t_max) = 4, PATHS[name]
    loss = objectives.progressive(
        two_in_one(schedule, n, t_max), exact(MIXTURE, schedule), schedule, steps(n), weight(schedule), t_max
    ).loss
    run = jax.jit(jax.value_and_grad(lambda p: loss(p, Frozen(None, 1.0), KEY, data(), STEP)[0]))
    value, grad = run(1.0)
    assert value < 1e-20
    assert abs(grad) < 1e-10
    off = [float(run(p)[0]) for p in (0.8, 0.9, 1.1, 1.2)]
    assert off[0] > off[1] > 1e-4 < off[2] < off[3]


@pytest.mark.parametrize('n', [1, 4])
@pytest.mark.parametrize('name', NAMES)
def test_that_student_samples_in_n_steps_what_its_teacher_samples_in_2n(name, n, x64):
    schedule, t_max = PATHS[name]
    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)))
    teacher, student = exact(MIXTURE, schedule)(1.0), two_in_one(schedule, n, t_max)(1.0)
    runs = [
        jax.jit(lambda x, d=d, m=m: samplers.sample(samplers.ddim(d, schedule), KEY, x, times.uniform(m, t_max)))(x)
        for d, m in ((student, n), (teacher, 2 * n))
    ]
    np.testing.assert_allclose(*runs, rtol=1e-9, atol=1e-12)


def test_the_student_has_dropout_and_the_weight_and_the_teacher_its_own_parameters_and_no_gradient(x64):
    seen = {}

    def named(name):
        def model(params, cond, key):
            seen[name] = cond, key
            return exact(DATA, COSINE)(params)

        return model

    batch = data()._replace(cond=jnp.arange(32))

    def of(weight, params, frozen):
        return objectives.progressive(named('student'), named('teacher'), COSINE, steps(4), weight).loss(
            params, frozen, KEY, batch, STEP
        )[0]

    def doubled(t):
        return jnp.full_like(t, 2.0)

    of_teacher = [of(weights.uniform(), 0.9, Frozen(None, p)) for p in (0.9, 1.1)]
    assert of_teacher[0] != of_teacher[1]
    np.testing.assert_allclose(of(doubled, 0.9, Frozen(None, 1.1)), 2 * of_teacher[1], rtol=1e-12)
    assert seen['student'][1] is not None
    assert seen['teacher'][1] is None
    assert seen['student'][0] is seen['teacher'][0] is batch.cond
    grad, grad_frozen = jax.grad(lambda p, f: of(weights.uniform(), p, f), (0, 1))(0.9, Frozen(0.9, 1.1))
    assert grad != 0
    assert grad_frozen == Frozen(0.0, 0.0)


def test_the_target_keeps_its_digits_in_float32_at_thousands_of_steps():
    """The paper's quotient would lose them, even of samples that are rounded once: see the second bound."""
    n, errors = 4096, []
    got, x_t, t = (v.astype(np.float64) for v in target_of(exact(DATA, COSINE), COSINE, n, 1.0, data(256)))
    for x, i, x_0 in zip(x_t, np.round(t * n), got, strict=True):
        angle = np.pi / 2 * (i - np.array([0, 0.5, 1])) / n
        x_s, small, gap = two_ddim_steps(x, list(zip(np.cos(angle), np.sin(angle), strict=True)))
        want, quotient = (x_s - small) / gap, (x_s.astype(np.float32) - small.astype(np.float32)) / gap
        errors.append([np.abs(x_0 - want).max(), np.abs(quotient - want).max()])
    ours, papers = np.max(errors, axis=0)
    assert ours < 3e-6
    assert papers > 1e-4


def test_teacher_and_number_of_steps_change_together():
    """At every training step the teacher is the student that was trained for twice as many steps."""
    N = curricula.halving(15, each=3, n_0=4, n_1=1)
    freezing = targets.staged_teacher(N)
    stages = []
    state = freezing.init(jnp.float32(0), jnp.float32(0))
    for k in range(15):
        stages.append((int(N(jnp.array(k))), float(state.teacher)))
        state = freezing.update(state, jnp.float32(k + 1), jnp.array(k + 1))  # parameters are the number of steps done
    assert stages == [(4, 0)] * 3 + [(2, 3)] * 6 + [(1, 9)] * 6

    def grid(step):
        seen = []

        def recorder(params, cond, key):
            return lambda x, t: seen.append(np.asarray(t)) or x

        loss = objectives.progressive(recorder, exact(DATA, COSINE), COSINE, N, weights.uniform()).loss
        loss(None, Frozen(None, 1.0), KEY, data(), jnp.array(step))
        return sorted({*seen[0].tolist()})

    assert [grid(k) for k in (2, 3, 8, 9)] == [[0.25, 0.5, 0.75, 1], [0.5, 1], [0.5, 1], [1]]
