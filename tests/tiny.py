"""Runs of seconds that the tests of the entry points share, and a way to call those entry points within one process."""

import importlib
import sys
from typing import Any

from absl import flags

from configs import quickstart, toy2d
from diffusion_jax import builders, cli


def points(**train) -> dict[str, Any]:
    """The config of a tiny MLP on points; keyword arguments go to its `train` section."""
    config = toy2d.get_config('runlocal')
    config.data.n = 64
    config.net.width, config.net.depth = 8, 1
    config.train.update(sample_every=0, **train)
    config.sample.times.n = 3
    return builders.resolve(config)


def digits(**train) -> dict[str, Any]:
    """The config of a tiny U-Net on digits."""
    config = quickstart.get_config('runlocal')
    config.net.multipliers = (1, 1)
    config.train.update(**{'steps': 4, 'log_every': 2, 'save_every': 2, 'sample_every': 0, **train})
    config.sample.times.n = 3
    config.sample.num = 4
    return builders.resolve(config)


def call(name: str, *arguments: str) -> int:
    """Runs the entry point `diffusion_jax.NAME` (or NAME, if dotted) on a command line; returns its exit code."""
    path = name if '.' in name else f'diffusion_jax.{name}'
    defined, before = {*flags.FLAGS}, sys.argv
    sys.argv = [name, *arguments]  # where ml_collections looks for overrides
    sys.modules.pop(path, None)  # its flags are defined by its import, and the entry points share names
    try:
        module = importlib.import_module(path)
        cli.guarded(module.main, cli._parse(sys.argv))
        return 0
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
        for flag in {*flags.FLAGS} - defined:
            delattr(flags.FLAGS, flag)
        flags.FLAGS.unparse_flags()


def refusal(capsys, name: str, *arguments: str) -> str:
    """The one line with which an entry point refuses a command line."""
    capsys.readouterr()
    code = call(name, *arguments)
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith('error: ')
    return lines[0].removeprefix('error: ')
