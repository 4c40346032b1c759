"""CD, CT and progressive distillation beside the EDM teacher."""

from experiments.cm_table.analyse import CD, CT, PD, TEACHER
from experiments.papers import digits
from experiments.papers.digits import DATA, NUM, STEPS, on_digits
from experiments.papers.few import HEUN, HEUN_79, ON_VE, T_MAX, ddim
from experiments.papers.halving import chain
from experiments.papers.scale import Cell, Plan, Training


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Training)}[scale]
    trainings = {
        'edm': make(f'configs/{data}_edm.py'),
        'cd': make(f'configs/{data}_cd.py', {}, 'edm'),
        'ct': make(f'configs/{data}_ct.py', digits.CT if scale == 'mini' else {}),
    }
    cells = {(TEACHER, 'many'): Cell('edm', HEUN)}
    cells |= {(row, n): Cell(name, job) for row, name in ((CD, 'cd'), (CT, 'ct')) for n, job in ON_VE.items()}
    if scale == 'mini':
        trainings |= chain(on_digits, 'configs/digits_pd.py', 'edm', each=STEPS // 7, n_0=16)
        cells |= {(PD, n): Cell(f'pd_{n}', ddim(int(n), T_MAX)) for n in ('1', '2')}
        return Plan(DATA, 'CD and CT under l2, N(k) of CT up to 21; PD in as many steps as CD.', trainings, cells, NUM)
    trainings['x0'] = Training('configs/cifar10_x0.py')
    trainings |= chain(Training, 'configs/cifar10_pd.py', 'x0', each=50_000, n_0=4096)
    cells |= {(PD, n): Cell(f'pd_{n}', ddim(int(n))) for n in ('1', '2')}
    trainings['imagenet_edm'] = Training('configs/imagenet64_edm.py')
    trainings['imagenet_cd'] = Training('configs/imagenet64_cd.py', {}, 'imagenet_edm')
    cells[TEACHER, 'many (ImageNet-64)'] = Cell('imagenet_edm', HEUN_79)
    cells |= {(CD, f'{n} (ImageNet-64)'): Cell('imagenet_cd', job) for n, job in ON_VE.items()}
    differs = "PD with its own paper's teacher; on ImageNet-64 CD alone; second step at 0.821, not searched for."
    return Plan('CIFAR-10 and ImageNet-64', differs, trainings, cells, 50_000)
