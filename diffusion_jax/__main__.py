"""One entry point, `diffusion-jax COMMAND`: the modules that `python -m` runs, under short names, from any folder."""

import contextlib
import runpy
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from diffusion_jax import shipped
from diffusion_jax.commands import ALL, GROUPS
from diffusion_jax.errors import hang_up, nearest


def usage() -> str:
    """All commands, by what they are for."""
    width = max(map(len, ALL)) + 2
    lines = ['usage: diffusion-jax COMMAND [--flag=value ...]', '']
    for title, commands in GROUPS.items():
        lines += [title, *(f'  {command.name:{width}}{command.what}' for command in commands), '']
    return '\n'.join([*lines, 'diffusion-jax COMMAND --help tells its flags, --version the version.'])


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments name, as `python -m` would."""
    first, *rest = (sys.argv[1:] if argv is None else argv) or ['--help']
    if first in ('--help', '-h', '-help', 'help'):
        with contextlib.suppress(BrokenPipeError):  # `--help | head` hangs up earlier
            print(usage())
        hang_up()
    elif first == '--version':
        print(metadata.version('diffusion_jax'))
    elif (command := ALL.get(first.replace('_', '-'))) is None:
        print(f'error: {first!r} is no command; {nearest(first, ALL)} See diffusion-jax --help.', file=sys.stderr)
        sys.exit(2)
    else:
        here = str(Path.cwd())
        if here not in sys.path:  # for modules of the user's own, as `python -m` has it
            sys.path.insert(0, here)
        shipped.reachable()
        sys.argv[1:] = rest
        runpy.run_module(command.module, run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    main()
