"""A teacher and its distillation to 4, 2 and 1 steps."""

from experiments.papers.digits import DATA, NUM, STEPS, on_digits
from experiments.papers.few import T_MAX, ddim
from experiments.papers.halving import chain
from experiments.papers.jobs import samples
from experiments.papers.scale import Cell, Plan, Training
from experiments.pd_table.analyse import COLUMNS, DDIM, PD


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    if scale == 'mini':
        trainings = {'teacher': on_digits('configs/digits_edm.py')}
        trainings |= chain(on_digits, 'configs/digits_pd.py', 'teacher', each=STEPS // 7, n_0=16)
        cells = {(PD, n): Cell(f'pd_{n}', ddim(int(n), T_MAX)) for n in COLUMNS}
        # The teacher's own time is sigma: its levels stand for equal angles.
        grid = {'name': 'multistep'}
        cells |= {
            (DDIM, n): Cell('teacher', samples({'name': 'ddim', 'eta': 0.0}, {**grid, 'n': int(n)})) for n in COLUMNS
        }
        differs = 'From 32 steps of an EDM teacher on TrigFlow for 8192 of an x_0 model on the cosine schedule.'
        return Plan(DATA, differs, trainings, cells, NUM)
    trainings = {'teacher': Training('configs/cifar10_x0.py')}
    trainings |= chain(Training, 'configs/cifar10_pd.py', 'teacher', each=50_000, n_0=4096)
    cells = {(PD, n): Cell(f'pd_{n}', ddim(int(n))) for n in COLUMNS}
    cells |= {(DDIM, n): Cell('teacher', ddim(int(n))) for n in COLUMNS}
    return Plan('CIFAR-10', 'CIFAR-10 alone.', trainings, cells, 50_000)
