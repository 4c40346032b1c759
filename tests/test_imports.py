"""Imports point one way: every module has a tier and imports from lower tiers, or from its own without a cycle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / 'diffusion_jax'
ENTRY_POINTS = {
    'train',
    'sample',
    'evaluate',
    'convert',
    'quickstart',
    'report',
    'watch',
    '__main__',
    'completion',
    'doctor',
}
TIERS = [
    {'types', 'errors', 'axes', 'ranges', 'home', 'progress', 'shipped', 'commands'},
    {'schedules', 'masking', 'process'},
    {'precond', 'mean_velocity', 'drift', 'flow_maps', 'ode', 'times', 'reverse', 'optim'},
    {'samplers', 'guidance', 'objectives', 'likelihood', 'editing', 'search'},
    {'evaluation'},
    {'builders'},
    {'inference'},
    {'training'},
    {'conversion'},
    {'cli'},
    {'pages'},
    ENTRY_POINTS,
]
# Outside the ladder: any part above `types` may import these, and they import `types`, `errors` and what is named here.
FREE: dict[str, set[str]] = {
    'nets': set(),
    'devices': set(),
    'workdir': {'devices', 'times'},
    'data': set(),
    'interop': {'nets'},
}
# library: the parts that may know it
KNOWERS = {
    # train, evaluate: the command line's `--config.field=value` flags alone
    'ml_collections': {'builders', 'configs', 'train', 'evaluate'},
    'flax': {'nets'},
    'absl': {'cli', *ENTRY_POINTS},
    'experiments': {'experiments'},
    'tests': {'tests'},
}


def modules():
    files = [*PACKAGE.rglob('*.py'), *(ROOT / 'configs').glob('*.py')]
    return {'.'.join(f.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__'): f for f in files}


def imports(name, source, is_package, known):
    """The modules that this source imports, functions' bodies included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = name.split('.')[: len(name.split('.')) - node.level + is_package] if node.level else []
            module = '.'.join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f'{module}.{alias.name}'
                yield full if full in known else module


def part(name):
    """diffusion_jax.samplers.loop -> samplers; configs.x -> configs."""
    pieces = name.split('.')
    return pieces[1] if pieces[0] == 'diffusion_jax' and len(pieces) > 1 else pieces[0]


def tier(name):
    return next((i for i, names in enumerate(TIERS) if name in names), None)


def wrong_arrow(importer, imported):
    """Why one part may not import another, or None."""
    a, b = part(importer), part(imported)
    top = imported.split('.')[0]
    if top in KNOWERS and a not in KNOWERS[top]:
        return f'{importer} must not know {top}'
    if top != 'diffusion_jax' or a == b or a in ('diffusion_jax', 'configs'):
        return None
    if a in FREE:
        return None if b in FREE[a] | TIERS[0] else f'{importer} is outside the ladder and imports {imported}'
    if b in FREE:
        return None
    if tier(a) is None or tier(b) is None:
        return f'give {a if tier(a) is None else b} a tier'
    return f'{importer} imports {imported}, which is above it' if tier(b) > tier(a) else None


def graph():
    known = modules()
    return {name: set(imports(name, f.read_text(), f.name == '__init__.py', known)) for name, f in known.items()}


def test_every_arrow_points_down():
    errors = [wrong_arrow(a, b) for a, targets in graph().items() for b in targets]
    assert not [e for e in errors if e]


def test_no_cycles():
    known = graph()
    # A package's __init__ gathers its own modules; arrows from these back to it would be the cycle.
    sorter = TopologicalSorter({a: {b for b in targets if b in known and b != a} for a, targets in known.items()})
    try:
        sorter.prepare()
    except CycleError as e:
        pytest.fail(f'cycle: {e.args[1]}')


@pytest.mark.parametrize(
    ('importer', 'imported', 'wrong'),
    [
        ('diffusion_jax.schedules', 'diffusion_jax.samplers.loop', True),
        ('diffusion_jax.samplers.loop', 'diffusion_jax.schedules', False),
        ('diffusion_jax.nets.unet', 'diffusion_jax.schedules', True),
        ('diffusion_jax.nets.unet', 'flax.linen', False),
        ('diffusion_jax.training.step', 'flax', True),
        ('diffusion_jax.train', 'absl', False),
        ('diffusion_jax.training.loop', 'absl', True),
        ('diffusion_jax.training.loop', 'ml_collections', True),
        ('diffusion_jax.train', 'experiments.sweep', True),
        ('diffusion_jax.objectives.vlb', 'diffusion_jax.likelihood', False),
        ('diffusion_jax.new', 'diffusion_jax.types', True),
    ],
)
def test_the_rule_itself(importer, imported, wrong):
    assert bool(wrong_arrow(importer, imported)) is wrong
