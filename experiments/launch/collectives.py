"""The collectives of a compiled program: of which kind, among how many devices, of how many bytes."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from experiments.launch import hlo
from experiments.launch.hlo import Module

KINDS = ('all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all', 'collective-permute')
# Either the devices of each group, or numbers of groups and of devices in one, or axes of a mesh (a part of one:
# 'axis':(what comes before it)its size).
_GROUPS = re.compile(
    r'replica_groups=(?:\{\{(?P<first>[\d,]*)\}|\[\d+,(?P<n>\d+)\]|mesh\[(?P<sizes>[^\]]*)\][^{]*\{(?P<axes>[^}]*)\})'
)


class Collective(NamedTuple):
    """One collective of a compiled program, as one of its devices has it."""

    kind: str
    among: int  # devices
    payload: int  # bytes: of the whole array that is reduced or gathered

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a ring, which no other algorithm undercuts."""
        if self.kind == 'collective-permute':
            return self.payload
        times = 2 if self.kind == 'all-reduce' else 1
        return times * self.payload * (self.among - 1) / self.among


class Scheduled(NamedTuple):
    """A collective, and how the program runs it."""

    collective: Collective
    times: int  # in one run of the program
    overlaps: bool  # begun and ended apart, so that others can work meanwhile


class Row(NamedTuple):
    """Collectives of one kind and size of group, in one run of the program."""

    kind: str
    among: int
    count: int
    overlapping: int  # of these
    payload: float  # bytes in all
    sent: float


def among(line: str, devices: int) -> int:
    """Devices in a group of the collective on a line of a program for so many.

    Raises:
        ValueError: for groups that are written in another way.
    """
    groups = _GROUPS.search(line)
    if groups is None:  # {}, or none: all
        if re.search(r'replica_groups=(?!\{\})', line):
            raise ValueError(f'unknown kind of groups: {line}')
        return devices
    if groups['n']:
        return int(groups['n'])
    if groups['first']:
        return groups['first'].count(',') + 1
    sizes = dict(re.findall(r"('\w+')=(\d+)", groups['sizes']))
    axes = re.findall(r"('\w+')(?::\(\d+\)(\d+))?", groups['axes'])
    return math.prod(int(part or sizes[name]) for name, part in axes)


def scheduled(module: Module, devices: int) -> list[Scheduled]:
    """Those of a program. One that overlaps stands in several fusions, a piece in each, by one number of channel."""
    found: dict[str, Scheduled] = {}
    for run in hlo.runs(module)[0]:
        for i in module.computations[run.name].values():
            kind, start = i.opcode.removesuffix('-start'), i.opcode.endswith('-start')
            if kind not in KINDS:
                continue
            # What the TPU compiler calls a reduction of which each device keeps a part.
            kind = 'reduce-scatter' if 'all-reduce-scatter' in run.name else kind
            shapes = i.shapes if kind == 'all-reduce' or not start else i.shapes[1:2]
            n = devices if kind == 'collective-permute' else among(i.attributes, devices)
            whole = n if i.opcode == 'reduce-scatter' else 1
            size = int(sum(shape.bytes for shape in shapes)) * whole
            channel = re.search(r'channel_id=(\d+)', i.attributes)
            key = channel[1] if channel else f'{run.name} {i.name}'
            before = found.get(key)
            overlaps = start or 'async_collective' in run.name or (before is not None and before.overlaps)
            times = max(run.times, before.times if before else 0)
            found[key] = Scheduled(Collective(kind, n, size), times, overlaps)
    return [s for s in found.values() if s.collective.among > 1]


def rows(found: Sequence[Scheduled]) -> list[Row]:
    """The sums of every kind and size of group."""
    lines = []
    for kind, n in sorted({s.collective[:2] for s in found}):
        some = [s for s in found if s.collective[:2] == (kind, n)]
        count, overlapping = sum(s.times for s in some), sum(s.times for s in some if s.overlaps)
        payload, sent = (sum(s.times * x(s.collective) for s in some) for x in (lambda c: c.payload, lambda c: c.sent))
        lines.append(Row(kind, n, count, overlapping, payload, sent))
    return lines
