import jax.numpy as jnp
import numpy as np

from diffusion_jax.objectives import distances


def test_values(x64):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 3, 2))
    d, c = a - b, 0.00054 * np.sqrt(6)
    cases = [
        (distances.l1(), np.abs(d).mean((1, 2))),
        (distances.l2(), (d**2).mean((1, 2))),
        (distances.pseudo_huber(), np.sqrt((d**2).sum((1, 2)) + c**2) - c),
    ]
    for distance, want in cases:
        np.testing.assert_allclose(distance(jnp.asarray(a), jnp.asarray(b)), want, rtol=1e-12)
        np.testing.assert_array_equal(distance(jnp.asarray(a), jnp.asarray(a)), np.zeros(5))


def test_pseudo_huber_keeps_small_distances_in_float32():
    """Written as a difference of roots, a distance of 1e-8 would be 0."""
    a = jnp.array([[1e-5, 0.0]])
    c = 0.00054 * np.sqrt(2)
    np.testing.assert_allclose(distances.pseudo_huber()(a, jnp.zeros_like(a)), 1e-10 / (2 * c), rtol=1e-3)
