"""What is measured of a trained run: distances of its samples, its bits/dim, its reconstructions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from diffusion_jax import samplers, times
from diffusion_jax.builders.specs import make
from diffusion_jax.data.sources import Source
from diffusion_jax.evaluation import measure, report
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import generate

SHOWN = 16


class Bench(NamedTuple):
    """What every run of one data set is measured against."""

    reference: Callable[[], measure.Reference]  # which takes its time, and not every job needs
    held_out: Source | None
    features: str  # the spec of its feature space, fit for a file name
    num: int
    seed: int


class Measured(NamedTuple):
    """The values of one job on one run."""

    values: dict[str, float]  # by the names that cells have for them
    names: dict[str, str]  # the metric behind each of them
    protocol: dict[str, Any]
    shown: np.ndarray  # [<= SHOWN, ...] for the picture; empty for none
    errors: Mapping[str, float] = {}  # standard errors of values, of the samples that were drawn alone


class Job(NamedTuple):
    """A measurement: equal labels are the same one."""

    label: str
    measure: Callable[[runs.Run, Bench], Measured]
    spec: Mapping[str, Any] = {}  # what it changes in the run's `sample` section


def samples(sampler: Mapping[str, Any], grid: Mapping[str, Any]) -> Job:
    """Frechet distance (`frechet`), and class score (`score`) where the features have classes, under a sampler.

    Every job starts from the same noises for the same seed.
    """

    spec = {'sampler': dict(sampler), 'times': dict(grid)}

    def do(run: runs.Run, bench: Bench) -> Measured:
        draw, params, trace, _ = runs.sampling(run, {**run.config['sample'], **spec})
        key, size, classes = jax.random.key(bench.seed), run.config['eval']['batch_size'], run.experiment.num_classes
        x = generate(draw, params, key, bench.num, size, run.mesh, classes, trace=trace)
        return of_samples(x, bench)

    return Job(f'{runs.name_of(sampler)}_{runs.name_of(grid)}', do, spec)


def of_samples(x: np.ndarray, bench: Bench) -> Measured:
    """The same for given samples `[n, ...]` in [-1, 1]."""
    reference = bench.reference()
    features = reference.features
    result = measure.survey([x], len(x), reference, (bench.seed,))
    names = {'frechet': report.frechet_name(features), 'score': report.class_name(features)}
    names = {key: name for key, name in names.items() if name in result.values}
    values = {key: result.values[name] for key, name in names.items()}
    errors = {key: result.values[f'{name}, standard error'] for key, name in names.items() if key == 'frechet'}
    return Measured(values, names, dataclasses.asdict(result.protocol), x[:SHOWN], errors)


def bits() -> Job:
    """Bits/dim of the first rows of the held-out data (`bits`), as many as the config's `eval.bits_num`."""

    def do(run: runs.Run, bench: Bench) -> Measured:
        assert bench.held_out is not None
        result = runs.bits_per_dim(run, bench.held_out, run.config['eval']['bits_num'], bench.seed)
        protocol = {'rows': result['rows'], 'of': bench.held_out.name, 'terms': run.config['eval']['bits_terms']}
        values, names = {'bits': result['bits/dim']}, {'bits': 'bits/dim, a bound'}
        return Measured(values, names, protocol, np.zeros(0), {'bits': result['standard error']})

    return Job('bits', do)


def reconstruction(grid: Mapping[str, Any]) -> Job:
    """Mean square error per dimension (`error`) of held-out data, in [0, 1], encoded along a grid and decoded again.

    Source: arXiv 2010.02502, section 5.4.
    """

    def do(run: runs.Run, bench: Bench) -> Measured:
        assert bench.held_out is not None
        x, size = Values(bench.held_out)[: bench.num], run.config['eval']['batch_size']
        schedule = run.experiment.schedule
        t = make(times, grid, run.experiment.context, 'grid')
        unused = jax.random.key(0)  # neither direction draws noise

        @jax.jit
        def reconstruct(params, x):
            denoise = run.experiment.models['model'](params, None, None)
            latent = samplers.sample(samplers.ddim_encode(denoise, schedule), unused, x, t[::-1])
            return samplers.sample(samplers.ddim(denoise, schedule), unused, latent, t)

        y = np.concatenate([np.asarray(reconstruct(run.params, x[i : i + size])) for i in range(0, len(x), size)])
        error = float(np.mean((y - x) ** 2)) / 4
        protocol = {'rows': len(x), 'of': bench.held_out.name, 'range': '[0, 1]'}
        return Measured({'error': error}, {'error': 'mean square error per dimension'}, protocol, y[:SHOWN])

    return Job(f'reconstruction_{runs.name_of(grid)}', do)
