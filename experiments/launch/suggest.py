"""Searches how a train step is spread over a slice and cut into parts, for the shortest estimate that fits."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.launch import report
from experiments.launch.compiling import Estimate
from experiments.launch.slices import Slice


class Setting(NamedTuple):
    """What may change while a step stays the same step of the same batch."""

    fsdp: int  # devices that share one copy of the state
    accumulate: int  # parts of a batch, one after the other
    remat: str | None

    def flags(self) -> str:
        """On the command line."""
        return ' '.join(f'--config.{field}={value}' for field, value in self.overrides().items())

    def overrides(self) -> dict[str, int | str | None]:
        """By the fields of a config."""
        return {'mesh.fsdp': self.fsdp, 'train.accumulate': self.accumulate, 'train.remat': self.remat}


class Tried(NamedTuple):
    """A setting, and what the compiler says of it."""

    setting: Setting
    found: Estimate
    seconds: float  # that a step takes at least; infinite where it does not fit


def search(
    estimate: Callable[[Setting], tuple[Estimate, float]],
    on: Slice,
    sizes: Sequence[int],
    parts: Sequence[int],
    remats: Sequence[str | None],
) -> list[Tried]:
    """All that was compiled, the shortest step first.

    For each of `sizes` and of `remats` the fewest parts that fit: more of them do the same work in smaller pieces. What
    is computed again is tried where the whole does not fit in one piece, and no larger size when two in a row were
    slower.

    Args:
        estimate: compiles a setting: (estimate, bytes of the state on one device).
        on: the slice.
        sizes: values of fsdp, ascending.
        parts: values of accumulate, ascending, from 1.
        remats: values of remat, the one that computes least first.
    """
    tried: list[Tried] = []
    slower, best = 0, math.inf
    for fsdp in sizes:
        seconds = math.inf
        for remat in remats:
            of_this = list(_until_it_fits(estimate, on, fsdp, parts, remat))
            tried += of_this
            seconds = min(seconds, of_this[-1].seconds)
            if of_this[-1].setting.accumulate == parts[0] and of_this[-1].found.fits:
                break
        slower = 0 if seconds < best or math.isinf(best) else slower + 1
        best = min(best, seconds)
        if slower == 2:
            break
    return sorted(tried, key=lambda t: t.seconds)


def _until_it_fits(estimate, on, fsdp, parts, remat):
    least = 1
    for accumulate in parts:
        if accumulate < least:
            continue
        found, state = estimate(Setting(fsdp, accumulate, remat))
        yield Tried(Setting(fsdp, accumulate, remat), found, _seconds(found, on))
        if found.fits:
            return
        least = accumulate * _too_much(found, on, state)
        if math.isinf(least):
            return


def _seconds(found, on):
    return report.roofs(found, on).longest if found.fits and found.figures is not None else math.inf


def _too_much(found, on, state):
    """By how much what is not the state exceeds the room beside it: at least so many times as many parts are needed."""
    room = report.hbm(on) - state
    return (found.memory.total - state) / room if room > 0 else math.inf


def words(tried: Sequence[Tried], on: Slice) -> str:
    """A row for each setting, and the flags of the best.

    None of them fits: says so, and what would have to change.
    """
    lines = ['fsdp | accumulate | remat | GiB of HBM | step at least, ms | roof | MFU at most']
    for setting, found, seconds in tried:
        size = f'{found.memory.total / 2**30:.2f} of {report.hbm(on) / 2**30:.2f}'
        roof = report.roofs(found, on) if math.isfinite(seconds) else None
        cells = [setting.fsdp, setting.accumulate, setting.remat, size]
        cells += [f'{seconds * 1e3:.2f}', roof.name, f'{roof.mfu:.0%}'] if roof else ['does not fit', '', '']
        lines.append(' | '.join(map(str, cells)))
    best = tried[0]
    if math.isinf(best.seconds):
        return '\n'.join([*lines, 'nothing fits: a smaller train.batch_size, a smaller network, or a larger slice'])
    return '\n'.join([*lines, f'THE SHORTEST ESTIMATE: {best.setting.flags()}'])
