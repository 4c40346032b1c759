"""The types that every other file shares. No logic.

Shapes: `B` is the batch, `...` any event shape (an image, a point, a waveform). A time `t` is `[B]`, one per sample,
everywhere but in a sampler's `step`, where one scalar time holds for the whole batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

Key = jax.Array  # a typed PRNG key `[]`; where it says so, one key per sample `[B]`
Params = Any  # a pytree of arrays
Metrics = dict[str, Array]
Cond = Any  # conditions [B, ...] of a batch: a pytree like `Condition.parts`, or None

Denoiser = Callable[[Array, Array], Array]  # (x_t [B, ...], t [B]) -> x_0 [B, ...]
VectorField = Callable[[Array, Array], Array]  # (x_t [B, ...], t [B]) -> a velocity or a score, [B, ...]
FlowMap = Callable[[Array, Array, Array], Array]  # (x_t [B, ...], t [B], s [B]) -> x_s [B, ...]
# (x_t [B, ...], t [B], s [B]) -> (x_t - x_s) / (t - s) [B, ...], and dx/dt at s = t
AverageVelocity = Callable[[Array, Array, Array], Array]
# (x_t [B, ...], t [B]) -> (x_0, variance logits), both [B, ...]
DenoiserWithVariance = Callable[[Array, Array], tuple[Array, Array]]
# (x_t [B, ...] of levels, `levels` itself for a mask, t [B]) -> logits of x_0 [B, ..., levels]: of each place
# log p(x_0 | x_t), up to a constant of its own
Categorical = Callable[[Array, Array], Array]
Classifier = Callable[[Array, Array], Array]  # (x_t [B, ...], t [B]) -> log p(y | x_t) of each class y, [B, num]

# (params, x [B, ...], c_noise [B] (of a flow map [B, 2]), cond, dropout key or None) -> F [B, ...]; without a key there
# is no dropout
Network = Callable[[Params, Array, Array, Cond, Key | None], Array]
Model = Callable[[Params, Cond, Key | None], Denoiser]  # (params, cond, dropout key) -> Denoiser
ModelWithVariance = Callable[[Params, Cond, Key | None], DenoiserWithVariance]
FlowModel = Callable[[Params, Cond, Key | None], FlowMap]
AverageVelocityModel = Callable[[Params, Cond, Key | None], AverageVelocity]
CategoricalModel = Callable[[Params, Cond, Key | None], Categorical]
ClassifierModel = Callable[[Params, Cond, Key | None], Classifier]  # the condition is what is told, not the class


class Models(NamedTuple):
    """What a run has learnt, and what follows from that; None for what it has not."""

    denoise: Model | None = None
    with_variance: ModelWithVariance | None = None
    consistency: Model | None = None
    average_velocity: AverageVelocityModel | None = None
    flow_map: FlowModel | None = None
    categorical: CategoricalModel | None = None
    classify: ClassifierModel | None = None


@dataclass(frozen=True)
class Part:
    """One thing that is told beside x: a class, a vector, a sequence of tokens or of vectors, an image.

    A row of a class (`num` given, no sequence) is an integer array of `shape`, where `num` itself says nothing. A row
    of anything else is `Masked`. A frozen dataclass, so that it is a leaf of a pytree of parts.
    """

    shape: tuple[int, ...]  # of the values of one row: () a class, [L] tokens, [D] a vector, [L, D], [H, W, C]
    num: int | None = None  # the values are integers in 0 .. num - 1; None for real numbers
    sequence: bool = False  # along the first axis, each place of which may be empty


class Masked(NamedTuple):
    """Values of a condition, and whether they are there."""

    values: Shaped[Array | np.ndarray, '...']  # [B, *shape]
    mask: Bool[Array | np.ndarray, '...']  # [B, L] of a sequence, otherwise [B]


class Condition(NamedTuple):
    """What a data set tells beside x."""

    parts: Any  # a pytree of `Part`; conditions of a batch are the same pytree of rows [B, ...]
    null: Any  # one row that tells nothing: the null class, an empty mask
    read: Callable[[str], Any] | None = None  # from a text to one row, where the condition is one


class Kind(NamedTuple):
    """What x is, of one sample: its shape with channels last, its grid, and its form outside of this program."""

    name: str  # images, points, waveform, video, tokens, latents, field
    shape: tuple[int, ...]
    levels: int | None  # of quantised data, equally spaced over [-1, 1]; None for continuous data
    store: Callable[[np.ndarray], np.ndarray]  # samples as drawn [n, ...] -> what a file holds
    read: Callable[[np.ndarray], np.ndarray]  # what a file holds -> samples in [-1, 1], float32
    show: Callable[[Any, np.ndarray], None]  # (path without suffix, samples as drawn) -> files to look at or listen to
    augment: Callable[[Key, Array], Array]  # (key, x [B, ...]) -> x [B, ...]


@runtime_checkable
class Schedule(Protocol):
    """A Gaussian path x_t = alpha(t) x_0 + sigma(t) eps, as a frozen pytree. Results have the shape of `t`.

    Register it by `register_static`, or as a node: if by `register_dataclass` or flax.struct, `jit` may take it for
    another class with the same fields (jaxlib 0.10 calls their structures equal).
    """

    @property
    def t_max(self) -> float:
        """The noisiest time."""
        ...

    def alpha(self, t: Array) -> Array:
        """Signal scale at time t."""
        ...

    def sigma(self, t: Array) -> Array:
        """Noise scale at time t, 0 for clean data."""
        ...


class Process(NamedTuple):
    """How data become noise, whatever x is: a `Schedule`'s Gaussian path, or masking. Keys are `[]` or `[B]`."""

    prior: Callable[[Key, tuple[int, ...]], Array]  # (key, (B, ...)) -> x at the noisiest time
    corrupt: Callable[[Key, Array, Array], Array]  # (key, x_0 [B, ...], t [] or [B]) -> x_t


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
    """A pair of pure functions, and what they promise; `samplers.sample` owns the loop.

    The order is that between two finite log-SNRs, on grids whose steps are smooth in the log-SNR and, of a multistep
    solver, whose first steps are short: it starts from one point with a step of first order. Where the first
    `least_steps - 1` steps are as short as the square of the others, as on lambda_0 + (i / n)^2, nothing of the start
    is seen. Where all steps are alike, the start leaves order 2 (3 where a corrector follows), with a factor that is
    too small to see if the run starts from much noise, as from sigma = 80.
    """

    init: Callable[[Array], Any]  # x_T [B, ...] -> State
    step: Callable[[Key, Any, Array, Array], Any]  # (key [] or [B], State, t [], s []) -> State
    order: int = 1  # of convergence; of a stochastic sampler the weak order
    least_steps: int = 1  # a grid with fewer never reaches that order: multistep solvers need a history


class Batch(NamedTuple):
    """What a loss sees: values in [-1, 1], and an optional condition per sample."""

    x: Float[Array, 'b ...']
    cond: Cond = None


class Frozen(NamedTuple):
    """Parameters that a loss reads and never differentiates: an argument of the loss, never closed over."""

    target: Params = None
    teacher: Params = None
    other: Params = None  # of the other learner: the model's loss finds the second learner's here, and the reverse

    def target_or(self, params: Params) -> Params:
        """The target network's parameters; those of the model, where it is its own target."""
        return params if self.target is None else self.target


LossFn = Callable[[Params, Frozen, Key, Batch, Array], tuple[Array, Metrics]]  # (params, frozen, key, batch, step [])


class SecondLearner(NamedTuple):
    """What learns in turn with the model, by a loss and an optimiser of its own: a fake score, a critic.

    Each of the two losses differentiates its own parameters alone and finds the other's in `frozen.other`.
    """

    name: str  # before the names of its metrics
    init: Callable[[Key, Params], Params]  # (key, the teacher's parameters or None) -> its own, at step 0
    loss: LossFn
    updates: int  # of it in every step, before the one update of the model
    tx: Any = None  # the run's optax.GradientTransformation; an objective leaves it open


class Objective(NamedTuple):
    """What a run minimises, and what it learns for that beside the model."""

    init: Callable[[Key], dict[str, Params]] | None  # by the names under which `loss` finds them in its parameters
    loss: LossFn
    reads_teacher: bool = False  # `frozen.teacher` must be there
    drops_cond: bool = False  # now and then it replaces a condition by the one that tells nothing
    second: SecondLearner | None = None


Asked = Callable[[Array], Cond]  # sample indices [B] -> what is asked for
Draw = Callable[[Params, Key, Array], Array]  # (params, keys [B], sample indices [B]) -> samples [B, ...]
# The same arguments -> the times (t, s) of the step in which a sample stopped being finite, None if none did.
FindNonFinite = Callable[[Params, Key, Array], tuple[float, float] | None]
