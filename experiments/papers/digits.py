"""What the tables at scale mini share: a small U-Net on scikit-learn's 8x8 digits, a minute or two of CPU a run."""

from collections.abc import Mapping
from typing import Any

from experiments.papers.plan import Recipe

STEPS = 400
NUM = 1000
# CT's N(k) ends at 20 intervals, not 150: in 400 steps nothing gets across 150 of them.
CT = {'objective.pairs.N.s_1': 20, 'frozen.decay.N.s_1': 20}


def words(steps: int) -> str:
    """What a run is, for the table."""
    return f'digits of 8x8, a U-Net of 16 and 32 channels, {steps} steps of batch 128'


DATA = words(STEPS)


def on_digits(
    config: str, overrides: Mapping[str, Any] | None = None, start: str | None = None, steps: int = STEPS
) -> Recipe:
    """A `configs/digits_*` or the quickstart, of 16 channels and a few hundred steps."""
    small = {'net.channels': 16, 'train.steps': steps, 'train.save_every': steps, 'train.sample_every': steps}
    return Recipe(config, {**small, **(overrides or {})}, start)
