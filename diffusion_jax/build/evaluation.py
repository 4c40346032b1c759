"""The bound and the feature space of a config's `eval` section."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from diffusion_jax import guidance, likelihood, reverse
from diffusion_jax.build.experiment import Experiment
from diffusion_jax.data import sources
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.evaluation import classifier, features, pretrained
from diffusion_jax.specs import make
from diffusion_jax.types import Array, Key, Params

_FEATURES = SimpleNamespace(
    __all__=['classifier', 'dinov2', 'inception', 'pca', 'pixels'],
    classifier=classifier.classifier,
    dinov2=pretrained.dinov2,
    inception=pretrained.inception,
    pca=features.pca,
    pixels=features.pixels,
)
_VARIANCES = {'small': reverse.small, 'large': reverse.large}


def build_reverse(experiment: Experiment, params: Params, cond: Array | None, variance: str) -> reverse.Reverse:
    """The reverse process whose bound is reported: the learned variance where there is one, else `variance`.

    Raises:
        UserError: for an unknown variance.
    """
    if 'model_with_variance' in experiment.models:
        raw = experiment.models['model_with_variance'](params, cond, None)
        return reverse.learned(guidance.on_x_0(guidance.clip, raw), experiment.schedule)
    if variance not in _VARIANCES:
        raise UserError(f'config.eval.variance={variance!r} is unknown; known: {", ".join(_VARIANCES)}')
    denoise = guidance.clip(experiment.models['model'](params, cond, None))
    return reverse.fixed(denoise, experiment.schedule, _VARIANCES[variance])


def build_bound(
    experiment: Experiment, source: sources.Source, variance: str, terms: int | None
) -> Callable[[Params, Key, Array, Array | None], likelihood.BoundTerms]:
    """The bound on a data set, `(params, key, x [B, ...], cond [B] or None) -> BoundTerms`.

    Raises:
        UserError: for a schedule that is no table, data without levels, an unknown variance, too many terms.
    """
    levels, T = source.levels, experiment.context.get('T')
    if 'model' not in experiment.models:
        raise UserError('bits/dim needs a diffusion model: set --bits_num=0')
    if levels is None:
        raise UserError(f'bits/dim needs quantised data, and {source.name} is continuous: set --bits_num=0')
    if T is None:
        raise UserError('bits/dim of the bound needs a table of steps (DiscreteVP): set --bits_num=0')

    def bound(params, key, x, cond):
        p = build_reverse(experiment, params, cond, variance)
        return likelihood.vlb(p, experiment.schedule, T, levels, terms)(key, x)

    try:
        likelihood.vlb(build_reverse(experiment, {}, None, variance), experiment.schedule, T, levels, terms)
    except ValueError as error:
        raise UserError(f'config.eval.bits_terms: {one_line(error)}') from error
    return bound


def build_features(spec: Mapping[str, Any], reference: np.ndarray) -> features.Features:
    """The feature space of a config's `eval.features`, for a reference set `[N, ...]` in [-1, 1].

    Raises:
        UserError: as `make`.
    """
    context = {'reference': reference, 'shape': reference.shape[1:]}
    return make(_FEATURES, spec, context, 'config.eval.features')
