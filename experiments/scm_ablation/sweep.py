"""SCT and sCD, and sCT with one of its parts taken away."""

from experiments.papers.digits import DATA, NUM, STEPS, on_digits
from experiments.papers.few import ON_ANGLES
from experiments.papers.scale import Cell, Plan, Training
from experiments.scm_ablation.analyse import NO_WARMUP, NO_WEIGHT, SCD, SCT


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Training)}[scale]
    length = {'mini': {'objective.warmup': STEPS // 5}, 'paper': {}}[scale]
    of_row = {
        SCT: ('sct', {}),
        SCD: ('scd', {}),
        NO_WEIGHT: ('no_weight', {'objective.log_weight': None}),
        NO_WARMUP: ('no_warmup', {'objective.warmup': 1}),
    }
    trainings = {'edm': make(f'configs/{data}_edm.py')}
    for name, changes in of_row.values():
        config = f'configs/{data}_{"scd" if name == "scd" else "sct"}.py'
        trainings[name] = make(config, {**length, **changes}, 'edm')
    cells = {(row, n): Cell(name, job) for row, (name, _) in of_row.items() for n, job in ON_ANGLES.items()}
    differs = 'From an EDM model, whose embedding the paper changes.'
    words, num = {'mini': (DATA, NUM), 'paper': ("CIFAR-10, DDPM++'s widths", 50_000)}[scale]
    return Plan(words, differs, trainings, cells, num)
