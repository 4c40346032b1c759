"""The files of a run beside its checkpoints: config.json (resolved) and provenance.json."""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from diffusion_jax.errors import UserError

_VERSIONS = ('diffusion_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def claim(workdir: Path, config: Mapping[str, Any], allow_change: bool) -> None:
    """Creates the workdir of a run, or checks that it is this run's.

    Raises:
        UserError: if it holds a run of another config, showing the difference, unless `allow_change`; or if it cannot
            be written.
    """
    path = workdir / 'config.json'
    config = _plain(config)  # tuples become lists, as they do in the file
    if path.exists():
        changed = _differences(json.loads(path.read_text()), config)
        if changed and not allow_change:
            raise UserError(
                f'{workdir} holds a run with another config (saved -> given):\n'
                + '\n'.join(f'  {line}' for line in changed)
                + '\nUse another --workdir, or --allow_config_change to go on with the config given.'
            )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(config, indent=2) + '\n')
        (workdir / 'provenance.json').write_text(json.dumps(_provenance(), indent=2) + '\n')
    except OSError as error:
        raise UserError(f'cannot write to {workdir}: {error.strerror}') from error


def load_config(workdir: Path) -> dict[str, Any]:
    """The resolved config of a run.

    Raises:
        UserError: if the folder holds no run.
    """
    path = workdir / 'config.json'
    if not path.exists():
        raise UserError(f'{workdir} holds no run (no config.json): train first, or check --workdir')
    return json.loads(path.read_text())


def _plain(config):
    return json.loads(json.dumps(config))


def _flat(tree, prefix=''):
    if isinstance(tree, dict):
        return {k: v for key, sub in tree.items() for k, v in _flat(sub, f'{prefix}{key}.').items()}
    return {prefix[:-1]: tree}


def _differences(saved, given):
    a, b = _flat(saved), _flat(given)
    missing = '(none)'
    keys = [k for k in {**a, **b} if a.get(k, missing) != b.get(k, missing)]
    return [f'{k}: {a.get(k, missing)} -> {b.get(k, missing)}' for k in keys]


def _provenance():
    commit = subprocess.run(
        ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        'command': sys.argv,
        'git': commit or None,
        'python': sys.version.split()[0],
        'versions': {name: _version(name) for name in _VERSIONS},
        'devices': [str(d) for d in jax.devices()],
        'processes': jax.process_count(),
    }


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
