"""A dequantiser that is trained for one model."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax import likelihood, nets
from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.data import pipeline
from diffusion_jax.times import noise_levels
from diffusion_jax.types import Key, Params

_ROWS = 128  # of a batch


class Trained(NamedTuple):
    """How a dequantiser is trained, and what it then is."""

    learn: Callable[[Params, Key], Params]  # (the model's parameters, key) -> its own
    bind: Callable[[Params], likelihood.Dequantiser]  # its own parameters -> it


def build_trained(experiment: Experiment, levels: int, level: float, steps: int) -> Trained:
    """A `nets.Dequantiser` trained on rows of the experiment's own source, under the model's score at a noise level.

    Args:
        experiment: with a diffusion model.
        levels: of the data.
        level: sigma / alpha at which the density of the model is taken.
        steps: of Adam, with 128 rows each.

    Raises:
        ValueError: for less than one step.
    """
    if steps < 1:
        raise ValueError(f'fit_steps must be at least 1; got {steps}')
    model, schedule = experiment.models.denoise, experiment.schedule
    assert model is not None
    net: Any = nets.Dequantiser()
    t = float(noise_levels.times_at(schedule, np.asarray(level)))
    alpha, sigma = (float(f(jnp.asarray(t, jnp.float32))) for f in (schedule.alpha, schedule.sigma))
    at = pipeline.batch_at(experiment.source, 0, min(_ROWS, len(experiment.source.x)))
    prepare = pipeline.prepare(experiment.source.kind)

    def loss(phi, params, key, raw):
        key_data, key_loss = jax.random.split(key)
        batch = prepare(key_data, raw)
        score = likelihood.score_at(model(params, batch.cond, None), alpha, sigma, t)
        return likelihood.elbo(net.apply, likelihood.along(score), levels)(phi, key_loss, batch.x)

    def learn(params, key):
        key_init, key_fit = jax.random.split(key)
        phi = jax.jit(net.init)(key_init, jnp.zeros((1, *experiment.shape)))
        return likelihood.fit(loss, phi, params, key_fit, at, steps)

    return Trained(learn, lambda phi: likelihood.variational(lambda x: net.apply(phi, x), levels))
