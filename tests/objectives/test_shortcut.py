"""The shortcut loss at and near the exact average velocity of Gaussian data, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import objectives, precond, schedules, times
from diffusion_jax.objectives import weights
from diffusion_jax.types import Batch, Frozen
from tests.objectives.test_mean_flow import KEY, at, data, model, run
from tests.test_flow_map import average

FLOW = schedules.RectifiedFlow()


@pytest.mark.parametrize(('t', 's'), [(1.0, 0.0), (0.75, 0.5), (0.25, 0.0)])
def test_two_exact_halves_are_one_exact_step(t, s, x64):
    loss = objectives.shortcut(model, FLOW, at(t, s), M=16).loss
    value, _, grad = run(loss, 1.0, data(), Frozen(jnp.array(1.0)))
    assert value < 1e-24
    assert abs(grad) < 1e-12
    below, above = (run(loss, q, data(), Frozen(jnp.array(1.0))) for q in (0.9, 1.1))
    assert below[0] > 1e-4 < above[0]
    assert below[2] < 0 < above[2]


def test_the_least_step_is_two_of_euler_by_the_velocity(x64):
    """At d = 2/M the halves are Euler steps of size 1/M: an error of order h^2 in the map, h in the velocity."""
    seen = {}

    def recorder(q, cond, key):
        def u(x, t, s):
            seen.setdefault('x', x)
            return 0 * x if key is not None else average(x, t, s)

        return u

    loss = objectives.shortcut(recorder, FLOW, at(0.5, 0.375), M=16).loss
    value = loss(None, Frozen(), KEY, data(), jnp.array(0))[0]
    x, h = seen['x'], 1 / 16
    v_t = average(x, np.full(64, 0.5), np.full(64, 0.5))
    v_m = average(x - h * v_t, np.full(64, 0.4375), np.full(64, 0.4375))
    np.testing.assert_allclose(value, np.mean(((v_t + v_m) / 2) ** 2), rtol=1e-12)
    exact = average(x, np.full(64, 0.5), np.full(64, 0.375))
    assert abs(value - np.mean(exact**2)) > 1e-4


def test_where_s_is_t_it_is_flow_matching():
    def net(params, x, c_noise, cond, key):
        out = params * x * jnp.cos(c_noise.reshape(len(x), -1)[:, :1] / 1000)
        return out if key is None else out * jax.random.bernoulli(key, 0.8, out.shape)

    def together(key, shape, step):
        t = times.logit_normal()(key, shape)
        return t, t

    loss = objectives.shortcut(precond.average_velocity(net, 1000.0), FLOW, together).loss
    flow = objectives.denoising(
        precond.denoiser(precond.flow(FLOW), net), FLOW, times.logit_normal(), weights.flow(FLOW)
    ).loss
    batch = data(dim=3)
    got, want = (run(f, jnp.float32(0.7), batch) for f in (loss, flow))
    np.testing.assert_allclose([got[0], got[2]], [want[0], want[2]], rtol=1e-4)


@pytest.mark.parametrize('M', [2, 16])
def test_dyadic_pairs_are_aligned_steps_of_every_size(M):
    t, s = (np.asarray(v) for v in times.dyadic_pairs(M, 0.5)(jax.random.key(0), (20_000,), None))
    d = t - s
    assert abs(np.mean(d > 0) - 0.5) < 0.02
    assert t.max() == 1
    assert set(np.unique(t[d == 0])) == set(np.arange(1, M + 1) / M)
    sizes = 2.0 ** -np.arange(np.log2(M))
    assert set(np.unique(d)) == {0, *sizes}
    for size in sizes:
        of = d == size
        assert abs(of.mean() - 0.5 / len(sizes)) < 0.02
        assert set(np.unique(s[of] / size)) == set(range(round(1 / size)))


@pytest.mark.parametrize('M', [0, 1, 96])
def test_no_power_of_two_is_refused(M):
    with pytest.raises(ValueError, match=r'power of two|whole number in \[2, inf\)'):
        times.dyadic_pairs(M)


def test_the_target_is_frozen_and_none_is_the_current_parameters(x64):
    loss = objectives.shortcut(model, FLOW, times.dyadic_pairs(16, 0.5), M=16).loss
    args = KEY, Batch(data().x), jnp.array(0)

    def of(q, frozen):
        return loss(q, frozen, *args)[0]

    q = jnp.array(0.9)
    grad, grad_frozen = jax.grad(of, (0, 1))(q, Frozen(q))
    assert grad_frozen == Frozen(0.0)
    np.testing.assert_allclose(jax.grad(of)(q, Frozen()), grad, rtol=1e-12)
    assert of(q, Frozen(jnp.array(1.0))) != of(q, Frozen())
