"""The pairs of weight and parameterisation are in test_precond; here, values from the papers."""

import jax.numpy as jnp
import numpy as np

from diffusion_jax import schedules
from diffusion_jax.objectives import weights


def test_values(x64):
    t = jnp.array([0.2, 0.5])
    flow, cosine = schedules.RectifiedFlow(), schedules.CosineVP()
    cases = [
        (weights.snr(flow), [16.0, 1.0]),  # (0.8 / 0.2)^2, (0.5 / 0.5)^2
        (weights.uniform(), [1.0, 1.0]),
        (weights.v(cosine), 1 / np.sin([0.1 * np.pi, 0.25 * np.pi]) ** 2),  # SNR + 1
        (weights.flow(flow), [25.0, 4.0]),  # 1 / t^2
        (weights.edm(0.5), [0.29 / 0.01, 0.5 / 0.0625]),
        (weights.trig(schedules.TrigFlow(0.5)), 4 / np.sin([0.2, 0.5]) ** 2),
        (weights.min_snr(flow, 5.0), [5.0, 1.0]),
        (weights.truncated_snr(schedules.VE()), [25.0, 4.0]),
        (weights.truncated_snr(schedules.TrigFlow(2.0)), [1 / (2 * np.tan(0.2)) ** 2, 1.0]),
    ]
    for weight, want in cases:
        np.testing.assert_allclose(weight(t), want, rtol=1e-12)


def test_mu_weight_is_the_square_of_equation_7s_coefficient(x64):
    betas = np.linspace(1e-4, 0.02, 1000)
    abar = np.concatenate([[1], np.cumprod(1 - betas)])
    k = np.array([1, 2, 500, 1000])
    weight = weights.mu(schedules.DiscreteVP(betas))(jnp.asarray(k / 1000))
    np.testing.assert_allclose(weight, abar[k - 1] * betas[k - 1] ** 2 / (1 - abar[k]) ** 2, rtol=1e-8)
