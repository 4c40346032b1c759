"""Every argument of every public factory has a range, which its docstring states and the factory checks.

A new factory, or a new argument of an old one, fails here until it has a row. Values are of the type that the
annotation gives: in tests another type fails before the factory runs.
"""

import inspect
from collections.abc import Callable
from typing import get_origin

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from diffusion_jax import guidance, ode, precond, ranges, samplers, schedules, times
from diffusion_jax.samplers import retime
from diffusion_jax.times import curricula, noise_levels
from diffusion_jax.types import Key, Precond, Schedule

NAN, INF = float('nan'), float('inf')
FINITE = ([-1.0, 0.0], [NAN, INF, -INF])
FROM_0 = ([0.0, 1.0], [-1e-9, NAN, INF])
ABOVE_0 = ([1e-9, 1.0], [0.0, -1.0, NAN, INF])
SHARE = ([0.0, 0.5, 1.0], [-1e-9, 1.000001, NAN])
COUNT = ([1, 5], [0, -1])
LEVELS = ([2, 300], [1, 0, -3])
TOP_P = ([1e-9, 0.9, 1.0], [0.0, -0.1, 1.1, NAN])


def counted(most):
    return [1, most], [0, most + 1]


KARRAS = {
    'sigma_min': ([1e-5, 79.0], [0.0, -1.0, NAN, INF, 80.0, 90.0]),
    'sigma_max': ([0.1, 1e3], [0.001, 0.002, 0.0, NAN, INF]),
    'rho': ([1.0, 7.0], ABOVE_0[1]),
}
LOG_NORMAL = {'P_mean': FINITE, 'P_std': FROM_0}
WEIGHT = {'w': ([-1.0, 0.0, 7.5, jnp.ones(2)], [NAN, INF, jnp.array([1.0, NAN])]), 'rescale': SHARE}
# factory: argument: (values that are taken, values that are not). Defaults, and arguments of CONTEXT, are for the rest.
ROWS = {
    schedules.linear_betas: {
        'T': COUNT,
        'beta_1': ([1e-4, 1.0], [0.0, -1.0, 1.1, NAN]),
        'beta_T': ([0.02, 1.0], [0.0, 1.1, 2.0, NAN]),
    },
    schedules.scaled_linear_betas: {
        'T': COUNT,
        'beta_1': ([1e-4, 1.0], [0.0, -1.0, 1.1, NAN]),
        'beta_T': ([0.02, 1.0], [0.0, 1.1, 2.0, NAN]),
    },
    schedules.cosine_betas: {'T': COUNT, 's': FROM_0, 'max_beta': ([0.5, 1.0], [0.0, 1.1, NAN])},
    schedules.DiscreteVP: {
        'betas': (
            [np.array([0.5]), np.array([0.1, 1.0])],
            [np.array(b) for b in ([], [0.1, 1.1], [0.0], [NAN], [[0.1]], 0.1, [-0.1])],
        )
    },
    schedules.LinearVP: {'beta_min': FROM_0, 'beta_max': ABOVE_0},
    schedules.CosineMasking: {},
    schedules.CosineVP: {},
    schedules.PolynomialMasking: {'power': ABOVE_0},
    schedules.VE: {
        'sigma_min': ([0.0, 79.0], [-1e-9, 80.0, 90.0, NAN, INF]),
        'sigma_max': ([0.1, 1e3], [0.001, 0.002, 0.0, NAN, INF]),
    },
    schedules.RectifiedFlow: {},
    schedules.TrigFlow: {'sigma_data': ABOVE_0},
    times.at: {'times': ([1.0, '2/1'], ['1/2', NAN, -1.0, [], '1/1'])},
    times.first_of: {'n': ([1, 2], [0, -1, 3]), 'times': ([[2.0, 1.0], '2/1'], ['1/2', NAN, -1.0, [], '1/1'])},
    times.uniform: {'n': COUNT, 't_max': ABOVE_0},
    times.trailing: {'n': counted(1000), 'T': ([10, 1000], [9, 0]), 'among': ([10, 50], [0, 7, 5])},
    times.leading: {
        'n': counted(1000),
        'T': ([10, 1000], [9, 0]),
        'offset': ([0, 99], [-1, 100]),
        'last': ([0], [-1, 1]),
    },
    times.linspace: {'n': counted(1000), 'T': ([10, 1000], [9, 0])},
    times.quadratic: {
        'n': counted(1000),
        'T': ([10, 1000], [9, 0]),
        't_max': ([0.5, 1.0], [0.0, 1.1, -1.0, NAN]),
    },
    times.karras: {'n': COUNT, **KARRAS},
    times.multistep: {'n': COUNT, **KARRAS},
    times.log_snr: {
        'n': COUNT,
        't_min': ([1e-4, 0.5], [0.0, -1.0, 1.0, NAN]),
        't_max': ([0.5, 0.9], [0.0, 1e-4, NAN, INF]),
    },
    times.discrete_uniform: {'T': COUNT},
    times.continuous_uniform: {'t_min': ([0.0, 0.5], [-0.1, 1.0, 2.0, NAN]), 't_max': ([0.5], [0.0, 1e-6, NAN, INF])},
    times.log_normal: LOG_NORMAL,
    times.karras_uniform: {
        'low': ([0.0, 0.5], [-0.1, 0.98, 1.1, NAN]),
        'high': ([0.5, 1.0], [0.02, 0.0, 1.1, NAN]),
        **KARRAS,
    },
    times.low_discrepancy: {'t_max': ABOVE_0},
    times.logit_normal: {'mean': FINITE, 'std': FROM_0},
    times.arctan_log_normal: {**LOG_NORMAL, 'sigma_data': ABOVE_0},
    times.neighbours: {
        'grid': (
            [np.array([1.0, 0.0]), np.array([2.0, 1.0])],
            [np.array([0.0, 1.0]), np.array([1.0]), np.array([1.0, NAN]), np.array([1.0, -1.0]), np.array([1.0, 1.0])],
        )
    },
    times.uniform_pairs: KARRAS,
    times.log_normal_pairs: {**KARRAS, 'P_mean': FINITE, 'P_std': ABOVE_0},
    times.continuous_pairs: {
        **LOG_NORMAL,
        'steps': ([0, 1], [-1]),
        'stages': COUNT,
        'q': ([1.1, 256.0], [1.0, 0.5, -2.0, NAN]),
        'k': FROM_0,
        'b': FROM_0,
    },
    times.logit_normal_pairs: {'mean': FINITE, 'std': FROM_0, 'share': SHARE},
    times.nested_pairs: {'t_min': ([0.0, 0.5], [-0.1, 1.0, 2.0, NAN]), 't_max': ([0.5], [0.0, -1.0, NAN, INF])},
    times.stratum: {'n': COUNT},
    times.stratum_of_pairs: {'n': COUNT},
    times.dyadic_pairs: {'M': ([2, 128], [0, 1, 3, -2]), 'share': SHARE},
    noise_levels.times_at: {'level': ([np.array(0.0), np.array([1.0, 2.0])], [np.array(-1.0), np.array([1.0, NAN])])},
    curricula.constant: {'n': ([2, 18], [1, 0])},
    curricula.square_root: {'steps': ([0, 1], [-1]), 's_0': ([2, 151], [1, 0, -1]), 's_1': ([1, 150], [0, -1])},
    curricula.doubling: {
        'steps': ([1, 1000], [0, -1]),
        's_0': ([1, 1280], [0, -1]),
        's_1': ([10, 1280], [0, 9]),
    },
    curricula.constant_decay: {'mu': SHARE},
    curricula.falling: {
        'steps': ([1, 100], [0, -1]),
        'begin': ([0.0, 0.9], [-0.1, 1.0, 1.1, NAN]),
        'done': ([0.1, 1.0], [0.0, -0.1, 1.1, NAN]),
        'sharpness': ABOVE_0,
        'clamp': ([0.0, 0.4], [-0.1, 0.5, NAN]),
    },
    curricula.halving: {
        'steps': ([0, 1000], [-1, 3]),
        'each': COUNT,
        'n_0': ([1, 64], [0, 3, -1]),
        'n_1': ([1, 1024], [0, 3, 2048]),
        'stretch': COUNT,
    },
    curricula.target_decay: {
        's_0': COUNT,
        'mu_0': ([0.9, 1.0], [0.0, -0.5, 1.1, NAN]),
        'count': (['points', 'intervals'], ['pints']),
    },
    precond.eps: {'T': COUNT, 'scale': ABOVE_0},
    precond.x0: {'T': COUNT, 'scale': ABOVE_0},
    precond.v: {'T': COUNT, 'scale': ABOVE_0},
    precond.logits: {'levels': LEVELS},
    precond.mu: {'T': COUNT},
    precond.flow: {},
    precond.interpolant: {},
    precond.continuous_eps: {'scale': ABOVE_0},
    precond.score: {},
    precond.edm: {'sigma_data': ABOVE_0},
    precond.consistency: {'sigma_data': ABOVE_0, 'sigma_min': FROM_0, 'noise_scale': ABOVE_0},
    precond.trig: {'sigma_data': ABOVE_0},
    precond.boundary: {'T': COUNT, 'sigma_data': ABOVE_0, 'scaling': ABOVE_0},
    precond.rescaled: {},
    precond.average_velocity: {'scale': ABOVE_0},
    guidance.classifier_free: WEIGHT,
    guidance.classifier_free_with_variance: WEIGHT,
    guidance.auto: WEIGHT,
    guidance.classifier: WEIGHT,
    guidance.interval: {'low': ([0.0, 1.0], [-1.0, 2.0, 3.0, NAN, INF]), 'high': ([1.0, INF], [0.0, 0.5, NAN, -1.0])},
    guidance.clip: {'low': ([-INF, 0.0], [1.0, 2.0, NAN]), 'high': ([0.0, INF], [-1.0, -2.0, NAN])},
    guidance.dynamic_threshold: {'p': SHARE},
    samplers.adaptive: {'rtol': ABOVE_0, 'atol': ABOVE_0, 'sigma_min': ABOVE_0},
    samplers.ancestral: {'variance': (['small', 'large'], ['smal', ''])},
    samplers.ancestral_learned: {},
    samplers.ddim: {'eta': ([0.0, 0.5, 1.0], [-1.0, 3.0, -1e-9, 1.000001, NAN])},
    samplers.ddim_encode: {},
    samplers.deis: {'order': counted(4)},
    samplers.dpm_solver: {'order': counted(3)},
    samplers.dpm_solver_pp: {'order': counted(3)},
    samplers.dpm_solver_pp_single: {'order': counted(3)},
    samplers.edm_churn: {
        'n': COUNT,
        'S_churn': FROM_0,
        'S_min': ([0.0, 1.0], [-1.0, 1.1, NAN, INF]),
        'S_max': ([0.01, INF], [0.0, -1.0, NAN]),
        'S_noise': FROM_0,
    },
    samplers.euler: {},
    samplers.euler_step: {},
    samplers.euler_maruyama: {},
    samplers.heun: {},
    samplers.heun_step: {},
    samplers.jump: {},
    samplers.pndm: {},
    samplers.predictor_corrector: {'snr': FROM_0, 'corrector_steps': ([0, 2], [-1])},
    samplers.remask: {'levels': LEVELS, 'eta': SHARE, 'top_p': TOP_P},
    samplers.renoise: {'sigma_min': FROM_0},
    samplers.sde_dpm_solver_pp: {},
    samplers.unipc: {'order': counted(3), 'variant': (['bh1', 'bh2'], ['bh3'])},
    samplers.unmask: {'levels': LEVELS, 'top_p': TOP_P},
    samplers.unmask_confident: {'levels': LEVELS, 'top_p': TOP_P},
    samplers.sample: {
        'times': ([[1.0, 0.0], np.array([0.0, 1.0])], [[1.0], [], 1.0, [1.0, NAN], [1.0, -0.1], [INF, 0.0]])
    },
    samplers.trajectory: {'times': ([[1.0, 0.0]], [[1.0], [], 1.0, [1.0, NAN], [1.0, -0.1]])},
    samplers.parallel: {
        'times': ([[1.0, 0.0]], [[1.0], [], 1.0, [1.0, NAN], [1.0, -0.1]]),
        'window': COUNT,
        'tolerance': FROM_0,
    },
    samplers.prior: {'t_max': ABOVE_0},
    retime.retimed: {
        'times': ([jnp.array([1.0])], [jnp.array([0.0]), jnp.array([NAN])]),
        'model_times': ([jnp.array([0.9])], [jnp.array([0.0]), jnp.array([-1.0])]),
    },
    ode.solve: {'rtol': ABOVE_0, 'atol': ABOVE_0},
}
X = jnp.ones((2, 1))
CONTEXT = {
    'N': curricula.constant(18),
    'bind': lambda cond: lambda x, t: (x, x),
    'brownian': random.key(0),
    'cond': jnp.zeros(2, int),
    'denoise': lambda x, t: 0.5 * x,
    'each': 10,
    'high': 2.0,
    'i': 0,
    'key': random.key(0),
    'low': 0.5,
    'model_times': jnp.array([1.0]),
    'n': 10,
    'null': 2,
    'of': precond.edm(),
    'sampler': samplers.euler(lambda x, t: 0.5 * x, schedules.VE()),
    'schedule': schedules.VE(),
    'shape': (2, 1),
    'steps': 1000,
    't_max': 0.9,
    'tolerance': 0.1,
    'w': 1.0,
    'window': 2,
    'x': X,
    'y': X,
    'th': jnp.array(0.5),
    'end': jnp.array(0.4),
    'field': lambda y, th: -y,
    'rtol': 1e-3,
    'atol': 1e-3,
}
# Arrays and structure, whose types say all: no numbers that someone sets.
STRUCTURE = {'bind', 'cond', 'end', 'field', 'i', 'key', 'null', 'sampler', 'shape', 'th', 'x', 'y'}
CASES = [(factory, name) for factory, rows in ROWS.items() for name in rows]
IDS = [f'{factory.__name__}-{name}' for factory, name in CASES]


def call(factory, **given):
    """The factory with these arguments, and what it needs beside them; a curriculum and the like are called too."""
    parameters = inspect.signature(factory).parameters
    own = {'times': jnp.array([1.0])} if factory is retime.retimed else {'times': jnp.array([1.0, 0.0])}
    own |= {'times': [2.0, 1.0], 'n': 1} if factory is times.first_of else {}
    own |= {'schedule': schedules.PolynomialMasking(), 'levels': 3} if 'levels' in parameters else {}
    own |= {'grid': times.uniform(2), 'betas': np.array([0.1]), 'level': np.array(1.0)}
    context = {**CONTEXT, **own, **given}
    needed = {
        name: context.get(name, CONTEXT['denoise'])
        for name, p in parameters.items()
        if name in given or p.default is inspect.Parameter.empty or (name == 't_max' and factory is times.log_snr)
    }
    return factory(**needed)


def numbers(factory):
    """The parameters that are neither functions nor schedules nor the like."""
    for name, p in inspect.signature(factory).parameters.items():
        kind = p.annotation
        is_type = get_origin(kind) is Callable or kind in (Schedule, Precond, Key, Schedule | None)
        if not (is_type or name in STRUCTURE):
            yield name


def factories():
    """What the modules offer: `__all__`, and what packages show beside it."""
    for module in (schedules, times, curricula, precond, guidance, samplers):
        for name, value in vars(module).items():
            is_public = name in module.__all__ or (module is samplers and inspect.isfunction(value))
            if is_public and inspect.signature(value).parameters is not None:
                yield value


DRAWS = {samplers.fold_in, samplers.noise}  # of keys and arrays alone


@pytest.mark.parametrize('factory', [*factories()], ids=lambda f: f.__name__)
def test_every_argument_has_a_row(factory):
    assert factory in ROWS or factory in DRAWS, 'add a row to ROWS'
    assert set(numbers(factory)) == set(ROWS.get(factory, {})) or factory in DRAWS


@pytest.mark.parametrize(('factory', 'name'), CASES, ids=IDS)
def test_values_outside_of_the_range_are_refused_in_one_line(factory, name):
    values = ROWS[factory][name][1]
    for bad in values:
        with pytest.raises(ValueError, match=r'must|needs|finite|too few|power') as refusal:
            call(factory, **{name: bad})
        assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(('factory', 'name'), CASES, ids=IDS)
def test_values_within_are_taken(factory, name):
    for good in ROWS[factory][name][0]:
        call(factory, **{name: good})


@pytest.mark.parametrize(('factory', 'name'), CASES, ids=IDS)
def test_docstrings_say_what_is_checked(factory, name):
    """The interval of the message stands in the docstring of the factory, or in that of its module for all of them."""
    text = f'{factory.__doc__} {inspect.getmodule(factory).__doc__}'
    assert name in text or f'`{name}`' in text
    for bad in ROWS[factory][name][1]:
        with pytest.raises(ValueError) as refusal:
            call(factory, **{name: bad})
        message = str(refusal.value)
        if ' in ' in message and 'must be' in message:
            interval = message.partition(' in ')[2].partition(';')[0]
            assert interval in text, message


def test_intervals_are_what_they_look_like():
    for interval, inside, outside in (
        ('[0, 1]', (0, 1), (-1e-9, 1.1)),
        ('(0, 1)', (0.5,), (0, 1)),
        ('[0, 1)', (0,), (1,)),
        ('(0, 1]', (1,), (0,)),
        ('(-inf, inf)', (-1e9, 1e9), (-INF, INF)),
        ('[0, inf]', (INF,), (-INF,)),
    ):
        for value in inside:
            ranges.within(interval, a=value)
        for value in (*outside, NAN, None, '0', [0.5, NAN]):
            with pytest.raises(ValueError, match='a must be in'):
                ranges.within(interval, a=value)
    ranges.whole('[1, 3]', a=1, b=np.int64(3))
    for value in (0, 4, 2.0, NAN, None, '2', True):
        with pytest.raises(ValueError, match=r'a must be a whole number in \[1, 3\]'):
            ranges.whole('[1, 3]', a=value)


def test_traced_values_pass():
    """A weight under `jit` isn't known when the factory is called."""

    def guided(w):
        return guidance.auto(lambda x, t: x, lambda x, t: 0 * x, w)(X, jnp.ones(2))

    np.testing.assert_array_equal(jax.jit(guided)(3.0), 3 * X)
