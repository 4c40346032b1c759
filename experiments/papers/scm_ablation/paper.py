"""Continuous-time consistency models, part by part (arXiv 2410.11081)."""

from experiments.papers.table import Claim, Paper, Table, block

SCT, SCD, NO_WEIGHT, NO_WARMUP = ROWS = ('sCT', 'sCD', 'sCT without adaptive weight', 'sCT without tangent warm-up')
ONE, TWO = COLUMNS = ('1', '2')

CLAIMS = (
    Claim('two steps are better than one', lambda c: all(c[r, TWO] < c[r, ONE] for r in (SCT, SCD))),
    Claim('on small data sCT is better than sCD', lambda c: all(c[SCT, n] < c[SCD, n] for n in COLUMNS)),
    Claim('the adaptive weight helps', lambda c: c[SCT, ONE] < c[NO_WEIGHT, ONE]),
    Claim('the tangent warm-up helps', lambda c: c[SCT, ONE] < c[NO_WARMUP, ONE]),
)

TABLE = Table(
    source=Paper(
        title='Continuous-time consistency models',
        arxiv='2410.11081',
        protocol='CIFAR-10; FID of 50,000 samples; numbers of its ablations not looked up',
        standard=('FID', 50_000, 'cifar10/'),
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='steps:',
    cells=block((SCT, SCD), COLUMNS, [[2.85, 2.06], [3.66, 2.52]]),
    claims=CLAIMS,
)
