"""Consistency models, Tables 1 and 2: one and two steps (arXiv 2303.01469)."""

from experiments.papers.table import Claim, Paper, Table, best, block

TEACHER, PD, CD, CT = ROWS = ('EDM teacher (Heun)', 'PD', 'CD', 'CT')
COLUMNS = ('1', '2', 'many', '1 (ImageNet-64)', '2 (ImageNet-64)', 'many (ImageNet-64)')
_STEPS = [COLUMNS[:2], COLUMNS[3:5]]


def _two_beat_one(c):
    return all(c[row, '2'] < c[row, '1'] for row in (PD, CD, CT))


CLAIMS = (
    Claim('two steps are better than one, of every method', _two_beat_one),
    Claim('CD is best with one step', lambda c: best(c, CD, (PD, CD, CT), '1')),
    Claim('CD is best with two steps', lambda c: best(c, CD, (PD, CD, CT), '2')),
    Claim('CT, without a teacher, is within 10 % of PD in one step and two', lambda c: _near(c, 0.1)),
    Claim('none is as good as the teacher', lambda c: all(c[TEACHER, 'many'] < c[row, '2'] for row in (PD, CD, CT))),
    Claim('on ImageNet-64 too CD is best', lambda c: all(best(c, CD, (PD, CD, CT), n) for n in _STEPS[1])),
)


def _near(c, share):
    return all(c[CT, n] < (1 + share) * c[PD, n] for n in _STEPS[0])


TABLE = Table(
    source=Paper(
        title='Consistency models, Tables 1 and 2',
        arxiv='2303.01469',
        protocol='CIFAR-10 and ImageNet-64; FID of 50,000 samples; teacher with 35 and 79 evaluations',
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='steps:',
    cells=block(
        ROWS,
        COLUMNS,
        [
            [None, None, 2.04, None, None, 2.44],
            [8.34, 5.58, None, 15.39, 8.95, None],
            [3.55, 2.93, None, 6.20, 4.70, None],
            [8.70, 5.83, None, 13.0, 11.1, None],
        ],
    ),
    claims=CLAIMS,
)
