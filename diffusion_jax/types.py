"""The types that every other file shares. No logic.

Shapes: `B` is the batch, `...` any event shape (an image, a point, a waveform). A time `t` is `[B]`, one per sample,
everywhere but in a sampler's `step`, where one scalar time holds for the whole batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Int

Key = jax.Array  # a typed PRNG key `[]`; where it says so, one key per sample `[B]`
Params = Any  # a pytree of arrays
Metrics = dict[str, Array]

Denoiser = Callable[[Array, Array], Array]  # (x_t [B, ...], t [B]) -> x_0 [B, ...]
VectorField = Callable[[Array, Array], Array]  # (x_t [B, ...], t [B]) -> a velocity or a score, [B, ...]
FlowMap = Callable[[Array, Array, Array], Array]  # (x_t [B, ...], t [B], s [B]) -> x_s [B, ...]
# (x_t [B, ...], t [B], s [B]) -> (x_t - x_s) / (t - s) [B, ...], and dx/dt at s = t
AverageVelocity = Callable[[Array, Array, Array], Array]
# (x_t [B, ...], t [B]) -> (x_0, variance logits), both [B, ...]
DenoiserWithVariance = Callable[[Array, Array], tuple[Array, Array]]

# (params, x [B, ...], c_noise [B] (of a flow map [B, 2]), cond [B] or None, dropout key or None) -> F [B, ...]; no key
# means no dropout
Network = Callable[[Params, Array, Array, Array | None, Key | None], Array]
Model = Callable[[Params, Array | None, Key | None], Denoiser]  # (params, cond, dropout key) -> Denoiser
ModelWithVariance = Callable[[Params, Array | None, Key | None], DenoiserWithVariance]
FlowModel = Callable[[Params, Array | None, Key | None], FlowMap]
AverageVelocityModel = Callable[[Params, Array | None, Key | None], AverageVelocity]


@runtime_checkable
class Schedule(Protocol):
    """A Gaussian path x_t = alpha(t) x_0 + sigma(t) eps, as a frozen pytree. Results have the shape of `t`.

    Register it by `register_static`, or as a node: if by `register_dataclass` or flax.struct, `jit` may take it for
    another class with the same fields (jaxlib 0.10 calls their structures equal).
    """

    def alpha(self, t: Array) -> Array:
        """Signal scale at time t."""
        ...

    def sigma(self, t: Array) -> Array:
        """Noise scale at time t, 0 for clean data."""
        ...


class Precond(NamedTuple):
    """D(x, t) = c_skip(t) x + c_out(t) F(c_in(t) x, c_noise(t)) (EDM, arXiv 2206.00364, eq. 7)."""

    c_skip: Callable[[Array], Array]
    c_out: Callable[[Array], Array]
    c_in: Callable[[Array], Array]
    c_noise: Callable[[Array], Array]


@runtime_checkable
class State(Protocol):
    """What a sampler carries from step to step: `x` is the sample, multistep solvers keep more beside it."""

    @property
    def x(self) -> Array:
        """The sample at the current time, `[B, ...]`."""
        ...


class Sampler(NamedTuple):
    """A pair of pure functions, and what they promise; `samplers.sample` owns the loop."""

    init: Callable[[Array], Any]  # x_T [B, ...] -> State
    step: Callable[[Key, Any, Array, Array], Any]  # (key [] or [B], State, t [], s []) -> State
    order: int = 1  # of convergence between two finite log-SNRs; of a stochastic sampler the weak order
    least_steps: int = 1  # a grid with fewer never reaches that order: multistep solvers need a history


class Batch(NamedTuple):
    """What a loss sees: values in [-1, 1], and an optional condition per sample."""

    x: Float[Array, 'b ...']
    cond: Int[Array, ' b'] | None = None


class Frozen(NamedTuple):
    """Parameters that a loss reads and never differentiates: an argument of the loss, never closed over."""

    target: Params = None
    teacher: Params = None


LossFn = Callable[[Params, Frozen, Key, Batch, Array], tuple[Array, Metrics]]  # (params, frozen, key, batch, step [])

Draw = Callable[[Params, Key, Array | None], Array]  # (params, keys [B], cond [B] or None) -> samples [B, ...]
# The same arguments -> the times (t, s) of the step in which a sample stopped being finite, None if none did.
FindNonFinite = Callable[[Params, Key, Array | None], tuple[float, float] | None]
