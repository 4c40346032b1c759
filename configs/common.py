"""What the configs share: DDPM's settings, and the shrinking that `:runlocal` asks for."""

from typing import Any

from ml_collections import ConfigDict, config_dict

from diffusion_jax.builders.records import Eval, Mesh, Sample, Train, defaults


def ddpm() -> Any:
    """DDPM of Ho et al. 2020 but for its data and its length: linear betas, T = 1000, eps-prediction, L_simple."""
    config: Any = ConfigDict()  # pyright cannot know its fields
    config.seed = 0
    config.data = {
        'name': '',
        'dir': config_dict.placeholder(str),
        'split': 'train',
        'condition': config_dict.placeholder(str),  # the feature that is told beside x: 'label'
        'augment': None,
        'drop_cond': config_dict.placeholder(float),  # share of conditions dropped, for classifier-free guidance
    }
    config.schedule = {'name': 'DiscreteVP', 'betas': {'name': 'linear_betas', 'T': 1000}}
    config.precond = {'name': 'eps'}
    config.net = {
        'name': 'UNet',
        'channels': 128,
        'multipliers': (1, 2, 2, 2),
        'blocks': 2,
        'attention': (16,),
        'dropout': 0.1,
        'dtype': 'float32',
    }
    config.objective = {'name': 'denoising', 'p_t': {'name': 'discrete_uniform'}, 'weight': {'name': 'snr'}}
    config.optim = {'name': 'adam', 'lr': 2e-4, 'warmup': 5000, 'clip': 1.0, 'anneal': {'name': 'constant'}}
    config.second_optim = None  # of an objective with a second learner, which learns in turn with the model
    config.ema = {'name': 'constant', 'decay': 0.9999}
    config.train = defaults(
        Train, batch_size=128, steps=800_000, log_every=100, save_every=5000, sample_every=20_000, keep=2
    )
    config.init_from = config_dict.placeholder(str)
    config.init_step = 'newest'
    config.init_partial = config_dict.placeholder(str)  # regular expression of the arrays to take, where they fit
    config.frozen = {'name': 'fixed'}
    config.mesh = defaults(Mesh)
    sampler, times = {'name': 'ancestral', 'variance': 'large'}, {'name': 'uniform', 'n': 1000}
    config.sample = defaults(Sample, sampler=sampler, times=times, clip=True, num=64, batch_size=64)
    config.eval = defaults(
        Eval,
        num=50_000,
        batch_size=500,
        features={'name': 'pca', 'dim': 64},
        reference='train',
        held_out='test',
        variance='large',
        bits_num=1000,
        bits_terms=config_dict.placeholder(int),
    )
    return config


def edm() -> Any:
    """EDM of Karras et al. 2022 but for its data and its network: VE, log-normal p(sigma), Heun with 35 evaluations."""
    config = ddpm()
    config.schedule = {'name': 'VE'}
    config.precond = {'name': 'edm', 'sigma_data': 0.5}
    config.objective = {
        'name': 'denoising',
        'p_t': {'name': 'log_normal'},
        'weight': {'name': 'edm', 'sigma_data': 0.5},
    }
    config.sample.sampler = {'name': 'heun'}
    config.sample.times = {'name': 'karras', 'n': 18}
    config.sample.clip = False
    config.eval.bits_num = 0  # the ODE takes its time: ask for it by --bits_num
    return config


def flow() -> Any:
    """Flow matching on straight paths (arXiv 2209.03003): velocity, t logit-normal, Heun with 35 evaluations."""
    config = edm()
    config.schedule = {'name': 'RectifiedFlow'}
    config.precond = {'name': 'flow'}
    config.objective = {'name': 'denoising', 'p_t': {'name': 'logit_normal'}, 'weight': {'name': 'flow'}}
    config.sample.times = {'name': 'uniform', 'n': 18}
    return config


def masked() -> Any:
    """Masked diffusion of tokens (arXiv 2406.04329, 2406.07524) but for its data: a linear schedule, a transformer."""
    config = ddpm()
    config.schedule = {'name': 'PolynomialMasking'}
    config.precond = {'name': 'logits'}
    config.net = {
        'name': 'DiT',
        'hidden': 128,
        'depth': 4,
        'heads': 4,
        'patch': 1,
        'positions': 'rotary',
        'dropout': 0.0,
        'dtype': 'float32',
    }
    config.objective = {'name': 'masked', 'p_t': {'name': 'low_discrepancy'}}
    config.sample.update(clip=False)
    config.sample.sampler = {'name': 'unmask'}
    config.sample.times = {'name': 'uniform', 'n': 128}
    return config


def on_data_of(config: Any, other: Any) -> Any:
    """The same method on the data, the network and the training length of another config."""
    for section in ('data', 'net', 'optim', 'ema', 'train'):
        config[section] = other[section]
    config.eval.update({**other.eval, 'bits_num': config.eval.bits_num})
    config.eval.features = other.eval.features  # a spec is replaced, not merged
    return config


def runlocal(config: Any) -> Any:
    """The same run in a minute on a laptop's CPU: a thin network, a few steps. Its numbers mean nothing."""
    if config.net.name in ('EDM2', 'UNet', 'UNetEncoder'):
        config.net.channels = 8
        config.net.multipliers = config.net.multipliers[:2]
        config.net.blocks = 1
        config.net.attention = ()
        if 'head_channels' in config.net:
            config.net.head_channels = config.net.channels
    if config.net.name == 'TextUNet':
        config.net.update(channels=8, multipliers=(1, 2), blocks=1, attention=(), heads=1)
        config.net.layout.groups = 4
        config.net.text.update(width=16, layers=1, heads=2, mlp=16)
    if config.net.name == 'DiT' and config.objective.name == 'masked':
        config.net.update(hidden=16, depth=1, heads=2)
    config.optim.warmup = min(config.optim.warmup, 10)
    config.ema = {'name': 'warm_up', 'decay': 0.9}
    if config.objective.get('distance', {}).get('name') == 'lpips':  # whose files a first try need not have
        config.objective.distance = {'name': 'pseudo_huber'}
    config.train.update(batch_size=8, steps=20, log_every=5, save_every=10, sample_every=20)
    config.sample.update(num=8, batch_size=8)
    if 'n' in config.sample.times:
        config.sample.times.n = min(config.sample.times.n, 10)
    config.eval.update(num=64, batch_size=64, bits_num=min(config.eval.bits_num, 8), bits_terms=4)
    if config.eval.features.name == 'pca':
        config.eval.features.dim = 8
    return config
