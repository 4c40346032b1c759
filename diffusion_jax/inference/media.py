"""Samples shown by their kind of data; what cannot be shown is a warning, and ends nothing."""

import logging
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from diffusion_jax.builders import States
from diffusion_jax.data import show
from diffusion_jax.errors import one_line
from diffusion_jax.types import Kind, Schedule
from diffusion_jax.workdir.paths import AnyPath

_VARIANTS = 14  # of each image that are shown
_STEPS, _WAYS = 11, 4  # of a trajectory, and samples


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


def save_trajectory(path: AnyPath, kind: Kind, schedule: Schedule, times: np.ndarray, states: States) -> None:
    """The way of the first samples: x_t, on the scale of the data, and x_0(x_t, t) below it or beside it.

    Images are shown at ten steps, points at all; of other data the first sample is shown by its kind, x_t in one file
    and x_0 in another.

    Args:
        path: of the picture, without suffix.
        kind: of the data.
        schedule: of the model.
        times: the grid `[S + 1]`.
        states: on it.
    """
    t = jnp.asarray(times, jnp.float32)
    x, x_0 = (np.asarray(a) for a in states)
    scale = np.asarray(jnp.sqrt(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2))
    x = x / scale.reshape(-1, *(1,) * (x.ndim - 1))
    x_0 = np.concatenate([x_0, x[-1:]])  # of data without noise it is x itself
    shown = np.unique(np.linspace(0, len(times) - 1, min(len(times), _STEPS)).astype(int))
    of_x, of_x_0 = 'x_t / √(α² + σ²)', 'x_0(x_t, t)'

    def images():
        rows = {}
        for i in range(min(x.shape[1], _WAYS)):
            rows |= {f'{of_x}, sample {i}': x[shown, i], f'{of_x_0}, sample {i}': x_0[shown, i]}
        show.named_rows(path.with_name(f'{path.name}.png'), rows, [f't = {times[k]:.3g}' for k in shown])

    def points():
        show.ways(path, {of_x: x, of_x_0: x_0})

    def others():
        for name, a in (('x', x), ('x_0', x_0)):
            kind.show(path.with_name(f'{path.name}_{name}'), a[shown, 0])

    _guarded(path, {3: images, 1: points}.get(len(kind.shape), others))


def _guarded(path, write):
    """Hours of training are worth more than a picture: neither a full disk nor a kind that shows nothing ends them."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except Exception as error:
        logging.warning('samples cannot be shown as %s: %s', path, one_line(error))
