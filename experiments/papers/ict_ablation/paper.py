"""Improved consistency training, ingredient by ingredient (arXiv 2310.14189)."""

from experiments.papers.table import Claim, Paper, Table, block

CT, NO_EMA, HUBER, NORMAL, ICT = ROWS = (
    'CT',
    '+ no EMA target',
    '+ pseudo-Huber',
    '+ log-normal noise levels',
    'iCT: + doubling N and weight 1 / (t - s)',
)
ONE, TWO = COLUMNS = ('1', '2')


def _halves(c):
    return all(c[ICT, n] < c[CT, n] / 2 for n in COLUMNS)


def _helps(before, after):
    return lambda c: c[after, ONE] < c[before, ONE]


CLAIMS = (
    Claim('iCT is below half of CT, with one step and with two', _halves),
    Claim('removing the EMA target helps', _helps(CT, NO_EMA)),
    Claim('pseudo-Huber helps', _helps(NO_EMA, HUBER)),
    Claim('log-normal noise levels help', _helps(HUBER, NORMAL)),
    Claim('doubling and weight help', _helps(NORMAL, ICT)),
    Claim('two steps are better than one', lambda c: all(c[r, TWO] < c[r, ONE] for r in (CT, ICT))),
)

TABLE = Table(
    source=Paper(
        title='Improved consistency training',
        arxiv='2310.14189',
        protocol='CIFAR-10; FID of 50,000 samples; CT as in 2303.01469, the steps between are curves',
        standard=('FID', 50_000, 'cifar10/'),
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='steps:',
    cells=block((CT, ICT), COLUMNS, [[8.70, 5.83], [2.83, 2.46]]),
    claims=CLAIMS,
)
