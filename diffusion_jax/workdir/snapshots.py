"""Snapshots of a run's averages of several lengths: WORKDIR/ema_snapshots/STEP, in the form of its checkpoints."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import orbax.checkpoint as ocp

from diffusion_jax.errors import UserError, nearest
from diffusion_jax.types import Params
from diffusion_jax.workdir import paths, reading
from diffusion_jax.workdir.paths import AnyPath

FOLDER = 'ema_snapshots'


class Track(NamedTuple):
    """One average in one snapshot."""

    step: int
    sigma_rel: float


def name_of(sigma_rel: float) -> str:
    """The name of an average among those of a snapshot."""
    return f'sigma_rel={sigma_rel}'


@contextlib.contextmanager
def opened(workdir: AnyPath) -> Iterator[ocp.CheckpointManager]:
    """The snapshots of a run, which may be training; changes nothing.

    Raises:
        UserError: if there are none.
    """
    folder = paths.absolute(workdir) / FOLDER
    if folder.is_dir():
        with reading.open_reader(folder) as reader:
            if reader.all_steps():
                yield reader
                return
    raise UserError(f'{workdir} keeps no averages for other lengths: train with --config.train.ema_every=STEPS')


def last(workdir: AnyPath, reader: ocp.CheckpointManager, which: str = 'newest') -> int:
    """The step of a snapshot: the newest, or the one named.

    Raises:
        UserError: if there is none of that step.
    """
    steps = sorted(reader.all_steps())
    if which == 'newest':
        return steps[-1]
    if which not in map(str, steps):
        raise UserError(f'{workdir} has no averages of step {which}; {nearest(which, ["newest", *map(str, steps)])}')
    return int(which)


def tracks(reader: ocp.CheckpointManager, until: int) -> list[Track]:
    """The averages of all snapshots up to a step, in order.

    Raises:
        UserError: if the metadata of one cannot be read.
    """
    found = []
    for step in sorted(step for step in reader.all_steps() if step <= until):
        try:
            lengths = reading.metadata(reader.directory, step)['lengths']
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(reader, step) from error
        found += [Track(step, float(sigma_rel)) for sigma_rel in lengths]
    return found


def read(reader: ocp.CheckpointManager, track: Track, abstract: Params) -> Params:
    """The parameters of a track, on the shardings of `abstract`, unchanged since they were saved.

    Raises:
        UserError: if they cannot be read.
    """
    name = name_of(track.sigma_rel)
    try:
        found = reading.first_readable(
            reader, [track.step], lambda step: reading.read(reader, step, {'ema': {name: abstract}})
        )
    except UserError as error:
        raise _damaged(reader, track.step) from error
    assert found is not None  # of one step it is that one, or an error
    return found.content['ema'][name]


def _damaged(reader, step):
    return UserError(f"{reader.directory / str(step)} is damaged, or another model's: move it away, the others may do")
