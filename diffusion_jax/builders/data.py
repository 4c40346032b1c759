"""The data set of a config."""

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from diffusion_jax.builders.latents import latents
from diffusion_jax.builders.specs import check_type, find, make
from diffusion_jax.data import (
    augment,
    fields,
    moving_digits,
    recordings,
    scenes,
    sequences,
    sources,
    spoken_images,
    tiles,
)
from diffusion_jax.data.absent import NO_ROWS, absent
from diffusion_jax.data.few import few
from diffusion_jax.data.folder import folder
from diffusion_jax.data.without import without
from diffusion_jax.errors import UserError, nearest

_OF_BATCHES = ('augment', 'drop_cond')  # what the section says of batches, not of the set
_OF_ROWS = ('without', 'few', 'few_seed')  # and of which rows there are: all of no class, a few of each
_SETS = {
    'absent': absent,
    'chain': sequences.chain,
    'characters': sequences.characters,
    'digits': sources.digits,
    'folder': folder,
    'gaussian_fields': fields.gaussian,
    'latents': latents,
    'mixture': sources.mixture,
    'moving_digits': moving_digits.moving_digits,
    'recordings': recordings.recordings,
    'scenes': scenes.scenes,
    'spoken_images': spoken_images.spoken_images,
    'tiles': tiles.tiles,
}
_NAMED = SimpleNamespace(__all__=list(_SETS), **_SETS)


def build_source(spec: Mapping[str, Any], split: str | None = None) -> sources.Source:
    """The data set of a config's `data` section, checked; `split` replaces its split.

    A name is that of an embedded set, 'folder' for pictures of one's own, 'absent' for none at all, a dotted name of a
    function that returns a `Source`, or what tensorflow-datasets prepared. `without` leaves a class of it out, by the
    labels of its `condition`, or where that is None by those of its feature 'label', which is not told then. `few`
    leaves that many rows of its own split, as many of each class, chosen by `few_seed`; other splits are whole.

    Raises:
        UserError: if the data set is not there, not readable, or not what it declares.
    """
    settings = {k: v for k, v in spec.items() if k not in (*_OF_BATCHES, *_OF_ROWS) and v is not None}
    encodes = isinstance(settings.get('images'), Mapping)
    if split is not None and not encodes:
        settings['split'] = split
    # What is encoded, or moves, is a data set of its own, which has the splits.
    given = {'images': build_source(settings.pop('images'), split)} if encodes else {}
    left_out, n = check_type(spec.get('without'), int | None, 'config.data.without'), _few(spec, split)
    whole = left_out is None and n is None
    source = _read(settings, given) if whole else _chosen(settings, given, left_out, n, spec.get('few_seed'))
    source = source if source.x is NO_ROWS else sources.checked(source)
    if spec.get('augment') is None:
        return source
    apply = make(augment, spec['augment'], {}, 'config.data.augment')
    return source._replace(kind=source.kind._replace(augment=apply))


def _few(spec, split):
    n = check_type(spec.get('few'), int | None, 'config.data.few')
    images = spec.get('images')
    own = (images if isinstance(images, Mapping) else spec).get('split') or 'train'
    return n if split in (None, own) else None


def _chosen(spec, given, left_out, n, seed):
    told = 'condition' in spec
    # Of a large set on disk a few rows are read, and the rest not at all.
    source = _read({'condition': 'label', **(spec if n is None else undecoded(spec))}, given)
    if left_out is not None:
        source = without(source, left_out)
    if n is not None:
        check_type(seed, int | None, 'config.data.few_seed')
        source = few(source, n, seed or 0)
    return source if told else source._replace(cond=None, condition=None)


def _read(spec, given):
    name = str(spec.get('name', ''))
    if name in _NAMED.__all__ or '.' in name:
        return make(_NAMED, spec, given, 'config.data', beside=('name', *_OF_BATCHES, *_OF_ROWS))
    settable = inspect.signature(sources.tfds).parameters
    for key, value in spec.items():
        if key not in settable:
            near = nearest(key, [*settable, *_OF_BATCHES, *_OF_ROWS])
            raise UserError(f'config.data.{key} is not an argument of a data set; {near}')
        check_type(value, settable[key].annotation, f'config.data.{key}')
    return sources.tfds(**{'name': '', **spec})


def check_splits(config: Mapping[str, Any]) -> None:
    """Checks, before hours of training, that the splits are there which evaluation will want afterwards.

    Raises:
        UserError: for one that is not, with what to set.
    """
    for field in ('reference', 'held_out'):
        split = config['eval'][field]
        if split is None:
            continue
        try:
            build_source(undecoded(config['data']), split)
        except UserError as error:
            way = f'set --config.eval.{field} to one that there is, or to None'
            raise UserError(f'config.eval.{field}={split!r}, which evaluation will want: {error}; {way}') from error


def undecoded(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The `data` section of the same set read from disk where it is indexed: its shape without decoding it all."""
    name = str(spec.get('name', ''))
    if 'memory_limit' not in inspect.signature(_factory(name)).parameters:
        return dict(spec)
    return {**spec, 'memory_limit': 0}


def _factory(name):
    return find(_NAMED, name, 'config.data') if name in _NAMED.__all__ or '.' in name else sources.tfds
