r"""Draws samples from a trained model.

    python -m diffusion_jax.sample --workdir=runs/mnist --num=64 --sampler=ddim --steps=50 \
        --seed=0 --out=runs/mnist/ddim50

writes OUT.npz (uint8 images, or float32 points) and OUT.png. Samplers and grids take arguments as name:key=value, for
example --sampler=ddim:eta=0.5 --grid=quadratic.
"""

import time
from pathlib import Path

import jax
import numpy as np
from absl import flags

from diffusion_jax import build, cli, pictures, runs, saved_grids
from diffusion_jax.generate import generate

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run.', required=True)
_NUM = flags.DEFINE_integer('num', 64, 'How many samples.', lower_bound=1)
_SAMPLER = flags.DEFINE_string('sampler', None, "e.g. ancestral, ddim, ddim:eta=0.5. Default: the run's own.")
_STEPS = flags.DEFINE_integer('steps', None, "Steps of the time grid. Default: the run's own.", lower_bound=1)
_GRID = flags.DEFINE_string('grid', None, "e.g. uniform, quadratic, karras, saved:grid=NAME. Default: the run's own.")
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noise.')
_BATCH = flags.DEFINE_integer(
    'batch_size', None, "Samples at once; does not change them. Default: the run's own.", lower_bound=1
)
_OUT = flags.DEFINE_string('out', None, 'Output path without suffix. Default: WORKDIR/samples/SAMPLER_GRID_SEED.')


def main() -> None:
    """The entry point."""
    run = runs.load(Path(_WORKDIR.value))
    spec = runs.sample_spec(run.config['sample'], _SAMPLER.value, _STEPS.value, _GRID.value)
    draw = jax.jit(build.build_draw(run.experiment, saved_grids.resolved(Path(_WORKDIR.value), spec)))
    size = _BATCH.value or spec['batch_size']
    start = time.perf_counter()
    with runs.progress_bar('sampling', _NUM.value) as progress:
        key = jax.random.key(_SEED.value)
        x = generate(draw, run.params, key, _NUM.value, size, run.mesh, run.experiment.num_classes, progress)
    seconds = time.perf_counter() - start
    name = '_'.join([_name(spec['sampler']), _name(spec['times']), f'seed{_SEED.value}'])
    out = Path(_OUT.value) if _OUT.value else Path(_WORKDIR.value) / 'samples' / name
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out.with_name(f'{out.name}.npz'), samples=pictures.storable(x))
    pictures.save(out.with_name(f'{out.name}.png'), x[:256])
    print(f'{_NUM.value} samples of step {run.step} in {seconds:.1f} s (compilation included): {out}.npz, {out}.png')


def _name(spec):
    return '-'.join([spec['name'], *(f'{k}={v}' for k, v in spec.items() if k != 'name')])


if __name__ == '__main__':
    cli.run(main)
