"""The rows of a comparison: what is normal, what is not, and two controls of the judge."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from diffusion_jax import builders
from diffusion_jax.data.quantise import rounded
from diffusion_jax.data.sources import Source
from diffusion_jax.data.without import without
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.types import Kind

NORMAL, TRAINING, SCRAMBLED = 'held out', 'training', 'scrambled'
LEFT_OUT = 'the class left out'


class Split(NamedTuple):
    """Rows in [-1, 1] `[n, ...]`, the same for every method."""

    train: Values  # what baselines are fitted to
    sets: Mapping[str, Float[np.ndarray, 'n ...']]  # what is scored, by name
    anomalies: str  # the name of those that should be told from `NORMAL`


def without_class(data: Mapping[str, Any], label: int, held_out: str, num: int, seed: int) -> Split:
    """A class against all others.

    Normal are held-out rows of the other classes. Of the class left out no row was trained on, so that all of both
    splits are anomalies.

    Args:
        data: a config's `data` section, of a model that is told nothing.
        label: the class.
        held_out: the split that was not trained on.
        num: of rows of each set at most, drawn at random.
        seed: of that draw.
    """
    rng, told = np.random.default_rng(seed), {**data, 'condition': 'label', 'without': None}
    both = [builders.build_source(told, part) for part in (data['split'], held_out)]
    anomalous = _some(rng, np.concatenate([_of_class(source, label) for source in both]), num)
    train, normal = (Values(without(source, label)) for source in both)
    return _split(rng, train, normal, {LEFT_OUT: anomalous}, num)


def against(data: Mapping[str, Any], other: Mapping[str, Any], held_out: str, num: int, seed: int) -> Split:
    """Another data set against this one, brought to its size, channels and levels; as for `without_class`.

    Of the other set it takes its `split`, or where it names none `held_out`.

    Raises:
        UserError: if either is not of images.
    """
    rng = np.random.default_rng(seed)
    train, normal = (Values(builders.build_source(data, part)) for part in (data['split'], held_out))
    source = builders.build_source(other, None if 'split' in other else held_out)
    x = Values(source)
    kind = builders.build_source(builders.undecoded(data), held_out).kind
    anomalous = like(kind, _some(rng, x, num), source.name)
    return _split(rng, train, normal, {other['name']: anomalous}, num)


def like(kind: Kind, x: Float[np.ndarray, 'n h w c'], name: str) -> Float[np.ndarray, 'n h2 w2 c2']:
    """Images in [-1, 1] with the size, the channels and the levels of another kind.

    Sizes by antialiased bilinear interpolation; to one channel by the mean, from one by repetition.

    Raises:
        UserError: where one is not of images, or their channels are others.
    """
    if x.ndim != 4 or len(kind.shape) != 3:
        raise UserError(f'--against={name}: images against images alone')
    h, w, c = kind.shape
    if c == 1:
        x = x.mean(-1, keepdims=True)
    elif x.shape[-1] == 1:
        x = np.repeat(x, c, axis=-1)
    elif x.shape[-1] != c:
        raise UserError(f'--against={name}: {x.shape[-1]} channels cannot become {c}')
    return rounded(np.asarray(jax.image.resize(jnp.asarray(x), (len(x), h, w, c), 'linear')), kind.levels)


def _split(rng, train, normal, anomalous, num):
    chosen = _some(rng, normal, num)
    order = rng.permutation(chosen[0].size)  # one for all rows: what was anywhere is somewhere
    scrambled = chosen.reshape(len(chosen), -1)[:, order].reshape(chosen.shape)
    sets = {NORMAL: chosen, **anomalous, SCRAMBLED: scrambled, TRAINING: _some(rng, train, num)}
    (name,) = anomalous
    return Split(train, sets, name)


def _some(rng, x, num):
    return x[rng.permutation(len(x))[:num]]  # in no order, so that any part of them is as good as another


def _of_class(source: Source, label: int):
    (labels,) = jax.tree.leaves(source.cond)
    return Values(source)[np.flatnonzero(labels[np.arange(len(source.x))] == label)]
