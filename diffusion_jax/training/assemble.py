"""A run's compiled parts on a mesh: what makes its state, the shapes of that, and its step."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from diffusion_jax.builders import Experiment
from diffusion_jax.devices import sharding
from diffusion_jax.training.state import TrainState, init_state
from diffusion_jax.training.step import make_train_step
from diffusion_jax.types import Key, Params


class Assembled(NamedTuple):
    """Jitted functions; nothing is computed yet."""

    create: Callable[..., TrainState]  # (key, start, teacher), as `init_state` has them
    shapes: TrainState  # of what it makes, with where the arrays lie
    step: Any  # the train step, which takes over the memory of the state that it is given


def assemble(config: Mapping[str, Any], experiment: Experiment, mesh: Mesh) -> Assembled:
    """The parts of the run of a resolved config on a mesh, whose devices need not be there."""
    second, parts = experiment.second, config['train']['accumulate']
    if second is not None:
        second = second._replace(loss=_gathering(second.loss, mesh))
    learner = _gathering(experiment.loss, mesh), experiment.tx, experiment.ema, experiment.targets
    train_step = make_train_step(*learner, parts, experiment.tracks, second)
    fresh = init_state(experiment.init, experiment.tx, experiment.targets, len(experiment.tracks), experiment.second)
    of_teacher = shapes_of(experiment.start_init, mesh) if config['teacher'] else None
    shapes = jax.eval_shape(fresh, jax.random.key(0), *experiment.taken(of_teacher))
    shardings = sharding.of_state(mesh, shapes)
    # The state comes out as it goes in, so that one executable does for all steps.
    step = jax.jit(train_step, donate_argnums=0, out_shardings=(shardings, sharding.replicated(mesh)))
    return Assembled(jax.jit(fresh, out_shardings=shardings), sharding.with_shardings(shapes, shardings), step)


def _gathering(loss, mesh):
    """The loss of parameters that are split: each device gathers them, and works on its own rows."""
    if mesh.shape['fsdp'] == 1:
        return loss

    def whole_loss(params, frozen, key, batch, step):
        return loss(sharding.gathered(mesh, params), sharding.gathered(mesh, frozen), key, batch, step)

    return whole_loss


def shapes_of(init: Callable[[Key], Params], mesh: Mesh) -> Params:
    """The shapes of what `init` makes, with where the arrays shall lie."""
    shapes = jax.eval_shape(init, jax.random.key(0))
    return sharding.with_shardings(shapes, sharding.of_state(mesh, shapes))
