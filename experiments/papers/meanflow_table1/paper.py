"""MeanFlow, Table 1: pairs, tangent, loss (arXiv 2505.13447)."""

from experiments.papers.table import Claim, Paper, Table, best, block

SHARES = {'share: 0 %': 0.0, 'share: 25 %': 0.25, 'share: 50 %': 0.5, 'share: 100 %': 1.0}
TANGENTS = ('tangent (v 0 1)', 'tangent (v 0 0)', 'tangent (v 1 0)', 'tangent (v 1 1)')
POWERS = {'loss power: 0': 0.0, 'loss power: 0.5': 0.5, 'loss power: 1': 1.0}
ROWS = (*SHARES, *TANGENTS, *POWERS)
ONE = '1'
_SHARES, _POWERS = tuple(SHARES), tuple(POWERS)


def _close(c):
    values = [c[row, ONE] for row in _SHARES[1:]]
    return max(values) < 1.15 * min(values)


CLAIMS = (
    Claim(
        'without r != t it fails: more than three times the FID of any share',
        lambda c: all(c[_SHARES[0], ONE] > 3 * c[row, ONE] for row in _SHARES[1:]),
    ),
    Claim('a share of 25 % is best', lambda c: best(c, _SHARES[1], _SHARES, ONE)),
    Claim('shares of 25 to 100 % are within 15 %', _close),
    Claim(
        'every wrong tangent more than doubles the FID',
        lambda c: all(c[row, ONE] > 2 * c[TANGENTS[0], ONE] for row in TANGENTS[1:]),
    ),
    Claim('the loss is best with power 1', lambda c: best(c, _POWERS[2], _POWERS, ONE)),
    Claim('and worst with power 0', lambda c: c[_POWERS[0], ONE] > max(c[row, ONE] for row in _POWERS[1:])),
)

TABLE = Table(
    source=Paper(
        title='MeanFlow, Table 1',
        arxiv='2505.13447',
        protocol='ImageNet 256x256 in latents, B/4, 80 epochs; FID of 50,000 samples of one step',
    ),
    rows=ROWS,
    columns=(ONE,),
    across='steps:',
    cells=block(
        ROWS, (ONE,), [[x] for x in (328.91, 61.06, 63.14, 67.32, 61.06, 268.06, 329.22, 137.96, 79.75, 63.98, 61.06)]
    ),
    claims=CLAIMS,
)
