import jax.numpy as jnp
import numpy as np

from diffusion_jax import guidance

X, T = jnp.array([[-3.0, -0.5, 0.5, 3.0]]), jnp.array([0.5])


def test_clip_bounds_the_prediction():
    np.testing.assert_array_equal(guidance.clip(lambda x, t: x)(X, T), [[-1, -0.5, 0.5, 1]])
    np.testing.assert_array_equal(
        guidance.clip(lambda x, t: x * t[:, None], -0.25, 5.0)(X, T), [[-0.25, -0.25, 0.25, 1.5]]
    )


def test_on_x_0_leaves_the_logits_alone():
    calls = []

    def denoise(x, t):
        calls.append(1)
        return x, 2 * x

    x_0, logits = guidance.on_x_0(guidance.clip, denoise)(X, T)
    np.testing.assert_array_equal(x_0, [[-1, -0.5, 0.5, 1]])
    np.testing.assert_array_equal(logits, 2 * X)
    assert len(calls) == 1
