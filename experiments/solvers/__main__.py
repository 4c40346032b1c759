r"""Error against evaluations: our solvers, by hand and on searched grids, beside diffusers' and k-diffusion's.

    python -m experiments.solvers --workdir=runs/solvers [--only='64, EDM'] [--evaluations=8,12]

measures each problem into WORKDIR/PROBLEM.json; a second run goes on. `experiments.solvers.report` writes table, plot.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from diffusion_jax import cli
from diffusion_jax.workdir import files, paths
from experiments.solvers import ours, peers
from experiments.solvers.problems import Problem, end_points, problems, start

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the results.', required=True)
_ONLY = flags.DEFINE_string('only', '', 'One problem, by its name.')
_EVALUATIONS = flags.DEFINE_list('evaluations', ['4', '6', '8', '12', '20', '40'], 'Of the peers, and of ours by hand.')
_SEARCHED = (8,)
_SEARCHED_SOLVERS = ('dpm_solver_pp 3', 'deis 3', 'unipc 3')
_RETIMED_SOLVERS = ('deis 3',)
_SEARCH_NOISES = 128  # at most: a search holds the derivatives of all


def main() -> None:
    """The entry point."""
    jax.config.update('jax_enable_x64', True)
    workdir = paths.local(_WORKDIR.value)
    workdir.mkdir(parents=True, exist_ok=True)
    for problem in problems():
        path = workdir / f'{problem.name.replace(", ", "_")}.json'
        if _ONLY.value in ('', problem.name) and not path.exists():
            files.write_json(path, measured(problem))


def measured(problem: Problem) -> list[dict]:
    """Rows of who, solver, grid, evaluations, error; searched grids are measured on other noises than theirs."""
    x, x_test = (start(problem, seed) for seed in (0, 1))
    y, y_test = (end_points(problem, noise) for noise in (x, x_test))
    rows = []

    def add(who, solver, grid, evaluations, error, **more):
        rows.append({'who': who, 'solver': solver, 'grid': grid, 'evaluations': evaluations, 'error': error, **more})

    evaluations = [int(n) for n in _EVALUATIONS.value]
    for n in evaluations:
        for name, run in peers.runs(problem, n):
            end, calls = run(x_test)
            add('peer', name, '', calls, ours.error(jnp.asarray(end), y_test))
        print(problem.name, n, min((r['error'], r['solver']) for r in rows if r['evaluations'] <= n), flush=True)
    for solver in ours.SOLVERS:
        run = ours.runner(problem, solver)
        for n in (n for n in evaluations if ours.steps(solver, n)):
            for grid, t in ours.grids(problem, ours.steps(solver, n)).items():
                add('ours', solver, grid, n, ours.error(run(x_test, t), y_test))
    print(problem.name, min((r['error'], r['solver']) for r in rows if r['who'] == 'ours'), flush=True)
    x, y = x[:_SEARCH_NOISES], y[:_SEARCH_NOISES]
    for solver in _SEARCHED_SOLVERS:
        run = ours.runner(problem, solver)
        for n in _SEARCHED:
            by_hand = ours.grids(problem, n)
            errors = {name: ours.error(run(x, times), y) for name, times in by_hand.items()}
            best = sorted(by_hand, key=errors.__getitem__)[:2]
            found = ours.searched(problem, solver, x, y, [by_hand[name] for name in best])
            error = ours.error(run(x_test, found.times), y_test)
            add('searched', solver, 'searched', n, error, times=found.times.tolist(), of_the_search=found.error)
            print(problem.name, solver, n, error, flush=True)
            if solver in _RETIMED_SOLVERS:
                starts = [by_hand[name] for name in best]
                found = ours.searched_with_model_times(problem, solver, x, y, starts)
                chosen = jnp.asarray(found.times), jnp.asarray(found.model_times)
                error = ours.error(ours.retimed_runner(problem, solver, x_test)(*chosen), y_test)
                both = {'times': found.times.tolist(), 'model_times': np.asarray(found.model_times).tolist()}
                add('retimed', solver, 'searched', n, error, **both, of_the_search=found.error)
                print(problem.name, solver, n, 'with model times', error, flush=True)
    return rows


if __name__ == '__main__':
    cli.run(main)
