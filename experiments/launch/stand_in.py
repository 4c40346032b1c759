"""A data set that is not here, by what tensorflow-datasets registers of it: one row of zeros of its shape."""

from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np

from diffusion_jax import builders
from diffusion_jax.axes import repeat_row
from diffusion_jax.builders.data import undecoded
from diffusion_jax.data import conditions, features
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source
from diffusion_jax.errors import UserError

_HERE = 'experiments.launch.stand_in.registered'


def registered(of: str, condition: str | None = None, sample: str | None = None, text_length: int = 64) -> Source:
    """The set that tensorflow-datasets registers under a name; nothing of it has to be here.

    Args:
        of: the name.
        condition: what is told, as for `data.sources.tfds`.
        sample: the feature that is x, as there.
        text_length: bytes of a text, as there.

    Raises:
        DataError: for a name that is not registered, or a set without usable samples.
    """
    import tensorflow_datasets

    try:
        found: dict[str, Any] = {**cast(Mapping[str, Any], tensorflow_datasets.builder(of).info.features)}
    except Exception as error:  # of many types, some of them of packages that read a set's raw files
        raise DataError(f'{of!r} is not here, and nothing that tensorflow-datasets registers') from error
    _, kind = features.sample(of, found, sample)
    x = np.zeros((1, *kind.shape), np.float32 if kind.levels is None else np.uint8)
    if condition is None:
        return Source(x, None, kind, None, of)
    names = [name.partition(':')[0] for name in condition.split('+')]
    told = {n: features.told(of, found, key, text_length) for n, key in zip(names, condition.split('+'), strict=True)}
    one = next(iter(told.values())).condition
    whole = one if len(told) == 1 else conditions.of_several({n: t.condition for n, t in told.items()})
    return Source(x, jax.tree.map(np.asarray, repeat_row(whole.null, 1)), kind, whole, of)


def build(config: Mapping[str, Any]) -> builders.Experiment:
    """The experiment of a resolved config, on a set that stands in for one that is not here.

    Raises:
        UserError: as `builders.build`.
    """
    data = config['data']
    try:
        return builders.build({**config, 'data': undecoded(data)})
    except UserError as error:
        kept = {k: v for k, v in data.items() if k in ('condition', 'sample', 'text_length', 'augment', 'drop_cond')}
        try:
            registered(data['name'], *(data.get(k) for k in ('condition', 'sample')))
        except DataError:
            raise error from None
        return builders.build({**config, 'data': {'name': _HERE, 'of': data['name'], **kept}})
