"""Metric x solver x N of distillation, and N and mu of training from data, a run for each row."""

from experiments.papers.cm_figure3.paper import ADAPTIVE, FIXED, METRICS, NUMBERS, SOLVERS, solver
from experiments.papers.digits import CT, DATA, NUM, on_digits
from experiments.papers.plan import Plan, Recipe, every
from experiments.papers.samplers import ON_VE

_DISTANCES = {METRICS[0]: {'name': 'l1'}, METRICS[1]: {'name': 'l2'}, METRICS[2]: None}  # None: the config's own LPIPS


def _changes(of_mini: bool) -> dict:
    """What each row of distillation changes in its config."""
    rows = {}
    for row, distance in _DISTANCES.items():
        if distance is not None:
            rows[row] = {'objective.distance': distance}
        elif not of_mini:
            rows[row] = {}
    for name in SOLVERS:
        for n in NUMBERS:
            rows[solver(name, n)] = {'objective.pairs.N.n': n, 'objective.ode_step': {'name': name.lower()}}
    return rows


def _fixed(n, mu):
    return {
        'objective.pairs.N': {'name': 'constant', 'n': n},
        'frozen': {'name': 'moving_target', 'decay': {'name': 'constant_decay', 'mu': mu}},
    }


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Recipe)}[scale]
    recipes, of_row = {'teacher': make(f'configs/{data}_edm.py')}, {}
    same = {METRICS[1 if scale == 'mini' else 2]: solver('Heun', 18)}  # two rows of one run
    for row, changes in _changes(scale == 'mini').items():
        of_row[row] = name = _name(same.get(row, row))
        recipes[name] = make(f'configs/{data}_cd.py', changes, 'teacher')
    for (n, mu), row in FIXED.items():
        of_row[row] = _name(row)
        recipes[_name(row)] = make(f'configs/{data}_ct.py', _fixed(n, mu))
    of_row[ADAPTIVE] = 'CT'
    recipes['CT'] = make(f'configs/{data}_ct.py', CT if scale == 'mini' else {})
    cells = every(of_row, ON_VE)
    if scale == 'mini':
        differs = 'Solvers and N under l2, as LPIPS needs larger images; target of decay 0.95 for 0; N(k) up to 21.'
        return Plan(DATA, differs, recipes, cells, NUM)
    return Plan("CIFAR-10, DDPM++'s widths", 'Solvers and N under LPIPS.', recipes, cells, 50_000)


def _name(row):
    return row.replace(': ', '_').replace('; ', '_').replace(' = ', '').replace(' ', '_')
