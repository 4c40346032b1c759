"""Samples of a run drawn in parallel over time."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from diffusion_jax import builders
from diffusion_jax.inference.runs import Sampling


class InParallel(NamedTuple):
    """How samples are drawn, and what that took so far."""

    sampling: Sampling
    told: Callable[[], str]  # in a line


def in_parallel(spec: Mapping[str, Any], sampling: Sampling, parallel: Mapping[str, Any]) -> InParallel:
    """`runs.sampling` of the same spec, by Picard iterations as a spec says: see `builders.build_parallel`.

    A window moves on when every sample of a batch has settled, so that a sample depends, to the tolerance, on how many
    are drawn at once.

    Raises:
        UserError: as `builders.build_parallel`.
    """
    S, draw = builders.build_parallel(sampling.guided.experiment, spec, parallel, sampling.guided.other)
    draw, evaluations = jax.jit(draw), []

    def counted(params, keys, index):
        x, count = draw(params, keys, index)
        evaluations.append(count)
        return x

    def told():
        mean = np.mean([int(count) for count in evaluations]) if evaluations else 0
        return f'{mean:.4g} evaluations of a step one after another, of a window each, for the {S} steps of a batch'

    return InParallel(sampling._replace(drawing=sampling.drawing._replace(draw=counted)), told)
