"""The autoencoder of latent diffusion: what its scales mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import autoencoder
from diffusion_jax.nets.layout import Layout

pytestmark = pytest.mark.slow

SIZES = {'channels': 4, 'multipliers': (1, 2), 'blocks': 1, 'layout': Layout(groups=2)}
X = np.random.default_rng(0).standard_normal((2, 8, 6, 3), np.float32)


@pytest.fixture(scope='module')
def params():
    init, _, _ = autoencoder.functional(SIZES)
    return jax.jit(init)(jax.random.key(0), X)


def halves(**changes):
    return tuple(jax.jit(f) for f in autoencoder.functional({**SIZES, **changes})[1:])


def test_latents_are_half_as_large_and_images_as_large_again(params):
    encode, decode = halves()
    posterior = encode(params, X)
    assert posterior.mean.shape == posterior.std.shape == (2, 4, 3, 4)
    assert (posterior.std > 0).all()
    assert decode(params, posterior.mean).shape == X.shape


def test_latents_are_shifted_and_scaled_on_the_way_out_and_back_on_the_way_in(params):
    (encode, decode), (encode_1, decode_1) = halves(scaling=0.5, shift=0.25), halves(scaling=1.0, shift=0.0)
    bare, scaled = encode_1(params, X), encode(params, X)
    np.testing.assert_allclose(scaled.mean, 0.5 * (bare.mean - 0.25), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaled.std, 0.5 * bare.std, rtol=1e-5)
    np.testing.assert_allclose(decode(params, scaled.mean), decode_1(params, bare.mean), rtol=1e-3, atol=1e-4)


def test_sides_that_cannot_be_halved_are_refused(params):
    encode, _ = halves()
    with pytest.raises(ValueError, match='multiples of 2; got 8x5'):
        encode(params, jnp.zeros((1, 8, 5, 3)))
