"""Timing of two sides in turn, so that a busy machine slows both, and the table that reports it."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import NamedTuple

import jax
import torch  # pyright: ignore[reportMissingImports]


class Row(NamedTuple):
    """One line of the table: what was timed, and the seconds of each repetition on either side."""

    what: str
    theirs: Sequence[float]
    ours: Sequence[float]


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock seconds of one call, which must wait for its own result."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleaved(
    what: str, theirs: Callable[[], object], ours: Callable[[], object], reps: int, scale: float = 1.0
) -> Row:
    """Time both sides A B A B after one call each to warm up; times are multiplied by `scale`."""
    theirs()
    ours()
    pairs = [(scale * seconds(theirs), scale * seconds(ours)) for _ in range(reps)]
    row = Row(what, [a for a, _ in pairs], [b for _, b in pairs])
    print(row, flush=True)  # a long run that is cut off keeps what it has measured
    return row


def table(rows: Sequence[Row], setting: str, peer: str = 'diffusers') -> str:
    """Markdown: medians, the range in brackets, and theirs / ours (above 1, we are faster)."""
    lines = [
        f'{peer} {version(peer)} on torch {torch.__version__} ({setting}); jax {jax.__version__}; '
        f'{torch.get_num_threads()} threads of {os.cpu_count()}, {platform.machine()}, '
        f'load {os.getloadavg()[0]:.1f} at the end',
        '',
        f'| | {peer}, s | diffusion_jax, s | ratio |',
        '|---|---|---|---|',
    ]
    for what, theirs, ours in rows:
        ratio = statistics.median(theirs) / statistics.median(ours)
        lines.append(f'| {what} | {_spread(theirs)} | {_spread(ours)} | {ratio:.3g}x |')
    return '\n'.join(lines)


def _spread(times: Sequence[float]) -> str:
    return f'{statistics.median(times):.4g} ({min(times):.4g} to {max(times):.4g})'
