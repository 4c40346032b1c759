"""What a network is told beside x: the noise level, and a condition of any parts."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import unfreeze
from jaxtyping import Array, Float

from diffusion_jax.nets.blocks import dense, sinusoid, unit_init
from diffusion_jax.nets.text import TextEncoder
from diffusion_jax.types import Cond, Masked, Part


class Embedded(NamedTuple):
    """What the blocks see of a condition."""

    vector: Float[Array, 'b f']
    tokens: Masked | None  # [B, L, F], of all sequences one after another; None without sequences
    image: Float[Array, 'b ... c'] | None  # to be further channels of the network's input; None without images


class Embedding(nn.Module):
    """Noise level and condition -> `Embedded`: the level by sinusoid, dense, SiLU, dense, and every part added to it.

    Two noise levels, as a flow map has, have dense layers of their own and are summed. A class is a row of a table, the
    last of which is the null class; k classes in one part have a table each. A vector goes through a dense layer, and
    a learned one stands for a missing one. The places of a sequence become tokens, and their mean is added to the
    vector. An image is handed through, followed by a channel that is 1 where there is one and 0 where there is none.

    Attributes:
        dim: number of sinusoids; even, at least 4.
        features: of the vector and of the tokens.
        condition: a pytree of `Part`; None for an unconditional network.
        waves: (c_noise [B], dim) -> the sinusoids [B, dim].
        level_init: of the level's dense layers.
        row_init: of tables, positions and what stands for a missing vector; a unit normal as in ADM.
        text_layers: of a `TextEncoder` that every text goes through; 0 for none.
        fourier: standard deviation of the frequencies that stand for those of `waves`; they are drawn once and stay.
        early: rows of a class's table, sqrt(classes) times, and a bias are summed with the sinusoids (EDM's SongUNet).
    """

    dim: int
    features: int
    condition: Any = None
    waves: Callable[[Array, int], Array] = sinusoid
    level_init: Callable[..., Array] = unit_init
    row_init: Callable[..., Array] = nn.initializers.normal(1.0)
    text_layers: int = 0
    fourier: float | None = None
    early: bool = False

    @nn.compact
    def __call__(self, c_noise: Float[Array, 'b ...'], cond: Cond, spatial: tuple[int, ...] = ()) -> Embedded:
        """Embed `c_noise` (`[B]` or `[B, 2]`) and `cond` (None: nothing is told) beside an x of these spatial axes.

        Raises:
            ValueError: a condition that is not the network's, an image of other than x's size, or a `c_noise` of
                another shape.
        """
        if c_noise.shape[1:] not in ((), (2,)):
            raise ValueError(f'c_noise must be [B] or [B, 2]; got {c_noise.shape}')
        rows = rows_of(self.condition, cond, len(c_noise))
        among = [self._early(name or 'classes', part, row) for name, part, row in rows if self._is_early(part)]
        if c_noise.ndim == 1:
            vector = self._level(c_noise, '', among)
        else:
            vector = self._level(c_noise[:, 0], '', among) + self._level(c_noise[:, 1], 'second_')
        tokens, images = [], []
        for name, part, row in rows:
            if self._is_early(part):
                continue
            if part.sequence:
                tokens.append(self._tokens(name or 'sequence', part, row))
                vector = vector + dense(self.features, f'{name or "sequence"}_mean', None)(_mean(tokens[-1]))
            elif part.num is not None:
                vector = vector + self._classes(name or 'classes', part, row)
            elif len(part.shape) <= 1:
                vector = vector + self._vector(name or 'vector', row)
            else:
                images.append(_image(part, row, spatial))
        return Embedded(
            vector,
            Masked(*(jnp.concatenate(t, axis=1) for t in zip(*tokens, strict=True))) if tokens else None,
            jnp.concatenate(images, axis=-1) if images else None,
        )

    def _level(self, c: Array, prefix: str, among: Sequence[Array] = ()) -> Array:
        waves = self.waves(c, self.dim) if self.fourier is None else self._fourier(c, prefix)
        emb = dense(self.features, f'{prefix}dense_1', None, self.level_init)(sum(among, waves))
        return dense(self.features, f'{prefix}dense_2', None, self.level_init)(nn.silu(emb))

    def _fourier(self, c: Array, prefix: str) -> Array:
        """[sin(2 pi f_i c) ..., cos(2 pi f_i c) ...]; its frequencies are parameters without a gradient."""
        f = self.param(f'{prefix}frequencies', nn.initializers.normal(self.fourier or 0.0), (self.dim // 2,))
        dtype = jnp.promote_types(c.dtype, jnp.float32)
        phase = c.astype(dtype)[:, None] * (2 * jnp.pi * jax.lax.stop_gradient(f).astype(dtype))[None, :]
        return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)

    def _is_early(self, part: Part) -> bool:
        return self.early and part.num is not None and not part.sequence and part.shape == ()

    def _early(self, name: str, part: Part, row: Array) -> Array:
        num = part.num or 0
        table = nn.Embed(num + 1, self.dim, embedding_init=unit_init, name=name)
        bias = self.param(f'{name}_bias', nn.initializers.zeros, (self.dim,))
        return math.sqrt(num) * table(row) + bias[None, :]

    def _table(self, rows: int, name: str) -> nn.Embed:
        return nn.Embed(rows, self.features, embedding_init=self.row_init, name=name)

    def _classes(self, name: str, part: Part, row: Array) -> Array:
        rows = (part.num or 0) + 1
        if part.shape == ():
            return self._table(rows, name)(row)
        of_each = [self._table(rows, f'{name}_{i}')(row[:, i]) for i in range(*part.shape)]
        return jnp.stack(of_each).sum(0)

    def _vector(self, name: str, row: Masked) -> Array:
        told = dense(self.features, name, None)(_real(row).reshape(len(row.mask), -1))
        nothing = self.param(f'{name}_nothing', self.row_init, (self.features,))
        return jnp.where(row.mask[:, None], told, nothing[None, :])

    def _tokens(self, name: str, part: Part, row: Masked) -> Masked:
        if part.num is None:
            tokens = dense(self.features, name, None)(_real(row))
        else:
            tokens = self._table(part.num, name)(jnp.where(row.mask, row.values, 0))
            tokens += self.param(f'{name}_positions', self.row_init, (*part.shape, self.features))[None]
        found = Masked(jnp.where(row.mask[..., None], tokens, 0), row.mask)
        if part.num is None or not self.text_layers:
            return found
        return TextEncoder(self.text_layers, name=f'{name}_text')(found)


def _mean(tokens: Masked) -> Array:
    """Over the places that are there, 0 if none is."""
    return tokens.values.sum(1) / jnp.maximum(tokens.mask.sum(1, keepdims=True), 1)


def beside(x: Float[Array, 'b ... c'], image: Float[Array, 'b ... d'] | None) -> Float[Array, 'b ... e']:
    """x, and the channels of a condition behind its own."""
    return x if image is None else jnp.concatenate([x, image.astype(x.dtype)], axis=-1)


def _image(part: Part, row: Masked, spatial: tuple[int, ...]) -> Array:
    if part.shape[:-1] != spatial:
        has = f'an x of {"x".join(map(str, spatial))}' if spatial else 'a point'
        raise ValueError(f'a condition of shape {part.shape} cannot be further channels of {has}')
    values = _real(row)
    there = jnp.broadcast_to(row.mask.reshape(-1, *(1,) * (values.ndim - 1)), (*values.shape[:-1], 1))
    return jnp.concatenate([values, there.astype(values.dtype)], axis=-1)


def _real(row: Masked) -> Array:
    """The values as floats, and 0 for what is not there, whatever it holds."""
    values = row.values.astype(jnp.promote_types(row.values.dtype, jnp.float32))
    return jnp.where(row.mask.reshape(row.mask.shape + (1,) * (values.ndim - row.mask.ndim)), values, 0)


def rows_of(condition: Any, cond: Cond, b: int) -> list[tuple[str, Part, Any]]:
    """(name, part, rows) of each part, once the rows are found to fit; the name of a single part is ''."""
    named, structure = jax.tree_util.tree_flatten_with_path(unfreeze(condition))
    names = ['_'.join(str(getattr(key, 'key', getattr(key, 'name', key))) for key in path) for path, _ in named]
    parts = [part for _, part in named]
    nothing = [_nothing(part, b) for part in parts]
    if cond is None:
        return list(zip(names, parts, nothing, strict=True))
    rows, given = jax.tree.flatten(cond, is_leaf=lambda row: isinstance(row, Masked))
    if not parts:
        raise ValueError('the network got a condition, but it was built without one: condition=None')
    if given != structure:
        raise ValueError(f'the network got a condition {given}, but it was built for {structure}')
    for name, row, expected in zip(names, rows, nothing, strict=True):
        _check(f'condition {name}'.strip(), row, expected)
    return list(zip(names, parts, map(_as_arrays, rows), strict=True))


def _as_arrays(row: Any) -> Any:
    return jax.tree.map(jnp.asarray, row)


def _nothing(part: Part, b: int) -> Any:
    """Rows that tell nothing; ValueError for a part that is of no kind."""
    rank = len(part.shape)
    if part.num is None and part.sequence and rank != 2:
        raise ValueError(f'a sequence of vectors is of shape [L, D]; got {part}')
    if part.num is not None and rank > 1:
        raise ValueError(f'classes are of shape [] or [k], and tokens of shape [L]; got {part}')
    if part.num is not None and not part.sequence:
        return jnp.full((b, *part.shape), part.num)
    values = jnp.zeros((b, *part.shape), jnp.float32 if part.num is None else jnp.int32)
    return Masked(values, jnp.zeros((b, *part.shape[: part.sequence]), bool))


def _check(name: str, row: Any, expected: Any) -> None:
    if jax.tree.structure(row) != jax.tree.structure(expected):
        fits = 'Masked(values, mask)' if isinstance(expected, Masked) else 'an array of integers'
        raise ValueError(f'{name} must be {fits}; got {type(row).__name__}')
    for given, wanted in zip(jax.tree.leaves(row), jax.tree.leaves(expected), strict=True):
        if jnp.shape(given) != wanted.shape:
            raise ValueError(f'{name} must have the shape {wanted.shape}; got {jnp.shape(given)}')
        if jnp.issubdtype(wanted.dtype, jnp.integer) and not jnp.issubdtype(given.dtype, jnp.integer):
            raise ValueError(f'{name} must be of integers; got {given.dtype}')
