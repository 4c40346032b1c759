"""Pictures of any mode and size as uint8 arrays, by a stated rule."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from diffusion_jax.errors import UserError
from diffusion_jax.ranges import one_of, whole

_GREY = ('1', 'L', 'LA', 'La')
_WIDE = ('I', 'I;16', 'I;16B', 'I;16L', 'I;16N')  # grey in 16 bits; older versions of Pillow open them as 'I'
_GROUND = {'white': (255, 255, 255, 255), 'black': (0, 0, 0, 255)}


class Rule(NamedTuple):
    """How pictures become arrays of one shape."""

    size: int | None = None  # of both sides; None: as they are
    channels: int | None = None  # 1, 3, or 4 with alpha; None: 1 of a grey picture, 3 of one with colour
    resize: str = 'crop'  # where there is a size: 'crop', 'adm' or 'stretch'
    background: str = 'white'  # what transparent parts lie on, where there is no fourth channel: 'white' or 'black'

    def __str__(self) -> str:
        """For protocols."""
        size = 'as they are' if self.size is None else f'{_RESIZES[self.resize].told} to {self.size}x{self.size}'
        channels = '' if self.channels is None else f', {self.channels} channels'
        return f'{size}{channels}, on {self.background}'


class _Resize(NamedTuple):
    told: str
    apply: Callable[[Image.Image, int], Image.Image]


def rule(size: int | None = None, channels: int | None = None, resize: str = 'crop', background: str = 'white') -> Rule:
    """A rule whose arguments are checked.

    Args:
        size: of both sides, in [1, inf); None to leave pictures as they are.
        channels: 1, 3, or 4 for alpha as well; None to leave grey pictures grey and others in colour.
        resize: 'crop' (the square in the middle, then Lanczos: EDM's `center-crop`), 'adm' (halved by means, then
            bicubic, then the square in the middle: ADM's, EDM's `center-crop-dhariwal`) or 'stretch' (Lanczos alone).
            A picture that has the size is not touched.
        background: 'white' or 'black', on which transparent parts lie unless there are 4 channels.

    Raises:
        ValueError: for any other value.
    """
    if size is not None:
        whole('[1, inf)', size=size)
    if channels is not None:
        one_of((1, 3, 4), channels=channels)
    one_of(_RESIZES, resize=resize)
    one_of(_GROUND, background=background)
    return Rule(size, channels, resize, background)


def decode(picture: Image.Image, rule: Rule) -> UInt8[np.ndarray, 'h w c']:
    """The values 0 .. 255 of an opened picture; of several frames the first.

    The camera's orientation (EXIF) is applied first. Of 16 bits the upper eight count, in grey as in colour, of which
    Pillow reads no others. Palettes become colours; transparent parts lie on the rule's background, or stay a fourth
    channel; grey of colours is 0.299 R + 0.587 G + 0.114 B (ITU-R 601, as Pillow rounds it).

    Raises:
        UserError: for numbers that are no levels of a picture: floats, integers beyond 16 bits.
        OSError: and others of Pillow's, for a damaged file.
    """
    picture = ImageOps.exif_transpose(_eight_bits(picture))
    grey = picture.mode in _GREY
    channels = rule.channels or (1 if grey else 3)
    if channels == 4:
        picture = picture.convert('RGBA')
    elif picture.has_transparency_data:
        ground = Image.new('RGBA', picture.size, _GROUND[rule.background])
        picture = Image.alpha_composite(ground, picture.convert('RGBA')).convert('RGB')
    picture = picture.convert({1: 'L', 3: 'RGB', 4: 'RGBA'}[channels])
    if rule.size is not None and picture.size != (rule.size, rule.size):
        picture = _RESIZES[rule.resize].apply(picture, rule.size)
    values = np.asarray(picture)
    return values if values.ndim == 3 else values[..., None]


def _eight_bits(picture):
    if picture.mode == 'F':
        raise UserError('it holds real numbers, which are no levels of a picture')
    if picture.mode not in _WIDE:
        return picture
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise UserError('it holds integers beyond 16 bits, which are no levels of a picture')
    narrow = Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))
    narrow.info['exif'] = picture.getexif().tobytes()
    return narrow


def _middle(picture, side):
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _crop(picture, size):
    return _stretch(_middle(picture, min(picture.size)), size)


def _stretch(picture, size):
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def _adm(picture, size):
    while min(picture.size) >= 2 * size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = size / min(picture.size)
    sides = round(picture.width * scale), round(picture.height * scale)
    return _middle(picture.resize(sides, Image.Resampling.BICUBIC), size)


_RESIZES = {
    'crop': _Resize('centre crop, Lanczos', _crop),
    'adm': _Resize("ADM's halving, bicubic, centre crop", _adm),
    'stretch': _Resize('stretched by Lanczos', _stretch),
}
