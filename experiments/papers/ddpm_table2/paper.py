"""DDPM, Table 2: parameterisation x loss x variance (arXiv 2006.11239)."""

from experiments.papers.table import UNSTABLE, Claim, Paper, Table, best, block

ROWS = (
    'mu: L with learned Sigma',
    'mu: L with fixed Sigma',
    'mu: unweighted error',
    'eps: L with learned Sigma',
    'eps: L with fixed Sigma',
    'eps: L_simple',
)
COLUMNS = ('FID', 'IS')


def _alike(cells):
    mu, eps = cells[ROWS[1], 'FID'], cells[ROWS[4], 'FID']
    return abs(mu - eps) < 0.1 * min(mu, eps)


CLAIMS = (
    Claim('L_simple on eps has the lowest FID', lambda cells: best(cells, ROWS[5], ROWS, 'FID')),
    Claim('L_simple on eps is far below L on eps, by half', lambda c: c[ROWS[5], 'FID'] < 0.5 * c[ROWS[4], 'FID']),
    Claim('under L with fixed Sigma mu and eps are alike, within 10 %', _alike),
    Claim('with mu a fixed Sigma is better than a learned one', lambda c: c[ROWS[1], 'FID'] < c[ROWS[0], 'FID']),
    Claim('the unweighted error of mu is unstable', lambda c: c[ROWS[2], 'FID'] == UNSTABLE),
    Claim('or at least worst', lambda c: c[ROWS[2], 'FID'] == max(c[row, 'FID'] for row in ROWS)),
    Claim('eps with a learned Sigma under L is unstable', lambda c: c[ROWS[3], 'FID'] == UNSTABLE),
    Claim('L_simple on eps has the highest IS', lambda c: all(c[ROWS[5], 'IS'] > c[ROWS[i], 'IS'] for i in (0, 1, 4))),
)

TABLE = Table(
    source=Paper(
        title='DDPM, Table 2',
        arxiv='2006.11239',
        protocol='CIFAR-10, unconditional; FID and Inception Score of 50,000 samples against the training set',
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='',
    cells=block(
        ROWS,
        COLUMNS,
        [
            [23.69, 7.28],
            [13.22, 8.06],
            [UNSTABLE, None],
            [UNSTABLE, None],
            [13.51, 7.67],
            [3.17, 9.46],
        ],
    ),
    claims=CLAIMS,
    metric='',
)
