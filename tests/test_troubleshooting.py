"""docs/troubleshooting.md holds every message that the program ends with and a user can mend."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'troubleshooting.md').read_text()
ERRORS = ('UserError', 'DataError', 'Diverged')
LEAST = 12  # characters: a shorter piece says nothing of the message, which then is another's after a colon


def pieces(node):
    """What a message has that does not vary."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return [text for value in values for text in (pieces(value) or [None])]
        case ast.BinOp(left=left, right=right):
            return pieces(left) + pieces(right)
    return [None]


def messages():
    """(where, the longest piece that does not vary) of every message."""
    for folder in ('diffusion_jax', 'experiments'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, 'id', None) in ERRORS and node.args:
                    longest = max((text or '' for text in pieces(node.args[0])), key=len).strip()
                    if len(longest) >= LEAST:
                        yield f'{path.relative_to(ROOT)}:{node.lineno}', longest


def test_every_message_is_explained():
    found = [*messages()]
    assert len(found) > 150
    assert [f'{where}: {piece}' for where, piece in found if piece.splitlines()[0] not in PAGE] == []
