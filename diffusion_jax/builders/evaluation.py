"""The feature space of a config's `eval` section."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from diffusion_jax.builders.specs import make
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
