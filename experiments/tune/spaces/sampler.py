"""How a diffusion model on EDM's schedule is sampled with seven evaluations of the network: solver, grid, churn.

python -m experiments.tune --of=runs/digits_edm --space=experiments/tune/spaces/sampler.py --workdir=runs/tuned
"""

# Heun's method on EDM's grid, 2 x 4 - 1 evaluations.
DEFAULT = {'sample.sampler': {'name': 'heun'}, 'sample.times.n': 4}
_STEPS = {'heun': 4, 'edm_churn': 4, 'ddim': 7, 'dpm_solver_pp': 7, 'unipc': 7, 'deis': 7}


def space(trial):
    """The overrides of a trial."""
    name = trial.suggest_categorical('solver', list(_STEPS))
    sampler = {'name': name}
    if name == 'ddim':
        sampler['eta'] = trial.suggest_float('eta', 0.0, 1.0)
    if name == 'edm_churn':
        sampler['S_churn'] = trial.suggest_float('S_churn', 0.0, 2.0)
    grid = {
        'name': 'karras',
        'n': _STEPS[name],
        'rho': trial.suggest_float('rho', 1.0, 15.0),
        'sigma_min': trial.suggest_float('sigma_min', 1e-3, 0.3, log=True),
        'sigma_max': trial.suggest_float('sigma_max', 5.0, 80.0, log=True),
    }
    return {'sample.sampler': sampler, 'sample.times': grid}
