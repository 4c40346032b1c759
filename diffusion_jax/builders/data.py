"""The data set of a config."""

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from diffusion_jax.builders.specs import make
from diffusion_jax.data import sources
from diffusion_jax.errors import UserError, nearest

_OF_BATCHES = ('flip', 'drop_label')  # what the section says of batches, not of the set
_EMBEDDED = SimpleNamespace(__all__=['digits', 'mixture'], digits=sources.digits, mixture=sources.mixture)


def build_source(spec: Mapping[str, Any], split: str | None = None) -> sources.Source:
    """The data set of a config's `data` section; `split` replaces its split.

    Raises:
        UserError: if the data set is not there or not readable.
    """
    spec = {k: v for k, v in spec.items() if k not in _OF_BATCHES and v is not None}
    if split is not None:
        spec['split'] = split
    if spec.get('name') in _EMBEDDED.__all__:
        return make(_EMBEDDED, spec, {}, 'config.data')
    settable = list(inspect.signature(sources.tfds).parameters)
    for key in spec:
        if key not in settable:
            raise UserError(f'config.data.{key} is not an argument of a data set; {nearest(key, settable)}')
    return sources.tfds(**{'name': '', **spec})


def undecoded(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The `data` section of the same set read from disk where it is indexed: its shape without decoding it all."""
    return dict(spec) if spec.get('name') in _EMBEDDED.__all__ else {**spec, 'memory_limit': 0}
