"""Few-step methods as changes to a config of `common.edm()`: what each paper fixes, whatever the data and network."""

from typing import Any

_SIGMA_DATA = 0.5
_INVERSE_GAP = {'name': 'inverse_gap'}


def _one_step(config: Any) -> Any:
    config.sample.sampler = {'name': 'renoise'}
    config.sample.times = {'name': 'multistep', 'n': 1}
    config.sample.clip = True
    return config


def cd(config: Any, distance: Any) -> Any:
    """Consistency distillation: N = 18 with Heun steps of an EDM teacher (arXiv 2303.01469)."""
    config.precond = {'name': 'consistency', 'sigma_data': _SIGMA_DATA}
    config.objective = {
        'name': 'consistency',
        'pairs': {'name': 'uniform_pairs', 'N': {'name': 'constant', 'n': 18}},
        'distance': distance,
        'pair_weight': {'name': 'uniform'},
        'ode_step': {'name': 'heun'},
    }
    return _one_step(config)


def ct(config: Any, distance: Any) -> Any:
    """Consistency training: N(k) and mu(k) with s_0 = 2, s_1 = 150, mu_0 = 0.9 (arXiv 2303.01469)."""
    N = {'name': 'square_root', 's_0': 2, 's_1': 150}
    config.precond = {'name': 'consistency', 'sigma_data': _SIGMA_DATA}
    config.objective = {
        'name': 'consistency',
        'pairs': {'name': 'uniform_pairs', 'N': N},
        'distance': distance,
        'pair_weight': {'name': 'uniform'},
    }
    decay = {'name': 'target_decay', 'N': N, 's_0': 2, 'mu_0': 0.9, 'count': 'points'}
    config.frozen = {'name': 'moving_target', 'decay': decay}
    return _one_step(config)


def ict(config: Any) -> Any:
    """Improved consistency training: no moving target, N doubles from 10 to 1280 (arXiv 2310.14189)."""
    config.precond = {'name': 'consistency', 'sigma_data': _SIGMA_DATA}
    config.objective = {
        'name': 'consistency',
        'pairs': {'name': 'log_normal_pairs', 'N': {'name': 'doubling', 's_0': 10, 's_1': 1280}},
        'distance': {'name': 'pseudo_huber'},
        'pair_weight': _INVERSE_GAP,
    }
    return _one_step(config)


def ect(config: Any, every: int) -> Any:
    """Easy consistency tuning of an EDM model; the gap between t and s halves every `every` steps (arXiv 2406.14548)."""
    config.precond = {'name': 'consistency', 'sigma_data': _SIGMA_DATA, 'sigma_min': 0.0}
    config.objective = {
        'name': 'consistency',
        'pairs': {'name': 'continuous_pairs', 'every': every},
        'distance': {'name': 'pseudo_huber'},
        'pair_weight': _INVERSE_GAP,
    }
    return _one_step(config)
