"""Every cell of the table in docs/flow_maps.md: at and beside the exact map, and against the method's own loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import drift, flow_maps, objectives, precond, samplers, schedules, times
from diffusion_jax.objectives import distances, equations, pair_weights, velocities, weights
from diffusion_jax.times import curricula
from diffusion_jax.types import Frozen
from tests.objectives.test_mean_flow import KEY, STEP, at, data, exact_denoiser, model, run
from tests.oracles import GAUSSIAN as DATA
from tests.test_flow_map import average

FLOW = schedules.RectifiedFlow()
EQUATIONS = {
    'lagrangian': equations.lagrangian(),
    'lagrangian, u alone': equations.lagrangian(through=False),
    'eulerian': equations.eulerian(),
    'eulerian, all of it': equations.eulerian(through=True),
    'semigroup': equations.semigroup(),
    'semigroup, a third': equations.semigroup(1 / 3),
}
VELOCITIES = {'own': velocities.own(), 'teacher': velocities.of_a_teacher(exact_denoiser, FLOW)}
EXACT = Frozen(target=jnp.array(1.0), teacher=jnp.array(1.0))


def apart(key, shape, step):
    """Pairs of which none has s = t."""
    t, s = times.logit_normal_pairs(share=1.0)(key, shape, step)
    return t, jnp.minimum(s, 0.98 * t)


def wrong(q, cond=None, key=None):
    """For q = 1 the exact average velocity; else its velocity at s = t is right and its jumps are not."""
    return lambda x, t, s: average(x, t, s) * (1 + (q - 1) * (t - s)[:, None])


@pytest.mark.parametrize('velocity', VELOCITIES)
@pytest.mark.parametrize('equation', EQUATIONS)
def test_no_loss_and_no_gradient_at_the_exact_map_alone(equation, velocity, x64):
    objective = objectives.flow_map(wrong, FLOW, apart, EQUATIONS[equation], VELOCITIES[velocity])
    assert objective.reads_teacher is (velocity == 'teacher')
    value, metrics, grad = run(objective.loss, 1.0, data(), EXACT)
    assert value < 1e-24
    assert metrics['squared_error'] < 1e-24
    assert abs(grad) < 1e-11
    below, above = (run(objective.loss, q, data(), EXACT) for q in (0.8, 1.2))
    assert below[0] > 1e-5 < above[0]
    assert below[2] < 0 < above[2]


@pytest.mark.parametrize('equation', EQUATIONS)
def test_where_s_is_t_every_equation_is_flow_matching(equation, x64):
    t = lambda key, shape, step: (jnp.full(shape, 0.6),) * 2  # noqa: E731
    for velocity, frozen in (('own', Frozen()), ('teacher', EXACT)):
        loss = objectives.flow_map(model, FLOW, t, EQUATIONS[equation], VELOCITIES[velocity]).loss
        flow = objectives.mean_flow(
            model, FLOW, t, p=0.0,
            velocity=VELOCITIES['teacher'] if velocity == 'teacher' else None,
        ).loss  # fmt: skip
        got, want = (run(f, 0.9, data(), frozen) for f in (loss, flow))
        np.testing.assert_allclose([got[0], got[2]], [want[0], want[2]], rtol=1e-10)
        assert want[0] > 1e-3


def test_the_gradient_goes_through_the_derivative_or_not(x64):
    """At t = 0.9, s = 0.3, of q u: through it all of the left side is q times that of u; else u alone."""
    pairs = at(0.9, 0.3)
    for name, all_of_it in (('lagrangian', True), ('lagrangian, u alone', False), ('eulerian, all of it', True)):
        loss = objectives.flow_map(model, FLOW, pairs, EQUATIONS[name], VELOCITIES['teacher']).loss
        q = 0.9
        value, _, grad = run(loss, q, data(), EXACT)
        seen = jnp.asarray(caught(pairs))
        t, s = jnp.full(64, 0.9), jnp.full(64, 0.3)
        u = model(q)
        if name.startswith('lag'):
            jump = flow_maps.lagrangian(u, seen, t, s)
            left, tangent = jump.u, -jump.du_ds
            v = drift.velocity(exact_denoiser(1.0), FLOW)(jump.x_s, s)
        else:
            v = drift.velocity(exact_denoiser(1.0), FLOW)(seen, t)
            left, tangent = flow_maps.departure_velocity(u, seen, t, s, v)
        residual = left + 0.6 * tangent - v
        np.testing.assert_allclose(value, np.mean(np.sum(residual**2, -1)), rtol=1e-12)
        learns = left + 0.6 * tangent if all_of_it else left
        np.testing.assert_allclose(grad, np.mean(np.sum(2 * residual * learns / q, -1)), rtol=1e-10)


def caught(pairs):
    """The x_t that KEY draws for these pairs."""
    seen = {}

    def record(q, cond, key):
        def u(x, t, s):
            seen.setdefault('x', np.asarray(x))
            return x

        return u

    loss = objectives.flow_map(record, FLOW, pairs, equations.semigroup(), velocities.own()).loss
    loss(None, Frozen(), KEY, data(), STEP)
    return seen['x']


@pytest.mark.parametrize('p', [0.0, 1.0])
def test_mean_flow_is_eulerian_with_the_velocity_of_the_path(p, x64):
    pairs = times.logit_normal_pairs(share=0.5)
    cell = objectives.flow_map(model, FLOW, pairs, equations.eulerian(), velocities.of_the_path(), p)
    same(cell.loss, objectives.mean_flow(model, FLOW, pairs, p).loss, 0.9, Frozen())


def test_mean_flow_distillation_is_eulerian_with_a_teachers(x64):
    pairs = times.logit_normal_pairs(share=0.5)
    cell = objectives.flow_map(model, FLOW, pairs, equations.eulerian(), VELOCITIES['teacher'], 0.5)
    same(cell.loss, objectives.mean_flow_distillation(model, exact_denoiser, FLOW, pairs, 0.5).loss, 0.9, EXACT)


def test_align_your_flow_is_the_same_with_a_normalised_tangent(x64):
    """With c large the tangent is g / c, and c / 2 of the gradient that of half the squared norm."""
    pairs = times.logit_normal_pairs(share=0.5)
    cell = objectives.flow_map(model, FLOW, pairs, equations.eulerian(), VELOCITIES['teacher'])
    c = 1e9
    ayf = objectives.align_your_flow(model, exact_denoiser, FLOW, pairs, warmup=0, c=c)
    assert ayf.reads_teacher
    got, want = (run(o.loss, 0.9, data(), EXACT) for o in (ayf, cell))
    np.testing.assert_allclose(c * 2 * got[2], want[2], rtol=1e-6)  # 2 dimensions, over which it takes the mean
    early = objectives.align_your_flow(model, exact_denoiser, FLOW, pairs, warmup=10, c=0.1)
    alone = objectives.align_your_flow(
        model, exact_denoiser, FLOW, lambda *args: (pairs(*args)[0],) * 2, warmup=0, c=0.1
    )
    assert abs(run(alone.loss, 1.0, data(), EXACT)[2]) < 1e-9  # u(x, t, t) is the teacher's velocity
    assert abs(run(early.loss, 1.0, data(), EXACT)[2]) > 1e-3  # r = 0: u(x, t, s) is to be v(x, t), and is not
    final = objectives.align_your_flow(model, exact_denoiser, FLOW, pairs, warmup=0, c=0.1)
    assert abs(run(final.loss, 1.0, data(), EXACT)[2]) < 1e-9
    assert run(final.loss, 0.9, data(), EXACT)[1]['tangent_norm'] > 1e-2
    of_one = objectives.align_your_flow(model, exact_denoiser, FLOW, pairs, warmup=0, c=1e-9)
    np.testing.assert_allclose(run(of_one.loss, 0.9, data(), EXACT)[0], 0.5, rtol=1e-5)  # |g| / (|g| + c) = 1, halved


def test_shortcut_is_the_semigroup_at_half_of_the_way(x64):
    """Where no step is the least one; its norm is a mean over the two dimensions."""
    pairs = times.dyadic_pairs(16, 0.5)
    cell = objectives.flow_map(model, FLOW, pairs, equations.semigroup(), velocities.own())
    short = objectives.shortcut(model, FLOW, pairs, M=2**20)
    frozen = Frozen(target=jnp.array(0.8))
    got, want = (run(o.loss, 0.9, data(), frozen) for o in (cell, short))
    np.testing.assert_allclose([got[0], got[2]], [2 * want[0], 2 * want[2]], rtol=1e-10)


def test_terminal_velocity_is_lagrangian_with_its_own(x64):
    """Its first term is the cell at s < t, its second flow matching at s."""
    cell = objectives.flow_map(model, FLOW, apart, equations.lagrangian(), velocities.own())
    flows = objectives.mean_flow(model, FLOW, lambda *args: (apart(*args)[1],) * 2, p=0.0)
    tvm = objectives.terminal_velocity(model, FLOW, apart)
    frozen = Frozen(target=jnp.array(0.8))
    got = run(tvm.loss, 0.9, data(), frozen)
    parts = [run(o.loss, 0.9, data(), frozen) for o in (cell, flows)]
    np.testing.assert_allclose(got[0], sum(part[0] for part in parts), rtol=1e-10)
    np.testing.assert_allclose(got[2], sum(part[2] for part in parts), rtol=1e-10)
    np.testing.assert_allclose([got[1]['terminal'], got[1]['flow_matching']], [p[0] for p in parts], rtol=1e-10)


def test_progressive_distillation_is_the_semigroup_of_a_teachers_ddim(x64):
    """In units of the map, by the coefficient of x_0 in a DDIM step."""
    schedule, n = schedules.CosineVP(), 4
    student = lambda q, *_: lambda x, t: q * DATA.denoise(x, *scales(schedule, t))  # noqa: E731
    pd = objectives.progressive(student, student, schedule, curricula.constant(n), weights.uniform(), t_max=0.9)
    seen = {}

    def record(q, cond, key):
        return lambda x, t: seen.setdefault('call', (x, t))[0] if key is not None else x

    recording = objectives.progressive(record, record, schedule, curricula.constant(n), weights.uniform(), t_max=0.9)
    recording.loss(None, Frozen(), KEY, data(), STEP)
    (x_t, t), step = seen['call'], 0.9 / n

    def ddim(q):
        def u(x, t, s):
            return (x - drift.ddim_step(schedule, x, student(q)(x, t), t, s)) / (t - s)[:, None]

        return u

    s = jnp.maximum(t - step, 0)  # rounded, it could be below 0
    ratio = schedule.sigma(s) / schedule.sigma(t)
    coefficient = (schedule.alpha(s) - ratio * schedule.alpha(t))[:, None]
    teacher = flow_maps.two_jumps(ddim(0.8), x_t, t, t - step / 2, s)

    def loss(q):
        return jnp.mean(((ddim(q)(x_t, t, s) - teacher) * (t - s)[:, None] / coefficient) ** 2)

    got = run(pd.loss, 0.9, data(), Frozen(teacher=jnp.array(0.8)))
    want = jax.value_and_grad(loss)(0.9)
    np.testing.assert_allclose([got[0], got[2]], want, rtol=1e-8)


def scales(schedule, t):
    return schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]


VE = schedules.VE()


def bound(q, cond=None, key=None):
    """A consistency function of VE, the identity at 0; no exact one."""
    return lambda x, t: x / (1 + q * t[:, None]) + 0.1 * jnp.sin(t)[:, None]


def ve_denoiser(q, cond=None, key=None):
    return lambda x, t: q * DATA.denoise(x, 1.0, t[:, None])


@pytest.mark.parametrize('method', ['CT', 'CD euler', 'CD heun'])
def test_consistency_training_and_distillation_are_eulerian_differences(method, x64):
    """1 / (2 h) of the gradient for a step h is that of f along Df/Dt, by the path's velocity or a teacher's."""
    t, dim = 1.5, 2
    solver = {'CT': None, 'CD euler': samplers.euler_step, 'CD heun': samplers.heun_step}[method]
    ode_step = solver and objectives.teacher_step(ve_denoiser, VE, solver)
    frozen = Frozen(teacher=jnp.array(1.0))
    seen = {}

    def record(q, cond, key):
        return lambda x, t: seen.setdefault('x', x)

    def of(model, h):
        return objectives.consistency(
            model, VE, at(t, t - h), distances.l2(), pair_weights.uniform(), ode_step if model is bound else None
        ).loss

    of(record, 0.1)(None, Frozen(), KEY, data(), STEP)
    x_t, times_ = jnp.asarray(seen['x']), jnp.full(64, t)
    v = (x_t - data().x) / t if solver is None else drift.velocity(ve_denoiser(1.0), VE)(x_t, times_)
    _, along = flow_maps.along_the_flow(bound(0.7), x_t, times_, v, jnp.ones(64))
    slope = jax.jacfwd(lambda q: bound(q)(x_t, times_))(0.7)
    want = np.mean(np.sum(along * slope, -1)) / dim
    errors = [abs(run(of(bound, h), 0.7, data(), frozen)[2] / (2 * h) - want) for h in (0.02, 0.01, 0.005)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1, atol=0.05)
    assert errors[-1] < 0.01 * abs(want)


@pytest.mark.parametrize('distils', [False, True])
def test_continuous_time_consistency_is_eulerian_at_zero(distils, x64):
    """f(x, t) = X(x, t, 0); the tangent is cos t Df/Dt by the path's velocity (sCT) or the teacher's (sCD)."""
    trig = schedules.TrigFlow(0.5)
    p_t = times.arctan_log_normal(sigma_data=0.5)
    f = precond.denoiser(precond.trig(0.5), lambda q, x, c, *_: q * jnp.tanh(x + c[:, None]))
    teacher = lambda q, *_: lambda x, t: q * DATA.denoise(x, *scales(trig, t))  # noqa: E731
    seen = {}

    def ask(q, *_):
        return lambda x, t: seen.setdefault('call', (x, t))[0]

    objectives.continuous_distillation(f, ask, trig, p_t).loss(0.7, Frozen(), KEY, data(), STEP)
    c = 0.1
    made = objectives.continuous_distillation if distils else objectives.continuous
    models = (f, teacher) if distils else (f,)
    objective = made(*models, trig, p_t, warmup=0, c=c)
    x_t, t = (jnp.asarray(a) for a in seen['call'])
    cos, sin = jnp.cos(t)[:, None], jnp.sin(t)[:, None]
    z = (x_t - cos * data().x) / sin
    v = drift.velocity(teacher(1.0), trig)(x_t, t) if distils else cos * z - sin * data().x
    _, g = flow_maps.along_the_flow(f(0.7), x_t, t, cos * v, jnp.cos(t))
    g = g / (jnp.linalg.norm(g, axis=-1, keepdims=True) + c)
    network = jax.jacfwd(lambda q: q * jnp.tanh(x_t / 0.5 + t[:, None]))(0.7)
    got = run(objective.loss, 0.7, data(), Frozen(teacher=jnp.array(1.0)))
    np.testing.assert_allclose(got[0], np.mean(g**2), rtol=1e-9)
    np.testing.assert_allclose(got[2], np.mean(-2 * g * network), rtol=1e-9)


def same(loss, other, q, frozen):
    got, want = run(loss, q, data(), frozen), run(other, q, data(), frozen)
    np.testing.assert_allclose([got[0], got[2]], [want[0], want[2]], rtol=1e-12)
    assert abs(want[2]) > 1e-4
