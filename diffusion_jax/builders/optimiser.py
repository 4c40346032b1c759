"""The optimisers of a config's `optim` and `second_optim` sections."""

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import optax

from diffusion_jax.builders.specs import check_type, make
from diffusion_jax.errors import UserError, nearest
from diffusion_jax.optim import learning_rate
from diffusion_jax.optim.forced_norm import forced_norm
from diffusion_jax.optim.muon import muon

_OPTIMISERS = SimpleNamespace(
    __all__=['adam', 'adamw', 'lion', 'muon', 'radam', 'sgd'],
    muon=muon,
    **{name: getattr(optax, name) for name in ('adam', 'adamw', 'lion', 'radam', 'sgd')},
)
_OURS = ('lr', 'warmup', 'clip', 'anneal', 'forced_norm')  # of any of them


def build_optimiser(spec: Mapping[str, Any], steps: int, where: str = 'config.optim') -> optax.GradientTransformation:
    """The chain of clipping and optimiser; the rate rises over `warmup` of the run's `steps` and is `anneal`ed.

    Weights of which only the direction counts are brought back to unit magnitude, unless `forced_norm` is False.

    Raises:
        UserError: as `make`.
    """
    spec = dict(spec)
    if 'lr' not in spec:
        raise UserError(f'{where} has no lr')
    lr, warmup, clip = spec.pop('lr'), spec.pop('warmup', 0), spec.pop('clip', None)
    forced = spec.pop('forced_norm', True)
    factor = make(learning_rate, spec.pop('anneal', {'name': 'constant'}), {'steps': steps}, f'{where}.anneal')
    check_type(lr, float, f'{where}.lr')
    check_type(warmup, int, f'{where}.warmup')
    check_type(clip, float | None, f'{where}.clip')
    check_type(forced, bool, f'{where}.forced_norm')
    # Of one structure with and without warm-up and clipping, so that a run can change them and go on.
    rise = optax.linear_schedule(0.0, lr, warmup) if warmup else optax.constant_schedule(lr)
    context = {'learning_rate': lambda step: rise(step) * factor(step)}
    _check_names(spec, where)
    tx = make(_OPTIMISERS, spec, context, where)
    tx = optax.chain(optax.clip_by_global_norm(clip) if clip else optax.identity(), tx)
    return forced_norm(tx) if forced else tx


def _check_names(spec, where):
    """Tells of an unknown field beside `_OURS` as well, which `make` does not know."""
    name = spec.get('name')
    if name in _OPTIMISERS.__all__:
        known = {'name', *inspect.signature(getattr(_OPTIMISERS, name)).parameters} - {'learning_rate'}
        for field in spec.keys() - known:
            raise UserError(f'{where}.{field} is not an argument of {name}; {nearest(field, {*known, *_OURS})}')
