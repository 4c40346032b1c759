"""Latents of an autoencoder under texts as a data set: encoded once from a set of images, or of none at all."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from diffusion_jax.data import conditions, kinds, latent_cache, show
from diffusion_jax.data.absent import NO_ROWS
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.quantise import from_levels
from diffusion_jax.data.sources import Source, rows_of
from diffusion_jax.errors import UserError
from diffusion_jax.home import expanded
from diffusion_jax.interop import autoencoder_kl, clip_tokenizer
from diffusion_jax.interop.autoencoder_kl import Description, Frozen
from diffusion_jax.nets import tiling
from diffusion_jax.nets.tiling import Tiles
from diffusion_jax.ranges import whole, within
from diffusion_jax.types import Condition, Kind, Masked, Part

_AT_ONCE = 4  # images: the decoder of 512x512 takes gigabytes for each


def latents(
    autoencoder: str | None = None,
    tokenizer: str | None = None,
    images: Source | None = None,
    height: int | None = None,
    width: int | None = None,
    length: int = 77,
    w: float | None = None,
    cache: str | None = None,
    tile: int | None = None,
    tile_overlap: int | None = None,
) -> Source:
    """Latents `[N, H, W, C]` in float32, the means that an encoder of diffusers has for images; shown as images.

    They are told `text`, at most `length` tokens of CLIP, and `w`, the weight of a guidance. Every place of a text is
    there: what fills it up is seen too, as Stable Diffusion was trained. What tells nothing is the text without words.

    Args:
        autoencoder: folder of an AutoencoderKL of diffusers.
        tokenizer: folder of CLIP's tokenizer.
        images: of 256 levels, whose condition, if any, is a text in bytes (`conditions.of_bytes`); None for none.
        height: of the latents, where there are no images; in [1, inf).
        width: the same.
        length: of a text, in tokens, with the first and the last one; in [2, inf).
        w: the weight that is told, in [0, inf); None where a model was not told any, or draws it itself.
        cache: the folder that keeps encoded images; by default ~/.cache/diffusion_jax_latents.
        tile: side of the tiles, in latents, in which images are encoded and latents decoded (`nets.tiling`), in
            [2, inf): that which the autoencoder was trained for, where they are larger; None for them whole.
        tile_overlap: of neighbouring tiles, in [0, tile / 2]; a quarter of them by default.

    Raises:
        ValueError: for an argument outside of its range.
        UserError: if the autoencoder or the tokenizer cannot be read.
        DataError: for images that cannot be encoded, or what is told with them.
    """
    whole('[2, inf)', length=length)
    if w is not None:
        within('[0, inf)', w=w)
    for name, folder in (('autoencoder', autoencoder), ('tokenizer', tokenizer)):
        if not folder:
            raise DataError(f"'latents' needs config.data.{name}, a folder of a pipeline of diffusers")
    of = autoencoder_kl.described(str(autoencoder))
    cut = None if tile is None else tiling.tiles(tile, tile_overlap)
    if cut is None and tile_overlap is not None:
        raise ValueError(f'tile_overlap={tile_overlap} is of tiles, and there are none: set tile')
    halves = _in_tiles(functools.cache(lambda: autoencoder_kl.read(str(autoencoder))), cut, of.factor)
    condition, row = _condition(str(tokenizer), length, w)
    if images is None:
        if height is None or width is None:
            raise DataError("'latents' needs config.data.images, a data set, or height and width of none")
        whole('[1, inf)', height=height, width=width)
        return Source(NO_ROWS, NO_ROWS, _kind(of, halves, (height, width)), condition, 'absent latents')
    if images.kind.levels != 256 or images.kind.shape[2:] != (of.image_channels,):
        raise DataError(
            f'config.data.images: images of 256 levels and {of.image_channels} channels are encoded; {images.name} has '
            f'{images.kind.levels} levels and the shape {images.kind.shape}'
        )
    if any(side % of.factor for side in images.kind.shape[:2]):
        raise DataError(f'config.data.images: sides of {images.kind.shape[:2]} must be multiples of {of.factor}')
    kept = latent_cache.cache_folder() if cache is None else expanded(cache)
    encoder = autoencoder_kl.digest(str(autoencoder))
    if cut is not None and max(images.kind.shape[:2]) > of.factor * cut.side:
        encoder += f' {[*cut]}'
    x = latent_cache.encoded(images, _encode(halves), encoder, kept)
    told = _Told(images, row)
    return Source(x, told, _kind(of, halves, x.shape[1:3]), condition, f'latents of {images.name}')


def _condition(tokenizer: str, length: int, w: float | None) -> tuple[Condition, Callable[[str], Any]]:
    """What is told, and how a text becomes a row of it."""
    encode, vocabulary = clip_tokenizer.read(tokenizer, length)
    there = np.ones(length, bool)
    guidance = Masked(np.full(1, 0.0 if w is None else w, np.float32), np.asarray(w is not None))

    def row(text: str) -> Any:
        return {'text': Masked(encode(text), there), 'w': guidance}

    parts = {'text': conditions.tokens(length, vocabulary), 'w': conditions.vector(1)}
    return Condition(parts, row(''), row), row


class _Halves(NamedTuple):
    """An autoencoder's; it is read when the first of them is called."""

    encode: Callable[[np.ndarray], np.ndarray]  # images in [-1, 1] [n, ...] -> means of latents
    decode: Callable[[np.ndarray], np.ndarray]


def _in_tiles(frozen: Callable[[], Frozen], cut: Tiles | None, factor: int) -> _Halves:
    """Both halves for few images at once, each of them in tiles or whole."""

    def encode(x: np.ndarray) -> np.ndarray:
        return np.asarray(frozen().encode(x).mean)

    def decode(z: np.ndarray) -> np.ndarray:
        return np.asarray(frozen().decode(z))

    if cut is None:
        return _Halves(encode, decode)
    return _Halves(
        lambda x: tiling.tiled(encode, x, cut, pixels_in=factor),
        lambda z: tiling.tiled(decode, z, cut, pixels_out=factor),
    )


def _kind(of: Description, halves: _Halves, sides: tuple[int, ...]) -> Kind:
    """Latents that are shown as images, and read from images of 256 levels too."""
    kind = kinds.latents((*sides, of.channels))
    pixels = (*(of.factor * side for side in sides), of.image_channels)
    encode, decode = _encode(halves), _decode(halves)

    def read(x: np.ndarray) -> np.ndarray:
        if not np.issubdtype(x.dtype, np.integer):
            return kind.read(x)
        if x.shape[-3:] != pixels:
            raise UserError(f'needs an image of {"x".join(map(str, pixels))}; got {"x".join(map(str, x.shape))}')
        found = encode(x.reshape(-1, *pixels))
        return found.reshape(*x.shape[:-3], *kind.shape)

    return kind._replace(read=read, show=lambda path, z: show.images(path, decode(z)))


def _encode(halves: _Halves) -> Callable[[np.ndarray], np.ndarray]:
    """Images of 256 levels `[n, H, W, C]` -> the means of their latents."""
    return lambda x: _by_few(lambda part: halves.encode(np.asarray(from_levels(part, 256))), x)


def _decode(halves: _Halves) -> Callable[[np.ndarray], np.ndarray]:
    """Latents `[n, ...]` -> images in [-1, 1]."""
    return lambda z: np.clip(_by_few(halves.decode, np.asarray(z)), -1, 1)


def _by_few(apply: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    parts = [apply(x[i : i + _AT_ONCE]) for i in range(0, len(x), _AT_ONCE)]
    return np.concatenate(parts)


class _Told:
    """What is told of each image: its text in bytes, as tokens; the text without words where it has none."""

    def __init__(self, images: Source, row: Callable[[str], Any]):
        parts = None if images.condition is None else images.condition.parts
        if parts is not None and not (isinstance(parts, Part) and parts.sequence and parts.num == 256):
            raise DataError(
                f'config.data.images.condition: a text in bytes is told, or nothing; {images.name} has {parts}'
            )
        self._images, self._row = images, row

    def __len__(self) -> int:
        return len(self._images.x)

    def __getitem__(self, index: np.ndarray, /) -> Any:
        return jax.tree.map(lambda *a: np.stack(a), *(self._row(text) for text in self._texts(index)))

    def _texts(self, index: np.ndarray) -> list[str]:
        said = rows_of(self._images, index)
        if said is None:
            return [''] * len(index)
        return [bytes(v[m].astype(np.uint8)).decode('utf-8', 'ignore') for v, m in zip(*said, strict=True)]
