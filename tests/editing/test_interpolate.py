import jax.numpy as jnp
import numpy as np

from diffusion_jax.editing import slerp


def test_orthonormal_latents_stay_on_the_circle(x64):
    x, y = jnp.eye(4)[:2].reshape(2, 1, 2, 2)
    for w in (0.0, 0.25, 0.5, 1.0):
        z = slerp(x, y, jnp.array([w]))
        want = np.cos(w * np.pi / 2) * x + np.sin(w * np.pi / 2) * y
        np.testing.assert_allclose(z, want, atol=1e-12)


def test_general_latents(x64):
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(2, 5, 3, 4)))
    w = jnp.linspace(0, 1, 5)
    z = slerp(x, y, w)
    np.testing.assert_allclose(z[0], x[0], atol=1e-12)
    np.testing.assert_allclose(z[-1], y[-1], atol=1e-12)
    np.testing.assert_allclose(z, slerp(y, x, 1 - w), atol=1e-12)
    # Each sample has its own angle: the definition, sample by sample.
    for i in range(5):
        a, b = np.asarray(x[i]).ravel(), np.asarray(y[i]).ravel()
        th = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        want = (np.sin((1 - w[i]) * th) * a + np.sin(w[i] * th) * b) / np.sin(th)
        np.testing.assert_allclose(z[i].ravel(), want, atol=1e-12)


def test_parallel_latents_interpolate_linearly():
    x = jnp.full((2, 3), 0.5)
    np.testing.assert_allclose(slerp(x, 2 * x, jnp.array([0.5, 1.0])), jnp.array([[0.75] * 3, [1.0] * 3]), rtol=1e-6)
