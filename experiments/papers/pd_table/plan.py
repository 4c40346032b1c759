"""A teacher and its distillation to 4, 2 and 1 steps."""

from experiments.papers.digits import DATA, NUM, STEPS, on_digits
from experiments.papers.distillation import to_4_2_1
from experiments.papers.pd_table.paper import COLUMNS, DDIM, PD
from experiments.papers.plan import Cell, Plan, Recipe
from experiments.papers.samplers import T_MAX, ddim
from experiments.running.measurements import samples


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    if scale == 'mini':
        recipes = {'teacher': on_digits('configs/digits_edm.py')}
        recipes |= to_4_2_1(on_digits, 'configs/digits_pd.py', 'teacher', each=STEPS // 7, n_0=16)
        cells = {(PD, n): Cell(f'pd_{n}', ddim(int(n), T_MAX)) for n in COLUMNS}
        # The teacher's own time is sigma: its levels stand for equal angles.
        times = {'name': 'multistep'}
        cells |= {
            (DDIM, n): Cell('teacher', samples({'name': 'ddim', 'eta': 0.0}, {**times, 'n': int(n)})) for n in COLUMNS
        }
        differs = 'From 32 steps of an EDM teacher on TrigFlow for 8192 of an x_0 model on the cosine schedule.'
        return Plan(DATA, differs, recipes, cells, NUM)
    recipes = {'teacher': Recipe('configs/cifar10_x0.py')}
    recipes |= to_4_2_1(Recipe, 'configs/cifar10_pd.py', 'teacher', each=50_000, n_0=4096)
    cells = {(PD, n): Cell(f'pd_{n}', ddim(int(n))) for n in COLUMNS}
    cells |= {(DDIM, n): Cell('teacher', ddim(int(n))) for n in COLUMNS}
    return Plan('CIFAR-10', 'CIFAR-10 alone.', recipes, cells, 50_000)
