"""DDIM, Table 1: S x eta x sub-sequence (arXiv 2010.02502)."""

from experiments.papers.table import Claim, Paper, Table, along, best, block, falls, worst

SPACINGS = ('quadratic', 'linear')  # the paper's for CIFAR-10, and for CelebA
ETAS = ('0.0', '0.2', '0.5', '1.0')
SIGMA_HAT = 'sigma-hat'
_OF_PAPER = ('10', '20', '50', '100', '1000')
COLUMNS = ('5', *_OF_PAPER)  # small pictures need fewer steps than the paper's before the rows part


def row(spacing: str, eta: str) -> str:
    """The name of a row."""
    return f'{spacing}: {eta}' if eta == SIGMA_HAT else f'{spacing}: eta = {eta}'


def _rows(spacing):
    return [row(spacing, eta) for eta in (*ETAS, SIGMA_HAT)]


def _falls_with_eta(spacing):
    return lambda cells: falls([cells[name, '10'] for name in _rows(spacing)[::-1]])


def _one_is_bad(spacing):
    *smaller, one, _ = _rows(spacing)
    return lambda cells: all(cells[one, '10'] > cells[name, '10'] for name in smaller)


def _sigma_hat_is_worst(s):
    return lambda spacing: lambda cells: worst(cells, row(spacing, SIGMA_HAT), _rows(spacing), s)


def _deterministic_is_best(s):
    return lambda spacing: lambda cells: best(cells, row(spacing, '0.0'), _rows(spacing), s)


def _improves(*etas):
    return lambda spacing: lambda cells: all(falls(along(cells, row(spacing, eta), COLUMNS)) for eta in etas)


def _turns(spacing):
    return lambda cells: best(cells, row(spacing, SIGMA_HAT), _rows(spacing), '1000')


CLAIMS = tuple(
    Claim(f'{spacing}: {text}', of(spacing))
    for spacing in SPACINGS
    for text, of in (
        ('at S = 10 eta = 1 is worse than every smaller eta', _one_is_bad),
        ('at S = 10 eta = 0 is best', _deterministic_is_best('10')),
        ('at S = 10 quality falls with eta', _falls_with_eta),
        ('at S = 20 eta = 0 is best', _deterministic_is_best('20')),
        ('at S = 50 eta = 0 is best', _deterministic_is_best('50')),
        ('at S = 10 sigma-hat is worst', _sigma_hat_is_worst('10')),
        ('at S = 20 sigma-hat is worst', _sigma_hat_is_worst('20')),
        ('at S = 50 sigma-hat is worst', _sigma_hat_is_worst('50')),
        ('at S = 1000 sigma-hat is best', _turns),
        ('eta = 1 and sigma-hat improve with S', _improves('1.0', SIGMA_HAT)),
        ('every row improves with S', _improves(*ETAS, SIGMA_HAT)),
    )
)

TABLE = Table(
    source=Paper(
        title='DDIM, Table 1',
        arxiv='2010.02502',
        protocol='FID of 50,000 samples; quadratic sub-sequence: CIFAR-10, linear: CelebA 64x64',
    ),
    rows=tuple(name for spacing in SPACINGS for name in _rows(spacing)),
    columns=COLUMNS,
    across='S =',
    cells=block(
        [name for spacing in SPACINGS for name in _rows(spacing)],
        _OF_PAPER,
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
