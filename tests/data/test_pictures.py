"""Pictures of every mode against arrays that are computed without Pillow."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.data.pictures import decode, rule
from diffusion_jax.errors import UserError

RNG = np.random.default_rng(0)
GREY, COLOUR = (RNG.integers(0, 256, shape, np.uint8) for shape in ((5, 4), (5, 4, 3)))
ALPHA = RNG.integers(0, 256, (5, 4), np.uint8)


def opened(tmp_path, picture, name='x.png', **settings):
    picture.save(tmp_path / name, **settings)
    return Image.open(tmp_path / name)


def over(x, alpha, ground):
    """Values [..., C] with this alpha [...] on a grey level."""
    share = alpha[..., None] / 255
    return np.floor(share * x + (1 - share) * ground + 0.5).astype(np.uint8)


def png(path, values, colour):
    """A PNG of big-endian 16-bit values `[H, W, C]`, as Pillow cannot write it."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    h, w = values.shape[:2]
    lines = b''.join(b'\0' + line.astype('>u2').tobytes() for line in values)
    head = struct.pack('>IIBBBBB', w, h, 16, colour, 0, 0, 0)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n'
        + b''.join(chunk(*c) for c in ((b'IHDR', head), (b'IDAT', zlib.compress(lines)), (b'IEND', b'')))
    )
    return Image.open(path)


def test_plain_pictures_are_their_values(tmp_path):
    np.testing.assert_array_equal(decode(opened(tmp_path, Image.fromarray(COLOUR)), rule()), COLOUR)
    grey = opened(tmp_path, Image.fromarray(GREY))
    np.testing.assert_array_equal(decode(grey, rule()), GREY[..., None])
    np.testing.assert_array_equal(decode(grey, rule(channels=3)), np.repeat(GREY[..., None], 3, 2))
    bits = opened(tmp_path, Image.fromarray(GREY > 127))
    assert bits.mode == '1'
    np.testing.assert_array_equal(decode(bits, rule()), np.where(GREY > 127, 255, 0)[..., None])


@pytest.mark.parametrize(('colour', 'channels'), [(0, 1), (2, 3)])
def test_of_16_bits_the_upper_eight_count(tmp_path, colour, channels):
    values = RNG.integers(0, 2**16, (5, 4, channels), np.uint16)
    np.testing.assert_array_equal(decode(png(tmp_path / 'x.png', values, colour), rule()), values // 256)


def test_a_palette_becomes_colours(tmp_path):
    palette, index = RNG.integers(0, 256, (256, 3), np.uint8), RNG.integers(0, 256, (5, 4), np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette(palette.tobytes())
    np.testing.assert_array_equal(decode(opened(tmp_path, picture), rule()), palette[index])
    clear = bytes(range(256))  # the alpha of each colour
    shown = over(palette[index], index, 255)
    np.testing.assert_array_equal(decode(opened(tmp_path, picture, transparency=clear), rule()), shown)


@pytest.mark.parametrize(('background', 'ground'), [('white', 255), ('black', 0)])
def test_transparent_parts_lie_on_the_background(tmp_path, background, ground):
    as_stated = rule(background=background)
    colour = opened(tmp_path, Image.fromarray(np.concatenate([COLOUR, ALPHA[..., None]], -1)))
    np.testing.assert_array_equal(decode(colour, as_stated), over(COLOUR, ALPHA, ground))
    grey = opened(tmp_path, Image.fromarray(np.stack([GREY, ALPHA], -1)))
    assert grey.mode == 'LA'
    np.testing.assert_array_equal(decode(grey, as_stated), over(GREY[..., None], ALPHA, ground))
    one = opened(tmp_path, Image.fromarray(COLOUR), transparency=tuple(COLOUR[0, 0].tolist()))  # one colour is clear
    gone = (COLOUR == COLOUR[0, 0]).all(-1)
    np.testing.assert_array_equal(decode(one, as_stated), np.where(gone[..., None], ground, COLOUR))


def test_four_channels_keep_alpha(tmp_path):
    x = np.concatenate([COLOUR, ALPHA[..., None]], -1)
    np.testing.assert_array_equal(decode(opened(tmp_path, Image.fromarray(x)), rule(channels=4)), x)
    opaque = decode(opened(tmp_path, Image.fromarray(COLOUR)), rule(channels=4))
    np.testing.assert_array_equal(opaque, np.concatenate([COLOUR, np.full((5, 4, 1), 255)], -1))


def test_grey_of_colours_is_their_weighted_mean(tmp_path):
    grey = decode(opened(tmp_path, Image.fromarray(COLOUR)), rule(channels=1))
    np.testing.assert_allclose(grey[..., 0], COLOUR @ [0.299, 0.587, 0.114], atol=0.51)


TURNED = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize('orientation', TURNED)
def test_the_cameras_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    colour = opened(tmp_path, Image.fromarray(COLOUR), exif=exif)
    np.testing.assert_array_equal(decode(colour, rule()), TURNED[orientation](COLOUR))
    wide = opened(tmp_path, Image.fromarray(GREY.astype(np.uint16) * 256), exif=exif)
    np.testing.assert_array_equal(decode(wide, rule())[..., 0], TURNED[orientation](GREY))


def test_numbers_that_are_no_levels_are_refused():
    with pytest.raises(UserError, match='real numbers'):
        decode(Image.fromarray(GREY.astype(np.float32)), rule())
    for wrong in (70_000, -1):
        with pytest.raises(UserError, match='beyond 16 bits'):
            decode(Image.fromarray(np.full((2, 2), wrong, np.int32)), rule())


def levels(x):
    return np.clip(np.floor(x + 0.5), 0, 255)


def in_two_passes(x, size):
    """Along rows, rounded to levels, then along columns."""
    rows = levels(np.einsum('hwc,jw->hjc', x, lanczos(x.shape[1], size)))
    return levels(np.einsum('ih,hjc->ijc', lanczos(x.shape[0], size), rows))


def lanczos(n, size):
    """The matrix [size, n] of Lanczos' kernel of three lobes, as wide as the step where that is above one."""
    step = n / size
    place = (np.arange(size)[:, None] + 0.5) * step - (np.arange(n)[None] + 0.5)
    u = place / max(step, 1)
    weight = np.where(np.abs(u) < 3, np.sinc(u) * np.sinc(u / 3), 0)
    return weight / weight.sum(1, keepdims=True)


@pytest.mark.parametrize('shape', [(31, 20), (9, 12)])
def test_resizing_is_lanczos_of_the_whole_or_of_the_middle(shape):
    x = RNG.integers(0, 256, (*shape, 3), np.uint8)
    picture = Image.fromarray(x)
    np.testing.assert_allclose(decode(picture, rule(10, resize='stretch')), in_two_passes(x, 10), atol=2)
    side, (top, left) = min(shape), [(n - min(shape)) // 2 for n in shape]
    middle = x[top : top + side, left : left + side]
    np.testing.assert_allclose(decode(picture, rule(10, resize='crop')), in_two_passes(middle, 10), atol=2)


def test_the_middle_without_resampling():
    x = RNG.integers(0, 256, (7, 10, 3), np.uint8)
    for resize in ('crop', 'adm'):
        np.testing.assert_array_equal(decode(Image.fromarray(x), rule(7, resize=resize)), x[:, 1:8])
    square = x[:, :7]
    np.testing.assert_array_equal(decode(Image.fromarray(square), rule(7, resize='stretch')), square)


def test_adms_rule_halves_by_means():
    x = RNG.integers(0, 256, (16, 24, 1), np.uint8)

    def halved(x):
        rows = levels((x[:, ::2] + x[:, 1::2]) / 2)
        return levels((rows[::2] + rows[1::2]) / 2)

    twice = halved(halved(x[..., 0].astype(float)))
    np.testing.assert_array_equal(decode(Image.fromarray(x[..., 0]), rule(4, resize='adm'))[..., 0], twice[:, 1:5])


@pytest.mark.parametrize('wrong', [{'size': 0}, {'channels': 2}, {'resize': 'crp'}, {'background': 'grey'}])
def test_a_rule_has_a_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        rule(**wrong)
