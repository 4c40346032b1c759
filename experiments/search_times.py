r"""Searches the times of multistep sampling for a trained consistency model, one after another (arXiv 2303.01469).

    python -m experiments.search_times --workdir=runs/mnist_cd --steps=2 --num=500 --evaluations=8

prints the Frechet distance of every grid that it tries and the best one, as `diffusion_jax.sample` takes it.
"""

import itertools

import jax
import numpy as np
from absl import flags

from diffusion_jax import builders, cli, samplers, search
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import Drawing, generate
from diffusion_jax.progress import progress_bar
from diffusion_jax.workdir import paths

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained consistency model on VE.', required=True)
_STEP = flags.DEFINE_string('step', 'newest', 'Which checkpoint: newest, best (by train.best_by), or its step.')
_STEPS = flags.DEFINE_integer('steps', 2, 'Steps to place.', lower_bound=2)
_NUM = flags.DEFINE_integer('num', 500, 'Samples per grid, from the same noises.', lower_bound=100)
_EVALUATIONS = flags.DEFINE_integer('evaluations', 8, 'Grids to try for each time.', lower_bound=2)


def main() -> None:
    """The entry point."""
    run = runs.load(paths.parse(_WORKDIR.value), _STEP.value)
    experiment, context = run.experiment, run.experiment.context.defaults
    if experiment.models.consistency is None or 'sigma_max' not in context:
        raise UserError(f'{_WORKDIR.value} is no consistency model on the VE schedule')
    first = {'name': 'at', 'times': (context['sigma_max'],)}  # the others are arguments, so that all share a program
    spec = {**run.config['sample'], 'sampler': {'name': 'renoise'}, 'times': first}
    _, make_sampler = builders.build_sampling(experiment, spec)
    reference, size = runs.reference(run, None), run.config['eval']['batch_size']
    asked = builders.build_asked(experiment, spec['cond'])

    @jax.jit
    def draw(given, keys, index):
        params, times = given
        shape = (*keys.shape, *experiment.shape)
        x = samplers.prior(samplers.fold_in(keys, 0), experiment.schedule, shape, context['sigma_max'])
        return samplers.sample(make_sampler(params, keys, asked(index)), samplers.fold_in(keys, 1), x, times)

    tried = itertools.count(1)

    def distance(times: np.ndarray) -> float:
        given = (run.params, times.astype(np.float32))
        x = generate(Drawing(draw, given, run.mesh, size), jax.random.key(0), _NUM.value)
        name, value = next(iter(measure.measure(x, reference, seeds=(0,)).values.items()))
        print(f'{_shown(times)}: {name} {value:.4g}', flush=True)
        progress(next(tried))
        return value

    least, most, evaluations = context['sigma_min'], context['sigma_max'], _EVALUATIONS.value
    with progress_bar('grids', (_STEPS.value - 1) * (evaluations // 2) * 2) as progress:
        best = search.greedy_times(distance, _STEPS.value, evaluations, least, most)
    print(f'best: --sampler=renoise --grid=at:times={_shown(best)}')


def _shown(times):
    return '/'.join(f'{t:.4g}' for t in times[:-1])


if __name__ == '__main__':
    cli.run(main)
