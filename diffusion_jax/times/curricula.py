"""Curricula: the number N(k) at training step k, and the decay mu(k) of consistency training's target.

N counts grid points in consistency training and the student's steps in progressive distillation. An argument outside of
the range that its docstring gives is a ValueError.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from diffusion_jax.ranges import ascending, one_of, whole, within

__all__ = ['constant', 'constant_decay', 'doubling', 'falling', 'halving', 'square_root', 'target_decay']

Curriculum = Callable[[Array], Array]  # training step [] -> N []


def constant(n: int = 18) -> Curriculum:
    """The same N, in [2, inf) as a pair of times has two points, at every step, as CD has it."""
    whole('[2, inf)', n=n)
    return lambda step: jnp.full_like(step, n)


def square_root(steps: int, s_0: int = 2, s_1: int | None = None) -> Curriculum:
    """CT's N(k) = ceil(sqrt(k / K ((s_1 + 1)^2 - s_0^2) + s_0^2) - 1) + 1 (arXiv 2303.01469, appendix C).

    What is known at t = 0 travels one interval up when the one below has learnt it and the target has followed, in
    1 / (1 - mu) = N / (s_0 ln(1 / mu_0)) steps: over all N in 4.7 N^2 of the K steps with the paper's s_0 and mu_0.

    Args:
        steps: K, the number of training steps, in [0, inf).
        s_0: number of points at k = 0, in [2, inf).
        s_1: number of intervals at k = K, in [1, inf) and at least s_0 - 1; None for what K steps can carry,
            sqrt(K) / 2, and at most the paper's 150.
    """
    whole('[0, inf)', steps=steps)
    whole('[2, inf)', s_0=s_0)
    s_1 = max(min(round(math.sqrt(steps) / 2), 150), s_0) if s_1 is None else s_1
    whole('[1, inf)', s_1=s_1)
    if s_1 < s_0 - 1:
        raise ValueError(f's_1 must be at least s_0 - 1; got {s_1} and s_0 = {s_0}')

    def N(step: Int[Array, '']) -> Int[Array, '']:
        k = jnp.clip(step, 0, steps)
        square = k / max(steps, 1) * ((s_1 + 1) ** 2 - s_0**2) + s_0**2
        return jnp.ceil(jnp.sqrt(square) - 1).astype(step.dtype) + 1

    return N


def doubling(steps: int, s_0: int = 10, s_1: int | None = None) -> Curriculum:
    """ICT's N(k) = min(s_0 2^floor(k / K'), s_1) + 1, K' = floor(K / (log2 floor(s_1 / s_0) + 1)).

    Source: arXiv 2310.14189; `steps` is K. It, s_0 and s_1 are in [1, inf), s_1 is at least s_0, and the steps are
    enough for stages of one step. An s_1 of None is for as many stages as `stages_in` has for half the run: the paper's
    1280 from s_0 = 10 in 32,768 steps or more.
    """
    whole('[1, inf)', steps=steps, s_0=s_0)
    s_1 = s_0 << (stages_in(steps // 2) - 1) if s_1 is None else s_1
    whole('[1, inf)', s_1=s_1)
    if s_1 < s_0:
        raise ValueError(f's_1 must be at least s_0; got {s_1} and s_0 = {s_0}')
    each = int(steps / (math.log2(s_1 // s_0) + 1))
    if each < 1:
        raise ValueError(f'steps = {steps} are too few to double {s_0} up to {s_1}')

    def N(step: Int[Array, '']) -> Int[Array, '']:
        # Beyond 30 doublings the integer would overflow, and s_1 has been reached.
        return jnp.minimum(s_0 * 2 ** jnp.minimum(step // each, (s_1 // s_0).bit_length()), s_1) + 1

    return N


def stages_in(steps: int) -> int:
    """How many stages, each with half the gap of the one before, a run has time for: log2(steps / 64), in 1 .. 8.

    Measured: docs/results/toy_few_step.md. The papers of iCT and ECT have eight, in 400,000 steps.
    """
    return min(max(round(math.log2(max(steps, 1) / 64)), 1), 8)


def constant_decay(mu: float = 0.0) -> Callable[[Array], Array]:
    """The same decay of the target network, in [0, 1], at every step, as CD has it."""
    within('[0, 1]', mu=mu)
    return lambda step: jnp.asarray(mu)


def falling(
    steps: int, begin: float = 0.0, done: float = 1.0, sharpness: float = 25.0, clamp: float = 5e-3
) -> Curriculum:
    """Alpha-Flow's alpha, from 1 to 0 by a sigmoid between two fractions of the run (arXiv 2510.20771).

    Args:
        steps: of the run, in [1, inf).
        begin: fraction of the steps at which it begins to fall, in [0, 1].
        done: fraction at which it has fallen, in [0, 1] and above begin.
        sharpness: steepness of the sigmoid over that stretch, in (0, inf).
        clamp: in [0, 0.5): nearer to 0 or to 1 than this it is exactly that.
    """
    whole('[1, inf)', steps=steps)
    within('[0, 1]', begin=begin, done=done)
    ascending(begin=begin, done=done)
    within('(0, inf)', sharpness=sharpness)
    within('[0, 0.5)', clamp=clamp)

    def alpha(step: Int[Array, '']) -> Float[Array, '']:
        way = (step / steps - begin) / (done - begin)
        a = jax.nn.sigmoid(sharpness * (0.5 - way))
        return jnp.where(a > 1 - clamp, 1.0, jnp.where(a < clamp, 0.0, a))

    return alpha


def halving(steps: int, each: int | None = None, n_0: int = 1024, n_1: int = 1, stretch: int = 2) -> Curriculum:
    """Progressive distillation's number of the student's steps: n_0, n_0 / 2, .. n_1, a stage of training for each.

    Args:
        steps: of the run, in [0, inf): 0, or enough for the stages.
        each: number of training steps in a stage, in [1, inf); None for stages that fill the run.
        n_0: N in the first stage, n_1 times a power of two, half of the steps that its teacher takes; the paper has
            512, and 4096 on CIFAR-10.
        n_1: N in the last stage, in [1, inf).
        stretch: in [1, inf), how many times longer the stages for 2 steps and for 1 are; the paper has 50,000 training
            steps per stage and 100,000 for those two (arXiv 2202.00512, section 5.2).
    """
    n, ends = halving_stages(steps, each, n_0, n_1, stretch)
    return lambda step: jnp.asarray(n, step.dtype)[jnp.searchsorted(ends[:-1], step, side='right')]


def halving_stages(steps: int, each: int | None, n_0: int, n_1: int, stretch: int) -> tuple[np.ndarray, np.ndarray]:
    """N in each stage of `halving`, and the training step at which each ends.

    Raises:
        ValueError: if n_0 is not n_1 times a power of two, a stage has no steps, or the stages are longer than the run.
    """
    whole('[0, inf)', steps=steps)
    whole('[1, inf)', n_0=n_0, n_1=n_1, stretch=stretch)
    halvings = round(math.log2(n_0 / n_1)) if n_0 >= n_1 else -1
    if halvings < 0 or n_1 << halvings != n_0:
        raise ValueError(f'n_0 must be n_1 times a power of two; got {n_0} and {n_1}')
    n = n_0 >> np.arange(halvings + 1)
    lengths = np.where(n <= 2, stretch, 1)
    each = max(int(steps // lengths.sum()), 1) if each is None else each
    whole('[1, inf)', each=each)
    ends = np.cumsum(lengths * each)
    if 0 < steps < ends[-1]:  # a run of no steps has no stages either
        raise ValueError(f'the run must have the {ends[-1]} steps of the stages, with each={each}; got {steps}')
    return n, ends


def target_decay(N: Curriculum, s_0: int = 2, mu_0: float = 0.9, count: str = 'points') -> Callable[[Array], Array]:
    """CT's decay of the target network, mu(k) = exp(s_0 ln mu_0 / N(k)) (arXiv 2303.01469, appendix C).

    Args:
        N: the curriculum.
        s_0: its number of points at k = 0, in [1, inf).
        mu_0: the decay at k = 0, in (0, 1].
        count: what the denominator counts: the 'points' N(k) of the paper, or the 'intervals' N(k) - 1 of both
            released codes.
    """
    whole('[1, inf)', s_0=s_0)
    within('(0, 1]', mu_0=mu_0)
    one_of(_COUNTED, count=count)
    return lambda step: jnp.exp(s_0 * jnp.log(mu_0) / (N(step) - _COUNTED[count]))


_COUNTED = {'points': 0, 'intervals': 1}
