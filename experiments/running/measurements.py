"""Measurements: distances of a run's samples, its bits/dim, its reconstructions, all that `evaluate` says of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from diffusion_jax import samplers, times
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure, report
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import generate
from diffusion_jax.types import Key
from experiments.running.measuring import Bench, Measured, Measurement

SHOWN = 16


def drawing(run: runs.Run, changes: Mapping[str, Any] = {}) -> Callable[[int, Key], np.ndarray]:
    """(num, key) -> samples `[num, ...]` of a run under its own `sample` section with these changes.

    Every drawing starts from the same noises for the same key.
    """
    found = runs.sampling(run, {**run.config['sample'], **changes}).drawing
    found = found._replace(batch_size=run.config['eval']['batch_size'])
    return lambda num, key: generate(found, key, num)


def frechet(run: runs.Run, bench: Bench) -> Measured:
    """The Frechet distance, and the kernel distance, of a run's samples under its own `sample` section."""
    x = drawing(run)(bench.num, jax.random.key(bench.seed))
    result = measure.measure(x, bench.reference(), (bench.seed,))
    return Measured(result.values, dataclasses.asdict(result.protocol))


def samples(sampler: Mapping[str, Any], times: Mapping[str, Any]) -> Measurement:
    """Frechet distance (`frechet`), and class score (`score`) where the features have classes, under a sampler."""
    changes = {'sampler': dict(sampler), 'times': dict(times)}

    def do(run: runs.Run, bench: Bench) -> Measured:
        return of_samples(drawing(run, changes)(bench.num, jax.random.key(bench.seed)), bench)

    return Measurement(f'{runs.name_of(sampler)}_{runs.name_of(times)}', do, changes)


def of_samples(x: np.ndarray, bench: Bench) -> Measured:
    """The same of given samples `[n, ...]` in [-1, 1]."""
    reference = bench.reference()
    features = reference.features
    result = measure.survey([x], len(x), reference, (bench.seed,))
    names = {'frechet': report.frechet_name(features), 'score': report.class_name(features)}
    names = {key: name for key, name in names.items() if name in result.values}
    values = {key: result.values[name] for key, name in names.items()}
    errors = {key: result.values[f'{name}, standard error'] for key, name in names.items() if key == 'frechet'}
    return Measured(values, dataclasses.asdict(result.protocol), names, errors, x[:SHOWN])


def evaluated(run: runs.Run, bench: Bench) -> Measured:
    """What `diffusion_jax.evaluate` says of a run with its own sampler: all distances, and bits/dim where asked for.

    Raises:
        UserError: if the run cannot be measured.
    """
    held_out, bits_num = bench.held_out(), run.config['eval']['bits_num']
    result = runs.survey(run, run.config['sample'], bench.num, runs.reference(run, held_out), bench.seed)
    values, protocol = result.values, dataclasses.asdict(result.protocol)
    if bits_num:
        if held_out is None:
            raise UserError('bits/dim needs held-out data: set eval.held_out, or eval.bits_num=0')
        bits = runs.bits_per_dim(run, held_out, bits_num, bench.seed)
        values = {**values, 'bits/dim': bits['bits/dim']}
        protocol = {**protocol, 'bits/dim on': held_out.name, 'rows': bits['rows']}
    return Measured(values, protocol)


def bits() -> Measurement:
    """Bits/dim of the first rows of the held-out data (`bits`), as many as the config's `eval.bits_num`."""

    def do(run: runs.Run, bench: Bench) -> Measured:
        held_out = bench.held_out()
        assert held_out is not None
        result = runs.bits_per_dim(run, held_out, run.config['eval']['bits_num'], bench.seed)
        protocol = {'rows': result['rows'], 'of': held_out.name, 'terms': run.config['eval']['bits_terms']}
        values, names = {'bits': result['bits/dim']}, {'bits': 'bits/dim, a bound'}
        return Measured(values, protocol, names, {'bits': result['standard error']})

    return Measurement('bits', do)


def reconstruction(spec: Mapping[str, Any]) -> Measurement:
    """Mean square error per dimension (`error`) of held-out data, in [0, 1], encoded along the times and decoded again.

    Source: arXiv 2010.02502, section 5.4.
    """

    def do(run: runs.Run, bench: Bench) -> Measured:
        held_out = bench.held_out()
        assert held_out is not None
        x, size = Values(held_out)[: bench.num], run.config['eval']['batch_size']
        schedule = run.experiment.schedule
        t = run.experiment.context.make(times, spec, 'times')
        model, unused = run.experiment.models.denoise, jax.random.key(0)  # neither direction draws noise
        if model is None:
            raise UserError('a reconstruction needs a diffusion model')

        @jax.jit
        def reconstruct(params, x):
            denoise = model(params, run.experiment.nothing(len(x)), None)
            latent = samplers.sample(samplers.ddim_encode(denoise, schedule), unused, x, t[::-1])
            return samplers.sample(samplers.ddim(denoise, schedule), unused, latent, t)

        y = np.concatenate([np.asarray(reconstruct(run.params, x[i : i + size])) for i in range(0, len(x), size)])
        error = float(np.mean((y - x) ** 2)) / 4
        protocol = {'rows': len(x), 'of': held_out.name, 'range': '[0, 1]'}
        return Measured({'error': error}, protocol, {'error': 'mean square error per dimension'}, shown=y[:SHOWN])

    return Measurement(f'reconstruction_{runs.name_of(spec)}', do)
