"""docs/troubleshooting.md has every message that the code can end with, and no others.

A message is known by its text with `...` for what varies; what has hardly any text of its own only passes on another.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ERRORS = {'DataError', 'Diverged', 'Interrupted', 'ProtocolError', 'UserError'}
LEAST = 5  # letters of its own that a message has


def text(node, constants):
    """What a string expression says, with `...` for what varies."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=parts):
            return ''.join(text(part, constants) for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name), conversion=-1) if name in constants:
            return constants[name]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text(left, constants) + text(right, constants)
    return '...'


def normal(message):
    """Without differences that a line break makes, or what varies in several parts."""
    return re.sub(r'\.{3,}(\s*\.{3,})*', '...', ' '.join(message.split())).strip()


def is_told(call):
    name = getattr(call.func, 'id', getattr(call.func, 'attr', ''))
    return name in ERRORS or (name == 'warning' and call.args)


def found(source, wanted):
    """The texts of the string expressions in the nodes that are wanted."""
    tree = ast.parse(source)
    assigned = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)]
    constants = {a.targets[0].id: a.value.value for a in assigned if isinstance(a.value.value, str)}
    given = {node.targets[0].id: node.value for node in ast.walk(tree) if _names_a_text(node)}
    for node in filter(wanted, ast.walk(tree)):
        told = node.args[0] if isinstance(node, ast.Call) else node
        told = given.get(told.id, told) if isinstance(told, ast.Name) else told
        yield normal(re.sub(r'%[sd]', '...', text(told, constants)))


def _names_a_text(node):
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.JoinedStr) and hasattr(node.targets[0], 'id')


def messages(wanted):
    files = [path for part in ('diffusion_jax', 'experiments') for path in sorted((ROOT / part).rglob('*.py'))]
    told = {message: path.relative_to(ROOT) for path in files for message in found(path.read_text(), wanted)}
    return {m: path for m, path in told.items() if len(re.sub(r'[^a-z]', '', m)) >= LEAST}


def entries():
    """What the page has between backquotes in the first column of its tables."""
    lines = (ROOT / 'docs' / 'troubleshooting.md').read_text().splitlines()
    return [normal(line.split('`')[1]) for line in lines if line.startswith('| `')]


def test_every_message_is_on_the_page():
    told = messages(lambda node: isinstance(node, ast.Call) and is_told(node))
    assert len(told) > 200
    missing = [f'{path}: {message}' for message, path in told.items() if message not in entries()]
    assert not missing, 'docs/troubleshooting.md lacks:\n' + '\n'.join(missing)


def test_every_kind_of_error_is_looked_for():
    files = [path for part in ('diffusion_jax', 'experiments') for path in (ROOT / part).rglob('*.py')]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    kinds = {node.name for node in classes if ERRORS & {getattr(b, 'id', getattr(b, 'attr', '')) for b in node.bases}}
    assert kinds | {'UserError'} == ERRORS


def test_every_entry_of_the_page_is_in_the_code():
    told = messages(lambda node: isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp))
    assert not [entry for entry in entries() if entry not in told]
    assert len(set(entries())) == len(entries())


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ("raise UserError(f'{a}=label: this model is told {b}: {c}')", '...=label: this model is told ...: ...'),
        ("W = '--cond'\nraise UserError(f'{W}=turn is for classes' + more)", '--cond=turn is for classes...'),
        ("m = f'stopped after {n} samples'\nraise errors.Interrupted(m)", 'stopped after ... samples'),
        ("logging.warning('checkpoint %d is unreadable (%s)', a, b)", 'checkpoint ... is unreadable (...)'),
    ],
)
def test_how_messages_are_found(source, message):
    assert [*found(source, lambda node: isinstance(node, ast.Call) and is_told(node))] == [message]
