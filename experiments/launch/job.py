"""What is to be launched: a training run, or runs of a sweep."""

import re
import shlex
from typing import NamedTuple

from diffusion_jax.errors import UserError


class Job(NamedTuple):
    """A command that does the same again when it is repeated, and goes on where it was.

    Its exit codes: 0 done, 2 something that the user must mend, 143 told to stop and saved: run it again.
    """

    name: str  # a few lower-case letters, digits and hyphens, as GKE wants it
    workdir: str
    repository: str  # its folder here
    arguments: tuple[str, ...]  # what follows `python`
    indices: tuple[int, ...] | None  # of a sweep's runs; None for a run by itself
    whole: bool  # those are all runs of the sweep
    setup: str  # a line of shell that comes first on every machine, or nothing

    def command(self, index: str = '', python: str = 'python') -> str:
        """The command as a line of shell; what is given is put in unquoted, so that it may be a variable."""
        words = [python, *map(shlex.quote, self.arguments)]
        return ' '.join([*words, *([f'--index={index}'] if index else [])])


def parse_indices(text: str | None, n: int) -> tuple[int, ...]:
    """The runs that `0-3,7` names, of `n`; all of them for None.

    Raises:
        UserError: for another form, or a run that is not there.
    """
    parts = [re.fullmatch(r'(\d+)(?:-(\d+))?', part) for part in (text or f'0-{n - 1}').split(',')]
    if None in parts:
        raise UserError(f'--index={text}: the form is 3, or 0-3,7')
    indices = tuple(i for part in parts if part for i in range(int(part[1]), int(part[2] or part[1]) + 1))
    if not indices or max(indices) >= n:
        raise UserError(f'--index={text}: the sweep has the runs 0 to {n - 1}')
    return indices


def ranges(indices: tuple[int, ...]) -> str:
    """Ascending indices as SLURM writes them: neighbours in a row as `a-b`."""
    parts: list[list[int]] = []
    for i in sorted(indices):
        if parts and i == parts[-1][-1] + 1:
            parts[-1].append(i)
        else:
            parts.append([i])
    return ','.join(f'{p[0]}-{p[-1]}' if len(p) > 1 else str(p[0]) for p in parts)
