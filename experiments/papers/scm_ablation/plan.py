"""SCT and sCD, and sCT with one of its parts taken away."""

from experiments.papers.digits import DATA, NUM, STEPS, on_digits
from experiments.papers.plan import Plan, Recipe, every
from experiments.papers.samplers import ON_ANGLES
from experiments.papers.scm_ablation.paper import NO_WARMUP, NO_WEIGHT, SCD, SCT


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Recipe)}[scale]
    length = {'mini': {'objective.warmup': STEPS // 5}, 'paper': {}}[scale]
    of_row = {
        SCT: ('sct', {}),
        SCD: ('scd', {}),
        NO_WEIGHT: ('no_weight', {'objective.adaptive_weight': None}),
        NO_WARMUP: ('no_warmup', {'objective.warmup': 1}),
    }
    recipes = {'edm': make(f'configs/{data}_edm.py')}
    for name, changes in of_row.values():
        config = f'configs/{data}_{"scd" if name == "scd" else "sct"}.py'
        recipes[name] = make(config, {**length, **changes}, 'edm')
    cells = every({row: name for row, (name, _) in of_row.items()}, ON_ANGLES)
    differs = 'From an EDM model, whose embedding the paper changes.'
    words, num = {'mini': (DATA, NUM), 'paper': ("CIFAR-10, DDPM++'s widths", 50_000)}[scale]
    return Plan(words, differs, recipes, cells, num)
