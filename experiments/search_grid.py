r"""Searches the grid on which a solver's few steps end closest to many, for a trained diffusion model, and saves it.

    python -m experiments.search_grid --workdir=runs/mnist --sampler=dpm_solver_pp --steps=8

writes WORKDIR/grids/NAME.json; `diffusion_jax.sample --grid=saved:grid=NAME --sampler=...` uses it. The error that is
printed is of other noises than those of the search. With --model_times so are the times that the model is told.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from diffusion_jax import cli, paths, runs, samplers, saved_grids, search, specs, times
from diffusion_jax.errors import UserError
from diffusion_jax.retime import retimed
from diffusion_jax.times import levels

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained diffusion model.', required=True)
_STEP = flags.DEFINE_string('step', 'newest', 'Which checkpoint: newest, best (by train.best_by), or its step.')
_SAMPLER = flags.DEFINE_string('sampler', 'dpm_solver_pp', 'A deterministic one, e.g. ddim, heun, unipc:order=3.')
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
    folder = paths.parse(_WORKDIR.value)
    run = runs.load(folder, _STEP.value)
    experiment = run.experiment
    if 'model' not in experiment.models:
        raise UserError(f'{folder} is no diffusion model')
    spec, schedule = specs.parse_spec(_SAMPLER.value), experiment.schedule
    configured = specs.make(times, run.config['sample']['times'], experiment.context, 'config.sample.times')
    t_max, n = float(configured[0]), _STEPS.value
    most = min(float(levels.of(schedule, np.array(t_max))), 80.0)

    def by_hand(n):
        karras = [times.karras(n, least, most, rho, schedule) for least, rho in ((_LEAST, 7.0), (0.02, 3.0))]
        t_min = float(levels.times_at(schedule, np.array(0.02)))
        t_most = float(levels.times_at(schedule, np.array(most)))
        return [np.append(t_max, grid[1:]) for grid in (*karras, times.log_snr(n, schedule, t_min, t_most))]

    def end_points(params, key, grid, spec, model_times=None):
        cond = jnp.arange(_NUM.value) % experiment.num_classes if experiment.num_classes else None
        denoise = experiment.models['model'](params, cond, None)
        if model_times is not None:
            denoise = retimed(denoise, schedule, grid[:-1], model_times)
        context = {**experiment.context, 'denoise': denoise}
        sampler = specs.make(samplers, spec, context, '--sampler')
        x = samplers.prior(key, schedule, (_NUM.value, *experiment.shape), t_max)
        return samplers.sample(sampler, key, x, grid)

    solve = jax.jit(lambda params, key, grid, *model_times: end_points(params, key, grid, spec, *model_times))
    fine = by_hand(_REFERENCE.value)[0]
    exact = jax.jit(lambda params, key: end_points(params, key, fine, {'name': 'heun'}))
    keys = jax.random.split(jax.random.key(_SEED.value))
    fit = search.fit_retimed_grid if _MODEL_TIMES.value else search.fit_grid
    found = fit(
        lambda *grid: solve(run.params, keys[0], *grid), exact(run.params, keys[0]), schedule, by_hand(n),
        max_steps=_ITERATIONS.value,
    )  # fmt: skip

    target = exact(run.params, keys[1])

    def error(*grid):
        x = solve(run.params, keys[1], *(jnp.asarray(a, target.dtype) for a in grid))
        return float(jnp.mean(search.per_sample_error(x, target)))

    before = min(error(grid) for grid in by_hand(n))
    chosen = [found.times, *([] if found.model_times is None else [found.model_times])]
    name = _NAME.value or f'{_SAMPLER.value.replace(":", "-")}_{n}' + '_retimed' * _MODEL_TIMES.value
    provenance = {
        'sampler': spec,
        'step': run.step,
        'objective': f"mean RMS distance to {_REFERENCE.value} steps of Heun's method from the same noise",
        'noises': _NUM.value,
        'seed': _SEED.value,
        'error': error(*chosen),
        'best error by hand': before,
    }
    path = saved_grids.save(folder, name, found.times, provenance, found.model_times)
    print(f'error {provenance["error"]:.4g}, best of the grids by hand {before:.4g}: {path}')
    print(f'use it: --sampler={_SAMPLER.value} --grid=saved:grid={name}')


if __name__ == '__main__':
    cli.run(main)
