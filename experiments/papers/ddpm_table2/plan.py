"""Parameterisation x loss x variance, a run for each row."""

from experiments.papers.ddpm_table2.paper import ROWS
from experiments.papers.digits import DATA, NUM, STEPS, on_digits
from experiments.papers.plan import Cell, Plan, Recipe
from experiments.running.measurements import samples

_LEARNED = {'name': 'vlb_learned'}
_FIXED = {'name': 'vlb'}  # of the small variance


def _error(weight):
    return {'name': 'denoising', 'p_t': {'name': 'discrete_uniform'}, 'weight': {'name': weight}}


_OBJECTIVES = dict(zip(ROWS, [_LEARNED, _FIXED, _error('mu'), _LEARNED, _FIXED, _error('snr')], strict=True))
_SAMPLERS = {
    'vlb_learned': {'name': 'ancestral_learned'},
    'vlb': {'name': 'ancestral', 'variance': 'small'},
    'denoising': {'name': 'ancestral', 'variance': 'large'},
}


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    recipes, cells = {}, {}
    times = {'name': 'uniform', 'n': {'mini': 100, 'paper': 1000}[scale]}
    for row, objective in _OBJECTIVES.items():
        name = row.replace(': ', '_').replace(' ', '_')
        sampler = _SAMPLERS[objective['name']]
        changes = {'precond': {'name': row.split(':')[0]}, 'objective': objective, 'sample.sampler': sampler}
        if scale == 'mini':
            recipes[name] = on_digits('configs/quickstart.py', changes)
        else:
            recipes[name] = Recipe('configs/cifar10_ddpm.py', changes)
        measurement = samples(sampler, times)
        cells |= {(row, 'FID'): Cell(name, measurement), (row, 'IS'): Cell(name, measurement, 'score')}
    if scale == 'mini':
        differs = f'{STEPS} training steps for 800,000, 100 sampling steps for 1000; no IS, which needs classes.'
        return Plan(DATA, differs, recipes, cells, NUM)
    return Plan('CIFAR-10, the network of DDPM', '', recipes, cells, 50_000)
