r"""Compiles a run for a slice of TPUs before anybody pays for one, by the compiler that works there; no TPU is needed.

    python -m experiments.launch.check --config=configs/cifar10_edm.py --on=tpu:type=v5litepod-256 --config.mesh.fsdp=8
    python -m experiments.launch.check --config=... --on=...  --suggest     # of the ways to spread a step, the best
    python -m experiments.launch.check --table --out=DIR        # of all that is kept in DIR, in Markdown

Needs libtpu (`pip install -e '.[tpu]' -c constraints.txt`). It prints the compiler's estimates. See docs/pods.md.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from absl import flags
from jax.sharding import Mesh
from ml_collections import config_flags

import diffusion_jax
from diffusion_jax import builders, cli
from diffusion_jax.builders import specs
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.home import expanded
from diffusion_jax.workdir import files, paths
from experiments.launch import collectives, compiling, program, report, slices, stand_in, suggest
from experiments.launch.compiling import Estimate

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Config file.')
_ON = flags.DEFINE_string('on', 'tpu', 'Where: tpu:type=v5litepod-8, or gke:accelerator=..,topology=..; as to launch.')
_SAMPLE = flags.DEFINE_bool('sample', False, 'Compile the sampling loop as well.')
_OUT = flags.DEFINE_string('out', '~/.cache/diffusion_jax_checks', 'Folder in which estimates are kept.')
_SUGGEST = flags.DEFINE_bool(
    'suggest', False, 'Search mesh.fsdp, train.accumulate and train.remat for the shortest step that fits.'
)
_TABLE = flags.DEFINE_bool('table', False, 'Print a table of what --out holds, and compile nothing.')
_PROGRAMS = {'train step': compiling.train_step, 'sampling loop': compiling.sampling_loop}


def main() -> None:
    """The entry point."""
    out = expanded(_OUT.value)
    if _TABLE.value:
        print(report.table([opened(path) for path in sorted(out.glob('*.json'))]))
        return
    if _CONFIG.value is None:
        raise UserError('set --config')
    on = slices.of_place(specs.parse_spec(_ON.value))
    config = builders.with_teacher(builders.resolve(_CONFIG.value), paths.parse(str(out / 'no_run')))
    name = Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem
    if _SUGGEST.value:
        print(suggest.words(suggested(config, on, out, name), on))
        return
    for what in ('train step', 'sampling loop')[: 2 if _SAMPLE.value else 1]:
        check(config, on, what, out, name)


def check(config: Mapping[str, Any], on: slices.Slice, what: str, out: Path, name: str) -> Estimate:
    """Compiles a program of a run, or reads what an equal one before gave, and prints what it takes.

    Raises:
        UserError: if it cannot be, or does not fit.
    """
    found, mesh = estimated(config, on, what, out, name)
    print(report.words(found, on, mesh.size), flush=True)
    if not found.fits:
        state = compiling.bytes_of_state(config, stand_in.build(config), mesh)
        raise UserError(f'{name} does not fit on {on.name}: {report.advice(found, on, state, mesh.size)}')
    return found


def estimated(config: Mapping[str, Any], on: slices.Slice, what: str, out: Path, name: str) -> tuple[Estimate, Mesh]:
    """What the compiler says of a program of a run, or said of an equal one before, and the mesh.

    Raises:
        UserError: if it cannot be compiled.
    """
    jax.config.update('jax_platforms', 'cpu')
    mesh = compiling.mesh_on(config, compiling.devices_of(on))
    path = out / f'{digest(config, on, what)}.json'
    if path.exists():
        return opened(path)[1], mesh
    experiment = stand_in.build(config)
    found = compiling.estimate(what, *_PROGRAMS[what](config, experiment, mesh), mesh, on)
    out.mkdir(parents=True, exist_ok=True)
    files.write_json(paths.parse(str(path)), {'config': name, 'devices': mesh.size, 'estimate': plain(found)})
    return found, mesh


def suggested(config: Mapping[str, Any], on: slices.Slice, out: Path, name: str) -> list[suggest.Tried]:
    """Ways to spread a train step over a slice and to cut it into parts, the best first; each is told when it is known.

    Raises:
        UserError: if the batch divides over none of them.
    """
    jax.config.update('jax_platforms', 'cpu')
    config = builders.override(config, {'mesh.data': -1})
    devices, rows = compiling.devices_of(on), config['train']['batch_size']
    sharding.check_batch(sharding.make_mesh(-1, 1, devices), rows, 'train.batch_size')
    each = rows // len(devices)

    def estimate(setting: suggest.Setting) -> tuple[Estimate, float]:
        changed = builders.override(config, setting.overrides())
        found, mesh = estimated(changed, on, 'train step', out, name)
        told = f'{report.hbm(on) / 2**30:.2f} GiB: {"fits" if found.fits else "does not fit"}'
        print(f'{setting.flags()}: {found.memory.total / 2**30:.2f} of {told}', file=sys.stderr, flush=True)
        return found, compiling.bytes_of_state(changed, stand_in.build(changed), mesh)

    parts = [n for n in range(1, each + 1) if each % n == 0]
    remats = [None, *(['full'] if _can_compute_again(config) else [])]
    return suggest.search(estimate, on, compiling.sizes(devices), parts, remats)


def _can_compute_again(config):
    """Whether the network has blocks for `train.remat`."""
    try:
        stand_in.build(builders.override(config, {'train.remat': 'full'}))
    except UserError:
        return False
    return True


def digest(config: Mapping[str, Any], on: slices.Slice, what: str) -> str:
    """Of all that an estimate depends on: config, slice, code, versions."""
    code = [*Path(diffusion_jax.__file__).parent.rglob('*.py'), *Path(__file__).parent.glob('*.py')]
    known = json.dumps([config, on.name, what, compiling.versions()], sort_keys=True, default=str).encode()
    return hashlib.sha256(b''.join([known, *(path.read_bytes() for path in sorted(code))])).hexdigest()[:24]


def plain(found: Any) -> Any:
    """An estimate as JSON has it: records as named values."""
    if hasattr(found, '_asdict'):
        return {name: plain(value) for name, value in found._asdict().items()}
    return [plain(value) for value in found] if isinstance(found, list) else found


def opened(path: Path) -> tuple[str, Estimate, slices.Slice, int]:
    """(config, estimate, slice, devices) of a file.

    Raises:
        UserError: if it holds none.
    """
    content = files.read_json(paths.parse(str(path)), {})
    try:
        values = dict(content['estimate'])
        values['memory'] = compiling.Memory(**values['memory'])
        values['collectives'] = [collectives.Row(**row) for row in values['collectives']]
        if values['figures'] is not None:
            figures = dict(values['figures'])
            figures['unlike'] = program.Unlike(**figures['unlike'])
            figures['largest'] = [program.Array(**array) for array in figures['largest']]
            values['figures'] = program.Figures(**figures)
        found = Estimate(**values)
        return content['config'], found, slices.find(found.on), content['devices']
    except (KeyError, TypeError) as error:
        raise UserError(f'{path} holds no estimate of this version: move it away') from error


if __name__ == '__main__':
    os.environ['JAX_PLATFORMS'] = 'cpu'
    cli.run(main, joins=lambda: False)
