"""EDM, Table 2: from the VP baseline to EDM (arXiv 2206.00364)."""

from experiments.papers.table import Claim, Paper, Table, block, falls

A, B, C, D, E, F, CHURN = ROWS = (
    'A: baseline',
    'B: + hyper-parameters',
    'C: + capacity',
    'D: + preconditioning',
    'E: + loss',
    'F: + augmentation',
    'E with churn',
)
VP, VE = COLUMNS = ('VP', 'VE')


def _flat(c):
    return abs(c[D, VP] - c[C, VP]) < 0.05 * c[C, VP]


def _each_helps(rows, column):
    return lambda c: falls([c[row, column] for row in rows])


CLAIMS = (
    Claim('A to F every change helps (VP)', _each_helps(ROWS[:6], VP)),
    Claim('B is better than A (VP)', _each_helps((A, B), VP)),
    Claim('C is better than B (VP)', _each_helps((B, C), VP)),
    Claim('preconditioning alone changes little, within 5 % (VP)', _flat),
    Claim('with its loss E is better than D (VP)', _each_helps((D, E), VP)),
    Claim('E is better than A, by a quarter (VP)', lambda c: c[E, VP] < 0.75 * c[A, VP]),
    Claim('A, B, E, F fall (VE)', _each_helps((A, B, E, F), VE)),
)

TABLE = Table(
    source=Paper(
        title='EDM, Table 2',
        arxiv='2206.00364',
        protocol='CIFAR-10, unconditional; FID of 50,000 samples with 35 evaluations, the best of three seeds',
        standard=('FID', 50_000, 'cifar10/'),
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='model:',
    cells=block(
        ROWS[:6], COLUMNS, [[3.01, 3.77], [2.51, 2.94], [2.31, None], [2.29, None], [2.05, 1.99], [1.97, 1.98]]
    ),
    claims=CLAIMS,
)
