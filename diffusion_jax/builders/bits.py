"""Bits/dim of a run's model, by a method that the command line names."""

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax import guidance, likelihood, process, reverse
from diffusion_jax.builders.dequantiser import build_trained
from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.builders.specs import make
from diffusion_jax.data import sources
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.types import Array, Cond, Key, Params

_FIT_STEPS = 500
_MASKED_TERMS = 100
_VARIANCES = {'small': reverse.small, 'large': reverse.large}


def build_reverse(experiment: Experiment, params: Params, cond: Cond, variance: str) -> reverse.Reverse:
    """The reverse process whose bound is reported: the learned variance where there is one, else `variance`.

    Raises:
        UserError: for an unknown variance.
    """
    models = experiment.models
    if models.with_variance is not None:
        raw = models.with_variance(params, cond, None)
        return reverse.learned(guidance.on_x_0(guidance.clip, raw), experiment.schedule)
    if variance not in _VARIANCES:
        raise UserError(f'config.eval.variance={variance!r} is unknown; known: {", ".join(_VARIANCES)}')
    assert models.denoise is not None
    denoise = guidance.clip(models.denoise(params, cond, None))
    return reverse.fixed(denoise, experiment.schedule, _VARIANCES[variance])


def build_bound(
    experiment: Experiment, source: sources.Source, variance: str, terms: int | None
) -> Callable[[Params, Key, Array, Cond], likelihood.BoundTerms]:
    """The bound on a data set, `(params, key, x [B, ...], cond) -> BoundTerms`.

    Raises:
        UserError: for a schedule that is no table, data without levels, an unknown variance, too many terms.
    """
    levels, T = _levels(experiment, source), experiment.context.given.get('T')
    if T is None:
        raise UserError('bits/dim of the bound needs a table of steps (DiscreteVP): set --bits=ode, or --bits_num=0')

    def bound(params, key, x, cond):
        p = build_reverse(experiment, params, cond, variance)
        return likelihood.vlb(p, experiment.schedule, T, levels, terms)(key, x)

    try:
        likelihood.vlb(
            build_reverse(experiment, {}, experiment.nothing(1), variance), experiment.schedule, T, levels, terms
        )
    except ValueError as error:
        raise UserError(f'config.eval.bits_terms: {one_line(error)}') from error
    return bound


class Bits(NamedTuple):
    """One method: what it computes of a batch, and what it reports of all rows."""

    evaluate: Callable[[Any, Key, Array, Cond], Any]  # `.total`, bits/dim `[B]`, and what `parts` reads
    parts: Callable[[Any], dict[str, Any]]  # from the same for all rows, in NumPy
    learn: Callable[[Params, Key], Any] = lambda params, key: params  # what `evaluate` takes in place of parameters


class WithDequantiser(NamedTuple):
    """What the ODE's bits take: the model's parameters, and those of a dequantiser."""

    params: Params
    dequantiser: Params


class OdeBits(NamedTuple):
    """Bits/dim of each sample: `total = prior + change + dequantisation`."""

    total: Array
    prior: Array
    change: Array  # of volume along the path
    dequantisation: Array
    steps: Array  # of the solver


def build_bits(
    experiment: Experiment, source: sources.Source, settings: Mapping[str, Any], spec: Mapping[str, Any] | None = None
) -> Bits:
    """How the bits/dim of a run on a data set are computed.

    Args:
        experiment: the run.
        source: the data set.
        settings: a config's `eval` section, whose `variance` and `bits_terms` are those of the bound.
        spec: `vlb`, `ode` with the arguments of `_ode`, or `masked`; by default the last for a masked diffusion model,
            else the first where the schedule is a table.

    Raises:
        UserError: for a model or data without bits/dim, or as `make`.
    """
    methods = SimpleNamespace(__all__=['masked', 'ode', 'vlb'], masked=_masked, ode=_ode, vlb=_vlb)
    context = {'experiment': experiment, 'source': source, 'settings': settings}
    of_values = 'vlb' if 'T' in experiment.context.given else 'ode'
    return make(methods, spec or {'name': of_values if experiment.levels is None else 'masked'}, context, '--bits')


def _vlb(experiment, source, settings):
    def parts(terms):
        kl = terms.total - terms.prior - terms.decoder
        bins = (terms.k - 2) * 10 // (experiment.context.given['T'] - 1)
        return {
            'prior': float(terms.prior.mean()),
            'kl': float(kl.mean()),
            'decoder': float(terms.decoder.mean()),
            'kl_by_step': [float(terms.kl[bins == b].mean()) if (bins == b).any() else None for b in range(10)],
        }

    return Bits(build_bound(experiment, source, settings['variance'], settings['bits_terms']), parts)


def _masked(experiment, source, settings):
    """The bound of a masked diffusion model: bits per token."""
    levels, model = experiment.levels, experiment.models.categorical
    if levels is None or source.kind.levels != levels:
        raise UserError('--bits=masked: the bits of masked diffusion need such a model: leave it out')
    terms = settings['bits_terms'] or _MASKED_TERMS
    likelihood.masked(model, experiment.schedule, levels, terms)  # before anything is restored

    def evaluate(params, key, x, cond):
        bound = likelihood.masked(model(params, cond, None), experiment.schedule, levels, terms)
        return bound(key, process.to_tokens(x, levels))

    def parts(found):
        tenths = np.arange(terms) * 10 // terms
        return {'by time': [float(found.terms[:, tenths == i].mean()) if i in tenths else None for i in range(10)]}

    return Bits(evaluate, parts)


def _ode(
    experiment,
    source,
    dequantise: str = 'uniform',
    sigma_min: float | None = None,
    probes: int = 1,
    rtol: float = 1e-4,
    atol: float = 1e-4,
    fit_steps: int | None = None,
):
    """Bits/dim by the probability-flow ODE of the unclipped model.

    Args:
        experiment: the run.
        source: the data set.
        dequantise: 'uniform', 'truncated_normal' of standard deviation `sigma_min`, or 'trained' (a network for this
            model, on the run's training rows).
        sigma_min: noise-to-signal ratio at which the path starts; by default the smallest that the network has seen.
        probes: Hutchinson's vectors per sample.
        rtol: relative tolerance of the solver.
        atol: absolute tolerance.
        fit_steps: in which the dequantiser is trained; 500 by default.
    """
    levels = _levels(experiment, source)
    start = _smallest_noise(experiment) if sigma_min is None else sigma_min
    untrained = {
        'uniform': likelihood.uniform(levels), 'truncated_normal': likelihood.truncated_normal(start, levels),
    }  # fmt: skip
    if dequantise not in {*untrained, 'trained'}:
        raise ValueError(f'dequantise must be one of {", ".join(untrained)}, trained; got {dequantise!r}')
    if fit_steps is not None and dequantise != 'trained':
        raise ValueError(f'fit_steps={fit_steps} is of dequantise=trained, not of {dequantise}')
    if dequantise == 'trained':
        steps = _FIT_STEPS if fit_steps is None else fit_steps
        learn, dequantiser = build_trained(experiment, levels, start, steps)
    else:
        learn, dequantiser = lambda params, key: {}, lambda phi: untrained[dequantise]
    vectors = likelihood.hutchinson(probes)
    schedule, model = experiment.schedule, experiment.models.denoise
    nats_per_bit = math.prod(experiment.shape) * math.log(2)

    def evaluate(given, key, x, cond):
        denoise = model(given.params, cond, None)
        key_y, key_p = jax.random.split(key)
        y, log_q = dequantiser(given.dequantiser)(key_y, x)
        terms = likelihood.ode(denoise, schedule, schedule.t_max, vectors, start, rtol, atol)(key_p, y)
        prior, change, noise = (a / nats_per_bit for a in (-terms.prior, -terms.change, log_q))
        return OdeBits(prior + change + noise, prior, change, noise, terms.steps)

    parts = [name for name in OdeBits._fields if name != 'total']
    return Bits(
        evaluate,
        lambda terms: {name: float(np.mean(getattr(terms, name))) for name in parts},
        lambda params, key: WithDequantiser(params, learn(params, key)),
    )


def _levels(experiment, source):
    if experiment.models.denoise is None:
        raise UserError('bits/dim needs a diffusion model: set --bits_num=0')
    if source.kind.levels is None:
        raise UserError(f'bits/dim needs quantised data, and {source.name} is continuous: set --bits_num=0')
    return source.kind.levels


def _smallest_noise(experiment):
    """The ratio sigma / alpha at the first point of a table, sigma_min of a schedule that has one, or 0.001."""
    if 'T' in experiment.context.given:
        t = jnp.asarray(1 / experiment.context.given['T'])
        return float(experiment.schedule.sigma(t) / experiment.schedule.alpha(t))
    return experiment.context.defaults.get('sigma_min', 1e-3)
