r"""Searches the times of multistep sampling for a trained consistency model, one after another (arXiv 2303.01469).

    python -m experiments.search_times --workdir=runs/mnist_cd --steps=2 --num=500 --evaluations=8

prints the Frechet distance of every grid that it tries and the best one, as `diffusion_jax.sample` takes it, and as a
config does: `config.sample.times` of all step counts up to this one.
"""

import itertools

import jax
import numpy as np
from absl import flags

from diffusion_jax import builders, cli, samplers, search, times
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import Drawing, generate
from diffusion_jax.progress import progress_bar
from diffusion_jax.times import noise_levels
from diffusion_jax.workdir import paths

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained consistency model.', required=True)
_STEP = flags.DEFINE_string('step', 'newest', 'Which checkpoint: newest, best (by train.best_by), or its step.')
_STEPS = flags.DEFINE_integer('steps', 2, 'Steps to place.', lower_bound=2)
_NUM = flags.DEFINE_integer('num', 500, 'Samples per grid, from the same noises.', lower_bound=100)
_EVALUATIONS = flags.DEFINE_integer('evaluations', 8, 'Grids to try for each time.', lower_bound=2)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noises.')
_LEAST, _MOST = 0.002, 80.0  # noise levels, where the run has none of its own


def main() -> None:
    """The entry point."""
    run = runs.load(paths.parse(_WORKDIR.value), _STEP.value)
    experiment, context = run.experiment, run.experiment.context.defaults
    if experiment.models.consistency is None:
        raise UserError(f'{_WORKDIR.value} is no consistency model')
    schedule = experiment.schedule
    t_max = float(experiment.context.make(times, run.config['sample']['times'], 'config.sample.times')[0])
    first = {'name': 'at', 'times': (t_max,)}  # the others are arguments, so that all share a program
    spec = {**run.config['sample'], 'sampler': {'name': 'renoise'}, 'times': first}
    _, make_sampler = builders.build_sampling(experiment, spec)
    reference, size = runs.reference(run, None), run.config['eval']['batch_size']
    asked = builders.build_asked(experiment, spec['cond'])

    @jax.jit
    def draw(given, keys, index):
        params, grid = given
        shape = (*keys.shape, *experiment.shape)
        x = samplers.prior(samplers.fold_in(keys, 0), schedule, shape, t_max)
        return samplers.sample(make_sampler(params, keys, asked(index)), samplers.fold_in(keys, 1), x, grid)

    def at_levels(levels):  # on VE they are the times themselves
        return np.array([t_max, *noise_levels.times_at(schedule, levels[1:-1]), 0.0])

    tried = itertools.count(1)

    def distance(levels: np.ndarray) -> float:
        grid = at_levels(levels)
        given = (run.params, grid.astype(np.float32))
        x = generate(Drawing(draw, given, run.mesh, size), jax.random.key(_SEED.value), _NUM.value)
        name, value = next(iter(measure.measure(x, reference, seeds=(_SEED.value,)).values.items()))
        print(f'{_shown(grid)}: {name} {value:.4g}', flush=True)
        progress(next(tried))
        return value

    evaluations, least = _EVALUATIONS.value, context.get('sigma_min', _LEAST)
    most = min(float(noise_levels.of(schedule, np.array(t_max))), context.get('sigma_max', _MOST))
    with progress_bar('grids', (_STEPS.value - 1) * (evaluations // 2) * 2) as progress:
        best = _shown(at_levels(search.greedy_times(distance, _STEPS.value, evaluations, least, most)))
    print(f'best: --sampler=renoise --grid=at:times={best}')
    print(f"as a config: sample.times = first_of:n=1,times='{best}'")


def _shown(grid):
    return '/'.join(f'{t:.6g}' for t in grid[:-1])


if __name__ == '__main__':
    cli.run(main)
