"""A data set that is not here: what its images are is known, and none of them is."""

from typing import NoReturn

from diffusion_jax.data import conditions, kinds
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source
from diffusion_jax.ranges import whole


class _NoRows:
    """Whoever asks for rows, or for their number, is told that there are none."""

    def __len__(self) -> NoReturn:
        raise DataError(
            'this model came without its data: name them when it is converted, --data=NAME:dir=DIR, or compare with '
            'images of your own, --reference=FILE; a conditional model is asked by --cond=turn or label:value=3'
        )

    def __getitem__(self, index: object, /) -> NoReturn:
        self.__len__()
        raise AssertionError  # never reached


NO_ROWS = _NoRows()


def absent(height: int, width: int, channels: int = 3, classes: int | None = None, latents: bool = False) -> Source:
    """Images `[H, W, C]` of 256 levels or latents, of so many classes, none of which is here: of a converted model.

    All numbers are whole, and in [1, inf); anything else is a ValueError.
    """
    whole('[1, inf)', height=height, width=width, channels=channels)
    kind, name = (kinds.latents if latents else kinds.images)((height, width, channels)), 'absent data'
    if classes is None:
        return Source(NO_ROWS, None, kind, None, name)
    whole('[1, inf)', classes=classes)
    return Source(NO_ROWS, NO_ROWS, kind, conditions.of_classes(classes), name)
