"""The parallel runs of a sampler that the sampling command offers."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from diffusion_jax import samplers
from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.builders.guidance import Other, WithOther
from diffusion_jax.builders.sampling import build_bound
from diffusion_jax.builders.specs import make
from diffusion_jax.errors import UserError
from diffusion_jax.ranges import whole, within
from diffusion_jax.samplers import Parallel
from diffusion_jax.types import Array, Key, Params


def build_parallel(
    experiment: Experiment, spec: Mapping[str, Any], parallel: Mapping[str, Any], other: Other | None = None
) -> tuple[int, Callable[[Params, Key, Array], Parallel]]:
    """The number of steps S, and (params, keys [B], index [B]) -> Parallel: what `build_draw` draws, by fewer in turn.

    Args:
        experiment: the run.
        spec: a config's `sample` section.
        parallel: `picard`, with a `window` and a `tolerance`; see `samplers.parallel`.
        other: what its guidance takes of another run.

    Raises:
        UserError: as `build_draw`; for a sampler with memory, or an argument outside of its range.
    """
    if experiment.levels is not None:
        raise UserError('--parallel: tokens come nearer to no limit: leave it out')
    run = make(_PARALLEL, parallel, {}, '--parallel')
    grid, bind = build_bound(experiment, spec, other)

    def draw(params, keys, index):
        return run(*bind(params, keys, index), grid)

    nothing = {} if other is None else WithOther({}, {})
    sampler, _, x = bind(nothing, jax.random.key(0)[None], jnp.zeros(1, jnp.int32))
    if len(jax.tree.leaves(jax.eval_shape(sampler.init, x))) > 1:
        raise UserError(
            f'--parallel: {spec["sampler"]["name"]} remembers its earlier steps: use ddim, ancestral or heun'
        )
    return len(grid) - 1, draw


def _picard(window: int, tolerance: float = 1e-3):
    whole('[1, inf)', window=window)
    within('[0, inf)', tolerance=tolerance)
    return lambda sampler, key, x, times: samplers.parallel(sampler, key, x, times, window, tolerance)


_PARALLEL = SimpleNamespace(__all__=['picard'], picard=_picard)
