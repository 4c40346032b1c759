"""Four models on one data set, and their samplers."""

from experiments.papers import digits
from experiments.papers.digits import DATA, NUM, on_digits
from experiments.papers.families.paper import CD, CT, DDIM, DDPM, EDM
from experiments.papers.plan import Cell, Plan, Recipe, every
from experiments.papers.samplers import HEUN, ON_VE
from experiments.running.measurements import samples

_ETAS = {DDPM: 1.0, DDIM: 0.0}
_EPS = {'precond': {'name': 'eps'}, 'objective.weight': {'name': 'snr'}}


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Recipe)}[scale]
    ddpm = make('configs/quickstart.py', _EPS) if scale == 'mini' else make('configs/cifar10_ddpm.py')
    recipes = {
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
    cells |= every({CD: 'cd', CT: 'ct'}, ON_VE)
    if scale == 'mini':
        return Plan(DATA, 'All models with one network; CD and CT under l2, N(k) of CT up to 21.', recipes, cells, NUM)
    return Plan("CIFAR-10, DDPM's network and DDPM++'s widths", '', recipes, cells, 50_000)
