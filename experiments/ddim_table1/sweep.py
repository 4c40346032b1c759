"""Which sampler of which run makes each cell: S x eta x sub-sequence, from one trained model."""

from experiments.ddim_table1.analyse import ETAS, GRIDS, SIGMA_HAT, row
from experiments.papers.jobs import samples
from experiments.papers.scale import Cell, Plan, Training

# Sigma-hat keeps eta = 1's mean and takes the larger noise.
SAMPLERS = {eta: {'name': 'ddim', 'eta': float(eta)} for eta in ETAS} | {
    SIGMA_HAT: {'name': 'ancestral', 'variance': 'large'}
}
STEPS = {'mini': (5, 10, 20, 50), 'paper': (10, 20, 50, 100, 1000)}
_LINEAR = {'name': 'leading'}  # the released code's: from k = T - T / S + 1 down to k = 1


def plan(scale: str) -> Plan:
    """The cells of a scale."""
    grids = {'quadratic': {'name': 'quadratic'}, 'linear': _LINEAR}
    of_grid = {'mini': dict.fromkeys(GRIDS, 'model'), 'paper': {'quadratic': 'CIFAR-10', 'linear': 'CelebA'}}[scale]
    cells = {
        (row(grid, eta), str(s)): Cell(of_grid[grid], samples(SAMPLERS[eta], {**grids[grid], 'n': s}))
        for grid in GRIDS
        for eta in SAMPLERS
        for s in STEPS[scale]
    }
    if scale == 'paper':
        trainings = {
            'CIFAR-10': Training('configs/cifar10_ddpm.py'),
            'CelebA': Training('configs/celeba64_ddpm.py'),
        }
        return Plan('CIFAR-10 and CelebA 64x64, the networks of DDPM', '', trainings, cells, 50_000)
    trainings = {'model': Training('configs/mnist_ddpm.py')}
    differs = 'One model of MNIST under both sub-sequences; S = 5, and no S = 100 and 1000.'
    return Plan('MNIST, a U-Net of 0.7 million parameters', differs, trainings, cells, 2000)
