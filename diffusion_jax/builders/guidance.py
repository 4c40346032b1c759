"""The guidance of a config's `sample` section: what a spec may say, and what it makes of a bound model.

Here every model is a denoiser with a variance, by `guidance.with_unused_variance` if it has none.
"""

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax.numpy as jnp

from diffusion_jax import guidance
from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.builders.specs import make
from diffusion_jax.builders.teacher import same_scales
from diffusion_jax.errors import UserError
from diffusion_jax.types import Array, Denoiser, DenoiserWithVariance, Model, Params, Schedule

_WHERE = 'config.sample.guidance'
_OF_WEAK = ('weak', 'weak_step')  # of an autoguidance: which run, and which of its checkpoints


class WithWeak(NamedTuple):
    """The parameters that a draw with autoguidance takes."""

    params: Params
    weak: Params


def guided(
    experiment: Experiment,
    spec: Mapping[str, Any] | None,
    weak: Model | None,
    params: Params | WithWeak,
    cond: Array | None,
    batch: int,
) -> DenoiserWithVariance:
    """The diffusion model of an experiment, guided as the spec says.

    Args:
        experiment: with a diffusion model.
        spec: of the guidance, None for none.
        weak: the weak model of an autoguidance; `params` is then `WithWeak`.
        params: of the model.
        cond: classes `[B]`; None for none, or for the null class.
        batch: B.

    Raises:
        UserError: as `make`.
    """
    params, weak_params = (params, None) if weak is None else params

    def bind(cond):
        if 'model_with_variance' in experiment.models:
            return experiment.models['model_with_variance'](params, cond, None)
        return guidance.with_unused_variance(experiment.models['model'](params, cond, None))

    if spec is None:
        return bind(cond)
    null = experiment.num_classes
    cond = jnp.full(batch, null) if null and cond is None else cond
    context = {'bind': bind, 'plain': bind(cond), 'cond': cond, 'null': null, 'schedule': experiment.schedule}
    context['weak'] = None if weak is None else weak(weak_params, cond, None)
    taken = () if weak is None else _OF_WEAK
    return make(_GUIDANCE, {k: v for k, v in spec.items() if k not in taken}, context, _WHERE)


def check_guidance(experiment: Experiment, spec: Mapping[str, Any], weak: Model | None) -> None:
    """Whether this model can be guided so.

    Raises:
        UserError: if it cannot.
    """
    name = spec.get('name')
    if name == 'auto' and weak is None:
        raise UserError(
            f'{_WHERE}: auto is for sampling a finished run by --guidance=auto:weak=WORKDIR,w=2.0: leave it out of the '
            'config'
        )
    if name == 'classifier_free' and not experiment.num_classes:
        raise UserError(f'{_WHERE}: classifier_free needs classes, and this run trained an unconditional model')
    if name == 'classifier_free' and not experiment.drops_labels:
        raise UserError(
            f'{_WHERE}: classifier_free needs a null class, and this run dropped no labels: train one with '
            '--config.data.drop_label=0.1'
        )


def check_weak(experiment: Experiment, weak: Experiment) -> Model:
    """The weak model of an autoguidance, if it is of the same data on the same schedule; its network may be another.

    Raises:
        UserError: if it is not.
    """
    if 'model' not in weak.models:
        raise UserError(f'{_WHERE}.weak: that run did not train a diffusion model')
    for what, ours, theirs in (
        ('samples of shape', experiment.shape, weak.shape),
        ('levels', experiment.source.levels, weak.source.levels),
        ('classes', experiment.num_classes, weak.num_classes),
    ):
        if ours != theirs:
            raise UserError(f'{_WHERE}.weak: that run has {what} {theirs or "none"}, and this one {ours or "none"}')
    if not same_scales(experiment.schedule, weak.schedule):
        raise UserError(f'{_WHERE}.weak: that run has another schedule')
    return weak.models['model']


def _classifier_free(
    bind: Callable[[Array], DenoiserWithVariance],
    plain: DenoiserWithVariance,
    cond: Array,
    null: int,
    schedule: Schedule,
    w: float,
    rescale: float = 0.0,
    low: float = 0.0,
    high: float = math.inf,
    threshold: float | None = None,
) -> DenoiserWithVariance:
    _check(w, rescale, low, high, threshold)
    full = guidance.classifier_free_with_variance(bind, cond, null, w, rescale)
    return _limited(full, plain, schedule, low, high, threshold)


def _auto(
    plain: DenoiserWithVariance,
    weak: Denoiser,
    schedule: Schedule,
    w: float,
    rescale: float = 0.0,
    low: float = 0.0,
    high: float = math.inf,
    threshold: float | None = None,
) -> DenoiserWithVariance:
    _check(w, rescale, low, high, threshold)
    full = guidance.on_x_0(lambda denoise: guidance.auto(denoise, weak, w, rescale), plain)
    return _limited(full, plain, schedule, low, high, threshold)


_GUIDANCE = SimpleNamespace(__all__=['auto', 'classifier_free'], auto=_auto, classifier_free=_classifier_free)


def _limited(full, plain, schedule, low, high, threshold):
    if low > 0 or high < math.inf:
        full = guidance.interval(full, plain, schedule, low, high)
    if threshold is not None:
        full = guidance.on_x_0(lambda denoise: guidance.dynamic_threshold(denoise, threshold), full)
    return full


def _check(w, rescale, low, high, threshold):
    if not math.isfinite(w):
        raise ValueError(f'w must be a finite number; got {w}')
    if not 0 <= rescale <= 1:
        raise ValueError(f'rescale must be in [0, 1]; got {rescale}')
    if not 0 <= low < high:
        raise ValueError(f'the noise levels sigma / alpha must have 0 <= low < high; got {low} and {high}')
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f'threshold is a quantile in (0, 1]; got {threshold}')
