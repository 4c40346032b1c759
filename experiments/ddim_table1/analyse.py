"""DDIM's Table 1 (arXiv 2010.02502): the numbers, and what they show."""

from experiments.papers.table import Cells, Claim, Table, along, best, block, falls, worst

GRIDS = ('quadratic', 'linear')  # the paper's for CIFAR-10, and for CelebA
ETAS = ('0.0', '0.2', '0.5', '1.0')
SIGMA_HAT = 'sigma-hat'
COLUMNS = ('10', '20', '50', '100', '1000')
_SMALL = ('10', '20', '50')


def row(grid: str, eta: str) -> str:
    """The name of a row."""
    return f'{grid}: {eta}' if eta == SIGMA_HAT else f'{grid}: eta = {eta}'


def _rows(grid):
    return [row(grid, eta) for eta in (*ETAS, SIGMA_HAT)]


def _rises_with_eta(grid):
    return lambda cells: falls([cells[name, '10'] for name in _rows(grid)[::-1]])


def _sigma_hat_is_worst(grid):
    return lambda cells: all(worst(cells, row(grid, SIGMA_HAT), _rows(grid), s) for s in ('10', '20', '50'))


def _improves(grid):
    return lambda cells: all(falls(along(cells, name, COLUMNS)) for name in _rows(grid))


def _deterministic_wins(grid):
    return lambda cells: all(best(cells, row(grid, '0.0'), _rows(grid), s) for s in _SMALL)


def _wins_at_10(grid):
    def holds(cells: Cells) -> bool:
        return best(cells, row(grid, '0.0'), _rows(grid), '10')

    return holds


def _turns(grid):
    """Worst at 10 steps, best at 1000."""
    return lambda cells: best(cells, row(grid, SIGMA_HAT), _rows(grid), '1000')


CLAIMS = tuple(
    Claim(f'{grid}: {text}', of(grid))
    for grid in GRIDS
    for text, of in (
        ('eta = 0 is best at S = 10', _wins_at_10),
        ('eta = 0 is best at S = 10, 20 and 50', _deterministic_wins),
        ('at S = 10 quality falls with eta, then sigma-hat', _rises_with_eta),
        ('sigma-hat is worst at S = 10, 20 and 50', _sigma_hat_is_worst),
        ('sigma-hat is best at S = 1000', _turns),
        ('every row improves with S', _improves),
    )
)

TABLE = Table(
    name='ddim_table1',
    title='DDIM, Table 1',
    arxiv='2010.02502',
    protocol='FID of 50,000 samples; quadratic sub-sequence: CIFAR-10, linear: CelebA 64x64',
    rows=tuple(name for grid in GRIDS for name in _rows(grid)),
    columns=COLUMNS,
    across='S =',
    cells=block(
        [name for grid in GRIDS for name in _rows(grid)],
        COLUMNS,
        [
            [13.36, 6.84, 4.67, 4.16, 4.04],
            [14.04, 7.11, 4.77, 4.25, 4.09],
            [16.66, 8.35, 5.25, 4.46, 4.29],
            [41.07, 18.36, 8.01, 5.78, 4.73],
            [367.43, 133.37, 32.72, 9.99, 3.17],
            [17.33, 13.73, 9.17, 6.53, 3.51],
            [17.66, 14.11, 9.51, 6.79, 3.64],
            [19.86, 16.06, 11.01, 8.09, 4.28],
            [33.12, 26.03, 18.48, 13.93, 5.98],
            [299.71, 183.83, 71.71, 45.20, 3.26],
        ],
    ),
    claims=CLAIMS,
)
