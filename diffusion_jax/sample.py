r"""Draws samples from a trained model.

    python -m diffusion_jax.sample --workdir=runs/mnist --num=64 --sampler=ddim --steps=50 \
        --seed=0 --out=runs/mnist/ddim50

writes OUT.npz (uint8 images, or float32 points) and OUT.png. Samplers and grids take arguments as name:key=value, for
example --sampler=ddim:eta=0.5 --grid=quadratic. A model of classes whose labels were dropped (data.drop_label) takes
--guidance=classifier_free:w=2.0, also with rescale=0.7, low=0.3,high=5 (noise levels) and threshold=0.995.
An interrupted command goes on where it was when it is given again, an edit too, on other devices as well; with
--rows=16 every sample is the same to the last bit on however many of one kind.

    python -m diffusion_jax.sample --workdir=runs/mnist --edit=inpaint --image=digit.png --mask=hidden.png --num=8

writes 8 variants of an image, filled in where the mask is white, and in OUT.npz also what was given. Edits: inpaint,
colourise, super_resolve:factor=2 (each takes repeats=5, time travel), sdedit:t0=0.5, interpolate (with --image2),
transfer:source=3,target=5 (classes). Images are pictures, or .npy with one or several.
"""

import hashlib
import time
from pathlib import Path

import jax
from absl import flags

from diffusion_jax import builders, cli
from diffusion_jax.builders import specs
from diffusion_jax.data.files import read_images
from diffusion_jax.errors import UserError
from diffusion_jax.inference import media, runs
from diffusion_jax.inference.generate import batches
from diffusion_jax.inference.sample_file import fill
from diffusion_jax.workdir import paths, saved_grids

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run.', required=True)
_STEP = flags.DEFINE_string('step', 'newest', 'Which checkpoint: newest, best (by train.best_by), or its step.')
_NUM = flags.DEFINE_integer('num', 64, 'How many samples.', lower_bound=1)
_SAMPLER = flags.DEFINE_string('sampler', None, "e.g. ancestral, ddim, ddim:eta=0.5. Default: the run's own.")
_STEPS = flags.DEFINE_integer('steps', None, "Steps of the time grid. Default: the run's own.", lower_bound=1)
_GRID = flags.DEFINE_string('grid', None, "e.g. uniform, quadratic, karras, saved:grid=NAME. Default: the run's own.")
_GUIDANCE = flags.DEFINE_string(
    'guidance', None, "e.g. classifier_free:w=2.0, auto:weak=WORKDIR,w=2.0, none. Default: the run's own."
)
_LABEL = flags.DEFINE_integer('label', None, 'The class of every sample. Default: the classes go round.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noise.')
_BATCH = flags.DEFINE_integer(
    'batch_size', None, "Samples at once; changes them by rounding only. Default: the run's own.", lower_bound=1
)
_ROWS = flags.DEFINE_integer(
    'rows',
    None,
    'Instead: samples at once on each device; the same to the last bit on any number of them.',
    lower_bound=1,
)
_EDIT = flags.DEFINE_string('edit', None, 'e.g. inpaint, super_resolve:factor=2, sdedit:t0=0.5. Default: none.')
_IMAGE = flags.DEFINE_string('image', None, 'What to edit; --num counts variants of each image.')
_IMAGE2 = flags.DEFINE_string('image2', None, 'Where interpolate leads.')
_MASK = flags.DEFINE_string('mask', None, 'White where inpaint shall fill in.')
_OUT = flags.DEFINE_string('out', None, 'Output path without suffix. Default: WORKDIR/samples/SAMPLER_GRID_..._SEED.')


def main() -> None:
    """The entry point."""
    folder = paths.parse(_WORKDIR.value)
    run = runs.load(folder, _STEP.value)
    spec = runs.sample_spec(run.config['sample'], _SAMPLER.value, _STEPS.value, _GRID.value, _GUIDANCE.value)
    resolved = saved_grids.resolved(folder, spec)
    if _ROWS.value and _BATCH.value:
        raise UserError('--rows is for each device, --batch_size for all together: set one of them')
    size = _ROWS.value * run.mesh.size if _ROWS.value else _BATCH.value or spec['batch_size']
    key = jax.random.key(_SEED.value)
    edit = specs.parse_spec(_EDIT.value) if _EDIT.value else None
    choices = [runs.name_of(edit)] if edit else []
    choices += [runs.name_of(spec[name]) for name in ('sampler', 'times', 'guidance') if spec.get(name)]
    choices += [] if _LABEL.value is None else [f'label{_LABEL.value}']
    name = '_'.join([*choices, f'seed{_SEED.value}'])
    out = paths.parse(_OUT.value) if _OUT.value else folder / 'samples' / name
    file = out.with_name(f'{out.name}.npz')
    request = {'run': str(paths.absolute(folder)), 'step': run.step, 'sample': resolved, 'seed': _SEED.value}
    request |= {'label': _LABEL.value, 'rows': _ROWS.value}
    if edit:
        _write_edits(run, resolved, edit, key, size, out, request)
        return
    for flag in (_IMAGE, _IMAGE2, _MASK):
        if flag.value:
            raise UserError(f'--{flag.name} is for an edit: set --edit')
    draw, params, trace, weak_step = runs.sampling(run, resolved, _LABEL.value)

    def draw_from(first):
        classes, whole = run.experiment.num_classes, _ROWS.value is not None
        return batches(draw, params, key, _NUM.value, size, run.mesh, classes, first, trace, whole)

    start = time.perf_counter()
    request |= {'weak step': weak_step}
    with runs.progress_bar('sampling', _NUM.value) as progress:
        x = fill(file, request, _NUM.value, draw_from, progress)
    if x is None:
        return
    seconds = time.perf_counter() - start
    media.save(out.with_name(f'{out.name}.png'), x[:256])
    print(f'{_NUM.value} samples of step {run.step} in {seconds:.1f} s (compilation included): {file}, {out}.png')


def _write_edits(run, spec, edit, key, size, out, request):
    given = builders.Images(
        *(read_images(Path(flag.value)) if flag.value else None for flag in (_IMAGE, _IMAGE2, _MASK))
    )
    draw, params, num, beside, trace, weak_step = runs.editing(run, spec, edit, given, _NUM.value, _LABEL.value)
    contents = [None if image is None else hashlib.sha256(image.tobytes()).hexdigest() for image in given]
    request |= {'edit': edit, 'images': contents, 'weak step': weak_step}

    def draw_from(first):
        # Each sample is told its index, by which it finds its image, in the place of a class.
        return batches(draw, params, key, num, size, run.mesh, num, first, trace, _ROWS.value is not None)

    start = time.perf_counter()
    with runs.progress_bar('editing', num) as progress:
        x = fill(out.with_name(f'{out.name}.npz'), request, num, draw_from, progress, beside)
    if x is None:
        return
    seconds = time.perf_counter() - start
    media.save_edits(out.with_name(f'{out.name}.png'), beside, x)
    print(f'{num} edits with step {run.step} in {seconds:.1f} s (compilation included): {out}.npz, {out}.png')


if __name__ == '__main__':
    cli.run(main)
