r"""Trains a model. Running the same command again resumes.

    python -m diffusion_jax.train --config=configs/mnist_ddpm.py --workdir=runs/mnist [--config.optim.lr=1e-4 ...]

Ctrl-C saves before it stops.
"""

from absl import flags
from ml_collections import config_flags

from diffusion_jax import builders, cli
from diffusion_jax.devices import cores
from diffusion_jax.training.run import train
from diffusion_jax.workdir import paths

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Config file, e.g. configs/quickstart.py[:runlocal].')
flags.mark_flag_as_required('config')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run: checkpoints, metrics, samples.', required=True)
_ALLOW = flags.DEFINE_bool('allow_config_change', False, 'Go on in a workdir that holds a run of another config.')


def main() -> None:
    """The entry point."""
    config = builders.resolve(_CONFIG.value)
    cores.take(config['train']['batch_size'], config['train']['accumulate'])
    train(config, paths.parse(_WORKDIR.value), _ALLOW.value)


if __name__ == '__main__':
    cli.run(main)
