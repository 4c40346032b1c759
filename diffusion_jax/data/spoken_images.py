"""Pictures of digits and recordings of the same digits: the sound is x, and the picture is told."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from diffusion_jax.data import conditions, recordings, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.quantise import from_levels
from diffusion_jax.data.sources import Rows, Source
from diffusion_jax.data.spectra import Spectrum
from diffusion_jax.ranges import whole
from diffusion_jax.types import Masked


def spoken_images(
    images: str,
    sound: str,
    dir: str | None = None,
    split: str = 'train',
    seed: int = 0,
    length: int = 8192,
    rate: int = 8000,
    peak: float | None = None,
    spectrum: Callable[[int], Spectrum] | None = None,
) -> Source:
    """Row i is a recording drawn once by `seed` among those of the class of picture i, which is told as a vector.

    Args:
        images: the set of the pictures, with its feature 'label', such as 'mnist'.
        sound: that of the recordings, as for `recordings`, with labels of the same number.
        dir: of both, as for `sources.tfds`.
        split: of both: pictures and recordings of 'test' are none of 'train'.
        seed: in [0, 2^32).
        length: as for `recordings`, and so are
        rate: and
        peak: and
        spectrum: these.

    Raises:
        DataError: as `sources.tfds` and `recordings`; for labels that do not go together.
        ValueError: an argument outside of its range.
    """
    whole('[0, 4294967296)', seed=seed)
    seen = sources.tfds(images, dir, split, 'label')
    heard = recordings.recordings(sound, dir, split, 'label', length, rate, peak, spectrum)
    classes = [source.condition.parts.num for source in (seen, heard) if source.condition is not None]
    if seen.kind.levels is None or classes[0] != classes[1]:
        raise DataError(f'{seen.name} and {heard.name} do not go together: pictures and recordings of the same labels')
    pairs = _pairs(np.asarray(seen.cond[np.arange(len(seen.x))]), np.asarray(heard.cond), seed)
    pixels = int(np.prod(seen.kind.shape))
    values = from_levels(seen.x[np.arange(len(seen.x))], seen.kind.levels).reshape(-1, pixels)
    told = Masked(values, np.ones(len(values), bool))
    name = f'{seen.name} and {heard.name}, seed={seed}'
    return Source(_Chosen(heard.x, pairs), told, heard.kind, conditions.of(conditions.vector(pixels)), name)


def _pairs(seen: Int[np.ndarray, ' n'], heard: Int[np.ndarray, ' m'], seed: int) -> Int[np.ndarray, ' n']:
    """Of each picture a recording of its class, each as likely."""
    rng = np.random.default_rng(seed)
    pairs = np.zeros(len(seen), np.int64)
    for label in np.unique(seen):
        of_label = np.flatnonzero(heard == label)
        if not len(of_label):
            raise DataError(f'there are pictures of class {label}, and no recording of it')
        pairs[seen == label] = rng.choice(of_label, int((seen == label).sum()))
    return pairs


@dataclass(frozen=True)
class _Chosen:
    """Rows of another set, some of them several times."""

    rows: Rows
    index: Int[np.ndarray, ' n']

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: Int[np.ndarray, ' m'], /) -> np.ndarray:
        return self.rows[self.index[index]]
