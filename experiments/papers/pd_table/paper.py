"""Progressive distillation: 1, 2 and 4 steps (arXiv 2202.00512)."""

from experiments.papers.table import Claim, Paper, Table, along, block, falls

PD, IMAGENET, DDIM = ROWS = ('distilled', 'distilled (ImageNet-64)', 'DDIM of the teacher')
COLUMNS = ('1', '2', '4')

CLAIMS = (
    Claim('more steps are better', lambda c: falls(along(c, PD, COLUMNS))),
    Claim('on ImageNet-64 too', lambda c: falls(along(c, IMAGENET, COLUMNS))),
    Claim('one step is within a factor of 3.1 of four', lambda c: c[PD, '1'] < 3.1 * c[PD, '4']),
    Claim('at every number of steps below DDIM of the teacher', lambda c: all(c[PD, n] < c[DDIM, n] for n in COLUMNS)),
)

TABLE = Table(
    source=Paper(
        title='Progressive distillation',
        arxiv='2202.00512',
        protocol='CIFAR-10 and ImageNet-64; FID; DDIM of the teacher is a curve in the paper, without numbers',
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='steps:',
    cells=block(ROWS[:2], COLUMNS, [[9.12, 4.51, 3.00], [15.99, 7.11, 3.84]]),
    claims=CLAIMS,
)
