"""Which sampler of which run makes each cell: S x eta x sub-sequence, from one trained model."""

from experiments.papers.ddim_table1.paper import ETAS, SIGMA_HAT, SPACINGS, row
from experiments.papers.plan import Cell, Plan, Recipe
from experiments.running.measurements import samples

# Sigma-hat keeps eta = 1's mean and takes the larger noise.
SAMPLERS = {eta: {'name': 'ddim', 'eta': float(eta)} for eta in ETAS} | {
    SIGMA_HAT: {'name': 'ancestral', 'variance': 'large'}
}
STEPS = {'mini': (5, 10, 20, 50), 'paper': (10, 20, 50, 100, 1000)}
_LINEAR = {'name': 'leading'}  # the released code's: from k = T - T / S + 1 down to k = 1


def plan(scale: str) -> Plan:
    """The cells of a scale."""
    spacings = {'quadratic': {'name': 'quadratic'}, 'linear': _LINEAR}
    runs = {'mini': dict.fromkeys(SPACINGS, 'model'), 'paper': {'quadratic': 'CIFAR-10', 'linear': 'CelebA'}}[scale]
    cells = {
        (row(spacing, eta), str(s)): Cell(runs[spacing], samples(SAMPLERS[eta], {**spacings[spacing], 'n': s}))
        for spacing in SPACINGS
        for eta in SAMPLERS
        for s in STEPS[scale]
    }
    if scale == 'paper':
        recipes = {
            'CIFAR-10': Recipe('configs/cifar10_ddpm.py'),
            'CelebA': Recipe('configs/celeba64_ddpm.py'),
        }
        return Plan('CIFAR-10 and CelebA 64x64, the networks of DDPM', '', recipes, cells, 50_000)
    recipes = {'model': Recipe('configs/mnist_ddpm.py')}
    differs = 'One model of MNIST under both sub-sequences; S = 5, and no S = 100 and 1000.'
    return Plan('MNIST, a U-Net of 0.7 million parameters', differs, recipes, cells, 2000)
