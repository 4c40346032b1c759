"""Improved DDPM, Tables 1 and 2: schedule x loss (arXiv 2102.09672)."""

from experiments.papers.table import Claim, Paper, Table, block

SIMPLE, HYBRID, VLB, LINEAR, IMAGENET_LINEAR, IMAGENET_HYBRID = ROWS = (
    'cosine: L_simple',
    'cosine: L_hybrid',
    'cosine: L_vlb',
    'linear: L_simple',
    'linear: L_simple (ImageNet-64)',
    'cosine: L_hybrid (ImageNet-64)',
)
NLL, FID = COLUMNS = ('NLL', 'FID')

CLAIMS = (
    Claim('L_hybrid has better NLL than L_simple', lambda c: c[HYBRID, NLL] < c[SIMPLE, NLL]),
    Claim('L_vlb has the best NLL', lambda c: c[VLB, NLL] < min(c[HYBRID, NLL], c[SIMPLE, NLL])),
    Claim('L_vlb has the worst FID, by twice', lambda c: c[VLB, FID] > 2 * max(c[HYBRID, FID], c[SIMPLE, FID])),
    Claim('L_hybrid keeps the FID of L_simple, within 15 %', lambda c: c[HYBRID, FID] < 1.15 * c[SIMPLE, FID]),
    Claim(
        'cosine and L_hybrid are better than linear and L_simple in both (ImageNet-64)',
        lambda c: all(c[IMAGENET_HYBRID, m] < c[IMAGENET_LINEAR, m] for m in COLUMNS),
    ),
    Claim('the same on CIFAR-10, or on the small data', lambda c: all(c[HYBRID, m] < c[LINEAR, m] for m in COLUMNS)),
)

TABLE = Table(
    source=Paper(
        title='Improved DDPM, Tables 1 and 2',
        arxiv='2102.09672',
        protocol='CIFAR-10 (500,000 steps, T = 4000), ImageNet-64 (200,000 steps); bits/dim, FID of 50,000 samples',
    ),
    rows=ROWS,
    columns=COLUMNS,
    across='',
    cells=block(
        ROWS,
        COLUMNS,
        [[3.37, 2.90], [3.17, 3.19], [2.94, 11.47], [None, None], [3.99, 32.5], [3.62, 28.0]],
    ),
    claims=CLAIMS,
    metric='',
)
