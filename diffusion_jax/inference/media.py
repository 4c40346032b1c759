"""Samples shown by their kind of data; what cannot be shown is a warning, and ends nothing."""

import logging
from collections.abc import Mapping

import numpy as np

from diffusion_jax.data import show
from diffusion_jax.errors import one_line
from diffusion_jax.types import Kind
from diffusion_jax.workdir.paths import AnyPath

_VARIANTS = 14  # of each image that are shown


def save(path: AnyPath, kind: Kind, x: np.ndarray) -> None:
    """Writes files to look at or listen to beside `path`, which has no suffix; samples `[n, ...]` as drawn."""
    _guarded(path, lambda: kind.show(path, x))


def save_edits(path: AnyPath, kind: Kind, beside: Mapping[str, np.ndarray], x: np.ndarray) -> None:
    """Of images one row each, of the first 16: what is beside it, `[n, ...]` each, and its first 14 variants of x."""
    if len(kind.shape) != 3:
        save(path, kind, x)
        return
    given = np.stack([*beside.values()], 1)
    rows = np.concatenate([given, x.reshape(len(given), -1, *x.shape[1:])], 1)[:16, : given.shape[1] + _VARIANTS]

    def write():
        grid = show.framed_grid(rows.reshape(-1, *x.shape[1:]), columns=rows.shape[1])
        show.save_png(path.with_name(f'{path.name}.png'), grid)

    _guarded(path, write)


def _guarded(path, write):
    """Hours of training are worth more than a picture: neither a full disk nor a kind that shows nothing ends them."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except Exception as error:
        logging.warning('samples cannot be shown as %s: %s', path, one_line(error))
