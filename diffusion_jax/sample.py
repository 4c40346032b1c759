r"""Draws samples from a trained model.

    python -m diffusion_jax.sample --workdir=runs/mnist --num=64 --sampler=ddim --steps=50 \
        --seed=0 --out=runs/mnist/ddim50

writes OUT.npz (uint8 images, or float32 points) and OUT.png. Samplers and grids take arguments as name:key=value, for
example --sampler=ddim:eta=0.5 --grid=quadratic. An interrupted command goes on where it was when it is given again.
"""

import time
from pathlib import Path

import jax
from absl import flags

from diffusion_jax import build, cli, pictures, runs
from diffusion_jax.generate import batches
from diffusion_jax.sample_file import fill

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run.', required=True)
_NUM = flags.DEFINE_integer('num', 64, 'How many samples.', lower_bound=1)
_SAMPLER = flags.DEFINE_string('sampler', None, "e.g. ancestral, ddim, ddim:eta=0.5. Default: the run's own.")
_STEPS = flags.DEFINE_integer('steps', None, "Steps of the time grid. Default: the run's own.", lower_bound=1)
_GRID = flags.DEFINE_string('grid', None, "e.g. uniform, quadratic, trailing, leading. Default: the run's own.")
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noise.')
_BATCH = flags.DEFINE_integer(
    'batch_size', None, "Samples at once; does not change them. Default: the run's own.", lower_bound=1
)
_OUT = flags.DEFINE_string('out', None, 'Output path without suffix. Default: WORKDIR/samples/SAMPLER_GRID_SEED.')


def main() -> None:
    """The entry point."""
    run = runs.load(Path(_WORKDIR.value))
    spec = runs.sample_spec(run.config['sample'], _SAMPLER.value, _STEPS.value, _GRID.value)
    draw = jax.jit(build.build_draw(run.experiment, spec))
    size = _BATCH.value or spec['batch_size']
    key = jax.random.key(_SEED.value)
    name = '_'.join([_name(spec['sampler']), _name(spec['times']), f'seed{_SEED.value}'])
    out = Path(_OUT.value) if _OUT.value else Path(_WORKDIR.value) / 'samples' / name
    file = out.with_name(f'{out.name}.npz')

    def draw_from(first):
        return batches(draw, run.params, key, _NUM.value, size, run.mesh, run.experiment.num_classes, first)

    start = time.perf_counter()
    request = {'run': str(Path(_WORKDIR.value).resolve()), 'step': run.step, 'sample': spec, 'seed': _SEED.value}
    with runs.progress_bar('sampling', _NUM.value) as progress:
        x = fill(file, request, _NUM.value, draw_from, progress)
    seconds = time.perf_counter() - start
    pictures.save(out.with_name(f'{out.name}.png'), x[:256])
    print(f'{_NUM.value} samples of step {run.step} in {seconds:.1f} s (compilation included): {file}, {out}.png')


def _name(spec):
    return '-'.join([spec['name'], *(f'{k}={v}' for k, v in spec.items() if k != 'name')])


if __name__ == '__main__':
    cli.run(main)
