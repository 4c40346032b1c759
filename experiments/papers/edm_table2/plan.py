"""The ladder A to E of the VP column, and E with churn; F needs an augmentation that is not here."""

from experiments.papers.digits import DATA, NUM, on_digits
from experiments.papers.edm_table2.paper import CHURN, VP, A, B, C, D, E
from experiments.papers.plan import Cell, Plan, Recipe
from experiments.papers.samplers import HEUN
from experiments.running.measurements import samples

_CHURN = samples({'name': 'edm_churn'}, {'name': 'karras', 'n': 18})
_OLD_LOSS = {'name': 'denoising', 'p_t': {'name': 'continuous_uniform'}, 'weight': {'name': 'snr'}}
_OLD = {'schedule': {'name': 'LinearVP'}, 'precond': {'name': 'eps'}, 'objective': _OLD_LOSS}
_PRECOND = {**_OLD, 'precond': {'name': 'rescaled', 'of': {'name': 'edm', 'sigma_data': 0.5}}}

# What of each scale's EDM config is as it was in the baseline, in its hyper-parameters and its network.
_BEFORE = {
    'paper': (
        {
            'train.batch_size': 128,
            'train.steps': 1_562_500,  # the same number of images
            'optim': {'name': 'adam', 'lr': 2e-4, 'warmup': 5000, 'clip': 1.0},
            'ema.decay': 0.9999,
            'net.dropout': 0.1,
        },
        {'net.multipliers': (1, 2, 2, 2)},
    ),
    'mini': (
        {'optim': {'name': 'adam', 'lr': 2e-4, 'warmup': 100, 'clip': 1.0}, 'net.dropout': 0.1},
        {'net.multipliers': (1, 2, 2)},
    ),
}


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Recipe)}[scale]
    hyper, network = _BEFORE[scale]
    of_row = {A: {**_OLD, **hyper, **network}, B: {**_OLD, **network}, C: _OLD, D: _PRECOND, E: {}}
    recipes = {row[0]: make(f'configs/{data}_edm.py', changes) for row, changes in of_row.items()}
    cells = {(row, VP): Cell(row[0], HEUN) for row in of_row} | {(CHURN, VP): Cell('E', _CHURN)}
    differs = 'No augmentation, so no F; the VE column has another network, which is not here.'
    if scale == 'mini':
        return Plan(DATA, f'{differs} One seed, not the best of three.', recipes, cells, NUM)
    return Plan("CIFAR-10, DDPM++'s widths without its skip scaling", differs, recipes, cells, 50_000)
