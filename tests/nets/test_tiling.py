"""Tiles put together: by hand along a line, and where what is computed sees no farther than they overlap."""

import jax
import numpy as np
import pytest

from diffusion_jax.nets.tiling import Tiles, tiled, tiles

Z = np.random.default_rng(0).standard_normal((2, 11, 17, 3), np.float32)


def doubled(z):
    return z.repeat(2, 1).repeat(2, 2)


def test_one_tile_is_the_whole_to_the_last_bit():
    """Of a tile as large as it, and of larger ones; along each axis by itself."""
    for side in (17, 40):
        np.testing.assert_array_equal(tiled(doubled, Z, tiles(side), pixels_out=2), doubled(Z))
    seen = []
    tiled(lambda z: seen.append(z.shape[1:3]) or z, Z, Tiles(11, 3))
    assert seen == [(11, 11), (11, 9)]


@pytest.mark.parametrize('of', [Tiles(4, 0), Tiles(4, 1), Tiles(8, 2), Tiles(8, 4), Tiles(5, 2)])
@pytest.mark.parametrize('sizes', [(1, 2), (2, 1), (1, 1)])
def test_what_sees_one_place_is_the_same_in_tiles(of, sizes):
    """Larger, smaller or as large as what it is made of."""
    pixels_in, pixels_out = sizes
    z = doubled(Z) if pixels_in == 2 else Z
    apply = {(1, 2): doubled, (2, 1): lambda x: x[:, ::2, 1::2] ** 2, (1, 1): np.sin}[sizes]
    found = tiled(apply, z, of, pixels_in, pixels_out)
    assert found.shape == apply(z).shape
    np.testing.assert_allclose(found, apply(z), rtol=1e-6, atol=1e-6)


def test_along_a_line_one_tile_goes_over_linearly_into_the_next():
    """Of tiles that answer their own number: 4 long, by 2 over each other; the last one is cut short by the end."""
    number = iter(range(9))
    found = tiled(lambda z: np.full_like(z, next(number)), np.zeros((1, 1, 7, 1)), Tiles(4, 2))
    # Tiles at 0, 2 and 4: 1 goes in by 0, 1/2 from place 2 on, 2 likewise from place 4 on.
    np.testing.assert_array_equal(found[0, 0, :, 0], [0, 0, 0, 0.5, 1, 1.5, 2])
    down = iter(range(9))
    found = tiled(lambda z: np.full_like(z, next(down)), np.zeros((1, 7, 1, 1)), Tiles(4, 2))
    np.testing.assert_array_equal(found[0, :, 0, 0], [0, 0, 0, 0.5, 1, 1.5, 2])


def test_convolutions_that_see_less_than_the_overlap_are_exact_but_for_the_seams():
    """A place errs only within two rows of one of the two ends of an overlap, where zeros are seen instead of z."""
    kernels = [0.2 * jax.random.normal(key, (3, 3, 3, 3)) for key in jax.random.split(jax.random.key(0), 2)]

    @jax.jit
    def two_layers(z):
        for kernel in kernels:
            z = jax.lax.conv_general_dilated(z, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
        return z

    z = np.random.default_rng(1).standard_normal((1, 30, 30, 3), np.float32)
    wrong = np.abs(tiled(two_layers, z, Tiles(12, 6)) - np.asarray(two_layers(z))).max((0, 3)) > 1e-5
    # Tiles begin at 0, 6, 12 and 18; each goes in over six places: zeros are seen by its first two, and by the last two
    # of the one before. Of the two, the first counts nothing at its own end, the last a sixth.
    near = np.isin(np.arange(30) % 6, (1, 4, 5)) & (np.arange(30) >= 6) & (np.arange(30) < 24)
    assert not wrong[~near][:, ~near].any()
    assert wrong[near][:, near].mean() == 1


@pytest.mark.parametrize(
    ('given', 'message'),
    [((1,), r'side must be a whole number in \[2, inf\)'), ((8, -1), 'overlap must be'), ((8, 5), 'at most 4, half')],
)
def test_other_tiles_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        tiles(*given)
