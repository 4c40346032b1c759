"""What a compiled program does in one run, counted in its text: multiplications, traffic, padding, precision."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from experiments.launch import hlo
from experiments.launch.hlo import Computation, Instruction, Module, Shape

LANES, SUBLANES = 128, 8
# What moves nothing through the main memory, or is counted where it begins.
_STILL = {
    'after-all', 'bitcast', 'call', 'conditional', 'constant', 'get-tuple-element', 'parameter', 'partition-id',
    'replica-id', 'tuple', 'while',
}  # fmt: skip
_CUTS = ('dynamic-slice', 'slice', 'gather')


class Array(NamedTuple):
    """An array of the program that lies in the main memory."""

    where: str  # in the model
    text: str  # type and shape
    bytes: float  # padding included


class Unlike(NamedTuple):
    """Products of other than bfloat16 numbers."""

    count: int
    of: int  # products in all
    share: float  # of the FLOPs of all
    largest: str  # where in the model, with its type and shape, or nothing


class Figures(NamedTuple):
    """Of one device and one run of the program."""

    flops: float  # of dots and convolutions
    filled: float  # the same with every axis of channels filled up to whole matrix units, and the rows to eight
    traffic: float  # bytes read from and written to the main memory, padding included
    unpadded: float  # the same without
    unlike: Unlike
    largest: list[Array]
    unknown_loops: int  # that count as one pass


def figures(module: Module, mxu: int = LANES, num: int = 5) -> Figures:
    """Counts what every computation does as often as it is run."""
    runs, unknown = hlo.runs(module)
    flops = filled = traffic = unpadded = 0.0
    others: list[tuple[float, str]] = []
    products = set()
    for run in runs:
        computation = module.computations[run.name]
        for instruction, left, right in hlo.products(computation):
            one = run.times * hlo.flops(instruction, left, right)
            flops += one
            filled += one * _filling(instruction, left, right, mxu)
            if (run.name, instruction.name) not in products and {left.dtype, right.dtype} != {'bf16'}:
                others.append((one, f'{instruction.op_name or instruction.name}: {_text(left)} by {_text(right)}'))
            products.add((run.name, instruction.name))
        if not run.fused:
            for shape, part in _moved(module, computation):
                traffic += run.times * part * shape.padded
                unpadded += run.times * part * shape.bytes
    share = sum(n for n, _ in others) / flops if flops else 0.0
    unlike = Unlike(len(others), len(products), share, max(others)[1] if others else '')
    return Figures(flops, filled, traffic, unpadded, unlike, _largest(module, runs, num), unknown)


def _text(shape: Shape) -> str:
    return f'{shape.dtype}[{",".join(map(str, shape.dims))}]'


def _filling(instruction, left, right, mxu):
    """By how much the axes of a product grow when channels are whole matrix units and rows whole sublanes."""
    rows, inner, outer = _sides(instruction, left, right)
    return math.prod(-(-n // unit) * unit / n for n, unit in ((rows, SUBLANES), (inner, mxu), (outer, mxu)) if n)


def _sides(instruction, left, right):
    """Rows, channels that are summed over, channels that come out: of one product of matrices."""
    out = instruction.shapes[0]
    if instruction.opcode == 'convolution':
        labels = instruction.attributes.partition('dim_labels=')[2].partition(',')[0]
        of_right = labels.partition('_')[2].partition('->')[0]
        rows = math.prod(out.dims) // max(right.dims[of_right.index('o')], 1)
        return rows, right.dims[of_right.index('i')], right.dims[of_right.index('o')]
    inner = hlo.flops(instruction, left, right) // max(2 * math.prod(out.dims), 1)
    axes = instruction.attributes.partition('rhs_batch_dims={')[2].partition('}')[0]
    batch = math.prod(right.dims[int(i)] for i in axes.split(',') if i)
    outer = math.prod(right.dims) // max(inner * batch, 1)
    return math.prod(out.dims) // max(outer * batch, 1), inner, outer


def _moved(module: Module, computation: Computation) -> Iterator[tuple[Shape, float]]:
    """(array, how much of it) for everything that the instructions of a computation read or write in main memory."""
    for instruction in computation.values():
        if instruction.opcode in _STILL or instruction.opcode.endswith('-done'):
            continue
        for shape, part in [*_read(module, computation, instruction), *_written(module, computation, instruction)]:
            if shape.space == 0:
                yield shape, part


def _read(module, computation, instruction):
    operands = [computation[name] for name in instruction.operands if name in computation]
    if instruction.opcode.removesuffix('-start') in _CUTS:
        source = operands[0].shapes[0]
        yield from ((source._replace(dims=shape.dims), 1.0) for shape in _results(instruction))
        return
    if instruction.opcode == 'dynamic-update-slice':
        operands = operands[1:]
    if instruction.opcode != 'fusion':
        yield from ((shape, 1.0) for operand in operands for shape in operand.shapes)
        return
    inside = module.computations[instruction.calls[0]]
    places = {i.name: int(i.inside) for i in inside.values() if i.opcode == 'parameter'}
    for name, place in places.items():
        if place < len(operands):
            part = _part_read(module, inside, name)
            yield from ((shape, part) for shape in operands[place].shapes)


def _part_read(module, inside, name):
    """The part of an array that a fused computation reads: slices of it, or all."""
    total, read = math.prod(inside[name].shapes[0].dims) if inside[name].shapes else 0, 0.0
    for user in (i for i in inside.values() if name in i.operands):
        if user.opcode in _CUTS and user.operands[0] == name:
            read += math.prod(user.shapes[0].dims) / max(total, 1)
        elif user.opcode == 'bitcast':
            read += _part_read(module, inside, user.name)
        elif user.opcode == 'fusion':
            within = module.computations[user.calls[0]]
            places = {int(i.inside): i.name for i in within.values() if i.opcode == 'parameter'}
            for n, operand in enumerate(user.operands):
                if operand == name:
                    read += _part_read(module, within, places[n])
                    if _comes_out(within, places[n]):
                        read += _part_read(module, inside, user.name)
        elif not (user.opcode == 'dynamic-update-slice' and user.operands[0] == name) and user.opcode != 'tuple':
            return 1.0
    return min(read, 1.0)


def _comes_out(inside, name):
    """Whether an array is what a fused computation results in, but for its shape."""
    return inside[name].root or any(_comes_out(inside, i.name) for i in inside.values() if _is_view(i, name))


def _is_view(instruction, name):
    return instruction.opcode == 'bitcast' and name in instruction.operands


def _written(module, computation, instruction):
    if instruction.opcode == 'dynamic-update-slice':
        yield computation[instruction.operands[1]].shapes[0], 1.0
    elif instruction.opcode == 'custom-call' and 'AllocateBuffer' in instruction.attributes:
        return
    elif instruction.opcode != 'fusion':
        yield from ((shape, 1.0) for shape in _results(instruction))
    else:
        inside = module.computations[instruction.calls[0]]
        root = next(i for i in inside.values() if i.root)
        results = [inside[name] for name in root.operands] if root.opcode == 'tuple' else [root]
        for result, shape in zip(results, instruction.shapes, strict=False):
            yield shape, _part_written(inside, result)


def _results(instruction: Instruction) -> tuple[Shape, ...]:
    """The arrays that an instruction makes: what begins a copy or the like names its operands and flags as well."""
    if instruction.opcode == 'copy-start':
        return instruction.shapes[:1]
    if instruction.opcode.endswith('-start') and instruction.opcode != 'all-reduce-start':
        n = len(instruction.operands)
        return instruction.shapes[n : n + 1]
    return instruction.shapes


def _part_written(inside, result):
    """The part of a fusion's result that it writes: none of what it hands on, and what it puts into an array."""
    while result.opcode in ('bitcast', 'copy') and result.operands and result.operands[0] in inside:
        result = inside[result.operands[0]]
    if result.opcode == 'parameter':
        return 0.0
    if result.opcode == 'dynamic-update-slice':
        return math.prod(inside[result.operands[1]].shapes[0].dims) / max(math.prod(result.shapes[0].dims), 1)
    return 1.0


def _largest(module, runs, num):
    found = {}
    for run in runs:
        for instruction in () if run.fused else module.computations[run.name].values():
            if instruction.opcode in _STILL or instruction.opcode.endswith('-done'):
                continue
            for shape in _results(instruction):
                if shape.space == 0:
                    where = instruction.op_name or instruction.name
                    array = Array(where, _text(shape), shape.padded)
                    found[where, array.text] = array
    return sorted(found.values(), key=lambda a: -a.bytes)[:num]
