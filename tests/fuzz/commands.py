"""Small runs, and commands that are asked something of them."""

import contextlib
import gc
import io
import json
import os
import tempfile
from pathlib import Path

import jax
import numpy as np

from diffusion_jax.data import conditions, kinds, sources
from tests import tiny

POINTS = f'--config={Path(__file__).parents[2]}/configs/toy2d.py:runlocal'
SMALL = [POINTS, '--config.data.n=64', '--config.net.width=4', '--config.net.depth=1', '--config.sample.times.n=3']


def captioned(split: str = 'train') -> sources.Source:
    """Pictures under texts."""
    rows = [conditions.encode_bytes(text, 8) for text in ('a dog', 'two cats')]
    cond = jax.tree.map(lambda *a: np.stack(a), *rows)
    x = np.zeros((2, 8, 8, 1), np.uint8)
    return sources.Source(x, cond, kinds.images((8, 8, 1)), conditions.of_bytes(8), f'captioned/{split}')


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file() and path.name != '.lock'}


def done(command, *arguments, expected=()):
    """Whether the command did it; else it said why in one line, and left its files alone."""
    folder = Path(expected[0]).parent if expected else None
    before = contents(folder) if folder and os.path.isdir(folder) else {}
    said, shown = io.StringIO(), io.TextIOWrapper(io.BytesIO(), 'utf-8')
    gc.disable()  # what Orbax gave up, collected while `tiny.call` parses a module, is a SystemError of CPython 3.11
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
            code = tiny.call(command, *arguments)
    finally:
        gc.enable()
    errors = [line for line in said.getvalue().splitlines() if line.startswith('error: ')]
    assert code in (0, 2), (code, said.getvalue())
    assert 'Traceback' not in said.getvalue(), said.getvalue()
    after = contents(folder) if folder and os.path.isdir(folder) else {}
    if code == 0:
        assert not errors
        for path in expected:
            assert after.get(Path(path)) not in (None, before.get(Path(path))), path
    else:
        assert len(errors) == 1, said.getvalue()
        assert len(errors[0]) > len('error: '), said.getvalue()
        assert before == after
    return code == 0


@contextlib.contextmanager
def room():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / 'out').mkdir()
        yield Path(folder)


REQUESTS = []  # what `sample` was asked for, as a file that it has begun says it


def sampled(workdir, place, *arguments):
    out = place / 'out' / 'x.npz'
    out.write_bytes(b'older')
    given = [f'--workdir={workdir}', f'--out={place}/out/x', '--num=2', *arguments]
    if done('sample', *given, expected=[out]):
        with np.load(out) as arrays:
            assert len(arrays['samples'])


def evaluated(workdir, place, *arguments, older=b'{"older": {}}'):
    results = place / 'out' / 'results.json'
    results.write_bytes(older)
    given = [f'--workdir={workdir}', f'--results={results}', '--num=9', '--bits_num=0', '--held_out=none', *arguments]
    if done('evaluate', *given, expected=[results]):
        assert len(json.loads(results.read_text())) > len(json.loads(older))


def put(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name
