r"""Searches the grid on which a solver's few steps end closest to many, for a trained diffusion model, and saves it.

    python -m experiments.search_grid --workdir=runs/mnist --sampler=dpm_solver_pp --steps=8

writes WORKDIR/grids/NAME.json; `diffusion_jax.sample --grid=saved:grid=NAME --sampler=...` uses it. The error that is
printed is of other noises than those of the search. With --model_times the times that the model is told are searched as
well. The model is guided and clipped as it is when it is sampled.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from diffusion_jax import builders, cli, samplers, search, times
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.progress import progress_bar
from diffusion_jax.samplers.retime import retimed
from diffusion_jax.search.least_squares import iterations
from diffusion_jax.times import noise_levels
from diffusion_jax.workdir import files, paths, saved_grids

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained diffusion model.', required=True)
_STEP = flags.DEFINE_string('step', 'newest', 'Which checkpoint: newest, best (by train.best_by), or its step.')
_SAMPLER = flags.DEFINE_string('sampler', 'dpm_solver_pp', 'A deterministic one, e.g. ddim, heun, unipc:order=3.')
_GUIDANCE = flags.DEFINE_string(
    'guidance',
    None,
    "e.g. classifier_free:w=2.0, auto:weak=WORKDIR,w=2.0, classifier:of=WORKDIR,w=1.0, none. Default: the run's own.",
)
_STEPS = flags.DEFINE_integer('steps', 8, 'Steps of the grid.', lower_bound=2)
_NAME = flags.DEFINE_string('name', None, 'Name of the grid. Default: the sampler and the steps.')
_NUM = flags.DEFINE_integer('num', 64, 'Noises to search with, and as many to measure with.', lower_bound=2)
_ITERATIONS = flags.DEFINE_integer('iterations', 30, 'Of each of the three starts, at most.', lower_bound=1)
_REFERENCE = flags.DEFINE_integer('reference', 100, "Steps of Heun's method for the exact end points.", lower_bound=10)
_MODEL_TIMES = flags.DEFINE_bool('model_times', False, 'Search the times that the model is told as well.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noises.')
_LEAST = 0.002


def main() -> None:
    """The entry point."""
    workdir = paths.parse(_WORKDIR.value)
    run = runs.load(workdir, _STEP.value)
    experiment = run.experiment
    name = _NAME.value or f'{_SAMPLER.value.replace(":", "-")}_{_STEPS.value}' + '_retimed' * _MODEL_TIMES.value
    files.check_writable(saved_grids.where(workdir, name))
    if experiment.models.denoise is None:
        raise UserError(f'{workdir} is no diffusion model')
    spec = runs.sample_spec(run.config['sample'], runs.Choices(_SAMPLER.value, guidance=_GUIDANCE.value))
    guided = runs.guided(run, spec)
    experiment, params = guided.experiment, guided.params
    configured = experiment.context.make(times, spec['times'], 'config.sample.times')
    schedule, t_max = experiment.schedule, float(configured[0])
    starts, fine = _by_hand(schedule, _STEPS.value, t_max), _by_hand(schedule, _REFERENCE.value, t_max)[0]
    solve = _end_points(experiment, spec, starts[0], guided.other)
    by_heun = _end_points(experiment, {**spec, 'sampler': {'name': 'heun'}}, fine, guided.other)
    keys = jax.random.split(jax.random.key(_SEED.value))
    fit = search.fit_retimed_grid if _MODEL_TIMES.value else search.fit_grid
    with progress_bar(f'search from {len(starts)} grids', iterations(len(starts), _ITERATIONS.value)) as progress:
        found = fit(
            lambda *grid: solve(params, keys[0], *grid), by_heun(params, keys[0], fine), schedule, starts,
            max_steps=_ITERATIONS.value, progress=progress,
        )  # fmt: skip

    target = by_heun(params, keys[1], fine)

    def error(*grid):
        x = solve(params, keys[1], *(jnp.asarray(a, target.dtype) for a in grid))
        return float(jnp.mean(search.per_sample_error(x, target)))

    before = min(error(grid) for grid in starts)
    chosen = [found.times, *([] if found.model_times is None else [found.model_times])]
    provenance = {
        'sampler': spec['sampler'],
        'guidance': spec.get('guidance'),
        'other step': guided.other_step,
        'step': run.step,
        'objective': f"mean RMS distance to {_REFERENCE.value} steps of Heun's method from the same noise",
        'noises': _NUM.value,
        'seed': _SEED.value,
        'error': error(*chosen),
        'best error by hand': before,
    }
    path = saved_grids.save(workdir, name, found.times, provenance, found.model_times)
    print(f'error {provenance["error"]:.4g}, best of the grids by hand {before:.4g}: {path}')
    guided = f' --guidance={_GUIDANCE.value}' if _GUIDANCE.value else ''
    print(f'use it: --sampler={_SAMPLER.value} --grid=saved:grid={name}{guided}')


def _by_hand(schedule, n, t_max):
    """Grids of n steps that are good for many models, all from t_max."""
    most = min(float(noise_levels.of(schedule, np.array(t_max))), 80.0)
    karras = [times.karras(n, least, most, rho, schedule) for least, rho in ((_LEAST, 7.0), (0.02, 3.0))]
    ends = (float(noise_levels.times_at(schedule, np.array(level))) for level in (0.02, most))
    return [np.append(t_max, grid[1:]) for grid in (*karras, times.log_snr(n, schedule, *ends))]


def _end_points(experiment, spec, example, other):
    """(params, key, grid, model times or none) -> what `diffusion_jax.sample` draws on grids like `example`."""
    at = {'times': {'name': 'at', 'times': tuple(example.tolist())}, 'model_times': None}
    _, make_sampler = builders.build_sampling(experiment, {**spec, **at}, other)
    asked = builders.build_asked(experiment, spec['cond'])

    def solve(params, key, grid, model_times=None):
        keys = jax.random.split(key, _NUM.value)

        def retime(denoise):
            # The derivatives of all steps at once would keep what the network computes within each.
            denoise = jax.checkpoint(denoise)
            return denoise if model_times is None else retimed(denoise, experiment.schedule, grid[:-1], model_times)

        shape, t_max = (*keys.shape, *experiment.shape), float(example[0])
        x = samplers.prior(samplers.fold_in(keys, 0), experiment.schedule, shape, t_max)
        sampler = make_sampler(params, keys, asked(jnp.arange(_NUM.value)), retime=retime)
        return samplers.sample(sampler, samplers.fold_in(keys, 1), x, grid)

    return jax.jit(solve)


if __name__ == '__main__':
    cli.run(main)
