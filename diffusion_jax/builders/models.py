"""The network of a run, and what it means: the models that an objective trains."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from diffusion_jax import nets, objectives, precond
from diffusion_jax.axes import repeat_row
from diffusion_jax.builders.specs import find, make
from diffusion_jax.data.conditions import is_class
from diffusion_jax.data.sources import Source
from diffusion_jax.errors import UserError, nearest, one_line
from diffusion_jax.types import Condition, Key, Models, Network, Params

_NETS = SimpleNamespace(
    __all__=['DiT', 'EDM2', 'MLP', 'TextUNet', 'UNet'],
    DiT=nets.DiT,
    EDM2=nets.EDM2,
    MLP=nets.MLP,
    TextUNet=nets.TextUNet,
    UNet=nets.UNet,
)
_OF_CLASSES = SimpleNamespace(__all__=['MLP', 'UNetEncoder'], MLP=nets.MLP, UNetEncoder=nets.UNetEncoder)
_OF_LEVELS = SimpleNamespace(__all__=['logits'], logits=precond.logits)
_OF_TWO_TIMES = SimpleNamespace(__all__=['average_velocity'], average_velocity=precond.average_velocity)


class Context(NamedTuple):
    """What the run has for the arguments of factories."""

    given: dict[str, Any]  # no spec can set these
    defaults: dict[str, Any]  # specs may set others

    def make(self, module: Any, spec: Any, where: str) -> Any:
        """As `specs.make`."""
        return make(module, spec, self.given, where, self.defaults)

    def having(self, **given: Any) -> 'Context':
        """The same with more that is given."""
        return self._replace(given={**self.given, **given})


class _Learnt(NamedTuple):
    """What a network is asked and answers if this is what it learns, and what follows from it."""

    times: int  # noise levels that it is told
    channels: Callable[[Source], tuple[int, int]]  # what it sees of these data, and what it answers
    bind: Callable[[Context, Any, Network], Models]  # (context, spec of the parameterisation, network)
    told: Callable[[Source], Condition | None] = lambda source: source.condition  # beside x
    nets: SimpleNamespace = _NETS


def _classes(source):
    parts = None if source.condition is None else jax.tree.leaves(source.condition.parts)
    if parts is None or len(parts) != 1 or not is_class(parts[0]):
        raise UserError(
            'config.objective: a classifier learns one label of the data: set --config.data.condition, such as label'
        )
    return source.kind.shape[-1], parts[0].num


def _like_x(source):
    return source.kind.shape[-1], source.kind.shape[-1]


def _with_logits_of_a_variance(source):
    return source.kind.shape[-1], 2 * source.kind.shape[-1]


def _one_hot(source):
    kind = source.kind
    if kind.levels is None:
        raise UserError('config.objective: masked diffusion is of quantised data, and these are continuous')
    return kind.shape[-1] * (kind.levels + 1), kind.shape[-1] * kind.levels


def _denoise(context, spec, net):
    return Models(denoise=precond.denoiser(context.make(precond, spec, 'config.precond'), net))


def _consistency(context, spec, net):
    return Models(consistency=precond.denoiser(context.make(precond, spec, 'config.precond'), net))


def _with_variance(context, spec, net):
    both = precond.denoiser_with_variance(context.make(precond, spec, 'config.precond'), net)
    return Models(with_variance=both, denoise=precond.without_variance(both))


def _average_velocity(context, spec, net):
    average = context.having(net=net).make(_OF_TWO_TIMES, spec, 'config.precond')
    denoise = precond.instantaneous(average, context.given['schedule'])
    return Models(denoise=denoise, average_velocity=average, flow_map=precond.flow_map(average))


def _categorical(context, spec, net):
    return Models(categorical=context.having(net=net).make(_OF_LEVELS, spec, 'config.precond'))


def _classify(context, spec, net):
    return Models(classify=precond.classifier(context.make(precond, spec, 'config.precond'), net))


_LEARNT = {
    'denoise': _Learnt(1, _like_x, _denoise),
    'with_variance': _Learnt(1, _with_logits_of_a_variance, _with_variance),
    'consistency': _Learnt(1, _like_x, _consistency),
    'average_velocity': _Learnt(2, _like_x, _average_velocity),
    'categorical': _Learnt(1, _one_hot, _categorical),
    # The condition is what it shall say.
    'classify': _Learnt(1, _classes, _classify, told=lambda source: None, nets=_OF_CLASSES),
}


class BoundNetwork(NamedTuple):
    """A network and the models that it is."""

    init: Callable[[Key], Params]
    apply: Network
    models: Models


def trained_by(objective: Mapping[str, Any]) -> str:
    """The field of `Models` that the objective of this spec trains.

    Raises:
        UserError: for an unknown objective, or one that does not say.
    """
    return _marked(objective).trains


def taught_by(objective: Mapping[str, Any]) -> str:
    """The field of `Models` that its teacher is, if it has one; raises as `trained_by`."""
    return _marked(objective).taught_by


def _marked(objective):
    factory = find(objectives, str(objective.get('name')), 'config.objective')
    if not hasattr(factory, 'trains'):
        raise UserError(
            f'config.objective.name={objective["name"]!r} does not say what it trains: @objectives.trains(..)'
        )
    return factory


def build_network(config: Mapping[str, Any], source: Source, context: Context) -> BoundNetwork:
    """The network of a config's `net` section for what its objective trains, and the models of its `precond` section.

    Raises:
        UserError: as `make`; for a network that cannot be for these data.
    """
    init, apply = network_functions(config['net'], config['objective'], source, config['train']['remat'])
    learnt = _LEARNT[trained_by(config['objective'])]
    return BoundNetwork(init, apply, learnt.bind(context, config['precond'], apply))


def network_functions(
    net: Mapping[str, Any], objective: Mapping[str, Any], source: Source, remat: str | None = None
) -> tuple[Callable[[Key], Params], Network]:
    """How the parameters of a network of this spec begin, and what it computes, if this objective trains it.

    Raises:
        UserError: as `make`; for a network that cannot be for these data.
    """
    learnt = _LEARNT[trained_by(objective)]
    condition = learnt.told(source)
    channels, answers = learnt.channels(source)
    init, apply = nets.functional(_module(net, learnt.nets, answers, condition, remat))
    x = jnp.zeros((1, *source.kind.shape[:-1], channels))
    c_noise = jnp.zeros((1, 2) if learnt.times == 2 else 1)
    cond = None if condition is None else repeat_row(condition.null, 1)

    def init_params(key: Key) -> Params:
        return init(key, x, c_noise, cond)

    try:
        jax.eval_shape(init_params, jax.random.key(0))
    except (TypeError, ValueError) as error:
        raise UserError(f'config.net: {one_line(error)}') from error
    return init_params, apply


def frozen_parts(net: Mapping[str, Any], objective: Mapping[str, Any]) -> Sequence[str]:
    """The parts of a network of this spec that it does not train, by their names at the top of its parameters."""
    factory = find(_LEARNT[trained_by(objective)].nets, str(net.get('name')), 'config.net')
    return getattr(factory, 'FROZEN', ())


def _module(spec, networks, channels, condition, remat):
    spec = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()}
    # Linen's own two arguments are nobody's to set.
    given = {'out_channels': channels, 'out_dim': channels, 'remat': remat, 'parent': None, 'name': None}
    given['condition'] = None if condition is None else condition.parts
    parameters = inspect.signature(find(networks, str(spec.get('name')), 'config.net')).parameters
    if remat is not None and 'remat' not in parameters:
        raise UserError(
            f'config.train.remat={remat!r}: {spec["name"]} keeps too little to compute it again: leave it out'
        )
    if remat is not None and remat not in nets.REMAT:
        raise UserError(f'config.train.remat={remat!r} is unknown; {nearest(remat, nets.REMAT)}')
    if given['condition'] is not None and 'condition' not in parameters:
        raise UserError(f'config.data.condition: {spec["name"]} takes no condition: set it to None')
    return make(networks, spec, given, 'config.net')
