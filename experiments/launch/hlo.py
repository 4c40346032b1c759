"""The text of an optimised HLO module as data: computations of instructions, and how often each is run.

Source of the grammar and of the counts of a convolution: XLA's `HloInstruction::ToString` and `HloCostAnalysis`.
"""

import functools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_ITEM = {'pred': 1, 's4': 0.5, 'u4': 0.5, 'bf16': 2, 'c64': 8, 'c128': 16, 'token': 0, 'opaque': 0}
_SHAPE = re.compile(r'(?P<dtype>[a-z]\w*)\[(?P<dims>[\d,]*)\](?:\{(?P<layout>[^}]*)\})?')
_COMPUTATION = re.compile(r'^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) .*\{$')
_INSTRUCTION = re.compile(r'^\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = ')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_APPLIED = re.compile(r'to_apply=%?([\w.\-]+)')
_CALLED = re.compile(r'(?:calls|body|true_computation|false_computation)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}')


class Shape(NamedTuple):
    """An array as the program has it."""

    dtype: str
    dims: tuple[int, ...]
    order: tuple[int, ...]  # axes from the one that lies closest together on, empty where the text does not say
    tile: tuple[int, ...]  # to whose multiples the closest axes are filled up, empty for none
    space: int  # 0 is the device's main memory, the HBM of a TPU; 1 its VMEM

    @property
    def bytes(self) -> float:
        """Of its elements."""
        return math.prod(self.dims) * _item(self.dtype)

    @property
    def padded(self) -> float:
        """Bytes that it takes, filled up to its tiles."""
        sides = [self.dims[i] for i in self.order] or [*self.dims[::-1]]
        for i, side in enumerate(self.tile[::-1][: len(sides)]):
            sides[i] = -(-sides[i] // side) * side
        return math.prod(sides) * _item(self.dtype)


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]  # of its result; several for a tuple
    operands: tuple[str, ...]
    inside: str  # what stands between the brackets: a constant's value, a parameter's number
    attributes: str
    root: bool

    @property
    def op_name(self) -> str:
        """Where in the model it comes from, as JAX says, or nothing."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ''

    @property
    def calls(self) -> list[str]:
        """The computations that it runs, but for those of single elements (`to_apply` of any but a call)."""
        if self.opcode == 'call':
            return _APPLIED.findall(self.attributes)
        return [n for a, b in _CALLED.findall(self.attributes) for n in ([a] if a else re.findall(r'[\w.\-]+', b))]


Computation = dict[str, Instruction]


class Module(NamedTuple):
    """A program of one device."""

    computations: dict[str, Computation]
    entry: str
    aliased: int  # arguments whose memory the results take over


class Run(NamedTuple):
    """A computation, and how it is run."""

    name: str
    times: int  # in one run of the program
    fused: bool  # as a part of one instruction, what lies between its own never being stored


def _item(dtype):
    digits = re.search(r'\d+', dtype)
    return _ITEM[dtype] if dtype in _ITEM else int(digits[0]) / 8 if digits else 1


@functools.cache
def shapes(text: str) -> tuple[Shape, ...]:
    """The arrays in the text of a type."""
    return tuple(_shape(match) for match in _SHAPE.finditer(text))


def _shape(match):
    order, _, rest = (match['layout'] or '').partition(':')
    tile, space = re.search(r'T\(([\d,]+)\)', rest), re.search(r'S\((\d+)\)', rest)
    return Shape(
        match['dtype'],
        _integers(match['dims']),
        _integers(order),
        _integers(tile[1]) if tile else (),
        int(space[1]) if space else 0,
    )


def _integers(text):
    return tuple(int(n) for n in text.split(',') if n)


def parse(text: str) -> Module:
    """The module of a text.

    Raises:
        ValueError: if it holds no program.
    """
    text, found, entry = re.sub(r'/\*.*?\*/', '', text), {}, ''
    current: Computation = {}
    for line in text.splitlines():
        if instruction := _INSTRUCTION.match(line):
            current[instruction['name']] = _instruction(instruction, line)
        elif computation := _COMPUTATION.match(line):
            current = found[computation['name']] = {}
            entry = computation['name'] if computation['entry'] else entry
    if not entry:
        raise ValueError('the text of a program has an ENTRY')
    header = text.partition('\n')[0]
    aliases = header.partition('input_output_alias={')[2].partition('entry_computation_layout')[0]
    return Module(found, entry, len(re.findall(r'-alias\)', aliases)))


def _instruction(match, line):
    start = match.end()
    end = _closing(line, start) if line[start] == '(' else line.index(' ', start)
    bracket = line.index('(', end)
    close = _closing(line, bracket)
    inside = line[bracket + 1 : close - 1]
    # Optimised programs write a percent sign before every name, others none.
    operands = tuple(re.findall(r'%([\w.\-]+)', inside) if '%' in inside else inside.split(', '))
    name, opcode = match['name'], line[end:bracket].strip()
    return Instruction(name, opcode, shapes(line[start:end]), operands, inside, line[close:], bool(match['root']))


def _closing(line, start):
    """The place behind the bracket that closes the one at `start`."""
    depth = 0
    for match in re.compile(r'[()]').finditer(line, start):
        depth += 1 if match[0] == '(' else -1
        if not depth:
            return match.end()
    raise ValueError(f'a bracket that is not closed: {line[:200]}')


def runs(module: Module) -> tuple[list[Run], int]:
    """Every computation as often as it is run, and the number of loops whose length the text does not tell.

    Such a loop counts as one pass. Of alternatives all count.
    """
    found: list[Run] = []
    unknown = []

    def visit(name, times, fused):
        found.append(Run(name, times, fused))
        for instruction in module.computations[name].values():
            once = 1
            if instruction.opcode == 'while':
                passes = trips(module, module.computations[name], instruction)
                once = 1 if passes is None else passes
                unknown.extend([instruction.name] if passes is None else [])
            for called in instruction.calls:
                visit(called, times * once, fused or instruction.opcode == 'fusion')

    visit(module.entry, 1, False)
    return found, len(unknown)


def trips(module: Module, around: Computation, loop: Instruction) -> int | None:
    """How often a loop's body is run, if it counts up to a constant by another; None if the text does not tell."""
    known = _TRIPS.search(loop.attributes)
    if known:
        return int(known[1])
    condition = re.search(r'condition=%?([\w.\-]+)', loop.attributes)
    inside = module.computations[condition[1]] if condition else {}
    compare = next((i for i in inside.values() if i.root and i.opcode == 'compare'), None)
    if compare is None or 'direction=LT' not in compare.attributes:
        return None
    counter, limit = (inside[name] for name in compare.operands)
    index = re.search(r'index=(\d+)', counter.attributes)
    if limit.opcode != 'constant' or counter.opcode != 'get-tuple-element' or index is None:
        return None
    state = around.get(loop.operands[0])
    if state is None or state.opcode != 'tuple':
        return None
    first = _constant(around, state.operands[int(index[1])])
    (body,) = loop.calls
    step = _step(module.computations[body], int(index[1]))
    return None if first is None or not step else -((first - int(limit.inside)) // step)


def _step(body, index):
    """What a pass adds to the counter: unrolled loops count up by more than one. None if the text does not tell."""
    root, step = next(i for i in body.values() if i.root), 0
    if root.opcode != 'tuple':
        return None
    at = body[root.operands[index]]
    while at.opcode in ('add', 'copy'):
        constants = [name for name in at.operands if body[name].opcode == 'constant']
        rest = [name for name in at.operands if name not in constants]
        if len(rest) != 1:
            return None
        step += sum(int(body[name].inside) for name in constants)
        at = body[rest[0]]
    return step if at.opcode == 'get-tuple-element' and f'index={index}' in at.attributes else None


def _constant(around, name):
    while name in around and around[name].opcode in ('copy', 'bitcast', 'copy-start', 'copy-done'):
        name = around[name].operands[0]
    found = around.get(name)
    return int(found.inside) if found and found.opcode == 'constant' else None


def products(computation: Computation) -> Iterator[tuple[Instruction, Shape, Shape]]:
    """The dots and convolutions of a computation, and what they multiply."""
    for instruction in computation.values():
        if instruction.opcode in ('dot', 'convolution'):
            left, right = (computation[name].shapes[0] for name in instruction.operands[:2])
            yield instruction, left, right


def flops(instruction: Instruction, left: Shape, right: Shape) -> int:
    """Multiplications and additions of a dot or a convolution; products with padding and with dilation's holes none."""
    out = instruction.shapes[0]
    if instruction.opcode == 'dot':
        axes = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', instruction.attributes)
        return 2 * math.prod(out.dims) * math.prod(left.dims[i] for i in _integers(axes[1] if axes else ''))
    labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', instruction.attributes)
    assert labels, instruction.attributes
    of_left, of_right, of_out = labels[1], labels[2], labels[3]
    spatial = [c for c in of_out if c.isdigit()]
    window, passes = _window(instruction.attributes, len(spatial)), 1
    for axis, n, stride, before, of_input, of_kernel in window:
        c = str(axis)
        passes *= _valid(left.dims[of_left.index(c)], out.dims[of_out.index(c)], n, stride, before, of_input, of_kernel)
    grouped = re.search(r'batch_group_count=(\d+)', instruction.attributes)
    batch = left.dims[of_left.index('b')] // (int(grouped[1]) if grouped else 1)
    channels = right.dims[of_right.index('i')] * right.dims[of_right.index('o')]
    return 2 * batch * channels * passes


def _window(attributes, axes):
    """(axis, size, stride, padding before, dilation of the input, dilation of the kernel) of every spatial axis."""
    text = (re.search(r'window=\{([^}]*)\}', attributes) or [''])[0]

    def of(name, default):
        found = re.search(rf'\b{name}=(\S+?)(?=[ }}])', text)
        return found[1].split('x') if found else [default] * axes

    pads = [int(p.partition('_')[0]) for p in of('pad', '0_0')]
    rest = ([int(n) for n in of(name, '1')] for name in ('size', 'stride', 'lhs_dilate', 'rhs_dilate'))
    sizes, strides, of_input, of_kernel = rest
    return zip(range(axes), sizes, strides, pads, of_input, of_kernel, strict=True)


@functools.cache
def _valid(size, out, kernel, stride, before, of_input, of_kernel):
    """Pairs of a place of the output and one of the kernel that meet a place of the input."""
    places = (o * stride + k * of_kernel - before for o in range(out) for k in range(kernel))
    return sum(1 for p in places if p >= 0 and p % of_input == 0 and p // of_input < size)
