"""Schedules of masking: alpha(t) is the probability that a token is still there, sigma(t) = 1 - alpha(t) that it isn't.

Any schedule with alpha + sigma = 1 is one; rectified flow's is the linear one. t is in [0, 1], all is there at 0 and
nothing at 1. The names and formulas are those of MD4 (arXiv 2406.04329).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion_jax.ranges import within


@jax.tree_util.register_static
@dataclass(frozen=True)
class PolynomialMasking:
    """alpha = 1 - t^power: linear by default. power is in (0, inf); anything else is a ValueError."""

    power: float = 1.0

    def __post_init__(self):
        within('(0, inf)', power=self.power)

    @property
    def t_max(self) -> float:
        """The time at which nothing is left."""
        return 1.0

    def alpha(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Probability to be there."""
        return 1 - self.sigma(t)

    def sigma(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Probability to be masked."""
        return t**self.power


@jax.tree_util.register_static
@dataclass(frozen=True)
class CosineMasking:
    """alpha = 1 - cos(pi (1 - t) / 2)."""

    @property
    def t_max(self) -> float:
        """The time at which nothing is left."""
        return 1.0

    def alpha(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Probability to be there."""
        return 1 - jnp.cos(jnp.pi / 2 * (1 - t))

    def sigma(self, t: Float[Array, '*t']) -> Float[Array, '*t']:
        """Probability to be masked; as a sine it keeps its digits near 0."""
        return jnp.sin(jnp.pi / 2 * t)
