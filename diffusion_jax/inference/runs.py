"""A trained run opened again, for sampling and evaluation."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from diffusion_jax import builders, times
from diffusion_jax.builders import specs
from diffusion_jax.data.sources import Source, rows_of
from diffusion_jax.devices import processes, sharding
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure, report
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import averages, references
from diffusion_jax.inference.generate import Drawing, at_once, batches, generate, of_rows
from diffusion_jax.progress import counted, progress_bar
from diffusion_jax.types import Key, Params
from diffusion_jax.workdir import files, paths, reading
from diffusion_jax.workdir.paths import AnyPath


class Run(NamedTuple):
    """A trained model and what it was trained on."""

    config: dict[str, Any]
    experiment: builders.Experiment
    params: Params  # the averaged ones
    step: int
    mesh: Mesh
    sigma_rel: float | None = None  # the length of an average put together from snapshots


def load(
    workdir: AnyPath,
    which: str = 'newest',
    mesh: Mesh | None = None,
    sigma_rel: float | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Run:
    """Opens a checkpoint of a run: the newest, the best by its `train.best_by`, or that of a step.

    With a `sigma_rel` it is the average of that length at the newest snapshot, or that of a step (`averages.plan`).
    Fields of its config may be others this time: `changes`, by dotted names. Its parameters are split over `mesh`. By
    default that is all devices, however many it was trained on, with as much of its `mesh.fsdp` as divides them.

    Raises:
        UserError: if the workdir holds no run, or no such checkpoint or average, or the data set is gone.
    """
    config = builders.override(builders.check(files.load_config(workdir)), changes or {})
    mesh = mesh or sharding.make_mesh(fsdp=math.gcd(config['mesh']['fsdp'], jax.device_count()))
    experiment = builders.build(config)
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    abstract = sharding.with_shardings(shapes, sharding.of_state(mesh, shapes))
    if sigma_rel is None:
        params, step = reading.restore_ema(workdir, abstract, which, config['train']['best_by'])
    else:
        plan = averages.plan(workdir, sigma_rel, which)
        params, step = averages.restore(workdir, abstract, plan), plan.step
    return Run(config, experiment, params, step, mesh, sigma_rel)


class Guided(NamedTuple):
    """A run as its guidance has it, which may take the parameters of another."""

    experiment: builders.Experiment  # as it is asked: a model that is told nothing for what its classifier knows
    params: Params | builders.WithOther
    other: builders.Other | None = None
    other_step: int | None = None  # the checkpoint of that run


class Sampling(NamedTuple):
    """How samples are drawn from a run."""

    drawing: Drawing
    guided: Guided


def sampling(run: Run, spec: Mapping[str, Any]) -> Sampling:
    """A run's model under a `sample` section, with what its guidance takes of another run.

    Raises:
        UserError: as `builders.build_draw`; if the other run cannot be opened, or does not fit.
    """
    found = guided(run, spec)
    draw = builders.build_draw(found.experiment, spec, found.other)
    find_non_finite = builders.build_find_non_finite(found.experiment, spec, found.other)
    return Sampling(Drawing(jax.jit(draw), found.params, run.mesh, spec['batch_size'], find_non_finite), found)


def trajectory(
    spec: Mapping[str, Any], sampling: Sampling, num: int, n: int
) -> tuple[np.ndarray, Callable[[Key], builders.States]]:
    """The grid `[S + 1]`, and the states on the way of the first n of `num` samples, from `sampling` of the same spec.

    They are drawn among as many as those, so that the last state is the sample to the last bit.

    Raises:
        UserError: as `builders.build_states`; for more of them than are drawn, or drawn at once.
    """
    (drawing, found), size = sampling, at_once(sampling.drawing, num)
    if n > min(num, size):
        raise UserError(f'--trajectory={n} is more than the {min(num, size)} samples that are drawn at once')
    grid, states = builders.build_states(found.experiment, spec, n, found.other)
    run_states = jax.jit(states, out_shardings=sharding.replicated(drawing.mesh))

    def states_of(key):
        return jax.tree.map(processes.gather, run_states(drawing.params, *of_rows(drawing.mesh, key, 0, size)))

    return grid, states_of


def draw(run: Run, spec: Mapping[str, Any], num: int, seed: int = 0) -> np.ndarray:
    """`num` samples of a run under a `sample` section, as they are drawn.

    Raises:
        UserError: as `sampling`; if the model yields NaN.
    """
    return generate(sampling(run, spec).drawing, jax.random.key(seed), num)


class Editing(NamedTuple):
    """How edits are drawn from a run."""

    sampling: Sampling
    num: int  # of edits in all
    beside: dict[str, np.ndarray]  # what was given, [n, ...] each


def editing(run: Run, spec: Mapping[str, Any], edit: Mapping[str, Any], images: builders.Images, num: int) -> Editing:
    """`num` edits of each image by a run's model under a `sample` section.

    Raises:
        UserError: as `sampling` and `builders.build_edit`.
    """
    found = guided(run, spec)
    arguments = found.experiment, spec, edit, images, num, found.other
    job, find_non_finite = builders.build_edit(*arguments), builders.build_edit_find_non_finite(*arguments)
    given = builders.Given(found.params, job.rows)
    drawing = Drawing(jax.jit(job.draw), given, run.mesh, spec['batch_size'], find_non_finite)
    return Editing(Sampling(drawing, found), len(job.rows[0]), job.beside)


def guided(run: Run, spec: Mapping[str, Any]) -> Guided:
    """A run as the guidance of a `sample` section has it, with the parameters of the run that the guidance names.

    Raises:
        UserError: if that run cannot be opened, or does not fit.
    """
    guide = spec.get('guidance') or {}
    taken = builders.taken_by(guide)
    if taken is None:
        return Guided(run.experiment, run.params)
    if taken.run not in guide:
        raise UserError(f'config.sample.guidance: {guide["name"]} needs another run: --guidance={taken.example}')
    try:
        that = load(paths.parse(str(guide[taken.run])), str(guide.get(taken.step, 'newest')), run.mesh)
    except UserError as error:
        raise UserError(f'config.sample.guidance.{taken.run}: {error}') from error
    experiment, other = builders.take(run.experiment, guide, that.experiment)
    return Guided(experiment, builders.WithOther(run.params, that.params), other, that.step)


class Choices(NamedTuple):
    """What a command line says of sampling; None for what it leaves to the run."""

    sampler: str | None = None
    steps: int | None = None
    times: str | None = None
    guidance: str | None = None
    cond: str | None = None


def sample_spec(spec: Mapping[str, Any], choices: Choices) -> dict[str, Any]:
    """A config's `sample` section with a command line's choices put in.

    Raises:
        UserError: for a number of steps on a grid that has none, or none on a grid that needs one.
    """
    sampler, steps, grid, guidance, cond = choices
    spec = {**spec, 'sampler': dict(spec['sampler']), 'times': dict(spec['times'])}
    if sampler:
        spec['sampler'] = specs.parse_spec(sampler)
    if grid:
        given = specs.parse_spec(grid)
        spec['times'] = {**{k: v for k, v in spec['times'].items() if k == 'n' and _takes_n(given)}, **given}
        if given['name'] in times.__all__ and _takes_n(given) and 'n' not in spec['times'] and not steps:
            raise UserError(f'--grid={grid} needs --steps')
    if guidance:
        spec['guidance'] = None if guidance == 'none' else specs.parse_spec(guidance)
    if cond:
        spec['cond'] = specs.parse_spec(cond)
    if steps:
        if not _takes_n(spec['times']):
            raise UserError(f"--steps={steps}: the grid '{spec['times']['name']}' has no number of steps: set --grid")
        spec['times']['n'] = steps
    return spec


def name_of(spec: Mapping[str, Any]) -> str:
    """A spec as a command line has it, without characters that a file name cannot have."""
    return '-'.join([spec['name'], *(f'{k}={v}' for k, v in spec.items() if k != 'name')]).replace('/', '_')


def _takes_n(spec):
    unsaved = spec['name'] != 'saved'
    return unsaved and 'n' in inspect.signature(getattr(times, str(spec['name']), _unknown)).parameters


def _unknown(n):
    """Stands for a grid that does not exist: building it tells of it."""


def held_out(run: Run, split: str | None = None) -> Source | None:
    """The data that a run has not seen: of its config's split, or of another one; 'none' for none.

    Raises:
        UserError: if there is no such split.
    """
    return references.held_out(run.config, split)


def reference_data(run: Run) -> Source:
    """The data that a run's samples are compared with: its training data, unless the config says otherwise."""
    return references.data(run.config)


def reference(run: Run, held_out: Source | None, features: Mapping[str, Any] | None = None) -> measure.Reference:
    """`reference_data` in the run's own features or others (a spec); those of a network from its file are kept.

    Raises:
        UserError: if the data or the features cannot be read.
    """
    return references.of_data(reference_data(run), held_out, features or run.config['eval']['features'])


def survey(run: Run, spec: Mapping[str, Any], num: int, reference: measure.Reference, seed: int = 0) -> report.Result:
    """All distances of `num` samples under a `sample` section, drawn and measured batch by batch.

    Raises:
        UserError: if the model yields NaN.
    """
    drawing, found = sampling(run, spec)
    conditions = 'none' if found.experiment.source.condition is None else name_of(spec['cond'])
    with progress_bar('sampling', num) as progress:
        stream = batches(drawing._replace(batch_size=run.config['eval']['batch_size']), jax.random.key(seed), num)
        return measure.survey(counted(stream, progress), num, reference, (seed,), conditions)


def bits_per_dim(
    run: Run, source: Source, num: int, seed: int = 0, method: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Bits/dim of the first `num` rows of a source: the variational bound, or the ODE's (see `builders.build_bits`).

    Batches of `eval.batch_size`, rounded up to a multiple of the devices, are spread over them; a row's noise depends
    on that size and the row's place.

    Returns:
        `bits/dim` with its standard error over rows, the method's parts of it, and the number of rows. The bound's are
        `prior`, `kl`, `decoder`, `kl_by_step`: the mean KL_k in ten equal ranges of k from 2 to T (None for no terms).

    Raises:
        UserError: if the model or the data have no such bits/dim.
    """
    settings = run.config['eval']
    bits = builders.build_bits(run.experiment, source, settings, method)
    evaluate = jax.jit(bits.evaluate)
    x = Values(source)[:num]
    conds = rows_of(source, np.arange(len(x)))

    key, devices = jax.random.key(seed), run.mesh.size
    given = bits.learn(run.params, jax.random.fold_in(key, len(x)))
    size = -(-min(settings['batch_size'], len(x)) // devices) * devices
    done = []
    with progress_bar('bits/dim', len(x)) as progress:
        for i in range(0, len(x), size):
            # The last batch is filled up with its last row, so that one executable does for all.
            rows = np.minimum(np.arange(i, i + size), len(x) - 1)
            cond = jax.tree.map(lambda a, rows=rows: sharding.spread(run.mesh, a[rows]), conds)
            terms = evaluate(given, jax.random.fold_in(key, i), sharding.spread(run.mesh, x[rows]), cond)
            done.append(jax.tree.map(lambda a, i=i: processes.gather(a)[: len(x) - i], terms))
            progress(min(i + size, len(x)))
    terms = jax.tree.map(lambda *a: np.concatenate(a), *done)
    return {
        'bits/dim': float(terms.total.mean()),
        'standard error': float(terms.total.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else None,
        **bits.parts(terms),
        'rows': len(x),
    }


def bits_gap(held_out: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, float]:
    """How many bits/dim more held-out rows cost than training rows, both of `bits_per_dim`: above 0 by overfitting."""
    gap = held_out['bits/dim'] - seen['bits/dim']
    a, b = (bits['standard error'] or np.nan for bits in (held_out, seen))  # of one row there is none
    return {'gap': gap, 'standard error': float(np.hypot(a, b))}
