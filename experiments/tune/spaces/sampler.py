"""How a model on EDM's schedule is sampled with seven evaluations of the network: solver, levels of noise, churn.

python -m experiments.tune --of=runs/digits_edm --space=experiments/tune/spaces/sampler.py --workdir=runs/tuned
"""

_TWO_STAGES = ('heun', 'edm_churn')  # two evaluations a step, but for the last one
_ONE_STAGE = ('ddim', 'dpm_solver_pp', 'unipc', 'deis')


def steps(solver, evaluations):
    """How many steps of a solver take a number of evaluations."""
    return (evaluations + 1) // 2 if solver in _TWO_STAGES else evaluations


def chosen(trial, evaluations):
    """The overrides of a trial."""
    name = trial.suggest_categorical('solver', [*_TWO_STAGES, *_ONE_STAGE])
    sampler = {'name': name}
    if name == 'ddim':
        sampler['eta'] = trial.suggest_float('eta', 0.0, 1.0)
    if name == 'edm_churn':
        sampler['S_churn'] = trial.suggest_float('S_churn', 0.0, 0.4 * steps(name, evaluations))
    times = {
        'name': 'karras',
        'n': steps(name, evaluations),
        'rho': trial.suggest_float('rho', 1.0, 15.0),
        'sigma_min': trial.suggest_float('sigma_min', 1e-3, 0.3, log=True),
        'sigma_max': trial.suggest_float('sigma_max', 5.0, 80.0, log=True),
    }
    return {'sample.sampler': sampler, 'sample.times': times}


# On EDM's own levels.
DEFAULTS = {
    name: {'sample.sampler': {'name': name}, 'sample.times.n': steps(name, 7)} for name in ('heun', *_ONE_STAGE)
}


def space(trial):
    """With seven evaluations."""
    return chosen(trial, 7)
