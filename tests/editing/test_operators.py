"""Operators against NumPy's pseudo-inverse of their matrices."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import editing

MASK = jnp.asarray(np.random.default_rng(0).random((4, 4, 3)) < 0.4)
# operator, shape of a sample, rank of A
CASES = {
    'inpaint': (editing.inpaint(MASK), (4, 4, 3), int(MASK.sum())),
    'inpaint, a mask for all channels': (editing.inpaint(MASK[..., :1]), (4, 4, 3), 3 * int(MASK[..., 0].sum())),
    'colourise': (editing.colourise(), (2, 2, 3), 4),
    'colourise by the mean': (editing.colourise((0.25,) * 4), (3, 4), 3),
    'super-resolve': (editing.super_resolve(2), (4, 6, 2), 12),
    'super-resolve a sound': (editing.super_resolve(3), (6, 1), 2),
    'super-resolve a volume': (editing.super_resolve(2), (2, 4, 2, 1), 2),
}


def matrix(f, shape):
    """The matrix of a linear f, from the unit vectors."""
    size = int(np.prod(shape))
    return np.asarray(f(jnp.eye(size).reshape(size, *shape)).reshape(size, -1)).T


@pytest.mark.parametrize('name', CASES)
def test_pinv_is_the_pseudo_inverse(name, x64):
    operator, shape, rank = CASES[name]
    A = matrix(operator.A, shape)
    pinv = matrix(operator.pinv, operator.A(jnp.zeros((1, *shape))).shape[1:])
    np.testing.assert_allclose(pinv, np.linalg.pinv(A), atol=1e-12)
    np.testing.assert_allclose(A @ pinv @ A, A, atol=1e-12)
    assert np.linalg.matrix_rank(A) == rank


def test_what_is_known():
    x = jnp.arange(24.0).reshape(1, 2, 4, 3)
    np.testing.assert_allclose(
        editing.super_resolve(2).A(x)[0, 0, :, 0], [(0 + 3 + 12 + 15) / 4, (6 + 9 + 18 + 21) / 4]
    )
    np.testing.assert_allclose(editing.colourise().A(x)[0, 0, 1], [3 * 0.2989 + 4 * 0.5870 + 5 * 0.1140], rtol=1e-6)
    known = editing.inpaint(jnp.array([True, False])).A(jnp.array([[0.3, jnp.nan]]))
    np.testing.assert_array_equal(known, np.array([[0.3, 0.0]], np.float32))  # what is hidden cannot leak, NaN included


def test_refusals():
    with pytest.raises(ValueError, match='factor must be at least 2; got 1'):
        editing.super_resolve(1)
    with pytest.raises(ValueError, match=r'blocks of 3 do not divide samples of shape \(4, 6, 2\)'):
        editing.super_resolve(3).A(jnp.zeros((1, 4, 6, 2)))
    with pytest.raises(ValueError, match='do not divide samples of shape'):
        editing.super_resolve(2).A(jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match='one weight at least'):
        editing.colourise((0.0, 0.0))
    with pytest.raises(ValueError, match='weights for 3 channels, samples have 1'):
        editing.colourise().A(jnp.zeros((1, 4, 4, 1)))
