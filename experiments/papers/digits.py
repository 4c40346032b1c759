"""What the tables at scale mini share: a small U-Net on scikit-learn's 8x8 digits, a minute or two of CPU a run."""

from collections.abc import Mapping
from typing import Any

from experiments.papers.scale import Training

STEPS = 400
NUM = 1000
# CT's N(k) ends at 20 intervals, not 150: in 400 steps nothing gets across 150 of them.
CT = {'objective.pairs.N.s_1': 20, 'frozen.decay.N.s_1': 20}
DATA = 'digits of 8x8, a U-Net of 16 and 32 channels, 400 steps of batch 128'


def on_digits(config: str, overrides: Mapping[str, Any] | None = None, start: str | None = None) -> Training:
    """A `configs/digits_*` or the quickstart, of 16 channels and 400 steps."""
    small = {'net.channels': 16, 'train.steps': STEPS, 'train.save_every': STEPS, 'train.sample_every': STEPS}
    return Training(config, {**small, **(overrides or {})}, start)
