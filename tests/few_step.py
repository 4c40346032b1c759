"""Tiny runs of the few-step methods on points; for the entry points a config file, `--config=tests/few_step.py:cd`."""

from pathlib import Path
from typing import Any

from configs import common, methods, toy2d
from diffusion_jax import builders

HUBER = {'name': 'pseudo_huber'}
METHODS = {
    'edm': lambda config: config,
    'cd': lambda config: methods.cd(config, HUBER, mu=0.5),
    'dmd': methods.dmd,
    'ct': lambda config: methods.ct(config, HUBER),
    'ict': methods.ict,
    'ect': lambda config: _in_two_stages(methods.ect(config)),
    'tcm': methods.tcm,
    'sct': lambda config: methods.sct(config, warmup=2),
    'scd': lambda config: methods.scd(config, warmup=2),
    'mean_flow': methods.mean_flow,
    'mean_flow_distillation': methods.mean_flow_distillation,
    'ctm': methods.ctm,
    'imm': methods.imm,
    'mscm': lambda config: methods.mscm(config, K=2, N=4),
    'pd': lambda config: methods.pd(config, n_0=2),  # N = 2, 2, 1, 1
}


def _in_two_stages(config):
    config.objective.pairs.stages = 2
    return config


def get_config(name: str) -> Any:
    """The config of a method."""
    config = methods.briefly(common.on_data_of(common.edm(), toy2d.get_config('runlocal')), steps=4)
    config.data.n = 64
    config.net.width, config.net.depth = 8, 1
    config.ema.decay = 0.9
    config.train.update(log_every=1, save_every=2, sample_every=0)
    config = METHODS[name](config)
    config.sample.clip = False
    if name == 'edm':
        config.sample.times.n = 3
    return config


def run(name: str, teacher: Path | None = None, **train) -> dict[str, Any]:
    """The same resolved, with a teacher; keyword arguments go to the `train` section."""
    config = get_config(name)
    config.train.update(train)
    if teacher:
        config.init_from = str(teacher)
    return builders.resolve(config)
