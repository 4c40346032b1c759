"""The averaged parameters of a run, of the length that it kept, or of another one put together from its snapshots."""

from typing import NamedTuple

import jax

from diffusion_jax.errors import UserError, one_line
from diffusion_jax.optim import post_hoc
from diffusion_jax.optim.ema import gamma_of
from diffusion_jax.types import Params
from diffusion_jax.workdir import snapshots
from diffusion_jax.workdir.paths import AnyPath

MOST = 0.1  # of a profile's norm may be missing


class Averages(NamedTuple):
    """What a length is put together from."""

    tracks: list[snapshots.Track]
    fit: post_hoc.Fit
    step: int


def plan(workdir: AnyPath, sigma_rel: float, which: str = 'newest') -> Averages:
    """How the average of a length comes about at the step of the newest snapshot, or of another one. Reads no arrays.

    Args:
        workdir: of a run with `train.ema_every`.
        sigma_rel: standard deviation of the average's profile as a share of the steps so far (`optim.ema.power`).
        which: 'newest', or a step.

    Raises:
        UserError: for a length that there cannot be, or the snapshots do not add up to; if there are none.
    """
    try:
        gamma_of(sigma_rel)
    except ValueError as error:
        raise UserError(f'--ema: {one_line(error)}') from error
    with snapshots.opened(workdir) as reader:
        step = snapshots.last(workdir, reader, which)
        tracks = snapshots.tracks(reader, step)
    known = post_hoc.profiles([track.step for track in tracks], [track.sigma_rel for track in tracks])
    fit = post_hoc.fit(known, step, sigma_rel)
    if fit.residual > MOST:
        kept = ' and '.join(map(str, sorted({track.sigma_rel for track in tracks})))
        raise UserError(
            f'--ema={sigma_rel}: {len({track.step for track in tracks})} snapshots of the lengths {kept} miss '
            f'{fit.residual:.2g} of its profile, and may miss {MOST}: take a length nearer to these, or train with a '
            'smaller train.ema_every'
        )
    return Averages(tracks, fit, step)


def restore(workdir: AnyPath, abstract: Params, averages: Averages) -> Params:
    """The parameters that a plan leads to, on the shardings of `abstract`, reading one track at a time.

    Raises:
        UserError: if one of the snapshots cannot be read.
    """
    total = None
    with snapshots.opened(workdir) as reader:
        for track, weight in zip(averages.tracks, averages.fit.weights, strict=True):
            part = snapshots.read(reader, track, abstract)
            total = _scaled(float(weight), part) if total is None else _added(total, float(weight), part)
    return total


@jax.jit
def _scaled(weight, params):
    return jax.tree.map(lambda a: weight * a, params)


@jax.jit
def _added(total, weight, params):
    return jax.tree.map(lambda s, a: s + weight * a, total, params)
