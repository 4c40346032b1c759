"""The share of r != t and the power of the loss weight; wrong tangents are not run, as the library has none."""

from experiments.papers.digits import NUM, on_digits, words
from experiments.papers.meanflow_table1.paper import ONE, POWERS, SHARES, TANGENTS
from experiments.papers.plan import Cell, Plan, Recipe
from experiments.papers.samplers import jump

_STEPS = 1500  # after 400 one step gives no digits
_PAIRS = {'name': 'logit_normal_pairs', 'mean': -0.4, 'std': 1.0}


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    wanted = {row: (share, 1.0) for row, share in SHARES.items()} | {row: (0.25, p) for row, p in POWERS.items()}
    wanted[TANGENTS[0]] = (0.25, 1.0)
    recipes, cells = {}, {}
    for row, (share, p) in wanted.items():
        name = f'share_{share}_power_{p}'
        changes = {'objective': {'name': 'mean_flow', 'pairs': {**_PAIRS, 'share': share}, 'p': p}}
        if scale == 'mini':
            recipes[name] = on_digits('configs/digits_meanflow.py', changes, steps=_STEPS)
        else:
            recipes[name] = Recipe('configs/cifar10_meanflow.py', changes)
        cells[row, ONE] = Cell(name, jump(1))
    if scale == 'mini':
        return Plan(words(_STEPS), 'Pixels without classes for latents with classes.', recipes, cells, NUM)
    differs = "CIFAR-10 at the paper's setting for it (appendix A), as latents of ImageNet 256x256 are not here."
    return Plan('CIFAR-10, a U-Net', differs, recipes, cells, 50_000)
