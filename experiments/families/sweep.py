"""Four models on one data set, and their samplers."""

from experiments.families.analyse import CD, CT, DDIM, DDPM, EDM
from experiments.papers import digits
from experiments.papers.digits import DATA, NUM, on_digits
from experiments.papers.few import HEUN, ON_VE
from experiments.papers.jobs import samples
from experiments.papers.scale import Cell, Plan, Training

_ETAS = {DDPM: 1.0, DDIM: 0.0}
_EPS = {'precond': {'name': 'eps'}, 'objective.weight': {'name': 'snr'}}


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Training)}[scale]
    ddpm = make('configs/quickstart.py', _EPS) if scale == 'mini' else make('configs/cifar10_ddpm.py')
    trainings = {
        'ddpm': ddpm,
        'edm': make(f'configs/{data}_edm.py'),
        'cd': make(f'configs/{data}_cd.py', {}, 'edm'),
        'ct': make(f'configs/{data}_ct.py', digits.CT if scale == 'mini' else {}),
    }
    steps = {'mini': (1, 2, 10, 20, 50, 100), 'paper': (10, 20, 50, 100, 1000)}[scale]
    cells = {
        (row, str(n)): Cell('ddpm', samples({'name': 'ddim', 'eta': eta}, {'name': 'quadratic', 'n': n}))
        for row, eta in _ETAS.items()
        for n in steps
    }
    cells[EDM, '35'] = Cell('edm', HEUN)
    cells |= {(row, n): Cell(name, job) for row, name in ((CD, 'cd'), (CT, 'ct')) for n, job in ON_VE.items()}
    if scale == 'mini':
        return Plan(
            DATA, 'All models with one network; CD and CT under l2, N(k) of CT up to 21.', trainings, cells, NUM
        )
    return Plan("CIFAR-10, DDPM's network and DDPM++'s widths", '', trainings, cells, 50_000)
