"""ECT with one of its parts taken away."""

from experiments.papers.digits import DATA, NUM, on_digits
from experiments.papers.ect_ablation.paper import ECT, SCRATCH, SQUARED, UNIFORM
from experiments.papers.plan import Plan, Recipe, every
from experiments.papers.samplers import ON_VE


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Recipe)}[scale]
    length = {'mini': {}, 'paper': {'train.steps': 400_000}}[scale]
    of_row = {
        ECT: ('ect', {}, 'edm'),
        SCRATCH: ('scratch', {}, None),
        UNIFORM: ('uniform', {'objective.pair_weight': {'name': 'uniform'}}, 'edm'),
        SQUARED: ('squared', {'objective.distance': {'name': 'l2'}}, 'edm'),
    }
    recipes = {'edm': make(f'configs/{data}_edm.py')}
    for name, changes, start in of_row.values():
        recipes[name] = make(f'configs/{data}_ect.py', {**length, **changes}, start)
    cells = every({row: name for row, (name, *_) in of_row.items()}, ON_VE)
    words, num = {'mini': (DATA, NUM), 'paper': ("CIFAR-10, DDPM++'s widths", 50_000)}[scale]
    return Plan(words, '', recipes, cells, num)
