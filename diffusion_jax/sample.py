r"""Draws samples from a trained model.

    python -m diffusion_jax.sample --workdir=runs/mnist --num=64 --sampler=ddim --steps=50 \
        --seed=0 --out=runs/mnist/ddim50

writes OUT.npz, as the kind of the data stores them (uint8 images, int16 sound, float32 points), and files to look at or
listen to; with --export=png or adm also a folder of PNGs, or an .npz for ADM's evaluator. Samplers, grids, conditions
take arguments as name:key=value, for example --sampler=ddim:eta=0.5 --grid=quadratic. A conditional model is asked with
--cond: data (the conditions of data rows, the default), turn (classes in turn), label:value=3, prompts:text=.. or
prompts:file=.., row:index=7, nothing. One whose conditions were dropped (data.drop_cond) takes
--guidance=classifier_free:w=2.0, also with rescale=0.7, low=0.3,high=5 (noise levels) and threshold=0.995; a classifier
of noisy data guides any diffusion model, --guidance=classifier:of=WORKDIR,w=1.0. An
interrupted command goes on where it was when it is given again, an edit too, on other devices as well; with --rows=16
every sample is the same to the last bit on however many of one kind. --trajectory=8 shows how the first 8 came about,
in OUT_trajectory.png and .npz: x [S + 1, 8, ...] at the times [S + 1], x_0 [S, 8, ...].

    python -m diffusion_jax.sample --workdir=runs/mnist --edit=inpaint --image=digit.png --mask=hidden.png --num=8

writes 8 variants of an image, filled in where the mask is white, and in OUT.npz also what was given. Edits: inpaint,
colourise, super_resolve:factor=2 (each takes repeats=5, time travel), sdedit:t0=0.5, interpolate (with --image2),
transfer:source=3,target=5 (conditions). Images are pictures, or .npy with one or several samples.
"""

import hashlib
import time

import jax
import numpy as np
from absl import flags

from diffusion_jax import builders, cli
from diffusion_jax.builders import specs
from diffusion_jax.data.files import read_mask, read_samples
from diffusion_jax.devices import cores, processes
from diffusion_jax.errors import UserError
from diffusion_jax.inference import export, media, runs
from diffusion_jax.inference.generate import at_once, batches
from diffusion_jax.inference.parallel import in_parallel
from diffusion_jax.inference.sample_file import fill
from diffusion_jax.progress import progress_bar
from diffusion_jax.ranges import MOST, MOST_SEED
from diffusion_jax.workdir import files, paths, saved_grids

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run.', required=True)
_STEP = flags.DEFINE_string('step', 'newest', 'Which checkpoint: newest, best (by train.best_by), or its step.')
_EMA = flags.DEFINE_float(
    'ema', None, 'Length (sigma_rel) of the average to use, of a run with train.ema_every. Default: what the run keeps.'
)
_NUM = flags.DEFINE_integer('num', 64, 'How many samples.', lower_bound=1, upper_bound=MOST)
_SAMPLER = flags.DEFINE_string('sampler', None, "e.g. ancestral, ddim, ddim:eta=0.5. Default: the run's own.")
_STEPS = flags.DEFINE_integer(
    'steps', None, "Steps of the time grid. Default: the run's own.", lower_bound=1, upper_bound=MOST
)
_GRID = flags.DEFINE_string('grid', None, "e.g. uniform, quadratic, karras, saved:grid=NAME. Default: the run's own.")
_GUIDANCE = flags.DEFINE_string(
    'guidance',
    None,
    "e.g. classifier_free:w=2.0, auto:weak=WORKDIR,w=2.0, classifier:of=WORKDIR,w=1.0, none. Default: the run's own.",
)
_COND = flags.DEFINE_string(
    'cond', None, "e.g. label:value=3, turn, prompts:text=..., row:index=7, nothing. Default: the run's own."
)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noise.', lower_bound=0, upper_bound=MOST_SEED)
_BATCH = flags.DEFINE_integer(
    'batch_size',
    None,
    "Samples at once; changes them by rounding only. Default: the run's own.",
    lower_bound=1,
    upper_bound=MOST,
)
_ROWS = flags.DEFINE_integer(
    'rows',
    None,
    'Instead: samples at once on each device; the same to the last bit on any number of them.',
    lower_bound=1,
    upper_bound=MOST,
)
_PARALLEL = flags.DEFINE_string(
    'parallel', None, 'Run the steps in parallel: picard:window=8,tolerance=1e-3. Default: one after another.'
)
_TRAJECTORY = flags.DEFINE_integer(
    'trajectory', None, 'Of how many samples x_t and the prediction x_0(x_t, t) are kept and shown.', 1, MOST
)
_EDIT = flags.DEFINE_string('edit', None, 'e.g. inpaint, super_resolve:factor=2, sdedit:t0=0.5. Default: none.')
_IMAGE = flags.DEFINE_string('image', None, 'What to edit; --num counts variants of each image.')
_IMAGE2 = flags.DEFINE_string('image2', None, 'Where interpolate leads.')
_MASK = flags.DEFINE_string('mask', None, 'White where inpaint shall fill in.')
_EXPORT = flags.DEFINE_enum(
    'export', None, [*export.EXPORTS], "Images also as a folder of PNGs (png), or as arr_0 for ADM's evaluator (adm)."
)
_TILE = flags.DEFINE_integer(
    'tile',
    None,
    'Side of the tiles in which latents become pictures, in latents: less memory. Default: data.tile, else whole.',
    lower_bound=2,
    upper_bound=MOST,
)
_OUT = flags.DEFINE_string(
    'out', None, 'Output path without suffix. Default: WORKDIR/samples/SAMPLER_TIMES_..._SEED_NUM.'
)


def main() -> None:
    """The entry point."""
    cores.take()
    workdir = paths.parse(_WORKDIR.value)
    tile = {} if _TILE.value is None else {'data.tile': _TILE.value}
    run = runs.load(workdir, _STEP.value, sigma_rel=_EMA.value, changes=tile)
    choices = runs.Choices(_SAMPLER.value, _STEPS.value, _GRID.value, _GUIDANCE.value, _COND.value)
    spec = runs.sample_spec(run.config['sample'], choices)
    resolved = saved_grids.resolved(workdir, spec)
    parallel = specs.parse_spec(_PARALLEL.value) if _PARALLEL.value else None
    _check_flags(parallel)
    if _EXPORT.value:
        export.check(_EXPORT.value, run.experiment.source.kind)
    size = _ROWS.value * run.mesh.size if _ROWS.value else _BATCH.value or spec['batch_size']
    edit = specs.parse_spec(_EDIT.value) if _EDIT.value else None
    out = paths.parse(_OUT.value) if _OUT.value else None
    if out and out.name in ('', '..'):
        raise UserError(f'--out={_OUT.value} is a folder, and the path of a file is needed, without suffix')
    request = {'run': str(paths.absolute(workdir)), 'step': run.step, 'sample': resolved, 'seed': _SEED.value}
    request |= {'rows': _ROWS.value} | ({} if run.sigma_rel is None else {'ema': run.sigma_rel})
    if edit:
        images = _given_images(run.experiment.source.kind)
        editing = runs.editing(run, resolved, edit, images, _NUM.value)
        contents = [None if image is None else hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        request |= {'edit': edit, 'images': contents}
        out = out or workdir / 'samples' / _name(run, editing.sampling, spec, edit, parallel, size)
        _write(run, _at_once(editing.sampling, size), editing.num, out, request, editing.beside)
        return
    sampling = _at_once(runs.sampling(run, resolved), size)
    out = out or workdir / 'samples' / _name(run, sampling, spec, edit, parallel, size)
    told = None
    if parallel:
        sampling, told = in_parallel(resolved, sampling, parallel)
        request |= {'parallel': parallel, 'at once': at_once(sampling.drawing, _NUM.value)}
    n = _TRAJECTORY.value
    way = runs.trajectory(resolved, sampling, _NUM.value, n) if n else None
    _write(run, sampling, _NUM.value, out, request, None)
    if told:
        print(told())
    if way:
        _write_trajectory(run, *way, out.with_name(f'{out.name}_trajectory'))


def _check_flags(parallel):
    if _ROWS.value and _BATCH.value:
        raise UserError('--rows is for each device, --batch_size for all together: set one of them')
    if parallel and _ROWS.value:
        raise UserError('--parallel: a sample depends on all that are drawn with it, to the tolerance: set no --rows')
    for flag in (_PARALLEL, _TRAJECTORY):
        if flag.value and _EDIT.value:
            raise UserError(f'--{flag.name} is of samples, not of edits: leave one of them out')
    if _PARALLEL.value and _TRAJECTORY.value:
        raise UserError('--trajectory is of steps one after another: leave out --parallel')
    for flag in (_IMAGE, _IMAGE2, _MASK):
        if flag.value and not _EDIT.value:
            raise UserError(f'--{flag.name} is for an edit: set --edit')


def _name(run, sampling, spec, edit, parallel, size):
    """All that samples depend on."""
    choices = [runs.name_of(edit)] if edit else []
    choices += [runs.name_of(spec[name]) for name in ('sampler', 'times', 'guidance') if spec.get(name)]
    choices += [] if sampling.guided.experiment.source.condition is None else [f'cond-{runs.name_of(spec["cond"])}']
    choices += [runs.name_of(parallel), f'batch{size}'] if parallel else []
    choices += [f'rows{_ROWS.value}'] if _ROWS.value else []
    choices += [] if run.sigma_rel is None else [f'ema{run.sigma_rel}']
    return paths.shortened('_'.join([*choices, f'step{run.step}', f'seed{_SEED.value}', f'n{_NUM.value}']))


def _given_images(kind):
    image, image2 = (read_samples(paths.local(f.value), kind) if f.value else None for f in (_IMAGE, _IMAGE2))
    mask = read_mask(paths.local(_MASK.value)) if _MASK.value else None
    return builders.Images(image, image2, mask)


def _at_once(sampling, size):
    return sampling._replace(drawing=sampling.drawing._replace(batch_size=size, whole=_ROWS.value is not None))


def _write_trajectory(run, grid, states_of, out):
    states = states_of(jax.random.key(_SEED.value))
    if not processes.is_first():
        return
    file = out.with_name(f'{out.name}.npz')
    with file.open('wb') as opened:
        np.savez_compressed(opened, times=grid, **states._asdict())
    media.save_trajectory(out, run.experiment.source.kind, run.experiment.schedule, grid, states)
    print(f'the way of the first {_TRAJECTORY.value} over {len(grid) - 1} steps: {file}')


def _write(run, sampling, num, out, request, beside):
    kind, key, what = run.experiment.source.kind, jax.random.key(_SEED.value), 'samples' if beside is None else 'edits'
    request = {**request, 'other step': sampling.guided.other_step}
    file = out.with_name(f'{out.name}.npz')
    files.check_writable(file)  # what is refused leaves no folder behind
    start = time.perf_counter()
    with progress_bar(what, num) as progress:
        x = fill(
            file, request, num, lambda first: batches(sampling.drawing, key, num, first), kind.store, progress, beside
        )
    if x is None:
        return
    seconds = time.perf_counter() - start
    if _EXPORT.value:
        print(f'exported: {export.EXPORTS[_EXPORT.value].write(out, x)}')
    if beside is None:
        media.save(out, kind, kind.read(x[:256]))
    else:
        media.save_edits(out, kind, beside, kind.read(x))
    print(f'{num} {what} of step {run.step} in {seconds:.1f} s (compilation included): {file}')


if __name__ == '__main__':
    cli.run(main)
