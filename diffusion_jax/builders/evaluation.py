"""The feature space of a config's `eval` section."""

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from diffusion_jax.builders.specs import find, make
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import classifier, features, pretrained
from diffusion_jax.evaluation.rows import Values

_FEATURES = SimpleNamespace(
    __all__=['classifier', 'dinov2', 'inception', 'pca', 'pixels'],
    classifier=classifier.classifier,
    dinov2=pretrained.dinov2,
    inception=pretrained.inception,
    pca=features.pca,
    pixels=features.pixels,
)


def build_features(spec: Mapping[str, Any], reference: np.ndarray | Values) -> features.Features:
    """The feature space of a config's `eval.features`, for a reference set `[N, ...]` in [-1, 1].

    Raises:
        UserError: as `make`.
    """
    context = {'reference': reference, 'shape': reference.shape[1:]}
    return make(_FEATURES, spec, context, 'config.eval.features')


def build_features_of_shape(spec: Mapping[str, Any], shape: tuple[int, ...]) -> features.Features:
    """The feature space of a spec for samples `[n, *shape]`, where there is no reference set to make it from.

    Raises:
        UserError: as `make`; for one that is made from a reference set.
    """
    name = str(spec.get('name'))
    if 'reference' in inspect.signature(find(_FEATURES, name, 'config.eval.features')).parameters:
        raise UserError(
            f'config.eval.features: {name!r} is made from the data, which a file of statistics does not hold: name the '
            'network that the statistics are of'
        )
    return make(_FEATURES, spec, {'shape': tuple(shape)}, 'config.eval.features')
