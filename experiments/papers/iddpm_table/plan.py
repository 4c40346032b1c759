"""Schedule x loss, a run for each row."""

from experiments.papers.digits import DATA, NUM, on_digits
from experiments.papers.iddpm_table.paper import FID, HYBRID, LINEAR, NLL, SIMPLE, VLB
from experiments.papers.plan import Cell, Plan, Recipe
from experiments.running.measurements import bits, samples

_SIMPLE = {'name': 'denoising', 'p_t': {'name': 'discrete_uniform'}, 'weight': {'name': 'snr'}}
_HYBRID = {'name': 'hybrid', 'weight': {'name': 'snr'}}
_LARGE, _LEARNED = {'name': 'ancestral', 'variance': 'large'}, {'name': 'ancestral_learned'}


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    T = {'mini': 1000, 'paper': 4000}[scale]
    cosine = {'name': 'cosine_betas', 'T': T}
    linear = {'name': 'linear_betas', 'T': T, 'beta_1': 0.1 / T, 'beta_T': 20 / T}
    of_row = {
        SIMPLE: ('simple', cosine, _SIMPLE, _LARGE),
        HYBRID: ('hybrid', cosine, _HYBRID, _LEARNED),
        VLB: ('vlb', cosine, {'name': 'vlb_learned'}, _LEARNED),
        LINEAR: ('linear', linear, _SIMPLE, _LARGE),
    }
    times = {'name': 'uniform', 'n': {'mini': 100, 'paper': T}[scale]}
    recipes, cells = {}, {}
    for row, (name, betas, objective, sampler) in of_row.items():
        changes = {'schedule.betas': betas, 'precond': {'name': 'eps'}, 'objective': objective}
        changes['sample.sampler'] = sampler
        if scale == 'mini':
            recipes[name] = on_digits('configs/quickstart.py', changes)
        else:
            recipes[name] = Recipe('configs/cifar10_iddpm.py', changes)
        cells |= {(row, NLL): Cell(name, bits(), 'bits'), (row, FID): Cell(name, samples(sampler, times))}
    differs = "L_vlb draws t uniformly, without the paper's importance sampling."
    if scale == 'mini':
        return Plan(DATA, f'{differs} T = 1000, samples of 100 steps.', recipes, cells, NUM)
    return Plan("CIFAR-10, the paper's network", f'{differs} ImageNet-64 is not run.', recipes, cells, 50_000)
