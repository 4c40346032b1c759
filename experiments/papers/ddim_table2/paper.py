"""DDIM, Table 2: encode, then decode (arXiv 2010.02502)."""

import numpy as np

from experiments.papers.table import Cells, Claim, Paper, Table, along, block

ROW = 'error'
COLUMNS = ('10', '20', '50', '100', '200', '500', '1000')


def slope(cells: Cells, columns: tuple[str, ...]) -> float:
    """The power of S by which the error falls, from a line through the logarithms."""
    return float(np.polyfit(np.log([float(c) for c in columns]), np.log([cells[ROW, c] for c in columns]), 1)[0])


CLAIMS = (
    # The paper's own figures have one digit from S = 100 on: 500 and 1000 are equal.
    Claim('the error never rises with S', lambda cells: all(np.diff(along(cells, ROW, COLUMNS)) <= 0)),
    Claim(
        'from S = 10 to 200 it falls as S to the power of -1.2, within 0.2',
        lambda cells: abs(slope(cells, COLUMNS[:5]) + 1.2) < 0.2,
    ),
)

TABLE = Table(
    source=Paper(
        title='DDIM, Table 2',
        arxiv='2010.02502',
        protocol='CIFAR-10 test set, mean square error per dimension on [0, 1]',
    ),
    rows=(ROW,),
    columns=COLUMNS,
    across='S =',
    cells=block([ROW], COLUMNS, [[0.014, 0.0065, 0.0023, 0.0009, 0.0004, 0.0001, 0.0001]]),
    claims=CLAIMS,
    metric='mean square error per dimension',
)
