"""Consistency models, Figure 3: metric x solver x N, and N and mu (arXiv 2303.01469)."""

from experiments.papers.table import Claim, Paper, Table, best

METRICS = ('CD: l1', 'CD: l2', 'CD: LPIPS')
NUMBERS = (10, 18, 40)
SOLVERS = ('Euler', 'Heun')
FIXED = {(10, 0.9): 'CT: N = 10; mu = 0.9', (40, 0.9): 'CT: N = 40; mu = 0.9', (150, 0.99): 'CT: N = 150; mu = 0.99'}
ADAPTIVE = 'CT: adaptive N and mu'
ONE, TWO = '1', '2'


def solver(name: str, n: int) -> str:
    """The name of a row."""
    return f'CD: {name}; N = {n}'


ROWS = (*METRICS, *(solver(name, n) for name in SOLVERS for n in NUMBERS), *FIXED.values(), ADAPTIVE)
_HEUNS = [solver('Heun', n) for n in NUMBERS]


def _lpips_wins(c):
    return all(2 * c[METRICS[2], ONE] < c[metric, ONE] for metric in METRICS[:2])


def _heun_wins(n):
    return lambda c: c[solver('Heun', n), ONE] <= c[solver('Euler', n), ONE]


CLAIMS = (
    Claim('LPIPS is far below l1 and l2, by half', _lpips_wins),
    *(Claim(f'Heun is at or below Euler at N = {n}', _heun_wins(n)) for n in NUMBERS),
    Claim('of Heun, N = 18 is best', lambda c: best(c, _HEUNS[1], _HEUNS, ONE)),
    Claim('adaptive N and mu beats every fixed pair', lambda c: best(c, ADAPTIVE, FIXED.values(), ONE)),
)

TABLE = Table(
    source=Paper(
        title='Consistency models, Figure 3',
        arxiv='2303.01469',
        protocol='CIFAR-10; FID of one-step samples over training, curves without numbers; N = 18 and our own others',
    ),
    rows=ROWS,
    columns=(ONE, TWO),
    across='steps:',
    cells={},
    claims=CLAIMS,
)
