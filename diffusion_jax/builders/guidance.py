"""The guidance of a config's `sample` section: what a spec may say, and what it makes of a bound model.

Here every model is a denoiser with a variance, by `guidance.with_unused_variance` if it has none.
"""

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax

from diffusion_jax import guidance
from diffusion_jax.axes import of_each
from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.builders.specs import make
from diffusion_jax.builders.teacher import same_scales
from diffusion_jax.errors import UserError
from diffusion_jax.types import Cond, Denoiser, DenoiserWithVariance, Models, Params, Schedule

_WHERE = 'config.sample.guidance'
# What another run is asked, bound as a guidance takes it: (its parameters, cond [B, ...]) -> a weak Denoiser, or the
# log-probability of each sample's own class.
Other = Callable[[Params, Cond], Any]


class WithOther(NamedTuple):
    """The parameters that a draw takes whose guidance takes those of another run."""

    params: Params
    other: Params


class Taken(NamedTuple):
    """What a guidance takes of another run, and how its spec says which."""

    run: str  # the argument that names its workdir
    step: str  # the argument that names one of its checkpoints
    example: str
    trained: str  # what that run has to have trained
    other: Callable[[Experiment, Models], Other | None]  # (the run, that run's models)
    asks: Callable[[Experiment, Experiment], Experiment]  # (the run, that run) -> the run, with the condition of both


def guided(
    experiment: Experiment,
    spec: Mapping[str, Any] | None,
    other: Other | None,
    params: Params | WithOther,
    cond: Cond,
) -> DenoiserWithVariance:
    """The diffusion model of an experiment, guided as the spec says.

    Args:
        experiment: with a diffusion model, or a masked one: its logits are guided as x_0 is elsewhere.
        spec: of the guidance, None for none.
        other: what the guidance takes of another run; `params` is then `WithOther`.
        params: of the model.
        cond: conditions `[B, ...]`; None of an unconditional model.

    Raises:
        UserError: as `make`.
    """
    params, of_other = (params, None) if other is None else params
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
    given['other'] = None if other is None else other(of_other, cond)
    taken = taken_by(spec)
    names = () if other is None or taken is None else (taken.run, taken.step)
    return make(_GUIDANCE, {k: v for k, v in spec.items() if k not in names}, given, _WHERE)


def check_guidance(experiment: Experiment, spec: Mapping[str, Any], other: Other | None) -> None:
    """Whether this model can be guided so.

    Raises:
        UserError: if it cannot.
    """
    name, taken = spec.get('name'), taken_by(spec)
    for argument in ('rescale', 'threshold'):
        if experiment.levels is not None and spec.get(argument):
            raise UserError(f'{_WHERE}.{argument} is of an x_0 of real numbers, and this run has tokens: leave it out')
    if experiment.levels is not None and name == 'classifier':
        raise UserError(f'{_WHERE}: classifier follows a gradient in x, and this run has tokens: guide it otherwise')
    if taken is not None and other is None:
        raise UserError(
            f'{_WHERE}: {name} is for sampling a finished run by --guidance={taken.example}: leave it out of the config'
        )
    if name == 'classifier_free' and experiment.source.condition is None:
        raise UserError(f'{_WHERE}: classifier_free needs a condition, and this run trained an unconditional model')
    if name == 'classifier_free' and not experiment.drops_cond:
        raise UserError(
            f'{_WHERE}: classifier_free needs to know what no condition means, and this run dropped none: train one '
            'with --config.data.drop_cond=0.1'
        )


def taken_by(spec: Mapping[str, Any]) -> Taken | None:
    """What the guidance of this spec takes of another run; None if it takes nothing."""
    return _TAKEN.get(str(spec.get('name')))


def take(experiment: Experiment, spec: Mapping[str, Any], that: Experiment) -> tuple[Experiment, Other]:
    """What a guidance takes of another run, if it is of the same data on the same schedule; its network is its own.

    Returns:
        The experiment as it is asked then, and what that run is asked. An unconditional model, guided by a classifier,
        is asked for what the classifier knows.

    Raises:
        UserError: if it does not fit.
    """
    taken = _TAKEN[spec['name']]
    where, other = f'{_WHERE}.{taken.run}', taken.other(experiment, that.models)
    if other is None:
        raise UserError(f'{where}: that run did not train {taken.trained}')
    asked = taken.asks(experiment, that)
    for what, ours, theirs in (
        ('samples of shape', experiment.shape, that.shape),
        ('levels', experiment.source.kind.levels, that.source.kind.levels),
        ('the condition', _parts(asked), _parts(that)),
    ):
        if ours != theirs:
            raise UserError(f'{where}: that run has {what} {theirs or "none"}, and this one {ours or "none"}')
    if not same_scales(experiment.schedule, that.schedule):
        raise UserError(f'{where}: that run has another schedule')
    return asked, other


def _weak(experiment, models):
    model = models.denoise if experiment.levels is None else models.categorical
    return model and (lambda params, cond: model(params, cond, None))


def _of_own_class(experiment, models):
    classify = models.classify

    def other(params, cond):
        log_probs, (y,) = classify(params, None, None), jax.tree.leaves(cond)
        return lambda x, t: of_each(log_probs(x, t), y)  # 0, and so no guidance, where no class is asked for

    return classify and other


def _own_condition(experiment, that):
    return experiment


def _condition_of_either(experiment, that):
    """The run itself, or, if its model is told nothing, with the condition of that run, of which it hears nothing."""
    if experiment.source.condition is not None:
        return experiment

    def deaf(model):
        return model and (lambda params, cond, key: model(params, None, key))

    source = that.source._replace(kind=experiment.source.kind)
    return experiment._replace(source=source, drops_cond=True, models=Models(*map(deaf, experiment.models)))


_TAKEN = {
    'auto': Taken('weak', 'weak_step', 'auto:weak=WORKDIR,w=2.0', 'a diffusion model', _weak, _own_condition),
    'classifier': Taken(
        'of', 'step', 'classifier:of=WORKDIR,w=1.0', 'a classifier', _of_own_class, _condition_of_either
    ),
}


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
    other: Denoiser,
    schedule: Schedule,
    w: float,
    rescale: float = 0.0,
    low: float = 0.0,
    high: float = math.inf,
    threshold: float | None = None,
) -> DenoiserWithVariance:
    _check(w, rescale, low, high, threshold)
    full = guidance.on_x_0(lambda denoise: guidance.auto(denoise, other, w, rescale), plain)
    return _limited(full, plain, schedule, low, high, threshold)


def _classifier(
    plain: DenoiserWithVariance,
    other: guidance.LogProb,
    schedule: Schedule,
    w: float,
    rescale: float = 0.0,
    low: float = 0.0,
    high: float = math.inf,
    threshold: float | None = None,
) -> DenoiserWithVariance:
    _check(w, rescale, low, high, threshold)
    full = guidance.on_x_0(lambda denoise: guidance.classifier(denoise, schedule, other, w, rescale), plain)
    return _limited(full, plain, schedule, low, high, threshold)


_GUIDANCE = SimpleNamespace(
    __all__=['auto', 'classifier', 'classifier_free'],
    auto=_auto,
    classifier=_classifier,
    classifier_free=_classifier_free,
)


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
