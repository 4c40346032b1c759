"""CD, CT and progressive distillation beside the EDM teacher."""

from experiments.papers import digits
from experiments.papers.cm_table.paper import CD, CT, PD, TEACHER
from experiments.papers.digits import DATA, NUM, STEPS, on_digits
from experiments.papers.distillation import to_4_2_1
from experiments.papers.plan import Cell, Plan, Recipe, every
from experiments.papers.samplers import HEUN, HEUN_79, ON_VE, T_MAX, ddim


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Recipe)}[scale]
    recipes = {
        'edm': make(f'configs/{data}_edm.py'),
        'cd': make(f'configs/{data}_cd.py', {}, 'edm'),
        'ct': make(f'configs/{data}_ct.py', digits.CT if scale == 'mini' else {}),
    }
    cells = {(TEACHER, 'many'): Cell('edm', HEUN)}
    cells |= every({CD: 'cd', CT: 'ct'}, ON_VE)
    if scale == 'mini':
        recipes |= to_4_2_1(on_digits, 'configs/digits_pd.py', 'edm', each=STEPS // 7, n_0=16)
        cells |= {(PD, n): Cell(f'pd_{n}', ddim(int(n), T_MAX)) for n in ('1', '2')}
        return Plan(DATA, 'CD and CT under l2, N(k) of CT up to 21; PD in as many steps as CD.', recipes, cells, NUM)
    recipes['x0'] = Recipe('configs/cifar10_x0.py')
    recipes |= to_4_2_1(Recipe, 'configs/cifar10_pd.py', 'x0', each=50_000, n_0=4096)
    cells |= {(PD, n): Cell(f'pd_{n}', ddim(int(n))) for n in ('1', '2')}
    recipes['imagenet_edm'] = Recipe('configs/imagenet64_edm.py')
    recipes['imagenet_cd'] = Recipe('configs/imagenet64_cd.py', {}, 'imagenet_edm')
    cells[TEACHER, 'many (ImageNet-64)'] = Cell('imagenet_edm', HEUN_79)
    cells |= {(CD, f'{n} (ImageNet-64)'): Cell('imagenet_cd', measurement) for n, measurement in ON_VE.items()}
    differs = "PD with its own paper's teacher; on ImageNet-64 CD alone; second step at 0.821, not searched for."
    return Plan('CIFAR-10 and ImageNet-64', differs, recipes, cells, 50_000)
