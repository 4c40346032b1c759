"""Whose velocity a method is told: a teacher's, its own, that of each sample's path, or of the whole batch."""

from collections.abc import Callable
from typing import NamedTuple

from diffusion_jax import drift, flow_maps
from diffusion_jax.objectives.batch_posterior import batch_denoiser
from diffusion_jax.types import Array, AverageVelocity, Batch, Frozen, Model, Schedule, VectorField

__all__ = ['of_a_teacher', 'of_the_batch', 'of_the_path', 'own']


class Velocity(NamedTuple):
    """A velocity v(x, t), and what u(x_t, t, t) is to learn where s = t."""

    # (frozen, batch, the path's velocity [B, ...], u of the target's parameters or None) -> v
    field: Callable[[Frozen, Batch, Array, AverageVelocity | None], VectorField]
    learnt_from_the_path: bool = False  # where s = t: else from v itself
    reads_teacher: bool = False


def own() -> Velocity:
    """u(x, t, t) of the model itself: self-distillation (arXiv 2505.18825). Of flow maps alone."""
    return Velocity(lambda frozen, batch, path, u: flow_maps.velocity_of(u), learnt_from_the_path=True)


def of_a_teacher(teacher: Model, schedule: Schedule) -> Velocity:
    """A diffusion model's along its ODE, without dropout (arXiv 2406.07507). Needs sigma(t) > 0, at s as well."""

    def field(frozen, batch, path, u):
        return drift.velocity(teacher(frozen.teacher, batch.cond, None), schedule)

    return Velocity(field, reads_teacher=True)


def of_the_path() -> Velocity:
    """Each sample's alpha' x_0 + sigma' eps, at x_t and nowhere else: for the Eulerian equation alone."""
    return Velocity(lambda frozen, batch, path, u: lambda x, t: path)


def of_the_batch(schedule: Schedule) -> Velocity:
    """The same on average with less variance, by `batch_denoiser`: for the Eulerian equation alone, as well."""
    return Velocity(lambda frozen, batch, path, u: drift.velocity(batch_denoiser(batch, schedule), schedule))
