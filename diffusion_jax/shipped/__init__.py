"""The packages `configs` and `experiments`: beside this one in the repository, inside this folder after `pip install`.

They keep their own names, so that a file reads the same in both places. An installed one is on Python's path only while
an entry point of this package runs: nothing else on the machine can stumble over such common names.
"""

import sys
from pathlib import Path

from diffusion_jax.errors import UserError, nearest


def root() -> Path:
    """The folder that holds `configs` and `experiments`."""
    here = Path(__file__).parent
    return here if (here / 'configs').is_dir() else here.parents[1]


def reachable() -> None:
    """Lets Python find `configs` and `experiments`; other folders of these names on its path are parts of the same."""
    ours = str(root())
    sys.path[:] = [ours, *(path for path in sys.path if path != ours)]


def config_names() -> list[str]:
    """What `--config=NAME` finds."""
    files = sorted((root() / 'configs').glob('*.py'))
    return [path.stem for path in files if 'def get_config(' in path.read_text(encoding='utf-8')]


def file(path: str) -> str:
    """The path; where nothing is there, but in the repository a file has it, that file."""
    ours = root() / path
    return str(ours) if not Path(path).exists() and ours.is_file() else path


def config(named: str) -> str:
    """`FILE` or `FILE:ARG` of a config that is given by its file, its name, or its path in the repository.

    Raises:
        UserError: if there is no such config.
    """
    path, colon, argument = named.partition(':')
    found = file(path)
    if not Path(found).is_file() and path.isidentifier():
        found = file(f'configs/{path}.py')
    if path and not Path(found).is_file():
        near = f'; {nearest(path, config_names())}' if path.isidentifier() else ''
        raise UserError(f'there is no config file {path}{near}')
    return f'{found}{colon}{argument}'
