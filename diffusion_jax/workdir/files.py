"""The files of a run beside its checkpoints: config.json (resolved) and provenance.json."""

import contextlib
import errno
import fcntl
import importlib.metadata
import json
import logging
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from diffusion_jax.devices import processes
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.workdir import paths
from diffusion_jax.workdir.paths import AnyPath

FORMAT = 2  # of config.json: what an older or newer one says is not guessed
# What a file system without locks says: Lustre, NFS without its lock daemon.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_INSIDE = '{workdir}/'  # how config.json begins a path inside its own folder, so that the folder can be moved
_VERSIONS = ('diffusion_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


def check(
    workdir: AnyPath, config: Mapping[str, Any], allow_change: bool, complete: Callable[[dict], dict] = dict
) -> None:
    """Checks that a folder can be the workdir of this run, and creates it. Writes nothing into it.

    Args:
        workdir: the folder.
        config: resolved.
        allow_change: of a config that is saved there.
        complete: fills in what the saved config of an older version has not yet.

    Raises:
        UserError: if it holds a run of another config, showing the difference, unless `allow_change`; or if it cannot
            be created.
    """
    if (workdir / 'config.json').exists():
        changed = differences(complete(load_config(workdir)), config)
        if changed and not allow_change:
            raise UserError(
                f'{workdir} holds a run with another config (saved -> given):\n'
                + '\n'.join(f'  {line}' for line in changed)
                + '\nUse another --workdir, or --allow_config_change to go on with the config given.'
            )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(workdir, error) from error


def check_writable(path: AnyPath) -> None:
    """Checks that a file can be written there, before the hours that its content takes. Creates its folder.

    Of several processes, of which the first writes, the first does it. A bucket tells only when it is written to.

    Raises:
        UserError: if it cannot.
    """
    if paths.is_remote(path) or not processes.is_first():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # As long a name as any that is taken until the file is whole.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f'.{path.name}.', suffix='.unfinished'):
            pass
        if path.exists():
            path.open('a').close()
    except OSError as error:
        raise _unwritable(path if path.is_dir() else path.parent, error) from error


@contextlib.contextmanager
def lock(workdir: AnyPath):
    """Keeps a folder to this run alone, until its first process ends, however it ends. A bucket has no locks.

    Raises:
        UserError: if another run has it, it cannot be written to, or is not the same folder on all hosts.
    """
    if paths.is_remote(workdir):
        yield
        return
    if not processes.is_first():
        _check_shared(workdir)
        yield
        return
    try:
        file = (workdir / '.lock').open('a')
    except OSError as error:  # a folder without permission, a disk that is mounted for reading only
        raise _unwritable(workdir, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f'{workdir} is in use by another run: wait for it, or use another --workdir') from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logging.warning(
                '%s has no locks (%s): nothing notices a second run there', workdir / '.lock', error.strerror
            )
        (number,) = processes.from_first([secrets.randbelow(2**31)])
        file.truncate(0)
        file.write(str(number))
        file.flush()
        os.fsync(file.fileno())
        processes.together('locked')
        yield


def _check_shared(workdir):
    (number,) = processes.from_first([0])
    processes.together('locked')
    path = workdir / '.lock'
    if not path.exists() or path.read_text() != str(number):
        raise UserError(f'{workdir} is not the same folder on all hosts: use a shared file system, or a bucket (gs://)')


def _unwritable(workdir, error):
    return UserError(f'cannot write to {workdir}: {error.strerror or one_line(error)}')


def record(workdir: AnyPath, config: Mapping[str, Any]) -> None:
    """Saves the config, and what this start of the run runs with; `earlier` keeps the starts before it.

    Absolute paths inside the workdir are saved relative to it. Of several processes the first does it.
    """
    if not processes.is_first():
        return
    write_json(workdir / 'config.json', {'format': FORMAT, **_replaced(config, f'{paths.absolute(workdir)}/', _INSIDE)})
    path = workdir / 'provenance.json'
    last = read_json(path, {})
    earlier = last.pop('earlier', [])
    known = earlier if isinstance(earlier, list) else [earlier]  # whatever somebody made of it
    write_json(path, {**provenance(), 'earlier': [*known, last] if last else []})


def load_config(workdir: AnyPath) -> dict[str, Any]:
    """The resolved config of a run; paths inside its workdir are absolute, wherever that lies now.

    Raises:
        UserError: if the folder holds no run, or its config.json is damaged, or another version's.
    """
    path = workdir / 'config.json'
    if not path.exists():
        raise UserError(f'{workdir} holds no run (no config.json): train first, or check the path')
    config = read_json(path, {})
    found = config.pop('format', 1)
    if found != FORMAT:
        raise UserError(
            f'{workdir} was written by another version of diffusion_jax (format {found}, this one reads {FORMAT}): use '
            'the version that its provenance.json names, or train it anew'
        )
    return _replaced(config, _INSIDE, f'{paths.absolute(workdir)}/')


def _replaced(node: Any, prefix: str, by: str) -> Any:
    """Nested names with the prefix of every text that has it replaced."""
    if isinstance(node, Mapping):
        return {name: _replaced(below, prefix, by) for name, below in node.items()}
    return by + node.removeprefix(prefix) if isinstance(node, str) and node.startswith(prefix) else node


def read_json(path: AnyPath, default: Mapping[str, Any]) -> dict[str, Any]:
    """The named values that a JSON file holds, `default` if there is none.

    Raises:
        UserError: if the file is not JSON, or holds anything else.
    """
    try:
        content = json.loads(path.read_text()) if path.exists() else default
    except (ValueError, RecursionError) as error:
        raise UserError(f'{path} is damaged ({one_line(error)}): mend it, or move it away') from error
    if not isinstance(content, dict):
        raise UserError(f'{path} is damaged (it holds no named values): mend it, or move it away')
    return dict(content)


def write_json(path: AnyPath, content: Any) -> None:
    """Writes a JSON file as `write_text` does."""
    write_text(path, json.dumps(content, indent=2) + '\n')


def write_text(path: AnyPath, text: str) -> None:
    """Replaces a file in one go: a full disk or a kill leaves the old content whole."""
    if paths.is_remote(path):
        path.write_text(text)
        return
    unfinished = path.with_name(f'.{path.name}.unfinished')
    unfinished.write_text(text)
    unfinished.replace(path)


def _plain(config):
    return json.loads(json.dumps(config))


def flat(tree: Any, prefix: str = '') -> dict[str, Any]:
    """Nested names as dotted ones."""
    if isinstance(tree, dict):
        return {k: v for key, sub in tree.items() for k, v in flat(sub, f'{prefix}{key}.').items()}
    return {prefix[:-1]: tree}


def differences(saved: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The fields in which two configs differ, one `name: saved -> given` each."""
    a, b = flat(_plain(saved)), flat(_plain(given))  # what an older version had not yet is filled in as it is here
    missing = '(none)'
    # A field that an older version did not have yet is None where it is not used.
    keys = [k for k in {**a, **b} if a.get(k) != b.get(k)]
    return [f'{k}: {a.get(k, missing)} -> {b.get(k, missing)}' for k in keys]


def provenance() -> dict[str, Any]:
    """Command, commit (None outside of a repository, or without git), versions and devices of this process."""
    return {
        'command': sys.argv,
        'git': _commit(),
        'python': sys.version.split()[0],
        'versions': {name: _version(name) for name in _VERSIONS},
        'devices': [str(d) for d in jax.devices()],
        'processes': jax.process_count(),
    }


def _commit():
    command = ['git', 'describe', '--always', '--dirty', '--abbrev=12']
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # slim containers have no git
        return None
    return done.stdout.strip() or None


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
