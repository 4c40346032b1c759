r"""Launches a run, or the runs of a sweep, here or on a cluster.

    python -m experiments.launch --config=configs/mnist_ddpm.py --workdir=runs/mnist --on=slurm:nodes=2,gpus=8
    python -m experiments.launch --config=configs/toy2d.py --sweep=FILE --workdir=runs/foo --on=local:workers=2

--dry_run prints the script that bash runs otherwise, and nothing else. Places and their settings: local:workers=2;
slurm:nodes=2,gpus=8,time=24:00:00,partition=NAME; tpu:vm=NAME,zone=ZONE,type=v5litepod-256,spot=True;
gke:image=IMAGE,topology=16x16. Where libtpu is installed a run is compiled for its slice first.
docs/pods.md tells how to come from nothing to a run on each.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from diffusion_jax import builders, cli
from diffusion_jax.builders import specs
from diffusion_jax.errors import UserError
from experiments.launch import job as jobs
from experiments.launch import scripts
from experiments.running import pool
from experiments.sweep import plan

_CONFIG = config_flags.DEFINE_config_file('config', None, "Config file. Default: the sweep file's CONFIG.")
_SWEEP = flags.DEFINE_string('sweep', None, 'Python file with sweep(). Default: one run, of the config itself.')
_INDEX = flags.DEFINE_string('index', None, 'Runs of the sweep, e.g. 3, or 0-3,7. Default: all.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run, or of the sweep.', required=True)
_ON = flags.DEFINE_string('on', 'local', 'Where: local, slurm, tpu or gke, with settings.')
_SETUP = flags.DEFINE_string('setup', '', "Shell to run first on every machine, e.g. '. venv/bin/activate'.")
_NAME = flags.DEFINE_string('name', None, 'Name of the job. Default: from --workdir.')
_LENGTH = 40  # of a name; GKE makes longer ones of it, of 63 characters at most
_POLL = 0.1  # seconds
_CHECK = flags.DEFINE_bool(
    'check',
    None,
    'Compile for the slice before launching, and launch what fits. Default: a run by itself is checked '
    'where libtpu is installed.',
)
_DRY = flags.DEFINE_bool('dry_run', False, 'Print what would run, and run nothing.')


def main() -> None:
    """The entry point."""
    script = specs.make(scripts, specs.parse_spec(_ON.value), {'job': job()}, '--on')
    if _DRY.value:
        print(script, end='')
        return
    _check()
    # A file: what the script starts may read standard input.
    with tempfile.NamedTemporaryFile('w', suffix='.sh') as file:
        file.write(script)
        file.flush()
        # A group of its own: what the script has started is told to stop as well, once, whoever tells this process.
        with pool.received() as signals:
            process = subprocess.Popen(['bash', file.name], start_new_session=True)
            while (code := process.poll()) is None:
                time.sleep(_POLL)
                while signals:
                    os.killpg(process.pid, signals.pop(0))
    if code:
        sys.exit(code if code > 0 else 128 - code)


def _check():
    """Ends the launch of a run that the slice's compiler refuses."""
    place = specs.parse_spec(_ON.value)['name']
    if _SWEEP.value and _CHECK.value:
        raise UserError('--check is of a run by itself: check a config of the sweep with experiments.launch.check')
    default = place in ('tpu', 'gke') and not _SWEEP.value and importlib.util.find_spec('libtpu') is not None
    if not (default if _CHECK.value is None else _CHECK.value):
        return
    print('compiling for the slice, which may take minutes; --nocheck leaves it out', file=sys.stderr)
    command = [sys.executable, '-m', 'diffusion_jax', 'check', *_config_given(), f'--on={_ON.value}']
    if subprocess.run(command, check=False).returncode:
        raise UserError('nothing was launched: mend what the check says above, or leave it out with --nocheck')


def job() -> jobs.Job:
    """What the command line asks for.

    Raises:
        UserError: if it, or a run of its sweep, cannot be.
    """
    indices, whole, command = None, True, ('diffusion_jax.train',)
    if _SWEEP.value:
        sweep, command = plan.load_sweep(_SWEEP.value), ('diffusion_jax', 'sweep')
        config = builders.resolve(_CONFIG.value or plan.load_config(sweep, _SWEEP.value))
        num = len(plan.configs(config, sweep.overrides))
        indices = jobs.parse_indices(_INDEX.value, num)
        whole = len(indices) == num
    elif _INDEX.value:
        raise UserError(f'--index={_INDEX.value} is of a sweep: set --sweep')
    elif _CONFIG.value is None:
        raise UserError('set --config or --sweep')
    else:
        builders.resolve(_CONFIG.value)
    name = re.sub('[^a-z0-9]+', '-', (_NAME.value or _WORKDIR.value).lower())[-_LENGTH:].strip('-')
    return jobs.Job(name, _WORKDIR.value, str(Path.cwd()), ('-m', *command, *_given()), indices, whole, _SETUP.value)


def _given() -> list[str]:
    sweep = [f'--sweep={_SWEEP.value}'] if _SWEEP.value else []
    return [*_config_given(), *sweep, f'--workdir={_WORKDIR.value}']


def _config_given() -> list[str]:
    if not _CONFIG.value:
        return []
    flag = flags.FLAGS['config']
    # As they were written: ml_collections knows nothing of those that replace a whole spec.
    given = {a.partition('=')[0].lstrip('-'): a for a in sys.argv[1:] if re.match(r'--?config\.[^=]+=', a)}
    overrides = {f'config.{field}': value for field, value in config_flags.get_override_values(flag).items()}
    apart = [f'--{field}={value}' for field, value in overrides.items() if field not in given]
    return [f'--config={config_flags.get_config_filename(flag)}', *given.values(), *apart]


if __name__ == '__main__':
    cli.run(main, joins=lambda: False)
