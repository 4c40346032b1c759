"""The scores of a diffusion model and of a consistency model, by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from diffusion_jax import editing, likelihood, samplers, times
from diffusion_jax.builders import Experiment
from diffusion_jax.devices import processes, sharding
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import anomaly
from diffusion_jax.inference import runs
from diffusion_jax.types import Array, Key, Params
from experiments.anomaly.splits import TRAINING

LATENT = 'DDIM latent'
NOISED = DENOISED, ONCE, CONSISTENCY = 'noised and denoised by DDIM', 'one denoising', 'consistency model, one step'
LIKELIHOOD, TYPICALITY = 'ODE likelihood', 'ODE likelihood, typicality'


class Weights(NamedTuple):
    """The parameters of both models."""

    diffusion: Params
    consistency: Params


class Depths(NamedTuple):
    """Times of the schedule, of EDM noise levels, at which each kind of reconstruction is tried."""

    latent: Sequence[float]  # of DDIM's encoding
    noised: Sequence[float]  # of noise and denoising, in many steps or one


Method = Callable[[Weights, Key, Array], Array]  # (weights, key, x [B, ...]) -> scores [B]


def methods(
    diffusion: runs.Run, consistency: runs.Run, depths: Depths, draws: int, tolerance: float
) -> dict[str, Method]:
    """Every score, jitted; the weights are arguments, so that runs on other data of this kind take the same code.

    DDIM on the grid of the diffusion run's `sample.times` below each depth. The likelihood is the ODE's with one
    Hutchinson probe, data spread by a normal of a quarter of a bin cut off at its edges.

    Args:
        diffusion: a run of a diffusion model.
        consistency: a run of a consistency model on the same data.
        depths: of the reconstructions.
        draws: of noise, in each reconstruction from noise.
        tolerance: of the ODE's solver.

    Raises:
        UserError: for runs of other models, a depth that is not on the grid.
    """
    f, schedule = _model(consistency, 'consistency'), diffusion.experiment.schedule
    denoise = _model(diffusion, 'denoise')
    parts = parts_of_the_grid(diffusion.experiment, diffusion.config, depths)

    def latent(w, t):
        return anomaly.latent(denoise(w.diffusion), schedule, parts[t])

    def denoised(w, t):
        return anomaly.noised(samplers.ddim(denoise(w.diffusion), schedule), schedule, parts[t])

    def once(w, t):
        return anomaly.one_step(denoise(w.diffusion), schedule, t)

    def consistent(w, t):
        return anomaly.one_step(f(w.consistency), consistency.experiment.schedule, t)

    found: dict[str, Method] = {}
    for family, rebuild in ((LATENT, latent), (DENOISED, denoised), (ONCE, once), (CONSISTENCY, consistent)):
        n = 1 if family == LATENT else draws  # which draws nothing
        for t in depths.latent if family == LATENT else depths.noised:
            found[f'{family}, t = {t:g}'] = _scored(
                lambda w, rebuild=rebuild, t=t, n=n: anomaly.error(rebuild(w, t), n)
            )
    found[LIKELIHOOD] = _scored(lambda w: _surprise(diffusion.experiment, denoise(w.diffusion), tolerance))
    return found


def parts_of_the_grid(experiment: Experiment, config: Mapping[str, Any], depths: Depths) -> dict[float, np.ndarray]:
    """The part of `config.sample.times` below each depth.

    Raises:
        UserError: for a depth that is not on it.
    """
    grid = experiment.context.make(times, config['sample']['times'], 'config.sample.times')
    parts = {}
    for t in (*depths.latent, *depths.noised):
        try:
            parts[t] = editing.part_below(grid, t)
        except ValueError as error:
            raise UserError(f'--depth={t:g}: {error}') from error
    return parts


def _scored(score_of):
    return jax.jit(lambda weights, key, x: score_of(weights)(key, x))


def _model(run: runs.Run, name: str):
    """The model of a run that is told nothing: parameters to a denoiser, or a consistency function."""
    model = getattr(run.experiment.models, name)
    if model is None or run.experiment.source.condition is not None:
        raise UserError(
            f'anomalies need an unconditional model of {name}: give --config and --distil_config that train them'
        )
    return lambda params: model(params, None, None)


def _surprise(experiment: Experiment, denoise, tolerance):
    levels, schedule = experiment.source.kind.levels, experiment.schedule
    least = 1e-3 if levels is None else 0.5 / (levels - 1)
    ode = likelihood.ode(denoise, schedule, schedule.t_max, likelihood.hutchinson(), least, tolerance, tolerance)
    dequantise = None if levels is None else likelihood.truncated_normal(least, levels)
    return anomaly.surprise(lambda key, y: ode(key, y).log_p, dequantise)


def scored(
    found: Mapping[str, Method], weights: Weights, sets: Mapping[str, np.ndarray], key: Key, size: int, mesh: Mesh
) -> dict[str, dict[str, np.ndarray]]:
    """Scores of all rows by method and set, `size` rows at once; typicality among them.

    Args:
        found: of `methods`.
        weights: of both models.
        sets: rows by name, 'training' among them.
        key: of all noise.
        size: of a batch, rounded up to a multiple of the devices; the last is filled up with its last row.
        mesh: of devices.
    """
    x, ends = np.concatenate([*sets.values()]), np.cumsum([len(rows) for rows in sets.values()])
    size = -(-size // mesh.size) * mesh.size
    scores = {}
    for i, (name, method) in enumerate(found.items()):
        parts = []
        for first in range(0, len(x), size):
            rows = np.minimum(np.arange(first, first + size), len(x) - 1)
            k = jax.random.fold_in(jax.random.fold_in(key, i), first)
            part = processes.gather(method(weights, k, sharding.spread(mesh, x[rows])))
            parts.append(part[: len(x) - first])
        scores[name] = dict(zip(sets, np.split(np.concatenate(parts), ends[:-1]), strict=True))
    return {**scores, **_derived(scores)}


def _derived(scores):
    """Typicality, and of each family from noise the mean over its depths."""
    surprise = scores[LIKELIHOOD]
    found = {TYPICALITY: {name: anomaly.atypicality(of, surprise[TRAINING]) for name, of in surprise.items()}}
    for family in NOISED:
        of_family = [score for name, score in scores.items() if name.startswith(f'{family}, t = ')]
        found[f'{family}, mean over t'] = {
            name: np.mean([anomaly.standardised(score[name], score[TRAINING]) for score in of_family], axis=0)
            for name in surprise
        }
    return found
