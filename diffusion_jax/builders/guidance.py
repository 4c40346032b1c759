"""The guidance of a config's `sample` section: what a spec may say, and what it makes of a bound model.

Here every model is a denoiser with a variance, by `guidance.with_unused_variance` if it has none.
"""

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax

from diffusion_jax import guidance
from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.builders.specs import make
from diffusion_jax.builders.teacher import same_scales
from diffusion_jax.errors import UserError
from diffusion_jax.types import Cond, Denoiser, DenoiserWithVariance, Model, Params, Schedule

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
    cond: Cond,
) -> DenoiserWithVariance:
    """The diffusion model of an experiment, guided as the spec says.

    Args:
        experiment: with a diffusion model, or a masked one: its logits are guided as x_0 is elsewhere.
        spec: of the guidance, None for none.
        weak: the weak model of an autoguidance; `params` is then `WithWeak`.
        params: of the model.
        cond: conditions `[B, ...]`; None of an unconditional model.

    Raises:
        UserError: as `make`.
    """
    params, weak_params = (params, None) if weak is None else params
    models = experiment.models

    def bind(cond):
        if models.with_variance is not None:
            return models.with_variance(params, cond, None)
        model = models.denoise or models.categorical
        assert model is not None
        return guidance.with_unused_variance(model(params, cond, None))

    if spec is None:
        return bind(cond)
    null = None if cond is None else experiment.nothing(len(jax.tree.leaves(cond)[0]))
    given = {'bind': bind, 'plain': bind(cond), 'cond': cond, 'null': null, 'schedule': experiment.schedule}
    given['weak'] = None if weak is None else weak(weak_params, cond, None)
    taken = () if weak is None else _OF_WEAK
    return make(_GUIDANCE, {k: v for k, v in spec.items() if k not in taken}, given, _WHERE)


def check_guidance(experiment: Experiment, spec: Mapping[str, Any], weak: Model | None) -> None:
    """Whether this model can be guided so.

    Raises:
        UserError: if it cannot.
    """
    name = spec.get('name')
    for argument in ('rescale', 'threshold'):
        if experiment.levels is not None and spec.get(argument):
            raise UserError(f'{_WHERE}.{argument} is of an x_0 of real numbers, and this run has tokens: leave it out')
    if name == 'auto' and weak is None:
        raise UserError(
            f'{_WHERE}: auto is for sampling a finished run by --guidance=auto:weak=WORKDIR,w=2.0: leave it out of the '
            'config'
        )
    if name == 'classifier_free' and experiment.source.condition is None:
        raise UserError(f'{_WHERE}: classifier_free needs a condition, and this run trained an unconditional model')
    if name == 'classifier_free' and not experiment.drops_cond:
        raise UserError(
            f'{_WHERE}: classifier_free needs to know what no condition means, and this run dropped none: train one '
            'with --config.data.drop_cond=0.1'
        )


def check_weak(experiment: Experiment, weak: Experiment) -> Model:
    """The weak model of an autoguidance, if it is of the same data on the same schedule; its network may be another.

    Raises:
        UserError: if it is not.
    """
    model = weak.models.denoise if experiment.levels is None else weak.models.categorical
    if model is None:
        raise UserError(f'{_WHERE}.weak: that run did not train a diffusion model')
    for what, ours, theirs in (
        ('samples of shape', experiment.shape, weak.shape),
        ('levels', experiment.source.kind.levels, weak.source.kind.levels),
        (
            'the condition',
            *(None if e.source.condition is None else e.source.condition.parts for e in (experiment, weak)),
        ),
    ):
        if ours != theirs:
            raise UserError(f'{_WHERE}.weak: that run has {what} {theirs or "none"}, and this one {ours or "none"}')
    if not same_scales(experiment.schedule, weak.schedule):
        raise UserError(f'{_WHERE}.weak: that run has another schedule')
    return model


def _parts(experiment):
    condition = experiment.source.condition
    return None if condition is None else condition.parts


def _classifier_free(
    bind: Callable[[Cond], DenoiserWithVariance],
    plain: DenoiserWithVariance,
    cond: Cond,
    null: Cond,
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
