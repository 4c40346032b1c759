"""An estimate in words: does it fit, which roof it meets, what goes between chips, what is wasted."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from experiments.launch.compiling import Estimate
from experiments.launch.slices import Slice

_G = 2.0**30


class Roofs(NamedTuple):
    """Seconds that a device takes for one run at its peak, were there nothing else to do."""

    compute: float
    memory: float
    links: float

    @property
    def longest(self) -> float:
        """No run is shorter."""
        return max(self)

    @property
    def name(self) -> str:
        """What the longest is of."""
        return {self.links: 'links', self.memory: 'memory', self.compute: 'compute'}[self.longest]

    @property
    def mfu(self) -> float:
        """Share of the peak that no run exceeds."""
        return self.compute / self.longest if self.longest else 0.0


def roofs(found: Estimate, on: Slice) -> Roofs:
    """The roofs of a program that fits on its slice."""
    assert found.figures is not None
    chip, sent = on.chip, sum(row.sent for row in found.collectives)
    done = found.figures.flops / chip.peak, found.figures.traffic / chip.bandwidth, sent / chip.egress
    return Roofs(*(chip.devices * seconds for seconds in done))


def hbm(on: Slice) -> float:
    """Bytes of memory that one device has."""
    return on.chip.hbm / on.chip.devices


def advice(found: Estimate, on: Slice, state: float, devices: int) -> str:
    """What would fit, where the program does not; `state` is the bytes of it on a device."""
    memory = found.memory
    fixed = max(state, memory.arguments) + memory.outputs + memory.code
    rows = found.rows // devices
    fit = int((hbm(on) - fixed) / memory.temporaries * rows) if memory.temporaries else rows
    names = ('train.batch_size', 'train.accumulate, train.remat=full, mesh.fsdp')
    if found.what == 'sampling loop':
        names = ('sample.batch_size', 'mesh.fsdp')
    if fit < 1:
        return f'not one row a chip would by proportion of temporaries, an estimate: change {names[1]}'
    return f'by proportion of temporaries, an estimate, {fit * devices} rows would: {names[0]}; or change {names[1]}'


def words(found: Estimate, on: Slice, devices: int) -> str:
    """The report: a line for each figure."""
    memory, figures = found.memory, found.figures
    versions = ', '.join(f'{name} {version}' for name, version in found.versions.items())
    head = (
        f'{found.what} on {on.name} ({on.topology}, {on.chips} chips): mesh data={found.data}, fsdp={found.fsdp}; '
        f'{found.rows} rows, {found.rows / devices:g} a device'
    )
    lines = [
        head,
        f'THE ESTIMATES OF A COMPILER ({versions}; {found.seconds:.0f} s), for one device; nothing here is measured',
        _line(
            'memory',
            f'{memory.total / _G:.2f} GiB of {hbm(on) / _G:.2f}: {"fits" if found.fits else "DOES NOT FIT"} (arguments '
            f'{memory.arguments / _G:.2f}, temporaries {memory.temporaries / _G:.2f}, new results '
            f'{memory.outputs / _G:.2f}, code {memory.code / _G:.2f}); {found.aliased} of {found.of_arguments} '
            'arguments are donated',
        ),
    ]
    if figures is None:
        return '\n'.join(lines)
    roof, chip = roofs(found, on), on.chip
    lines += [
        _line('products', f'{figures.flops / 1e12:.4g} TFLOP: {roof.compute * 1e3:.3f} ms at the peak of {chip.page}'),
        _line('traffic', f'{figures.traffic / 1e9:.4g} GB of HBM: {roof.memory * 1e3:.3f} ms at its bandwidth'),
        _line('links', f'{sum(r.sent for r in found.collectives) / 1e9:.4g} GB sent: {roof.links * 1e3:.3f} ms'),
        _line('roof', f'{roof.name}: a step takes {roof.longest * 1e3:.3f} ms at least, MFU at most {roof.mfu:.1%}'),
        *_more(found),
    ]
    return '\n'.join(lines)


def _more(found):
    figures = found.figures
    optimal, plain = found.xla.get('optimal_seconds', -1.0), {k: found.xla.get(k, math.nan) for k in ('flops', 'bytes')}
    yield _line(
        "XLA's own",
        f'{plain["flops"] / 1e12:.4g} TFLOP, {plain["bytes"] / 1e9:.4g} GB (a loop as one pass, VMEM as traffic)'
        + (f', optimal_seconds {optimal * 1e3:.3f} ms' if optimal > 0 else ', no optimal_seconds'),
    )
    for row in found.collectives:
        yield _line(
            row.kind,
            f'{row.count} among {row.among}, {row.overlapping} of them overlapping others; {row.payload / 1e6:.4g} MB, '
            f'{row.sent / 1e6:.4g} MB sent by a device',
        )
    yield _line(
        'padding',
        f'{1 - figures.flops / figures.filled if figures.filled else 0:.1%} of the products were padding if channels '
        f'fill matrix units; {1 - figures.unpadded / figures.traffic if figures.traffic else 0:.1%} of the traffic is',
    )
    unlike = figures.unlike
    yield _line(
        'not bfloat16',
        f'{unlike.count} of {unlike.of} products, {unlike.share:.1%} of their FLOPs'
        + (f'; largest {unlike.largest}' if unlike.largest else ''),
    )
    for array in figures.largest:
        yield _line('largest', f'{array.bytes / 1e6:.4g} MB {array.text} {array.where}')
    if figures.unknown_loops:
        yield _line('loops', f'{figures.unknown_loops} of unknown length, counted as one pass: all figures are too low')


def _line(name, text):
    return f'  {name:<18} {text}'


def table(found: Sequence[tuple[str, Estimate, Slice, int]]) -> str:
    """Markdown: a row for each (config, estimate, slice, devices)."""
    head = 'config | program | slice | mesh | rows | GiB of HBM | TFLOP | GB | step at least, ms | roof | MFU at most'
    lines = [f'| {head} | collectives (overlapping) | compiled in, s |', '|' + 13 * '---|']
    for name, e, on, devices in found:
        size = f'{e.memory.total / _G:.2f} of {hbm(on) / _G:.2f}' + ('' if e.fits else ', does not fit')
        cells = [name, e.what, on.name, f'{e.data} x {e.fsdp}', f'{e.rows} ({e.rows // devices} each)', size]
        if e.figures is None:
            cells += 7 * ['']
        else:
            roof = roofs(e, on)
            sums = ', '.join(f'{r.count} {r.kind} among {r.among} ({r.overlapping})' for r in e.collectives) or 'none'
            cells += [f'{e.figures.flops / 1e12:.3g}', f'{e.figures.traffic / 1e9:.3g}', f'{roof.longest * 1e3:.2f}']
            cells += [roof.name, f'{roof.mfu:.0%}', sums, f'{e.seconds:.0f}']
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)
