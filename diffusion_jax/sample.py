r"""Draws samples from a trained model.

    python -m diffusion_jax.sample --workdir=runs/mnist --num=64 --sampler=ddim --steps=50 \
        --seed=0 --out=runs/mnist/ddim50

writes OUT.npz (uint8 images, or float32 points) and OUT.png. Samplers and grids take arguments as name:key=value, for
example --sampler=ddim:eta=0.5 --grid=quadratic. A model of classes whose labels were dropped (data.drop_label) takes
--guidance=classifier_free:w=2.0, also with rescale=0.7, low=0.3,high=5 (noise levels) and threshold=0.995.
An interrupted command goes on where it was when it is given again.
"""

import time
from pathlib import Path

import jax
from absl import flags

from diffusion_jax import cli, pictures, runs
from diffusion_jax.generate import batches
from diffusion_jax.sample_file import fill

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run.', required=True)
_NUM = flags.DEFINE_integer('num', 64, 'How many samples.', lower_bound=1)
_SAMPLER = flags.DEFINE_string('sampler', None, "e.g. ancestral, ddim, ddim:eta=0.5. Default: the run's own.")
_STEPS = flags.DEFINE_integer('steps', None, "Steps of the time grid. Default: the run's own.", lower_bound=1)
_GRID = flags.DEFINE_string('grid', None, "e.g. uniform, quadratic, trailing, leading. Default: the run's own.")
_GUIDANCE = flags.DEFINE_string(
    'guidance', None, "e.g. classifier_free:w=2.0, auto:weak=WORKDIR,w=2.0, none. Default: the run's own."
)
_LABEL = flags.DEFINE_integer('label', None, 'The class of every sample. Default: the classes go round.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noise.')
_BATCH = flags.DEFINE_integer(
    'batch_size', None, "Samples at once; does not change them. Default: the run's own.", lower_bound=1
)
_OUT = flags.DEFINE_string('out', None, 'Output path without suffix. Default: WORKDIR/samples/SAMPLER_GRID_..._SEED.')


def main() -> None:
    """The entry point."""
    run = runs.load(Path(_WORKDIR.value))
    spec = runs.sample_spec(run.config['sample'], _SAMPLER.value, _STEPS.value, _GRID.value, _GUIDANCE.value)
    draw, params, trace, weak_step = runs.sampling(run, spec, _LABEL.value)
    size = _BATCH.value or spec['batch_size']
    key = jax.random.key(_SEED.value)
    choices = [runs.name_of(spec[name]) for name in ('sampler', 'times', 'guidance') if spec.get(name)]
    choices += [] if _LABEL.value is None else [f'label{_LABEL.value}']
    name = '_'.join([*choices, f'seed{_SEED.value}'])
    out = Path(_OUT.value) if _OUT.value else Path(_WORKDIR.value) / 'samples' / name
    file = out.with_name(f'{out.name}.npz')

    def draw_from(first):
        return batches(draw, params, key, _NUM.value, size, run.mesh, run.experiment.num_classes, first, trace)

    start = time.perf_counter()
    request = {'run': str(Path(_WORKDIR.value).resolve()), 'step': run.step, 'sample': spec, 'seed': _SEED.value}
    request |= {'label': _LABEL.value, 'weak step': weak_step}
    with runs.progress_bar('sampling', _NUM.value) as progress:
        x = fill(file, request, _NUM.value, draw_from, progress)
    if x is None:
        return
    seconds = time.perf_counter() - start
    pictures.save(out.with_name(f'{out.name}.png'), x[:256])
    print(f'{_NUM.value} samples of step {run.step} in {seconds:.1f} s (compilation included): {file}, {out}.png')


if __name__ == '__main__':
    cli.run(main)
