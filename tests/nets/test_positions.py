import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets.positions import rotary, rotated, sincos


def wave(k, width):
    """Sines, then cosines, of one index."""
    m = width // 2
    return [f(k / 10000 ** (i / m)) for f in (np.sin, np.cos) for i in range(m)]


def test_sincos_is_the_official_embedding_of_an_image():
    """The column has the first half, the row the second, and rows follow one another."""
    expected = [wave(column, 12) + wave(row, 12) for row in range(2) for column in range(3)]
    np.testing.assert_allclose(sincos((2, 3), 24), expected, rtol=1e-12)


def test_sincos_of_other_ranks():
    np.testing.assert_allclose(sincos((4,), 8), [wave(k, 8) for k in range(4)])
    video = [wave(w, 4) + wave(h, 4) + wave(t, 4) + [0, 0] for t, h, w in np.ndindex(2, 3, 2)]
    np.testing.assert_allclose(sincos((2, 3, 2), 14), video)


@pytest.mark.parametrize(('grid', 'size'), [((5,), 4), ((4, 3), 8), ((2, 3, 2), 14)])
def test_rotary_logits_depend_on_the_difference_of_places_alone(grid, size):
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, size))
    places = [np.array(p) for p in np.ndindex(*grid)]

    def turned(x):
        everywhere = jnp.broadcast_to(jnp.asarray(x, jnp.float32), (1, len(places), 1, size))
        return rotated(everywhere, rotary(grid, size))[0, :, 0]

    logits = np.asarray(turned(q) @ turned(k).T)
    by_difference = {}
    for i, j in np.ndindex(logits.shape):
        by_difference.setdefault(tuple(places[i] - places[j]), []).append(logits[i, j])
    assert max(np.ptp(v) for v in by_difference.values()) < 1e-5
    means = {d: np.mean(v) for d, v in by_difference.items()}
    for axis in range(len(grid)):  # and on that along every axis, its sign included
        for sign in (1, -1):
            step = tuple(sign * (a == axis) for a in range(len(grid)))
            assert abs(means[step] - means[(0,) * len(grid)]) > 1e-2
    assert means[(0,) * len(grid)] == pytest.approx(q @ k, abs=1e-5)
    np.testing.assert_allclose(np.linalg.norm(turned(q), axis=1), np.linalg.norm(q), rtol=1e-5)


def test_rotary_turns_pairs_by_the_angle_of_their_place():
    q = np.array([1.0, 10.0, 2.0, -3.0])
    turned = rotated(jnp.broadcast_to(jnp.asarray(q, jnp.float32), (1, 4, 1, 4)), rotary((4,), 4))[0, :, 0]
    as_complex = (q[:2] + 1j * q[2:]) * np.exp(1j * np.outer(np.arange(4), [1, 1 / 100]))
    np.testing.assert_allclose(turned, np.concatenate([as_complex.real, as_complex.imag], 1), atol=1e-5)


def test_too_few_channels():
    with pytest.raises(ValueError, match='positions on 3 axes need at least 6 channels'):
        sincos((2, 2, 2), 4)
    with pytest.raises(ValueError, match='an even number of channels in a head, got 5'):
        rotary((2,), 5)
