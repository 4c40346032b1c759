r"""Where in time a run's loss is, and where its gradient is noise: metrics, signal and variance for parts of p(t).

    python -m experiments.by_time --workdir=runs/digits_ct
    python -m experiments.by_time --workdir=runs/digits_ct --argument=ode_step=batch

cuts the objective's distribution of training times into parts of equal probability and takes the gradients of many
batches of each, at the weights, target and teacher of a checkpoint: ||E g||^2 is what the steps agree on, tr Cov g what
they do not. --argument asks the same of the objective with another argument, at the same weights: what a control
variate or another weight would buy. Writes WORKDIR/by_time/NAME.md and .png; the run itself stays as it is, and may be
training.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.figure import Figure

from diffusion_jax import cli, times
from diffusion_jax.builders import specs
from diffusion_jax.data import pipeline
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation.gradient_noise import Noise, gradient_noise
from diffusion_jax.inference import runs
from diffusion_jax.progress import progress_bar
from diffusion_jax.ranges import MOST, MOST_SEED
from diffusion_jax.times import noise_levels
from diffusion_jax.training import checkpoint
from diffusion_jax.training.assemble import assemble
from diffusion_jax.training.state import TrainState
from diffusion_jax.workdir import files, paths
from experiments.running.tables import markdown

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.', required=True)
_STEP = flags.DEFINE_string('step', 'newest', 'Which checkpoint: newest, best, or its step.')
_ARGUMENT = flags.DEFINE_multi_string('argument', [], "The objective's, in place of the run's: ode_step=batch, c=0.03.")
_PARTS = flags.DEFINE_integer('parts', 10, 'Of p(t), equally probable.', lower_bound=1, upper_bound=1000)
_BATCHES = flags.DEFINE_integer('batches', 32, 'Of each part.', lower_bound=2, upper_bound=MOST)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of batches, times and noises.', lower_bound=0, upper_bound=MOST_SEED)
_DRAWS = 4096  # of times, for the ends of the parts
# The argument of an objective that says when it trains, and what cuts it into parts.
_CUTS = {'p_t': 'stratum', 'pairs': 'stratum_of_pairs'}


class Part(NamedTuple):
    """A part of p(t)."""

    times: np.ndarray  # drawn from it, ascending
    level: float  # sigma / alpha at the median of these
    found: Noise


def main() -> None:
    """The entry point."""
    workdir = paths.parse(_WORKDIR.value)
    run = runs.load(workdir, _STEP.value)
    spec = _with_arguments(run.config['objective'])
    cut = [name for name in _CUTS if name in spec]
    if not cut:
        raise UserError(f'{workdir}: the objective {spec["name"]} draws no times that a config names: nothing to cut')
    name = paths.shortened('_'.join([f'step{run.step}', f'seed{_SEED.value}', *_ARGUMENT.value]))
    path = workdir / 'by_time' / f'{name}.md'
    files.check_writable(path)
    parts = measured(run, workdir, spec, cut[0])
    table = _table(parts)
    files.write_text(path, table)
    with paths.appended(path.parent) as (near, _):
        draw(near / f'{name}.png', parts)
    print(f'{table}\n{path}')


def measured(run: runs.Run, workdir: paths.AnyPath, spec: dict[str, Any], name: str) -> list[Part]:
    """Every part of the times that the objective of this spec draws from its argument of that name."""
    experiment, n = run.experiment, _PARTS.value
    state = _state(run, workdir)
    seen = state.frozen if state.second is None else state.frozen._replace(other=state.second.params)

    def cut(i):
        return {**spec, name: {'name': _CUTS[name], name: spec[name], 'n': n}}, {'i': i}

    def metrics_and_grad(params, seen, step, i, key, batch):
        of_the_part, given = cut(i)
        loss = experiment.loss_of(of_the_part, **given)
        grads, metrics = jax.grad(loss, has_aux=True)(params, seen, key, batch, step)
        return metrics, grads

    # The spec's own errors, before anything is drawn.
    experiment.loss_of(cut(0)[0], i=0)
    measure, draws, parts = gradient_noise(metrics_and_grad), _draws(run), []
    at = (state.params, seen, state.step)
    with progress_bar('gradients', n) as progress:
        for i in range(n):
            noise = measure((*at, jnp.asarray(i), *draw) for draw in itertools.islice(draws, _BATCHES.value))
            t = _times(run, cut(i)[0][name], i, state.step)
            level = noise_levels.of(experiment.schedule, np.asarray(np.median(t)))
            parts.append(Part(t, float(level), noise))
            progress(i + 1)
    return parts


def _with_arguments(spec):
    """The objective's spec with those of the command line."""
    given = {}
    for text in _ARGUMENT.value:
        name, equals, value = text.partition('=')
        if not equals:
            raise UserError(f'--argument={text}: the form is name=value, such as ode_step=batch')
        given[name] = specs.argument(name, value)
    return {**spec, **given}


def _state(run, workdir) -> TrainState:
    """The run's state at the checkpoint of `run`, whose weights are not the averaged ones."""
    shapes = assemble(run.config, run.experiment, run.mesh).shapes
    return checkpoint.peek(workdir, shapes._replace(tracks=()), str(run.step))


def _draws(run) -> Iterator[tuple[Any, Any]]:
    """Endless (key, batch)."""
    batch = pipeline.batch_at(run.experiment.source, _SEED.value, run.config['train']['batch_size'])
    key = jax.random.key(_SEED.value)
    return ((jax.random.fold_in(key, k), batch(k)) for k in itertools.count())


def _times(run, spec, i, step):
    """Times of a part, ascending."""
    drawn = run.experiment.context.having(i=i).make(times, spec, 'config.objective')
    key, shape = jax.random.key(_SEED.value), (_DRAWS,)
    t = drawn(key, shape) if 'p_t' in spec else drawn(key, shape, step)[0]
    return np.sort(np.asarray(t, np.float64))


def _table(parts):
    names = list(parts[0].found.metrics)
    head = ['times', 'sigma / alpha', *names, 'signal', 'noise', 'share of the noise']
    total = sum(part.found.noise for part in parts)
    rows = [
        [
            f'{part.times[0]:.4g} to {part.times[-1]:.4g}',
            f'{part.level:.4g}',
            *(f'{part.found.metrics[name]:.4g} ± {part.found.errors[name]:.2g}' for name in names),
            f'{part.found.signal:.3g}',
            f'{part.found.noise:.3g}',
            f'{part.found.noise / total:.1%}',
        ]
        for part in parts
    ]
    mean = total / len(parts)
    last = (
        f'\nsignal: squared norm of the mean gradient; noise: trace of the covariance of one batch ({_BATCHES.value} a '
        f'part), {mean:.4g} on average over the parts.\n'
    )
    return markdown(head, rows) + last


def draw(path, parts: list[Part]) -> None:
    """Loss, and signal and noise, against the noise level."""
    figure = Figure(figsize=(11, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2)
    levels = [part.level for part in parts]
    first = next(iter(parts[0].found.metrics))
    left.errorbar(
        levels, [p.found.metrics[first] for p in parts], [p.found.errors[first] for p in parts], marker='o', capsize=3
    )
    left.set(xlabel='noise level sigma / alpha', ylabel=f'{first}, mean of a part ± standard error', xscale='log')
    right.plot(levels, [p.found.noise for p in parts], 'o-', label='noise: tr Cov g of one batch')
    seen = [p for p in parts if p.found.signal > 0]
    right.plot([p.level for p in seen], [p.found.signal for p in seen], 's-', label='signal: ||E g||²')
    right.set(xlabel='noise level sigma / alpha', ylabel='squared norm of the gradient', xscale='log', yscale='log')
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


if __name__ == '__main__':
    cli.run(main)
