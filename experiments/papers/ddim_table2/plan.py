"""Held-out data encoded and decoded with S steps of one trained model."""

from experiments.papers.ddim_table2.paper import COLUMNS, ROW
from experiments.papers.plan import Cell, Plan, Recipe
from experiments.running.measurements import reconstruction


def plan(scale: str) -> Plan:
    """The cells of a scale."""
    columns = {'mini': COLUMNS[:5], 'paper': COLUMNS}[scale]
    name = {'mini': 'mnist_ddpm', 'paper': 'cifar10_ddpm'}[scale]
    num = {'mini': 100, 'paper': 10_000}[scale]
    cells = {(ROW, s): Cell('model', reconstruction({'name': 'uniform', 'n': int(s)}), 'error') for s in columns}
    data = {'mini': 'MNIST, a U-Net of 0.7 million parameters', 'paper': 'CIFAR-10, the network of DDPM'}[scale]
    differs = {'mini': 'No S = 500 and 1000.', 'paper': ''}[scale]
    return Plan(data, differs, {'model': Recipe(f'configs/{name}.py')}, cells, num)
