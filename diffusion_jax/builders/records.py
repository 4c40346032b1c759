"""The sections of a config that are no specs: every field with its type, its default and its least value, once."""

import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from ml_collections import config_dict

from diffusion_jax.builders.specs import check_type
from diffusion_jax.errors import UserError, nearest
from diffusion_jax.ranges import MOST, MOST_SEED

Spec = Mapping[str, Any]  # {'name': ..., ...}
Section = Mapping[str, object]  # one of `SECTIONS`


def _least(least: int, default: Any = MISSING, most: int = MOST) -> Any:
    return field(default=default, metadata={'least': least, 'most': most})


@dataclass(frozen=True, kw_only=True)
class Train:
    """How long, how much at once, what is logged and kept."""

    batch_size: int = _least(1)
    steps: int = _least(0)
    log_every: int = _least(0)  # 0 for never, as in the next two
    save_every: int = _least(0)
    sample_every: int = _least(0)
    keep: int = _least(1)  # newest checkpoints
    keep_every: int = _least(0, 0)  # steps whose checkpoints stay for ever; 0 for none
    keep_best: int = _least(0, 0)  # checkpoints with the smallest mean of `best_by` since the one before
    best_by: str = 'loss'
    accumulate: int = _least(1, 1)  # parts of a batch, gone through one after the other
    watchdog: float = 3600.0  # seconds without a step after which the run ends; 0 for never
    remat: str | None = None  # what of a network is computed again in the backward pass
    max_skips: int | None = _least(1, None)  # bad updates in a row; without it the first ends the run
    spike: float | None = None  # gradient norms this many times the usual one are bad
    profile_at: int | None = _least(1, None)
    profile_steps: int = _least(1, 3)
    ema_every: int = _least(0, 0)  # steps between snapshots of averages of these lengths; 0 for none
    ema_tracks: Sequence[float] = (0.05, 0.1)  # sigma_rel of `optim.ema.power`


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Devices: `data` x `fsdp` of them; -1 for as many as there are."""

    data: int = -1
    fsdp: int = 1


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How samples are drawn."""

    sampler: Spec
    times: Spec
    clip: bool
    num: int = _least(1)
    batch_size: int = _least(1)
    cond: Spec = field(default_factory=lambda: {'name': 'data'})  # what is asked of a conditional model
    guidance: Spec | None = None
    model_times: Sequence[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Eval:
    """How samples are measured."""

    num: int = _least(2)
    batch_size: int = _least(1)
    features: Spec
    reference: str | None  # split of the data
    held_out: str | None  # split of the data
    variance: str
    bits_num: int = _least(0)
    bits_terms: int | None


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole config."""

    seed: int = _least(0, most=MOST_SEED)
    data: Spec
    schedule: Spec
    precond: Spec
    net: Spec
    objective: Spec
    optim: Spec
    ema: Spec
    train: Section
    mesh: Section
    sample: Section
    eval: Section
    second_optim: Spec | None = None  # of the second learner, where the objective has one
    frozen: Spec = field(default_factory=lambda: {'name': 'fixed'})
    init_from: str | None = None  # workdir of the run whose averaged weights start this one
    init_step: str = 'newest'
    init_partial: str | None = None  # regular expression of the arrays to take
    teacher: Spec | None = None  # what is known of that run


SECTIONS = {'train': Train, 'mesh': Mesh, 'sample': Sample, 'eval': Eval}


def defaults(record: type, **values: Any) -> dict[str, Any]:
    """A section for a config file: these values, the record's defaults, and room for what is None and has a type."""
    section = {f.name: _default(f) for f in fields(record) if f.name not in values and _has_default(f)}
    return {**section, **values}


def _default(f):
    value = f.default_factory() if f.default_factory is not MISSING else f.default
    plain = [t for t in typing.get_args(f.type) if t in (int, float, str)]
    return config_dict.placeholder(plain[0]) if value is None and plain else value


def _has_default(f):
    return f.default is not MISSING or f.default_factory is not MISSING


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config, all that is optional filled in, if its sections and the fields of those that are no specs are right.

    Raises:
        UserError: for a missing or unknown one, or a number that cannot be.
    """
    config = _checked(Config, config, 'config')
    config |= {name: _checked(record, config[name], f'config.{name}') for name, record in SECTIONS.items()}
    _check_train(config['train'])
    _check_partial(config['init_partial'], config['init_from'])
    return config


def _checked(record, given, where):
    known = {f.name: f for f in fields(record)}
    if not isinstance(given, Mapping):
        raise UserError(f'{where} must have the fields {", ".join(known)}')
    for name in given:
        if name not in known:
            raise UserError(f'{where}.{name} is not a field; {nearest(name, known)}')
    missing = [name for name, f in known.items() if name not in given and not _has_default(f)]
    if missing:
        raise UserError(f'{where} has no {", ".join(missing)}')
    filled = {name: f.default_factory() if f.default_factory is not MISSING else f.default for name, f in known.items()}
    section = {name: given.get(name, default) for name, default in filled.items()}
    for name, f in known.items():
        _check_field(section[name], f, f'{where}.{name}')
    return section


def _check_field(value, f, where):
    if f.type in (Spec, Spec | None):
        optional = f.type == Spec | None
        if not isinstance(value, Mapping) and not (value is None and optional):
            raise UserError(f"{where}={value!r} must be {'None or ' * optional}a spec such as {{'name': ...}}")
        return
    check_type(value, f.type, where)
    least = f.metadata.get('least')
    if least is not None and value is not None and value < least:
        raise UserError(f'{where}={value} must be at least {least}')
    most = f.metadata.get('most')
    if most is not None and value is not None and value > most:
        raise UserError(f'{where}={value} must be at most {most}')


def _check_train(train):
    keep_every, save_every = train['keep_every'], train['save_every']
    if keep_every and (not save_every or keep_every % save_every):
        near = [n * save_every for n in (keep_every // save_every, keep_every // save_every + 1)] if save_every else []
        use = f'; use {" or ".join(str(n) for n in near if n)}' if near else ''
        raise UserError(f'config.train.keep_every={keep_every} is no multiple of save_every={save_every}{use}')
    _check_tracks(train['ema_tracks'])
    spike = train['spike']
    if spike is not None and train['max_skips'] is None:
        raise UserError(f'config.train.spike={spike} needs config.train.max_skips, the most steps to skip in a row')
    if spike is not None and spike <= 1:
        raise UserError(f'config.train.spike={spike} must be more than 1, the usual gradient norm')


def _check_tracks(tracks):
    if not isinstance(tracks, list | tuple) or not tracks or len({*tracks}) < len(tracks):
        raise UserError(f'config.train.ema_tracks={tracks!r} must be lengths that differ, such as (0.05, 0.1)')


def _check_partial(names, init_from):
    if names is not None and init_from is None:
        raise UserError(
            f'config.init_partial={names!r} says what to take of another run: set config.init_from, its folder'
        )
    try:
        re.compile(names or '')
    except re.error as error:
        raise UserError(f'config.init_partial={names!r} is no regular expression: {error}') from error
