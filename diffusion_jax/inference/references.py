"""What samples are compared with: the data of a config, images, or a file of statistics."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_jax import builders
from diffusion_jax.data import kinds
from diffusion_jax.data.folder import folder
from diffusion_jax.data.sources import Source
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure, reference_cache, report, statistics_file
from diffusion_jax.evaluation.pretrained import file_hash
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.progress import counted, progress_bar
from diffusion_jax.types import Kind

_AT_ONCE = 1000


def held_out(config: Mapping[str, Any], split: str | None = None) -> Source | None:
    """The data that a run of this config has not seen: its own split of them, or another one; 'none' for none.

    Raises:
        UserError: if there is no such split.
    """
    split = split or config['eval']['held_out'] or 'none'
    return None if split == 'none' else builders.build_source(config['data'], split)


def data(config: Mapping[str, Any]) -> Source:
    """The data that samples are compared with: the training data, unless the config says otherwise.

    Raises:
        UserError: if they cannot be read.
    """
    return builders.build_source(config['data'], config['eval']['reference'])


def of_data(source: Source, held_out: Source | None, features: Mapping[str, Any]) -> measure.Reference:
    """A data set in the features of a spec; those of a network from its file are kept.

    Raises:
        UserError: if the features cannot be read.
    """
    made = builders.build_features(features, Values(source))
    return (reference_cache.reference if 'path' in features else measure.make_reference)(source, made, held_out)


def of_files(path: Path, features: Mapping[str, Any], kind: Kind) -> measure.Reference:
    """Images, or a file of statistics, in the features of a spec.

    Of statistics there are the distances that need no more: Frechet's, and the spatial one where the file has it. An
    evaluator batch of ADM has images beside them, which the others compare with.

    Args:
        path: images as `images` takes them, or a file as of `statistics_file.read`.
        features: the spec.
        kind: of the samples.

    Raises:
        UserError: if either cannot be read, they do not fit each other, or the images are of another shape.
    """
    if not statistics_file.is_statistics(path):
        return of_data(images(path, shape=kind.shape), None, features)
    network = builders.build_features_of_shape(features, kind.shape)
    told = statistics_file.read(path, network, network.outputs(np.zeros((1, *kind.shape), np.float32)))
    name = f'{path.name} (statistics, {file_hash(path)[:8]})'
    if told.images is None:
        source, rows = Source(np.zeros((0, *kind.shape), np.uint8), None, kind, None, name), None
    else:
        source = Source(told.images, None, kinds.images(told.images.shape[1:]), None, name)
        rows = measure.make_reference(_of_shape(source, kind.shape), network).summary.rows
    none = np.zeros((0, len(told.moments.mean)), np.float32)
    summary = measure.Summary(told.moments, told.spatial, [], none if rows is None else rows)
    return measure.Reference(name, source.kind.levels, network, Values(source), None, None, summary)


def images(path: Path, cache: str | None = None, shape: tuple[int, ...] | None = None) -> Source:
    """All images of a folder, an archive or a file of arrays, of one size.

    Args:
        path: as `listings.listing` takes it.
        cache: the folder that keeps them decoded; see `folder`.
        shape: that they must have; their channels are brought to it.

    Raises:
        UserError: as `folder`; for images of another size, as to resize them would change what is measured.
    """
    if shape is None:
        return folder(str(path), 'all', cache=cache)
    channels = shape[-1] if len(shape) == 3 and shape[-1] in (1, 3, 4) else None
    return _of_shape(folder(str(path), 'all', channels=channels, cache=cache), shape)


def _of_shape(source: Source, shape: tuple[int, ...]) -> Source:
    if source.kind.shape != tuple(shape):
        raise UserError(f'{source.name} has images of shape {source.kind.shape}, and the others have {tuple(shape)}')
    return source


def survey(images: Source, num: int, reference: measure.Reference) -> report.Result:
    """All distances of the first `num` images, as of samples of a run (`measure.survey`)."""
    x = Values(images)

    def parts() -> Iterator[np.ndarray]:
        return (x[i : min(i + _AT_ONCE, num)] for i in range(0, num, _AT_ONCE))

    with progress_bar(f'measuring {images.name}', num) as progress:
        return measure.survey(counted(parts(), progress), num, reference, (), 'unknown')
