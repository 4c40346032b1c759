"""Whose folder it is, and that its files survive what happens to it."""

import errno
import json
import os
from pathlib import Path

import jax
import pytest

from diffusion_jax.devices import processes
from diffusion_jax.errors import UserError
from diffusion_jax.workdir import files, paths

CONFIG = {'seed': 0, 'net': {'name': 'MLP', 'sizes': (1, 2)}, 'data': {'dir': None}}


def start(folder, config=CONFIG, allow_change=False):
    files.check(folder, config, allow_change)
    files.record(folder, config)


def test_a_new_folder(tmp_path):
    start(tmp_path / 'a' / 'b')
    assert files.load_config(tmp_path / 'a' / 'b') == json.loads(json.dumps(CONFIG))
    provenance = json.loads((tmp_path / 'a' / 'b' / 'provenance.json').read_text())
    assert provenance['versions']['jax'] == jax.__version__
    assert len(provenance['devices']) == 8
    assert provenance['earlier'] == []


def test_every_start_is_kept(tmp_path):
    for _ in range(3):
        start(tmp_path)
    provenance = json.loads((tmp_path / 'provenance.json').read_text())
    assert len(provenance['earlier']) == 2
    assert all(earlier['versions'] == provenance['versions'] for earlier in provenance['earlier'])


def test_another_config_is_refused_and_shown(tmp_path):
    start(tmp_path)
    other = {'seed': 1, 'net': {'name': 'MLP', 'sizes': (1, 2), 'width': 3}, 'data': {'dir': None}}
    with pytest.raises(UserError) as error:
        files.check(tmp_path, other, allow_change=False)
    assert str(error.value).splitlines() == [
        f'{tmp_path} holds a run with another config (saved -> given):',
        '  seed: 0 -> 1',
        '  net.width: (none) -> 3',
        'Use another --workdir, or --allow_config_change to go on with the config given.',
    ]
    assert files.load_config(tmp_path)['seed'] == 0
    start(tmp_path, other, allow_change=True)
    assert files.load_config(tmp_path)['seed'] == 1


def test_a_full_disk_leaves_the_files_whole(tmp_path, monkeypatch):
    start(tmp_path)
    write = Path.write_text

    def full(self, text, *args, **kwargs):
        write(self, text[:7])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_text', full)
    with pytest.raises(OSError, match='No space'):
        files.record(tmp_path, CONFIG)
    assert files.load_config(tmp_path)['net']['name'] == 'MLP'


@pytest.mark.parametrize('text', ['', '{"seed": 0', '[]', 'null'])
def test_a_damaged_config(tmp_path, text):
    (tmp_path / 'config.json').write_text(text)
    for read in (lambda: files.load_config(tmp_path), lambda: files.check(tmp_path, CONFIG, True)):
        with pytest.raises(UserError, match=r'config\.json is damaged') as error:
            read()
        assert '\n' not in str(error.value)
    assert (tmp_path / 'config.json').read_text() == text


@pytest.mark.parametrize('text', ['[]', 'null', '3', '"a"', '[' * 100_000])
def test_a_file_that_holds_no_named_values(tmp_path, text):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(UserError, match=r'x\.json is damaged \('):
        files.read_json(tmp_path / 'x.json', {})


def test_whatever_became_of_the_starts_before_is_kept(tmp_path):
    (tmp_path / 'provenance.json').write_text('{"git": "a", "earlier": 3}')
    files.record(tmp_path, CONFIG)
    assert json.loads((tmp_path / 'provenance.json').read_text())['earlier'] == [3, {'git': 'a'}]


def test_no_run(tmp_path):
    with pytest.raises(UserError, match=r'holds no run \(no config.json\): train first, or check the path'):
        files.load_config(tmp_path)


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match=r'cannot write to .*file/run: Not a directory'):
        files.check(tmp_path / 'file' / 'run', CONFIG, False)


def test_a_folder_is_one_runs_alone(tmp_path):
    with files.lock(tmp_path):
        with pytest.raises(UserError, match='is in use by another run: wait for it, or use another --workdir'):
            files.lock(tmp_path).__enter__()
    with files.lock(tmp_path):  # a run that has ended leaves it free
        pass


@pytest.mark.parametrize('start', [start, lambda folder: files.lock(folder).__enter__()], ids=['check', 'lock'])
def test_a_folder_that_cannot_be_written_to(start, tmp_path, monkeypatch):
    """Permissions do not bind root, who may run the tests, so that the system's refusal is played."""

    def refuse(self, *args, **kwargs):
        raise OSError(30, 'Read-only file system')

    jax.devices()  # its first call reads files
    monkeypatch.setattr(Path, 'mkdir', refuse)
    monkeypatch.setattr(Path, 'open', refuse)
    with pytest.raises(UserError) as error:
        start(tmp_path)
    assert str(error.value) == f'cannot write to {tmp_path}: Read-only file system'
    assert not [*tmp_path.iterdir()]


def test_what_cannot_be_written_is_told_before_its_content_is_made(tmp_path):
    files.check_writable(tmp_path / 'new' / 'results.json')
    assert [*tmp_path.rglob('*')] == [tmp_path / 'new']
    kept = tmp_path / 'new' / 'results.json'
    kept.write_text('{}')
    files.check_writable(kept)
    assert kept.read_text() == '{}'
    # The files that it is made of have longer names.
    for path in (kept / 'under a file.json', tmp_path / 'new', tmp_path / f'{"a" * 245}.json'):
        with pytest.raises(UserError, match='cannot write to'):
            files.check_writable(path)


def test_a_file_for_a_folder(tmp_path):
    (tmp_path / 'file').write_text('kept')
    with pytest.raises(UserError, match=r'^cannot write to .*file: File exists$'):
        files.check(tmp_path / 'file', CONFIG, False)
    assert (tmp_path / 'file').read_text() == 'kept'


@pytest.mark.parametrize(('number', 'shared'), [('7', True), ('8', False), (None, False)])
def test_another_host_sees_what_the_first_one_wrote(number, shared, tmp_path, monkeypatch):
    """On a disk of its own it would find nothing, or the file of an earlier run."""
    if number is not None:
        (tmp_path / '.lock').write_text(number)
    monkeypatch.setattr(processes, 'is_first', lambda: False)
    monkeypatch.setattr(processes, 'from_first', lambda values: [7])
    if shared:
        with files.lock(tmp_path):
            return
    with pytest.raises(UserError, match='is not the same folder on all hosts: use a shared file system, or a bucket'):
        files.lock(tmp_path).__enter__()


@pytest.mark.parametrize('code', [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named_and_used(tmp_path, monkeypatch, caplog, code):
    def refuse(file, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.fcntl, 'flock', refuse)
    with files.lock(tmp_path):
        assert (tmp_path / '.lock').exists()
    assert f'{tmp_path}/.lock has no locks' in caplog.text


def test_another_fault_of_a_lock_is_not_passed_over(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files.fcntl, 'flock', refuse)
    with pytest.raises(OSError, match='Input/output error'), files.lock(tmp_path):
        pytest.fail('the lock was given')


def test_without_git_there_is_no_commit(monkeypatch):
    """As in slim containers: no program of that name on the path."""
    monkeypatch.setenv('PATH', '/nowhere')
    assert files.provenance()['git'] is None


def test_the_tilde_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert paths.parse('~/runs/x') == tmp_path / 'runs' / 'x'
    assert paths.parse('a~b/c') == Path('a~b/c')
    assert paths.local('~/runs/x') == tmp_path / 'runs' / 'x'
    with pytest.raises(UserError, match='gs://bucket/x: this must be on this machine'):
        paths.local('gs://bucket/x')


def test_the_home_of_nobody_is_a_folder_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='~nobody_has_this_name/run holds no run'):
        files.load_config(paths.parse('~nobody_has_this_name/run'))


def test_paths_inside_follow_their_folder(tmp_path):
    """Others stay, also one that only begins like the folder's name."""
    config = {'data': {'of': str(tmp_path / 'a' / 'x' / 'y'), 'other': f'{tmp_path}/ab/x', 'near': 'a/x'}, 'seed': 0}
    files.check(tmp_path / 'a', config, allow_change=False)
    files.record(tmp_path / 'a', config)
    assert files.load_config(tmp_path / 'a') == config
    (tmp_path / 'a').rename(tmp_path / 'b')
    moved = {**config['data'], 'of': str(tmp_path / 'b' / 'x' / 'y')}
    assert files.load_config(tmp_path / 'b') == {**config, 'data': moved}
