"""DDPM, DDIM and consistency models over network evaluations (arXiv 2010.02502 and 2303.01469)."""

from experiments.papers.table import Claim, Paper, Table, block

DDPM, DDIM, EDM, CD, CT = ROWS = ('DDPM', 'DDIM', 'EDM (Heun)', 'CD', 'CT')
COLUMNS = ('1', '2', '10', '20', '35', '50', '100', '1000')
_MANY = ('10', '20', '50', '100', '1000')


def _ddim_wins(columns):
    return lambda c: all(c[DDIM, n] < c[DDPM, n] for n in columns)


CLAIMS = (
    Claim('DDIM is below DDPM at 10 and 20 evaluations', _ddim_wins(('10', '20'))),
    Claim('DDIM is below DDPM at 50 and 100', _ddim_wins(('50', '100'))),
    Claim('one evaluation of CD is below ten of DDIM', lambda c: c[CD, '1'] < c[DDIM, '10']),
    Claim('one evaluation of CT is below ten of DDIM', lambda c: c[CT, '1'] < c[DDIM, '10']),
    Claim('two evaluations are below one, of CD and of CT', lambda c: all(c[m, '2'] < c[m, '1'] for m in (CD, CT))),
    Claim('CD is below CT', lambda c: all(c[CD, n] < c[CT, n] for n in ('1', '2'))),
    Claim('no consistency model is below its teacher', lambda c: c[EDM, '35'] < min(c[CD, '2'], c[CT, '2'])),
)

TABLE = Table(
    source=Paper(
        title='DDPM, DDIM and consistency models',
        arxiv='2010.02502 (Table 1: eta = 1 as DDPM, eta = 0 as DDIM) and 2303.01469 (Table 1)',
        protocol='CIFAR-10; FID of 50,000 samples; DDIM of a linear-beta DDPM, consistency models with another network',
        standard=('FID', 50_000, 'cifar10/'),
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='evaluations:',
    cells=block(
        ROWS,
        COLUMNS,
        [
            [None, None, 41.07, 18.36, None, 8.01, 5.78, 4.73],
            [None, None, 13.36, 6.84, None, 4.67, 4.16, 4.04],
            [None, None, None, None, 2.04, None, None, None],
            [3.55, 2.93, None, None, None, None, None, None],
            [8.70, 5.83, None, None, None, None, None, None],
        ],
    ),
    claims=CLAIMS,
)
