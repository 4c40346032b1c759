"""The loss of consistency trajectory models at and near the exact flow map of Gaussian data, in float64.

The bugs planted against these tests are in tests/planted/consistency_trajectory.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, precond, samplers, schedules, times
from diffusion_jax.objectives import distances, weights
from diffusion_jax.objectives.consistency import OdeStep
from diffusion_jax.types import Batch, Frozen
from tests import oracles
from tests.objectives.test_mean_flow import KEY, STEP, at, compiled, data, exact_denoiser, model
from tests.oracles import GAUSSIAN as DATA

FLOW = schedules.RectifiedFlow()
L2 = distances.l2()
PAIRS = times.nested_pairs(0.05, 0.95)


def exact_step(frozen, batch):
    """The exact map from t to s."""
    return lambda x, t, s: precond.flow_map(model)(1.0)(x, t, s)


EXACT = OdeStep(exact_step, reads_teacher=True)


def euler(teacher=exact_denoiser):
    return objectives.teacher_step(teacher, FLOW, samplers.euler_step)


def run(objective, params=1.0, frozen=None, batch=None):
    """Metrics and gradient."""
    frozen = Frozen(None, jnp.array(1.0)) if frozen is None else frozen
    batch = data() if batch is None else batch
    (_, metrics), grad = compiled(objective.loss)(jnp.asarray(params), frozen, KEY, batch, STEP)
    return metrics, float(grad)


def test_the_semigroup_holds_at_the_exact_map_and_only_there(x64):
    objective = objectives.consistency_trajectory(model, FLOW, PAIRS, L2, EXACT, lambda_dsm=0.0)
    assert objective.reads_teacher
    metrics, grad = run(objective)
    assert metrics['loss'] < 1e-20
    assert abs(grad) < 1e-10
    target = Frozen(jnp.array(1.0), jnp.array(1.0))
    off = [run(objective, q, target) for q in (0.8, 0.9, 1.1, 1.2)]
    values = [metrics['loss'] for metrics, _ in off]
    assert values[0] > values[1] > 1e-4 < values[2] < values[3]
    assert off[1][1] < 0 < off[2][1]


@pytest.mark.parametrize(('solver', 'order'), [(samplers.euler_step, 1), (samplers.heun_step, 2)])
def test_a_teachers_solver_has_its_order(solver, order, x64):
    """In one step to u the root of the loss is of order h^(order + 1), in n steps over one way of order n^-order."""
    step = objectives.teacher_step(exact_denoiser, FLOW, solver)

    def root(h, n):
        objective = objectives.consistency_trajectory(model, FLOW, at(0.9, 0.1), L2, step, float(h), int(n), 0.0)
        return np.sqrt(objective.loss(jnp.array(1.0), Frozen(None, jnp.array(1.0)), KEY, data(), STEP)[1]['ctm'])

    ns = np.array([4, 8, 16])  # not compiled: a loop of so many steps costs seconds
    assert abs(oracles.order(4 * ns, [root(0.2 / n, 1) for n in ns]) - order - 1) < 0.2
    assert abs(oracles.order(ns, [root(0.4 / n, n) for n in ns]) - order) < 0.2


def test_the_whole_loss_of_a_linear_map(x64):
    """With u = q x both jumps are factors. Only the first jump is trained, through the second one to time 0."""
    t, s, q, target, batch = 0.8, 0.3, 0.7, 0.4, data()
    seen = {}

    def linear(q, cond=None, key=None):
        return lambda x, t, s: q * x

    def half(frozen, batch):
        """A solver that halves x at each step, and tells where it is."""

        def step(x, t, u):
            seen.setdefault('x', []).append((x, t, u))
            return x / 2

        return step

    objective = objectives.consistency_trajectory(linear, FLOW, at(t, s), L2, OdeStep(half), 0.1, 3, 2.0)
    frozen = Frozen(jnp.array(target), None)
    args = frozen, KEY, batch, STEP
    (value, metrics), grad = jax.value_and_grad(objective.loss, has_aux=True)(jnp.array(q), *args)
    x, ts, _ = (np.asarray(v) for v in seen['x'][0])
    u = np.asarray(seen['x'][-1][2])
    np.testing.assert_array_equal(ts, t)
    assert len(seen['x']) == 3
    assert ((s <= t - 0.3 <= u) & (u <= t)).all()
    assert u.min() < t - 0.25
    assert u.max() > t - 0.05
    for (_, a, b), (_, c, _) in zip(seen['x'][:-1], seen['x'][1:], strict=True):
        np.testing.assert_allclose(b, c, rtol=1e-12)
        np.testing.assert_allclose(a - b, (t - u) / 3, rtol=1e-9)
    to_zero = 1 - s * target
    error = to_zero * ((1 - (t - s) * q) * x - (1 - (u[:, None] - s) * target) * x / 8)
    eps = (x - (1 - t) * np.asarray(batch.x)) / t
    v_error = q * x - (eps - np.asarray(batch.x))
    np.testing.assert_allclose(metrics['ctm'], np.mean(error**2), rtol=1e-10)
    np.testing.assert_allclose(metrics['dsm'], np.mean(v_error**2), rtol=1e-10)
    np.testing.assert_allclose(value, np.mean(error**2 + 2 * v_error**2), rtol=1e-10)
    want = np.mean(-2 * error * to_zero * (t - s) * x + 4 * v_error * x)
    np.testing.assert_allclose(grad, want, rtol=1e-9)


def test_where_s_is_t_it_is_flow_matching():
    def net(params, x, c_noise, cond, key):
        out = params * x * jnp.cos(c_noise.reshape(len(x), -1)[:, :1] / 1000)
        return out if key is None else out * jax.random.bernoulli(key, 0.8, out.shape)

    seen = {}

    def together(key, shape, step):
        t = times.logit_normal()(key, shape)
        seen['t'] = t
        return t, t

    loss = objectives.consistency_trajectory(precond.average_velocity(net, 1000.0), FLOW, together, L2).loss
    batch, q = data(4096, 3), jnp.float32(0.7)
    value, metrics = loss(q, Frozen(), KEY, batch, STEP)
    assert metrics['ctm'] == 0
    flow = objectives.denoising(
        precond.denoiser(precond.flow(FLOW), net), FLOW, times.logit_normal(), weights.flow(FLOW)
    ).loss
    want = flow(q, Frozen(), KEY, batch, STEP)[0]  # of other draws of the same distributions
    np.testing.assert_allclose(value, want, rtol=0.05)


@pytest.mark.slow
def test_without_a_teacher_the_ode_is_its_own(x64):
    """Heun's steps of the target's u(., t, t); at the exact map no more than the solver's error is left."""
    own = objectives.consistency_trajectory(model, FLOW, PAIRS, L2)
    assert not own.reads_teacher
    step = objectives.teacher_step(precond.instantaneous(model, FLOW), FLOW, samplers.heun_step)
    other = objectives.consistency_trajectory(model, FLOW, PAIRS, L2, step)
    for target in (None, jnp.array(1.1)):
        frozen = Frozen(target, jnp.array(0.9 if target is None else target))
        got, want = (run(o, 0.9, frozen) for o in (own, other))
        np.testing.assert_allclose([got[0]['loss'], got[1]], [want[0]['loss'], want[1]], rtol=1e-10)
    assert run(own)[0]['ctm'] < 1e-8
    assert run(own, 0.9, Frozen(jnp.array(1.0)))[0]['ctm'] > 1e-4


def test_the_solver_does_not_pass_s():
    seen = []

    def record(frozen, batch):
        def step(x, t, u):
            seen.append(u)
            return x

        return step

    loss = objectives.consistency_trajectory(model, FLOW, at(0.8, 0.3), L2, OdeStep(record), h=5.0, n=1).loss
    loss(jnp.array(1.0), Frozen(), KEY, data(), STEP)
    (u,) = seen
    assert 0.3 <= u.min() < 0.35
    assert 0.75 < u.max() <= 0.8


def test_the_target_learns_nothing_by_its_solver(x64):
    """Where the solver is the model's own and s = u the target is x_u: its gradient would be the only way in."""
    loss = objectives.consistency_trajectory(
        lambda q, cond=None, key=None: lambda x, t, s: q * x, FLOW, at(0.8, 0.3), L2, h=1.0, n=1, lambda_dsm=0.0
    ).loss

    def of(q, target):
        return loss(q, Frozen(target), KEY, data(), STEP)[0]

    q = jnp.array(0.7)
    np.testing.assert_allclose(
        jax.grad(lambda q: of(q, None))(q), jax.grad(lambda q: of(q, jnp.array(0.7)))(q), rtol=1e-12
    )
    assert jax.grad(of, 1)(q, q) == 0


def test_the_second_term_is_of_the_instantaneous_velocity(x64):
    """Asked for once, at the x_t of the first jump."""
    seen = []

    def recorder(q, cond=None, key=None):
        def u(x, t, s):
            seen.append((np.asarray(x), np.asarray(t), np.asarray(s)))
            return 0 * x

        return u

    loss = objectives.consistency_trajectory(recorder, FLOW, at(0.8, 0.3), L2, EXACT).loss
    loss(jnp.array(1.0), Frozen(), KEY, data(), STEP)
    asked = [(x, t[0], s[0]) for x, t, s in seen]
    assert [(t, s) for _, t, s in asked].count((0.8, 0.8)) == 1
    (x_t,) = [x for x, t, s in asked if s == 0.8]
    np.testing.assert_array_equal(x_t, next(x for x, t, s in asked if (t, s) == (0.8, 0.3)))


@pytest.mark.parametrize('distils', [False, True])
def test_frozen_parameters_get_no_gradient_and_none_is_the_current_ones(distils, x64):
    loss = objectives.consistency_trajectory(model, FLOW, PAIRS, L2, euler() if distils else None).loss

    def of(q, frozen):
        return loss(q, frozen, KEY, data(), STEP)[0]

    q, teacher = jnp.array(0.9), jnp.array(1.1)
    value_and_grad = jax.jit(jax.value_and_grad(of, (0, 1)))
    value, (grad, grad_frozen) = value_and_grad(q, Frozen(q, teacher))
    assert grad_frozen == Frozen(0.0, 0.0)
    value_none, (grad_none, _) = value_and_grad(q, Frozen(None, teacher))
    np.testing.assert_allclose([value_none, grad_none], [value, grad], rtol=1e-12)
    assert value_and_grad(q, Frozen(jnp.array(1.2), teacher))[0] != value
    assert (value_and_grad(q, Frozen(q, jnp.array(1.3)))[0] != value) == distils


def test_one_dropout_key_on_both_sides_and_none_for_the_solver():
    seen = []

    def recorder(q, cond=None, key=None):
        seen.append((float(q), None if key is None else jax.random.key_data(key).tolist()))
        return lambda x, t, s: 0 * x

    loss = objectives.consistency_trajectory(recorder, FLOW, PAIRS, L2).loss
    loss(jnp.array(2.0), Frozen(jnp.array(3.0)), KEY, Batch(jnp.ones((4, 3))), STEP)
    assert {q for q, key in seen if key is None} == {3.0}
    assert {q for q, key in seen if key is not None} == {2.0, 3.0}
    assert len({str(key) for _, key in seen if key is not None}) == 1


def test_every_draw_has_its_own_key():
    n, drawn = 4000, {}

    def pairs(key, shape, step):
        drawn['t'] = 0.5 + 0.4 * jax.random.uniform(key, shape)
        return drawn['t'], jnp.zeros(shape)

    def record(frozen, batch):
        def step(x, t, u):
            drawn.update(u=(t - u), noise=x[:, 0] / t)
            return x

        return step

    def bind(params, cond, key):
        drawn['dropout'] = jax.random.uniform(key, (n,))
        return lambda x, t, s: 0 * x

    loss = objectives.consistency_trajectory(bind, FLOW, pairs, L2, OdeStep(record), n=1).loss
    loss(None, Frozen(), KEY, Batch(jnp.zeros((n, 1))), STEP)
    off = np.corrcoef(np.array([*drawn.values()], np.float64)) - np.eye(4)
    assert abs(off).max() < 0.08, off


@pytest.mark.parametrize('bad', [{'h': 0.0}, {'h': np.nan}, {'n': 0}, {'lambda_dsm': -1.0}])
def test_arguments_outside_of_their_ranges_are_refused(bad):
    with pytest.raises(ValueError, match='must be'):
        objectives.consistency_trajectory(model, FLOW, PAIRS, L2, **bad)


def test_jumps_of_the_exact_map_are_the_sampler(x64):
    """In any number of steps."""
    x = jnp.array([[0.7], [-1.2]])
    for n in (1, 3):
        out = samplers.sample(samplers.jump(precond.flow_map(model)(1.0)), KEY, x, times.uniform(n))
        np.testing.assert_allclose(out, DATA.pf_ode(np.asarray(x), (0.0, 1.0), (1.0, 0.0)), rtol=1e-12)
