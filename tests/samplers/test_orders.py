"""Every deterministic solver converges with the order that it declares, on every schedule.

Against the exact probability-flow ODE map, between two finite log-SNRs, on grids that are smooth in log-SNR and whose
first steps are as short as the square of the others: multistep solvers take those with a lower order.
"""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules
from tests import oracles
from tests.oracles import GAUSSIAN, MIXTURE
from tests.samplers.test_ancestral import mixture, scales

# Independent coordinates: a mixture in two, then Gaussians, several as one's error may change sign with the step size.
GAUSSIANS = oracles.Gaussian(np.array([[GAUSSIAN.mean, -0.2, 0.5]]), np.array([[GAUSSIAN.var, 0.05, 1.0]]))
COORDINATES = {'mixture': slice(0, 2), 'Gaussian': slice(2, 5)}
KEY = jax.random.key(0)
NS = (60, 120, 240)
LAMBDAS = (-2.5, 1.0)  # log(alpha / sigma)


def linear_vp_time(lam):
    """The integral of beta from 0 to t is log(1 + e^(-2 lambda)), and 9.95 t^2 + 0.1 t."""
    integral = np.log1p(np.exp(-2 * lam))
    return (np.sqrt(0.1**2 + 4 * 9.95 * integral) - 0.1) / (2 * 9.95)


# schedule, and its time with this lambda
SCHEDULES = {
    'LinearVP': (schedules.LinearVP(), linear_vp_time),
    'CosineVP': (schedules.CosineVP(), lambda lam: 2 / np.pi * np.arctan(np.exp(-lam))),
    'VE': (schedules.VE(), lambda lam: np.exp(-lam)),
    'RectifiedFlow': (schedules.RectifiedFlow(), lambda lam: 1 / (1 + np.exp(lam))),
    'TrigFlow': (schedules.TrigFlow(0.5), lambda lam: np.arctan(np.exp(-lam) / 0.5)),
}
# solver and the order that it should declare
SOLVERS = {
    'euler': (samplers.euler, 1),
    'heun': (samplers.heun, 2),
    **{f'dpm_solver_{p}': (partial(samplers.dpm_solver, order=p), p) for p in (1, 2, 3)},
    **{f'dpm_solver_pp_single_{p}': (partial(samplers.dpm_solver_pp_single, order=p), p) for p in (1, 2, 3)},
    **{f'dpm_solver_pp_{p}': (partial(samplers.dpm_solver_pp, order=p), p) for p in (1, 2, 3)},
    **{f'unipc_{p}_bh1': (partial(samplers.unipc, order=p, variant='bh1'), p + 1) for p in (1, 2, 3)},
    **{f'unipc_{p}_bh2': (partial(samplers.unipc, order=p, variant='bh2'), p + 1) for p in (1, 2, 3)},
    **{f'deis_{p}': (partial(samplers.deis, order=p), p) for p in (1, 2, 3, 4)},
    'pndm': (samplers.pndm, 2),
}
FAST = {
    *((name, 'RectifiedFlow') for name in ('euler', 'dpm_solver_3', 'dpm_solver_pp_single_2')),
    *((name, 'RectifiedFlow') for name in ('unipc_3_bh1', 'deis_3', 'pndm')),
    *((name, 'LinearVP') for name in ('heun', 'dpm_solver_pp_2', 'dpm_solver_pp_3', 'unipc_1_bh2')),
}
ROWS = [
    pytest.param(name, on, marks=() if (name, on) in FAST else pytest.mark.slow) for name in SOLVERS for on in SCHEDULES
]


def bind(schedule):
    def denoise(x, t):
        a, s = schedule.alpha(t), schedule.sigma(t)
        return jnp.concatenate(
            [mixture(MIXTURE, x[:, :2], a, s), GAUSSIANS.denoise(x[:, 2:], a[:, None], s[:, None])], 1
        )

    return denoise


def grid(time, n):
    return time(LAMBDAS[0] + (LAMBDAS[1] - LAMBDAS[0]) * (np.arange(n + 1) / n) ** 2)


def run(sampler, x, times):
    """The run of `samplers.sample`, with one compilation for all lengths."""
    step = jax.jit(lambda state, t, s: sampler.step(KEY, state, t, s))
    state = sampler.init(jnp.asarray(x))
    for t, s in pairwise(times):
        state = step(state, jnp.asarray(t), jnp.asarray(s))
    return np.asarray(state.x)


@pytest.mark.parametrize(('name', 'on'), ROWS)
def test_order_of_convergence(name, on, x64):
    schedule, time = SCHEDULES[on]
    solver, order = SOLVERS[name]
    sampler = solver(bind(schedule), schedule)
    assert sampler.order == order
    ends = scales(schedule, grid(time, 1))
    x = np.random.default_rng(0).normal(size=(16, 5)) * np.hypot(*ends[0])
    exact = np.concatenate([MIXTURE.pf_ode(x[:, :2], *ends), GAUSSIANS.pf_ode(x[:, 2:], *ends)], 1)
    errors = np.array([np.square(run(sampler, x, grid(time, n)) - exact) for n in NS])
    for data, coordinates in COORDINATES.items():
        rms = np.sqrt(errors[..., coordinates].mean((1, 2)))
        assert rms[-1] < 0.02, data
        assert abs(oracles.order(NS, rms) - order) < 0.15, (data, rms)


# On equal steps of log-SNR, from a level of 1 to one of 0.1: the order that a start with one point leaves.
STARTED = {'dpm_solver_pp_2': 2, 'dpm_solver_pp_3': 2, 'deis_3': 2, 'deis_4': 2, 'unipc_2_bh2': 3, 'unipc_3_bh2': 3}


@pytest.mark.parametrize(
    'name', [n if n in ('deis_4', 'unipc_3_bh2') else pytest.param(n, marks=pytest.mark.slow) for n in STARTED]
)
def test_a_start_of_long_steps_leaves_the_order_that_the_contract_says(name, x64):
    """And a first step of the square of the others is what takes it away, with no other change."""
    schedule, (solver, order) = schedules.VE(), SOLVERS[name]
    sampler, ns = solver(bind(schedule), schedule), (128, 256, 512)
    ends = scales(schedule, [1.0, 0.1])
    x = np.random.default_rng(0).normal(size=(16, 5)) * np.hypot(*ends[0])
    exact = np.concatenate([MIXTURE.pf_ode(x[:, :2], *ends), GAUSSIANS.pf_ode(x[:, 2:], *ends)], 1)

    def rms(times):
        return np.sqrt(np.mean(np.square(run(sampler, x, times) - exact)))

    assert abs(oracles.order(ns, [rms(0.1 ** np.linspace(0, 1, n + 1)) for n in ns]) - STARTED[name]) < 0.15
    assert abs(oracles.order(ns, [rms(0.1 ** ramp(n)) for n in ns]) - order) < 0.2


def ramp(n):
    """From 0 to 1 by equal steps but for the first, which grow from their square by half as much again."""
    h = 1 / n
    first = h**2 * 4 * 1.5 ** np.arange(np.ceil(np.log(n / 4) / np.log(1.5)))
    u = np.concatenate([[0], np.cumsum(first)])
    rest = np.linspace(u[-1], 1, round((1 - u[-1]) / h) + 1)
    return np.concatenate([u, rest[1:]])
