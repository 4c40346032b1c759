"""Easy consistency tuning, part by part (arXiv 2406.14548)."""

from experiments.papers.table import Claim, Paper, Table, block

ECT, SCRATCH, UNIFORM, SQUARED = ROWS = ('ECT', 'from scratch', 'uniform weight', 'squared distance')
ONE, TWO = COLUMNS = ('1', '2')

CLAIMS = (
    Claim('two steps are better than one', lambda c: c[ECT, TWO] < c[ECT, ONE]),
    Claim('starting from a diffusion model is better than from scratch', lambda c: c[ECT, ONE] < c[SCRATCH, ONE]),
    Claim('weight 1 / (t - s) is better than a uniform one', lambda c: c[ECT, ONE] < c[UNIFORM, ONE]),
    Claim('the norm is better than its square', lambda c: c[ECT, ONE] < c[SQUARED, ONE]),
)

TABLE = Table(
    source=Paper(
        title='Easy consistency tuning',
        arxiv='2406.14548',
        protocol='CIFAR-10, 400,000 steps of batch 128; FID of 50,000 samples; numbers of its ablations not looked up',
        standard=('FID', 50_000, 'cifar10/'),
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='steps:',
    cells=block((ECT,), COLUMNS, [[3.60, 2.11]]),
    claims=CLAIMS,
)
