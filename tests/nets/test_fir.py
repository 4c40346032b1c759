"""Changes of the resolution through a filter, against scipy's and against each other."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import upfirdn

from diffusion_jax.nets import UNet, fir
from diffusion_jax.nets.layout import Layout, ncsnpp
from tests.nets.cases import built

X = np.random.default_rng(0).standard_normal((2, 6, 8, 3)).astype(np.float32)
TAPS = np.array([1, 3, 3, 1]) / 8


def along(f, axes):
    out = X.astype(np.float64)
    for axis in axes:
        out = np.apply_along_axis(f, axis, out)
    return out


@pytest.mark.parametrize(('strides', 'axes'), [((2, 2), (1, 2)), ((1, 2), (2,))])
def test_against_scipy(strides, axes):
    down = along(lambda row: upfirdn(TAPS, row)[2:-1:2], axes)
    np.testing.assert_allclose(fir.downsample(jnp.asarray(X), strides), down, atol=1e-6)
    up = along(lambda row: upfirdn(2 * TAPS, row, up=2)[1:][: 2 * len(row)], axes)
    np.testing.assert_allclose(fir.upsample(jnp.asarray(X), strides), up, atol=1e-6)
    blurred = along(lambda row: upfirdn(TAPS, row)[1:-1], axes)
    np.testing.assert_allclose(fir.blurred(jnp.asarray(X), strides), blurred, atol=1e-6)


def test_inside_constants_stay():
    ones = jnp.ones((1, 8, 8, 1))
    np.testing.assert_allclose(fir.downsample(ones, (2, 2))[:, 1:-1, 1:-1], 1, rtol=1e-6)
    np.testing.assert_allclose(fir.upsample(ones, (2, 2))[:, 1:-1, 1:-1], 1, rtol=1e-6)


def test_up_is_four_times_down_turned_round():
    """As linear maps: <down x, y> = <x, up y> / 4."""
    y = jnp.asarray(np.random.default_rng(1).standard_normal((2, 3, 4, 3)), jnp.float32)
    a = jnp.vdot(fir.downsample(jnp.asarray(X), (2, 2)), y)
    np.testing.assert_allclose(a, jnp.vdot(jnp.asarray(X), fir.upsample(y, (2, 2))) / 4, rtol=1e-5)


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        ({'layout': Layout(fir=True)}, 'layout.fir needs resample_in_block=True and padding=zero'),
        ({'layout': Layout(encoder='residual')}, "layout.encoder='residual' needs layout.fir=True"),
        ({'layout': Layout(decoder='none')}, "must be 'standard', 'skip' or 'residual', and layout.decoder='none'"),
        (
            {'layout': ncsnpp(), 'resample_in_block': True, 'strides': (3, 2)},
            'strides=(3, 2): through a filter an axis',
        ),
    ],
)
def test_layouts_that_do_not_go_together(options, line):
    with pytest.raises(ValueError, match=re.escape(line)):
        built(UNet(8, (1, 1), 1, (), **options), (1, 6, 8, 3))
