"""The edits of the sampling command: from a spec and the images given to a function that draws."""

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax import editing, process, samplers
from diffusion_jax.axes import repeat_row
from diffusion_jax.builders.asked import build_asked, read_row
from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.builders.guidance import Other
from diffusion_jax.builders.sampling import build_sampling, check_draws
from diffusion_jax.builders.specs import make
from diffusion_jax.editing import Operator
from diffusion_jax.errors import UserError
from diffusion_jax.types import Asked, Draw, FindNonFinite, Models, Params


class Images(NamedTuple):
    """What a user gave: values in [-1, 1], one sample or several `[n, ...]`, or None."""

    image: np.ndarray | None = None
    image2: np.ndarray | None = None
    mask: np.ndarray | None = None  # True where it shall be filled in


class Given(NamedTuple):
    """What an edit's draw has in the place of parameters: `rows` has one row per sample in every array."""

    params: Params
    rows: tuple[np.ndarray, ...]


class Edit(NamedTuple):
    """What draws edits, and from what."""

    draw: Draw  # with `Given` in the place of parameters
    rows: tuple[np.ndarray, ...]  # sample i num + v is variant v of image i
    beside: dict[str, np.ndarray]  # what to show next to the variants of each image, [n, ...] each


class _Job(NamedTuple):
    experiment: Experiment
    spec: Mapping[str, Any]
    images: Images
    num: int
    other: Other | None
    asked: Asked


def build_edit(
    experiment: Experiment,
    spec: Mapping[str, Any],
    edit: Mapping[str, Any],
    images: Images,
    num: int,
    other: Other | None = None,
) -> Edit:
    """`num` variants of each image, from a config's `sample` section and the edit's own spec.

    A conditional model is asked what `sample.cond` says, by the index of the variant; `other` is what the guidance
    takes of another run, as for `build_draw`.

    Raises:
        UserError: as `build_sampling` and `make`; for images that are missing or of another shape, an edit that is not
            for this kind of model, and a t0 outside of the grid.
    """
    check_draws(experiment, '--edit')
    if experiment.levels is not None and edit['name'] != 'inpaint':
        raise UserError(f'--edit: {edit["name"]} is of real numbers, and this run has tokens: use inpaint')
    job = _Job(experiment, spec, images, num, other, build_asked(experiment, spec.get('cond') or {'name': 'data'}))
    return make(_EDITS, edit, {'job': job}, '--edit')


def build_edit_find_non_finite(experiment: Experiment, *arguments: Any) -> FindNonFinite:
    """Where an edit stops being finite: at which time the model is asked in vain, and at which one after that.

    It takes what `build_edit` takes, and the `Given` of its draw in the place of parameters.
    """
    asked: list[tuple[float, bool]] = []

    def watched(model):
        def bind(*given):
            answer = model(*given)

            def watching(x, t, *more):
                out = answer(x, t, *more)
                finite = jnp.array([jnp.isfinite(a).all() for a in jax.tree.leaves(out)]).all()
                jax.debug.callback(lambda t, ok: asked.append((float(t), bool(ok))), t.max(), finite, ordered=True)
                return out

            return watching

        return bind

    models = {name: watched(model) for name, model in experiment.models._asdict().items() if model is not None}
    draw = jax.jit(build_edit(experiment._replace(models=Models(**models)), *arguments).draw)

    def trace(given, keys, index):
        asked.clear()
        jax.block_until_ready(draw(given, keys, index))
        jax.effects_barrier()
        in_vain = [i for i, (_, ok) in enumerate(asked) if not ok]
        if not in_vain:
            return None
        t = asked[in_vain[0]][0]
        return t, next((s for s, _ in asked[in_vain[0] :] if s < t), 0.0)

    return trace


def inpaint(job: _Job, length: int = 1, repeats: int = 1) -> Edit:
    """Fills in where the mask is white; `repeats` and `length` are time travel's."""
    shape = job.experiment.shape
    mask = _needed(job.images.mask, 'mask')
    mask = mask[..., None] if mask.shape == shape[:-1] else mask
    if mask.shape not in (shape, (*shape[:-1], 1)):
        raise UserError(f'the mask is {_shown(mask.shape)}, this run has data of {_shown(shape)}')
    if job.experiment.levels is not None:
        return _infilling(job, ~mask, job.experiment.levels, length, repeats)
    return _restoration(job, editing.inpaint(jnp.asarray(~mask)), length, repeats)


def colourise(job: _Job, length: int = 1, repeats: int = 1) -> Edit:
    """Finds colours for a grey image, or for the luma of a coloured one."""
    return _restoration(job, editing.colourise(), length, repeats)


def super_resolve(job: _Job, factor: int, length: int = 1, repeats: int = 1) -> Edit:
    """Enlarges an image by a factor, or fills in detail in one of full size that it has averaged over blocks first."""
    return _restoration(job, editing.super_resolve(factor), length, repeats)


def _restoration(job: _Job, operator: Operator, length: int, repeats: int) -> Edit:
    experiment = job.experiment
    sampler = str(job.spec['sampler'].get('name'))
    if sampler in samplers.__all__ and 'flow_map' in _parameters(sampler):
        others = ', '.join(name for name in samplers.__all__ if 'denoise' in _parameters(name))
        raise UserError(
            f'--edit: {sampler} makes no x_0 predictions that could be projected: set --sampler to one of {others}'
        )
    whole = (1, *experiment.shape)
    y_shape = jax.eval_shape(operator.A, jnp.zeros(whole)).shape[1:]
    image = _batch(job, 'image', (experiment.shape, y_shape))
    original = {'original': image} if image.shape[1:] == experiment.shape else {}
    y = np.asarray(operator.A(jnp.asarray(image))) if original else image

    grid, bind = build_sampling(experiment, job.spec, job.other)
    grid = editing.travels(grid, length, repeats)

    def draw(given, keys, index):
        y = given.rows[0][index]
        sampler = bind(given.params, keys, job.asked(index), lambda denoise: editing.project(denoise, operator, y))
        sampler = editing.time_travel(sampler, experiment.schedule)
        return editing.restore(sampler, experiment.schedule, operator, keys, y, grid)

    beside = {**original, 'given': np.asarray(operator.pinv(jnp.asarray(y)))}
    return Edit(draw, (y.repeat(job.num, 0),), beside)


def _infilling(job: _Job, known: np.ndarray, levels: int, length: int, repeats: int) -> Edit:
    """The same of tokens: a sampler that masks them again is their time travel."""
    if (length, repeats) != (1, 1):
        raise UserError(
            '--edit: tokens take no time travel: leave out length and repeats, --sampler=remask does as much'
        )
    grid, bind = build_sampling(job.experiment, job.spec, job.other)
    x = _batch(job, 'image', (job.experiment.shape,))

    def draw(given, keys, index):
        x_0 = process.to_tokens(given.rows[0][index], levels)
        sampler = bind(
            given.params, keys, job.asked(index), lambda model: editing.given(model, jnp.asarray(known), x_0)
        )
        return job.experiment.values(editing.infill(sampler, levels, keys, jnp.asarray(known), x_0, grid))

    return Edit(draw, (x.repeat(job.num, 0),), {'original': x})


def sdedit(job: _Job, t0: float) -> Edit:
    """Noises the image up to t0 and denoises it again."""
    experiment = job.experiment
    image = _batch(job, 'image', (experiment.shape,))
    grid, bind = build_sampling(experiment, job.spec, job.other)
    grid = editing.part_below(grid, t0)
    least = experiment.context.defaults.get('sigma_min')
    if experiment.models.consistency is not None and least is not None and t0 < least:
        raise UserError(f'--edit: t0 = {t0:g} lies below sigma_min = {least:g} of the consistency model')

    def draw(given, keys, index):
        sampler = bind(given.params, keys, job.asked(index))
        return editing.sdedit(sampler, experiment.schedule, keys, given.rows[0][index], grid)

    return Edit(draw, (image.repeat(job.num, 0),), {'given': image})


def interpolate(job: _Job) -> Edit:
    """Between two images through DDIM's latents, without guidance; of a conditional model under one condition."""
    experiment = job.experiment
    model = _diffusion_model(job)
    if experiment.source.condition is not None and job.spec.get('cond', {'name': 'data'})['name'] in ('data', 'turn'):
        raise UserError('--edit: interpolate needs the condition of both images: set --cond, e.g. label:value=3')
    pair = [_batch(job, name, (experiment.shape,)) for name in ('image', 'image2')]
    if len(pair[0]) != len(pair[1]):
        raise UserError(f'--image holds {len(pair[0])} images and --image2 {len(pair[1])}')
    grid, _ = build_sampling(experiment, job.spec)
    w = np.tile(np.linspace(0, 1, job.num, dtype=np.float32), len(pair[0]))

    def draw(given, keys, index):
        del keys
        x, y, w = (rows[index] for rows in given.rows)
        denoise = model(given.params, job.asked(index), None)
        return editing.interpolate(denoise, experiment.schedule, x, y, w, grid)

    rows = (*(image.repeat(job.num, 0) for image in pair), w)
    return Edit(draw, rows, {'first': pair[0], 'second': pair[1]})


def transfer(job: _Job, source: int | str, target: int | str) -> Edit:
    """Encodes the image by DDIM under one condition and decodes it under another, each as a text says it: a class."""
    experiment = job.experiment
    model = _diffusion_model(job)
    condition = experiment.source.condition
    if condition is None:
        raise UserError('--edit: transfer leads from one condition to another, and the model is unconditional')
    from_row, to_row = (
        read_row(condition, str(text), f'--edit: {name}') for name, text in (('source', source), ('target', target))
    )
    image = _batch(job, 'image', (experiment.shape,))
    grid, _ = build_sampling(experiment, job.spec)

    def draw(given, keys, index):
        del keys
        before, after = (model(given.params, repeat_row(row, len(index)), None) for row in (from_row, to_row))
        return editing.transfer(before, after, experiment.schedule, given.rows[0][index], grid)

    return Edit(draw, (image.repeat(job.num, 0),), {'given': image})


_EDITS = SimpleNamespace(
    __all__=['colourise', 'inpaint', 'interpolate', 'sdedit', 'super_resolve', 'transfer'],
    colourise=colourise,
    inpaint=inpaint,
    interpolate=interpolate,
    sdedit=sdedit,
    super_resolve=super_resolve,
    transfer=transfer,
)


def _parameters(sampler):
    return inspect.signature(getattr(samplers, sampler)).parameters


def _needed(image, name):
    if image is None:
        raise ValueError(f'needs --{name}=FILE')
    return image


def _batch(job, name, shapes):
    """The images of one flag as `[n, ...]`, each of one of the shapes."""
    x = _needed(getattr(job.images, name), name)
    x = x[None] if x.shape in shapes else x
    if x.shape[1:] not in shapes or not len(x):
        wanted = ' or '.join(_shown(shape) for shape in dict.fromkeys(shapes))
        raise UserError(f'--{name} is {_shown(x.shape)}, this run and edit need {wanted}')
    return x


def _shown(shape):
    return 'x'.join(str(size) for size in shape)


def _diffusion_model(job):
    if job.experiment.models.denoise is None:
        raise UserError('--edit: encoding an image needs a diffusion model, and this run trained a consistency model')
    if job.other is not None:
        raise UserError('--edit: encoding an image takes no guidance: set --guidance=none')
    return job.experiment.models.denoise
