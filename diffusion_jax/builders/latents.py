"""Latents of an autoencoder under texts as a data set: encoded once from a set of images, or of none at all."""

import functools
from collections.abc import Callable
from typing import Any

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
    frozen = functools.cache(lambda: autoencoder_kl.read(str(autoencoder)))
    condition, row = _condition(str(tokenizer), length, w)
    if images is None:
        if height is None or width is None:
            raise DataError("'latents' needs config.data.images, a data set, or height and width of none")
        whole('[1, inf)', height=height, width=width)
        return Source(NO_ROWS, NO_ROWS, _kind(of, frozen, (height, width)), condition, 'absent latents')
    if images.kind.levels != 256 or images.kind.shape[2:] != (of.image_channels,):
        raise DataError(
            f'config.data.images: images of 256 levels and {of.image_channels} channels are encoded; {images.name} has '
            f'{images.kind.levels} levels and the shape {images.kind.shape}'
        )
    if any(side % of.factor for side in images.kind.shape[:2]):
        raise DataError(f'config.data.images: sides of {images.kind.shape[:2]} must be multiples of {of.factor}')
    kept = latent_cache.cache_folder() if cache is None else expanded(cache)
    x = latent_cache.encoded(images, _encode(frozen), autoencoder_kl.digest(str(autoencoder)), kept)
    told = _Told(images, row)
    return Source(x, told, _kind(of, frozen, x.shape[1:3]), condition, f'latents of {images.name}')


def _condition(tokenizer: str, length: int, w: float | None) -> tuple[Condition, Callable[[str], Any]]:
    """What is told, and how a text becomes a row of it."""
    encode, vocabulary = clip_tokenizer.read(tokenizer, length)
    there = np.ones(length, bool)
    guidance = Masked(np.full(1, 0.0 if w is None else w, np.float32), np.asarray(w is not None))

    def row(text: str) -> Any:
        return {'text': Masked(encode(text), there), 'w': guidance}

    parts = {'text': conditions.tokens(length, vocabulary), 'w': conditions.vector(1)}
    return Condition(parts, row(''), row), row


def _kind(of: Description, frozen: Callable[[], Frozen], sides: tuple[int, ...]) -> Kind:
    """Latents that are shown as images, and read from images of 256 levels too."""
    kind = kinds.latents((*sides, of.channels))
    pixels = (*(of.factor * side for side in sides), of.image_channels)
    encode, decode = _encode(frozen), _decode(frozen)

    def read(x: np.ndarray) -> np.ndarray:
        if not np.issubdtype(x.dtype, np.integer):
            return kind.read(x)
        if x.shape[-3:] != pixels:
            raise UserError(f'needs an image of {"x".join(map(str, pixels))}; got {"x".join(map(str, x.shape))}')
        found = encode(x.reshape(-1, *pixels))
        return found.reshape(*x.shape[:-3], *kind.shape)

    return kind._replace(read=read, show=lambda path, z: show.images(path, decode(z)))


def _encode(frozen: Callable[[], Frozen]) -> Callable[[np.ndarray], np.ndarray]:
    """Images of 256 levels `[n, H, W, C]` -> the means of their latents."""

    def encode(x: np.ndarray) -> np.ndarray:
        return _by_few(lambda part: frozen().encode(from_levels(part, 256)).mean, x)

    return encode


def _decode(frozen: Callable[[], Frozen]) -> Callable[[np.ndarray], np.ndarray]:
    """Latents `[n, ...]` -> images in [-1, 1]."""
    return lambda z: np.clip(_by_few(lambda part: frozen().decode(part), z), -1, 1)


def _by_few(apply: Callable[[np.ndarray], Any], x: np.ndarray) -> np.ndarray:
    parts = [np.asarray(apply(x[i : i + _AT_ONCE])) for i in range(0, len(x), _AT_ONCE)]
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
