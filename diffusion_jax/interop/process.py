"""What an official network was trained for: the noise, what it predicts, and how it is sampled by default, as specs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from diffusion_jax.errors import UserError

Spec = dict[str, Any]


class Process(NamedTuple):
    """Specs of a config's sections; `objective` is what it would be trained further with."""

    schedule: Spec
    precond: Spec
    objective: Spec
    sampler: Spec
    times: Spec
    clip: bool


def of_table(
    betas: Spec,
    predicts: str = 'eps',
    variance: str = 'large',
    learns_variance: bool = False,
    clip: bool = True,
    ddim_steps: int | None = None,
    rescaled: bool = False,
) -> Process:
    """That of a table of betas (DDPM, DDIM, iDDPM, ADM), sampled ancestrally, or by DDIM in so many steps.

    Of T steps the network is told k - 1 for the k-th; `rescaled` brings this to [0, 1000), as iDDPM's does.
    """
    denoising = {'name': 'denoising', 'p_t': {'name': 'discrete_uniform'}, 'weight': {'name': 'snr'}}
    hybrid = {'name': 'hybrid', 'weight': {'name': 'snr'}}
    ancestral = {'name': 'ancestral_learned'} if learns_variance else {'name': 'ancestral', 'variance': variance}
    return Process(
        {'name': 'DiscreteVP', 'betas': betas},
        {'name': predicts} | ({} if rescaled or betas['T'] == 1000 else {'scale': float(betas['T'])}),
        hybrid if learns_variance else denoising,
        {'name': 'ddim'} if ddim_steps else ancestral,
        {'name': 'uniform', 'n': ddim_steps or betas['T']},
        clip,
    )


def of_ddim(betas: Spec) -> Process:
    """That of DDIM's release: 50 steps of a sub-sequence from the first on, nothing clipped."""
    of = of_table(betas, clip=False, ddim_steps=50)
    T = {} if betas['T'] == 1000 else {'T': betas['T']}
    return of._replace(times={'name': 'leading', 'n': 50, **T})


def of_dit(betas: Spec, learns_variance: bool) -> Process:
    """That of DiT, of latents: sampled ancestrally in 250 steps, equally spaced in its table from its end on."""
    of = of_table(betas, learns_variance=learns_variance, clip=False)
    T = {} if betas['T'] == 1000 else {'T': betas['T']}
    return of._replace(times={'name': 'linspace', 'n': min(250, betas['T']), **T})


def of_sit() -> Process:
    """That of SiT on its linear path, told the time from noise to data, sampled by Heun's method in 125 steps."""
    return Process(
        {'name': 'RectifiedFlow'},
        {'name': 'interpolant'},
        {'name': 'denoising', 'p_t': {'name': 'continuous_uniform'}, 'weight': {'name': 'flow'}},
        {'name': 'heun'},
        {'name': 'uniform', 'n': 125},
        False,
    )


def of_edm(steps: int) -> Process:
    """That of EDM's own networks, which embed ln(sigma) / 4, sampled by Heun's method in so many steps."""
    weight = {'name': 'edm', 'sigma_data': 0.5}
    return Process(
        {'name': 'VE'},
        {'name': 'edm', 'sigma_data': 0.5},
        {'name': 'denoising', 'p_t': {'name': 'log_normal'}, 'weight': weight},
        {'name': 'heun'},
        {'name': 'karras', 'n': steps},
        False,
    )


def of_edm2(latents: bool, sigma_data: float = 0.5, steps: int = 32) -> Process:
    """That of EDM2's networks: EDM's, with the noise that they were trained on and a weight that learns."""
    p_t = {'P_mean': -0.4, 'P_std': 1.0} if latents else {'P_mean': -0.8, 'P_std': 1.6}
    of = of_edm(steps)
    return of._replace(
        precond={'name': 'edm', 'sigma_data': sigma_data},
        objective={
            'name': 'denoising',
            'p_t': {'name': 'log_normal', **p_t},
            'weight': {'name': 'edm', 'sigma_data': sigma_data},
            'adaptive_weight': {'name': 'uncertainty'},
        },
    )


def of_score_ve(steps: int, sigma_min: float = 0.02, sigma_max: float = 100.0) -> Process:
    """That of score_sde's variance exploding SDE, whose networks embed ln(sigma / 2), sampled as EDM's."""
    return Process(
        {'name': 'VE', 'sigma_min': sigma_min, 'sigma_max': sigma_max},
        {'name': 'score'},
        {'name': 'denoising', 'p_t': {'name': 'log_normal'}, 'weight': {'name': 'snr'}},
        {'name': 'heun'},
        {'name': 'karras', 'n': steps, 'sigma_min': sigma_min, 'sigma_max': sigma_max},
        False,
    )


def of_score_vp(steps: int) -> Process:
    """That of score_sde's variance preserving SDE, whose networks embed 999 t, sampled as EDM's."""
    return Process(
        {'name': 'LinearVP'},
        {'name': 'continuous_eps'},
        {'name': 'denoising', 'p_t': {'name': 'continuous_uniform'}, 'weight': {'name': 'snr'}},
        {'name': 'heun'},
        {'name': 'karras', 'n': steps},
        False,
    )


def _of_edms_iddpm(steps: int) -> Process:
    return of_table({'name': 'cosine_betas', 'T': 1000}, ddim_steps=4 * steps, clip=False)


def of_score_sde(exploding: bool) -> Process:
    """That of score_sde's continuous models of CIFAR-10: its VE for NCSN++, its VP for DDPM++."""
    return of_score_ve(steps=40) if exploding else of_score_vp(steps=40)


# By the names of EDM's classes: (steps of its sampler) -> process.
PRECONDITIONED: dict[str, Callable[[int], Process]] = {
    'EDMPrecond': of_edm,
    'VEPrecond': of_score_ve,
    'VPPrecond': of_score_vp,
    'iDDPMPrecond': _of_edms_iddpm,
}


def of_openai_edm(sigma_data: float = 0.5) -> Process:
    """That of the EDM models of OpenAI's consistency_models, whose networks embed 250 ln sigma."""
    # With sigma_min = 0 the coefficients of a consistency function are EDM's.
    return Process(
        {'name': 'VE'},
        {'name': 'consistency', 'sigma_data': sigma_data, 'sigma_min': 0.0, 'noise_scale': 250.0},
        {
            'name': 'denoising',
            'p_t': {'name': 'log_normal'},
            'weight': {'name': 'edm', 'sigma_data': sigma_data},
        },
        {'name': 'heun'},
        {'name': 'karras', 'n': 40},
        False,
    )


def of_openai_cm(sigma_data: float = 0.5, sigma_min: float = 0.002, sigma_max: float = 80.0) -> Process:
    """That of OpenAI's consistency models: the same, with the identity at sigma_min; sampled in one step."""
    return Process(
        {'name': 'VE', 'sigma_min': sigma_min, 'sigma_max': sigma_max},
        {'name': 'consistency', 'sigma_data': sigma_data, 'sigma_min': sigma_min, 'noise_scale': 250.0},
        {
            'name': 'consistency',
            'distance': {'name': 'pseudo_huber'},
            'pair_weight': {'name': 'uniform'},
            'pairs': {'name': 'uniform_pairs', 'N': {'name': 'square_root', 's_0': 2, 's_1': 150}},
        },
        {'name': 'renoise'},
        {'name': 'first_of', 'times': [sigma_max, 0.821], 'n': 1},
        True,
    )


def of_jcm() -> Process:
    """That of the consistency models of CIFAR-10 in JAX, whose networks embed ln(sigma) / 4."""
    of = of_openai_cm()
    return of._replace(precond={'name': 'consistency', 'sigma_data': 0.5, 'sigma_min': 0.002})


_SCHEDULERS = ('DDPMScheduler', 'DDIMScheduler', 'CMStochasticIterativeScheduler')
_PREDICTS = {'epsilon': 'eps', 'v_prediction': 'v', 'sample': 'x0'}
_VARIANCES = {
    'fixed_small': 'small',
    'fixed_small_log': 'small',
    'fixed_large': 'large',
    'fixed_large_log': 'large',
    'learned_range': 'learned',
}
# (fields, what is the same here): anything else is refused by name.
_ONLY: dict[str, tuple[Any, ...]] = {
    'trained_betas': (None,),
    'beta_schedule': ('linear', 'squaredcos_cap_v2'),
    'prediction_type': tuple(_PREDICTS),
    'variance_type': tuple(_VARIANCES),
    'clip_sample_range': (1, 1.0),
    'thresholding': (False,),
    'rescale_betas_zero_snr': (False,),
}
_USUAL: dict[str, Any] = {
    'num_train_timesteps': 1000,
    'beta_start': 1e-4,
    'beta_end': 0.02,
    'beta_schedule': 'linear',
    'trained_betas': None,
    'variance_type': 'fixed_small',
    'clip_sample': True,
    'clip_sample_range': 1.0,
    'prediction_type': 'epsilon',
    'thresholding': False,
    'rescale_betas_zero_snr': False,
}


def of_scheduler(where: str, config: Mapping[str, Any], learns_variance: bool) -> Process:
    """What a scheduler_config.json of diffusers says; its sampler is DDIM in 50 steps if the scheduler is DDIM.

    Raises:
        UserError: for another scheduler, or an option that is not known here, by its name.
    """
    name = config.get('_class_name')
    if name not in _SCHEDULERS:
        raise UserError(f'{where} is of {name}, and only {", ".join(_SCHEDULERS)} are read')
    if name == 'CMStochasticIterativeScheduler':
        edges = {k: float(config[k]) for k in ('sigma_data', 'sigma_min', 'sigma_max') if k in config}
        return of_openai_cm(**edges)
    c = {**_USUAL, **config}
    for field, known in _ONLY.items():
        if c[field] not in known:
            raise UserError(f'{where}: {field} can be {" or ".join(map(repr, known))} here; got {c[field]!r}')
    variance = _VARIANCES[c['variance_type']]
    if (variance == 'learned') != learns_variance and name == 'DDPMScheduler':
        raise UserError(
            f"{where}: variance_type={c['variance_type']!r} does not go with the network's number of channels"
        )
    T = c['num_train_timesteps']
    betas: Spec = {'name': 'cosine_betas', 'T': T}
    if c['beta_schedule'] == 'linear':
        betas = {'name': 'linear_betas', 'T': T, 'beta_1': float(c['beta_start']), 'beta_T': float(c['beta_end'])}
        betas = {k: v for k, v in betas.items() if (k, v) not in (('beta_1', 1e-4), ('beta_T', 0.02))}
    steps = 50 if name == 'DDIMScheduler' else None
    return of_table(betas, _PREDICTS[c['prediction_type']], variance, learns_variance, bool(c['clip_sample']), steps)


def scheduler(config: Mapping[str, Any], learns_variance: bool) -> dict[str, Any]:
    """The scheduler_config.json of a config's process.

    Raises:
        UserError: for a process that diffusers has no scheduler for.
    """
    schedule, predicts, sampler = config['schedule'], config['precond'], config['sample']['sampler']
    betas, objective = schedule.get('betas', {}), config['objective']['name']
    if schedule['name'] == 'VE' and predicts['name'] == 'consistency' and objective == 'consistency':
        if predicts.get('noise_scale') != 250.0:
            raise UserError('config.precond.noise_scale: a consistency model of diffusers embeds 250 ln sigma')
        edges = {'sigma_min': schedule.get('sigma_min', 0.002), 'sigma_max': schedule.get('sigma_max', 80.0)}
        return {
            '_class_name': 'CMStochasticIterativeScheduler',
            'num_train_timesteps': 40,
            **edges,
            'sigma_data': predicts.get('sigma_data', 0.5),
            's_noise': 1.0,
            'rho': 7.0,
            'clip_denoised': config['sample']['clip'],
        }
    ours = {ours: theirs for theirs, ours in _PREDICTS.items()}
    if betas.get('name') not in ('linear_betas', 'cosine_betas') or predicts['name'] not in ours:
        raise UserError(
            f'a scheduler of diffusers has a table of betas and predicts {", ".join(ours)}; this run has '
            f'{schedule["name"]} and {predicts["name"]}'
        )
    T = betas.get('T', 1000)
    if predicts.get('scale', 1000.0) != T or betas.keys() & {'s', 'max_beta'}:
        raise UserError(
            f'config.schedule.betas={dict(betas)}: diffusers has linear or cosine ones without other settings, and '
            f'its networks are told k - 1 of T: config.precond.scale must be {float(T)}'
        )
    linear = betas['name'] == 'linear_betas'
    fixed = f'fixed_{sampler.get("variance", "large")}'
    return {
        '_class_name': 'DDPMScheduler',
        **_USUAL,
        'num_train_timesteps': T,
        'beta_start': betas.get('beta_1', 1e-4),
        'beta_end': betas.get('beta_T', 0.02),
        'beta_schedule': 'linear' if linear else 'squaredcos_cap_v2',
        'variance_type': 'learned_range' if learns_variance else fixed if fixed in _VARIANCES else 'fixed_large',
        'clip_sample': config['sample']['clip'],
        'prediction_type': ours[predicts['name']],
    }
