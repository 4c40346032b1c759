"""What is measured of a finished run."""

import dataclasses
from typing import Any, NamedTuple

from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.workdir import saved_grids
from diffusion_jax.workdir.paths import AnyPath


class Measured(NamedTuple):
    """Named values, the one that matters most first, and all that they depend on beside the run."""

    values: dict[str, float]
    protocol: dict[str, Any]  # JSON; equal protocols make values comparable


def evaluated(folder: AnyPath) -> Measured:
    """What `diffusion_jax.evaluate` says of a run with its own sampler: all distances, and bits/dim where asked for.

    Raises:
        UserError: if the run cannot be opened or measured.
    """
    run = runs.load(folder)
    settings, held_out = run.config['eval'], runs.held_out(run)
    sampling = runs.sampling(run, saved_grids.resolved(folder, run.config['sample']))
    result = runs.survey(run, sampling, settings['num'], runs.reference(run, held_out))
    values, protocol = result.values, dataclasses.asdict(result.protocol)
    if settings['bits_num']:
        if held_out is None:
            raise UserError('bits/dim needs held-out data: set eval.held_out, or eval.bits_num=0')
        bits = runs.bits_per_dim(run, held_out, settings['bits_num'])
        values = {**values, 'bits/dim': bits['bits/dim']}
        protocol = {**protocol, 'bits/dim on': held_out.name, 'rows': bits['rows']}
    return Measured(values, protocol)
