"""CT's config changed step by step into iCT's."""

from experiments.papers.digits import DATA, NUM, on_digits
from experiments.papers.ict_ablation.paper import CT, HUBER, ICT, NO_EMA, NORMAL
from experiments.papers.plan import Plan, Recipe, every
from experiments.papers.samplers import ON_VE

_NO_EMA = {'frozen': {'name': 'fixed'}}
_HUBER = {**_NO_EMA, 'objective.distance': {'name': 'pseudo_huber'}}
_MOST = {'mini': (20, 40), 'paper': (150, 1280)}  # intervals at the end, of CT and of iCT


def plan(scale: str) -> Plan:
    """The runs and cells of a scale."""
    data, make = {'mini': ('digits', on_digits), 'paper': ('cifar10', Recipe)}[scale]
    most, most_ict = _MOST[scale]
    N = {'name': 'square_root', 's_0': 2, 's_1': most}
    # All with iCT's network, optimiser and length: its paper tunes them as well, and they are none of these.
    base = f'configs/{data}_ict.py'
    ct = {
        'objective.pairs': {'name': 'uniform_pairs', 'N': N},
        'objective.distance': {'name': 'l2'},
        'objective.pair_weight': {'name': 'uniform'},
    }
    target = {'name': 'target_decay', 'N': N, 's_0': 2, 'mu_0': 0.9, 'count': 'points'}
    of_row = {
        CT: ('ct', {**ct, 'frozen': {'name': 'moving_target', 'decay': target}}),
        NO_EMA: ('no_ema', {**ct, **_NO_EMA}),
        HUBER: ('huber', {**ct, **_HUBER}),
        NORMAL: ('normal', {**ct, **_HUBER, 'objective.pairs': {'name': 'log_normal_pairs', 'N': N}}),
        ICT: ('ict', {'objective.pairs.N.s_1': most_ict}),
    }
    recipes = {name: make(base, changes) for name, changes in of_row.values()}
    cells = every({row: name for row, (name, _) in of_row.items()}, ON_VE)
    differs = "CT under l2, not LPIPS, and with iCT's optimiser and dropout."
    if scale == 'mini':
        differs += ' N(k) ends at 21 and 41 points.'
    words, num = {'mini': (DATA, NUM), 'paper': ("CIFAR-10, DDPM++'s widths", 50_000)}[scale]
    return Plan(words, differs, recipes, cells, num)
