"""What is to be made small."""

from collections.abc import Callable

import jax
import numpy as np

from diffusion_jax.evaluation import measure
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import generate

Measure = Callable[[runs.Run, measure.Reference, int], float]  # of a run, in its own sample settings, and a seed


def samples(run: runs.Run, num: int, seed: int) -> np.ndarray:
    """`num` samples `[num, ...]` of a run in its own `sample` settings."""
    drawn = runs.sampling(run, run.config['sample'])
    size, key = run.config['eval']['batch_size'], jax.random.key(seed)
    classes = run.experiment.num_classes
    return generate(drawn.draw, drawn.params, key, num, size, run.mesh, classes, trace=drawn.trace)


def frechet(run: runs.Run, reference: measure.Reference, seed: int) -> float:
    """The Frechet distance of `eval.num` samples to the run's data, in the features of `eval.features`."""
    result = measure.measure(samples(run, run.config['eval']['num'], seed), reference, (seed,))
    return next(iter(result.values.values()))
