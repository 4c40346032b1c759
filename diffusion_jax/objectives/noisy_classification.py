"""A classifier of noisy data, which guides models that were trained without it (arXiv 2105.05233, section 4)."""

import jax
import jax.numpy as jnp

from diffusion_jax.axes import of_each
from diffusion_jax.objectives.trains import trains
from diffusion_jax.schedules import q_sample
from diffusion_jax.times import TimeDistribution
from diffusion_jax.types import ClassifierModel, Objective, Schedule


@trains('classify')
def noisy_classification(classifier: ClassifierModel, schedule: Schedule, p_t: TimeDistribution) -> Objective:
    """Cross-entropy -E log p(y | x_t) of the classes y of a batch: H(y | x_t) at the exact posterior, its least value.

    `accuracy` is the share of samples whose class is the most likely one, over the same times. The classifier is not
    told the condition of the batch, which is what it learns to say.
    """

    def loss(params, frozen, key, batch, step):
        del frozen, step
        key_t, key_eps, key_dropout = jax.random.split(key, 3)
        t = p_t(key_t, batch.x.shape[:1])
        x_t = q_sample(schedule, batch.x, t, jax.random.normal(key_eps, batch.x.shape))
        log_p = classifier(params, None, key_dropout)(x_t, t)
        (y,) = jax.tree.leaves(batch.cond)
        value = -jnp.mean(of_each(log_p, y))
        return value, {'loss': value, 'accuracy': jnp.mean(jnp.argmax(log_p, axis=1) == y)}

    return Objective(None, loss)
