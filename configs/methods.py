"""Few-step methods as changes to a config of `common.edm()`: what each paper fixes, whatever the data and network."""

import math
from typing import Any

from ml_collections import config_dict

_SIGMA_DATA = 0.5
_T_MAX = math.atan(80 / _SIGMA_DATA)  # the angle of EDM's sigma_max
_ALL_TIMES = {'name': 'nested_pairs', 't_max': 0.994}  # up to sigma / alpha = 166
# One step, and two whose second is at the noise level or angle that ECT's and sCM's authors take.
_LEVELS = {'name': 'first_of', 'n': 1, 'times': (80.0, 0.821)}
_ANGLES = {'name': 'first_of', 'n': 1, 'times': (_T_MAX, 1.1)}
_INVERSE_GAP = {'name': 'inverse_gap'}


def lpips() -> dict[str, Any]:
    """LPIPS, whose two files the user names on the command line."""
    return {'name': 'lpips', 'vgg': config_dict.placeholder(str), 'lin': config_dict.placeholder(str)}


def train(config: Any, lr: float, batch_size: int, steps: int, decay: float) -> Any:
    """RAdam at a constant rate, unclipped, as the papers on consistency models have it."""
    config.optim = {'name': 'radam', 'lr': lr, 'warmup': 0, 'clip': config_dict.placeholder(float)}
    config.ema = {'name': 'constant', 'decay': decay}
    config.train.update(batch_size=batch_size, steps=steps)
    return config


def briefly(config: Any, steps: int, lr: float = 1e-3) -> Any:
    """The training of the small comparisons: every method has the same number of steps of the same batch."""
    config.optim = {'name': 'radam', 'lr': lr, 'warmup': 0, 'clip': 1.0, 'anneal': {'name': 'linear'}}
    config.ema = {'name': 'warm_up', 'decay': 0.995}
    config.train.update(steps=steps, sample_every=steps)
    return config


def _one_step(config: Any) -> Any:
    config.sample.sampler = {'name': 'renoise'}
    config.sample.times = dict(_LEVELS)
    config.sample.clip = True
    return config


def cd(config: Any, distance: Any, mu: float) -> Any:
    """Consistency distillation: N = 18 with Heun steps of an EDM teacher, mu the target's decay (arXiv 2303.01469)."""
    config.precond = {'name': 'consistency', 'sigma_data': _SIGMA_DATA}
    config.objective = {
        'name': 'consistency',
        'pairs': {'name': 'uniform_pairs', 'N': {'name': 'constant', 'n': 18}},
        'distance': distance,
        'pair_weight': {'name': 'uniform'},
        'ode_step': {'name': 'heun'},
    }
    if mu:  # else the target is the network itself, which needs no copy of it
        config.frozen = {'name': 'moving_target', 'decay': {'name': 'constant_decay', 'mu': mu}}
    return _one_step(config)


def dmd(config: Any) -> Any:
    """Distribution matching distillation without a GAN, five updates of the fake score a step (arXiv 2405.14867)."""
    config.precond = {'name': 'consistency', 'sigma_data': _SIGMA_DATA}
    config.objective = {
        'name': 'distribution_matching',
        'p_t': {'name': 'karras_uniform'},
        'weight': {'name': 'edm', 'sigma_data': _SIGMA_DATA},
        'updates': 5,
    }
    config.second_optim = config.optim.copy_and_resolve_references()  # one rate for both, as in the released run
    return _one_step(config)


def ct(config: Any, distance: Any) -> Any:
    """Consistency training: N(k) and mu(k) with s_0 = 2, mu_0 = 0.9, s_1 by the run's length (arXiv 2303.01469)."""
    N = {'name': 'square_root', 's_0': 2, 's_1': config_dict.placeholder(int)}
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
    """Improved consistency training: no moving target, N doubles from 10 on (arXiv 2310.14189)."""
    config.precond = {'name': 'consistency', 'sigma_data': _SIGMA_DATA}
    config.objective = {
        'name': 'consistency',
        'pairs': {
            'name': 'log_normal_pairs',
            'N': {'name': 'doubling', 's_0': 10, 's_1': config_dict.placeholder(int)},
        },
        'distance': {'name': 'pseudo_huber'},
        'pair_weight': _INVERSE_GAP,
    }
    return _one_step(config)


def ect(config: Any) -> Any:
    """Easy consistency tuning of an EDM model, the gaps halved from stage to stage (arXiv 2406.14548).

    In eight stages however short the run: the first ones teach denoising, which the EDM model has learnt already.
    """
    config.precond = {'name': 'consistency', 'sigma_data': _SIGMA_DATA, 'sigma_min': 0.0}
    config.objective = {
        'name': 'consistency',
        'pairs': {'name': 'continuous_pairs', 'stages': 8},
        'distance': {'name': 'pseudo_huber'},
        'pair_weight': _INVERSE_GAP,
    }
    _one_step(config).sample.sampler = {'name': 'renoise', 'sigma_min': 0.0}
    return config


def tcm(config: Any, t_min: float = 0.8) -> Any:
    """The second stage of a truncated consistency model, of a run of `ict` (arXiv 2410.14895).

    t_min is below the noise level of the second step.
    """
    ict(config).objective.update(name='truncated_consistency', t_min=t_min)
    config.objective['pairs']['sigma_min'] = t_min
    return config


def _on_angles(config: Any) -> Any:
    """TrigFlow's time with EDM's network: a VE teacher's weights mean the same function."""
    config.schedule = {'name': 'TrigFlow', 'sigma_data': _SIGMA_DATA}
    config.precond = {'name': 'rescaled', 'of': {'name': 'edm', 'sigma_data': _SIGMA_DATA}}
    return config


def sct(config: Any, warmup: int) -> Any:
    """Continuous-time consistency training from an EDM model (arXiv 2410.11081)."""
    p_t = {'name': 'arctan_log_normal', 'P_mean': -1.0, 'P_std': 1.4}
    weight = {'name': 'log_weight'}
    _on_angles(config).objective = {'name': 'continuous', 'p_t': p_t, 'warmup': warmup, 'adaptive_weight': weight}
    _one_step(config).sample.times = dict(_ANGLES)
    return config


def scd(config: Any, warmup: int) -> Any:
    """Continuous-time consistency distillation of an EDM model (arXiv 2410.11081)."""
    sct(config, warmup).objective.name = 'continuous_distillation'
    return config


def mscm(config: Any, K: int, N: int = 32) -> Any:
    """Multistep consistency distillation of an EDM model: K segments of TrigFlow's angle, in each N Heun steps of the
    teacher (arXiv 2403.06807); sampled in K steps of DDIM."""
    segments = {'name': 'uniform', 'n': K, 't_max': _T_MAX}
    _on_angles(config).objective = {
        'name': 'multistep_consistency',
        'pairs': {'name': 'neighbours', 'grid': {**segments, 'n': K * N}},
        'grid': segments,
        'distance': {'name': 'l2'},
        'weight': {'name': 'trig'},
        'ode_step': {'name': 'heun'},
    }
    config.sample.sampler = {'name': 'ddim', 'eta': 0.0}
    config.sample.times = segments
    return config


def mean_flow(config: Any) -> Any:
    """MeanFlow, from scratch (arXiv 2505.13447)."""
    config.schedule = {'name': 'RectifiedFlow'}
    config.precond = {'name': 'average_velocity', 'scale': 1.0}
    config.objective = {'name': 'mean_flow', 'pairs': {'name': 'logit_normal_pairs'}}
    config.sample.sampler = {'name': 'jump'}
    config.sample.times = {'name': 'uniform', 'n': 1}
    return config


def mean_flow_distillation(config: Any) -> Any:
    """MeanFlow of a diffusion model's velocity (arXiv 2505.13447); the student's network is new, told two times."""
    mean_flow(config).objective.name = 'mean_flow_distillation'
    return config


def shortcut(config: Any, mu: float) -> Any:
    """A shortcut model, from scratch, mu the decay of the weights that its targets are made with (arXiv 2410.12557)."""
    mean_flow(config).objective = {'name': 'shortcut', 'pairs': {'name': 'dyadic_pairs'}}
    config.frozen = {'name': 'moving_target', 'decay': {'name': 'constant_decay', 'mu': mu}}
    return config


def ctm(config: Any) -> Any:
    """A consistency trajectory model without its GAN, of an EDM model; its network is new (arXiv 2310.02279)."""
    mean_flow(config).objective = {
        'name': 'consistency_trajectory',
        'pairs': _ALL_TIMES,
        'distance': {'name': 'l2'},
        'ode_step': {'name': 'heun'},
    }
    return config


def imm(config: Any, M: int = 4) -> Any:
    """Inductive moment matching, from scratch, in groups of M samples (arXiv 2503.07565)."""
    mean_flow(config).objective = {
        'name': 'imm',
        'pairs': _ALL_TIMES,
        'kernel': {'name': 'laplace', 'sigma_data': _SIGMA_DATA},
        'weight': {'name': 'imm'},
        'M': M,
    }
    return config


def improved_mean_flow(config: Any) -> Any:
    """MeanFlow along the model's own velocity, from scratch (arXiv 2512.02012)."""
    mean_flow(config).objective.name = 'improved_mean_flow'
    return config


def alpha_flow(config: Any) -> Any:
    """Alpha-Flow, from scratch: flow matching for a fifth of the run, MeanFlow for the last (arXiv 2510.20771)."""
    mean_flow(config).objective.update(name='alpha_flow', alpha={'name': 'falling', 'begin': 0.2, 'done': 0.8})
    return config


def terminal_velocity(config: Any, mu: float) -> Any:
    """Terminal velocity matching, from scratch, mu the decay of its target's weights (arXiv 2511.19797)."""
    mean_flow(config).objective = {'name': 'terminal_velocity', 'pairs': {'name': 'logit_normal_pairs', 'share': 1.0}}
    config.frozen = {'name': 'moving_target', 'decay': {'name': 'constant_decay', 'mu': mu}}
    return config


def align_your_flow(config: Any, warmup: int) -> Any:
    """Flow maps for all pairs of times, from a diffusion model (arXiv 2506.14603)."""
    mean_flow(config).objective.update(name='align_your_flow', warmup=warmup)
    return config


def data_free(config: Any) -> Any:
    """The map from noise, from a diffusion model and no data (arXiv 2511.19428)."""
    mean_flow(config).objective = {'name': 'data_free', 'p_t': {'name': 'logit_normal'}}
    return config


def self_distillation(config: Any, equation: Any) -> Any:
    """A flow map from scratch, by one of its equations and its own velocity (arXiv 2505.18825)."""
    mean_flow(config).objective.update(name='flow_map', equation=equation, velocity={'name': 'own'})
    return config


def flow_map_matching(config: Any, equation: Any) -> Any:
    """A flow map of a diffusion model, by one of its equations (arXiv 2406.07507)."""
    self_distillation(config, equation).objective.velocity.name = 'of_a_teacher'
    return config


def pd(config: Any, n_0: int) -> Any:
    """Progressive distillation of an EDM model in equal steps of TrigFlow's angle (arXiv 2202.00512)."""
    stages = {'name': 'halving', 'n_0': n_0}
    _on_angles(config).objective = {
        'name': 'progressive',
        'N': stages,
        'weight': {'name': 'trig'},
        't_max': _T_MAX,
    }
    config.frozen = {'name': 'staged_teacher', 'N': stages}
    config.optim.anneal = {**stages, 'name': 'linear_stages'}
    config.sample.sampler = {'name': 'ddim', 'eta': 0.0}
    config.sample.times = {'name': 'uniform', 'n': 1, 't_max': _T_MAX}
    return config
