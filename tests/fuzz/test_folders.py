"""Random folders: runs and samples half finished, configs with other fields, what is no run at all."""

import copy
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.commands import REQUESTS, SMALL, done, evaluated, put, room, sampled
from tests.fuzz.strategies import JSON, NPY, as_json, damaged, fuzz

pytestmark = [
    pytest.mark.slow,
    # What Orbax leaves behind when it gives up a damaged checkpoint.
    pytest.mark.filterwarnings('ignore:coroutine .* was never awaited:RuntimeWarning'),
    pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
]

UNFINISHED = st.fixed_dictionaries({}, optional={'request': JSON, 'done': JSON})


@fuzz(20)
@given(told=st.one_of(st.none(), UNFINISHED, JSON), garbled=st.none() | st.binary(max_size=20), rows=damaged(NPY))
def test_samples_that_were_begun(trained, told, garbled, rows):
    """The request is right where it is None: only then the rows are looked at."""
    with room() as place:
        sampled(trained / 'points', place)
        put(place / 'out', '.x.unfinished.npy', rows)
        if told is None:
            told = {'request': REQUESTS[-1], 'done': 1}
        put(place / 'out', '.x.unfinished.json', as_json(told) if garbled is None else garbled)
        sampled(trained / 'points', place)


def replaced(node, path, value):
    """A copy of nested dicts and lists in which a part, found by numbers, is another, or gone."""
    node = copy.deepcopy(node)
    at = node
    for number in path[:-1]:
        children = [
            child for child in (at.values() if isinstance(at, dict) else at) if isinstance(child, dict | list) and child
        ]
        if not children:
            break
        at = children[number % len(children)]
    key = (sorted(at) if isinstance(at, dict) else range(len(at)))[path[-1] % len(at)]
    if value is REMOVED:
        del at[key]
    else:
        at[key] = value
    return node


REMOVED = object()
CHANGES = st.lists(st.tuples(st.lists(st.integers(0, 30), min_size=1, max_size=3), JSON | st.just(REMOVED)), max_size=2)


def retold(folder, name, changes):
    config = json.loads((folder / name / 'config.json').read_text())
    for path, value in changes:
        config = replaced(config, path, value)
    return config


def resumed(workdir, *arguments):
    made = [workdir / name for name in ('provenance.json', 'trained')]
    done('train', *SMALL, f'--workdir={workdir}', '--allow_config_change', *arguments, expected=made)


def used(trained, command, workdir, place):
    if command == 'train':
        resumed(workdir)
    elif command == 'weak':
        sampled(trained / 'points', place, f'--guidance=auto:weak={workdir},w=2.0')
    elif command == 'teacher':
        new = [place / 'out' / 'new' / name for name in ('config.json', 'trained')]
        done('train', *SMALL, f'--workdir={place}/out/new', f'--config.init_from={workdir}', expected=new)
    else:
        {'sample': sampled, 'evaluate': evaluated}[command](workdir, place)


COMMANDS = st.sampled_from(['sample', 'evaluate', 'train', 'weak', 'teacher'])


@fuzz(150)
@given(
    command=COMMANDS, changes=CHANGES, garbled=st.one_of(*[st.none()] * 5, st.binary(max_size=20), JSON.map(as_json))
)
def test_configs_that_were_saved(trained, command, changes, garbled):
    with room() as place:
        workdir = place / 'run'
        workdir.mkdir()
        (workdir / 'checkpoints').symlink_to(trained / 'points' / 'checkpoints')
        config = as_json(retold(trained, 'points', changes)) if garbled is None else garbled
        put(workdir, 'config.json', config)
        used(trained, command, workdir, place)


@fuzz(60)
@given(
    command=COMMANDS,
    whats=st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from(['gone', 'file', 'folder', 'cut', 'garbled'])), max_size=3
    ),
)
def test_folders_half_finished(trained, command, whats):
    with room() as place:
        workdir = place / 'run'
        shutil.copytree(trained / 'points', workdir)
        for number, what in whats:
            found = sorted(workdir.rglob('*'))
            if not found:
                break
            path = found[number % len(found)]
            content = path.read_bytes() if path.is_file() else b''
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            if what == 'folder':
                path.mkdir()
            elif what != 'gone':
                path.write_bytes({'file': b'', 'cut': content[: len(content) // 2], 'garbled': content[::-1]}[what])
        used(trained, command, workdir, place)


@pytest.mark.parametrize('command', ['sample', 'evaluate', 'train', 'weak', 'teacher'])
def test_folders_that_are_none(trained, command, tmp_path):
    (tmp_path / 'out').mkdir()
    for workdir in ('nowhere', 'file', 'file/run', 'a' * 300, 'out'):
        (tmp_path / 'file').write_text('')
        used(trained, command, tmp_path / workdir, tmp_path)
