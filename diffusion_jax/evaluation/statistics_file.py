"""Mean and covariance of a data set's features, from the files that others publish.

pytorch-fid, clean-fid and EDM write `.npz` with `mu` and `sigma`; ADM's evaluator batches have those of the spatial
features (`mu_s`, `sigma_s`) and images (`arr_0`) beside them; EDM2 writes a pickle of one such pair for each feature
network. All covariances are unbiased, as `frechet.Moments` has them. Nothing that a pickle asks for is run.
"""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from diffusion_jax.errors import UserError, one_line
from diffusion_jax.evaluation.features import Features, Outputs
from diffusion_jax.evaluation.frechet import Moments


class Statistics(NamedTuple):
    """What a file says of a data set; its moments are of an unknown number of rows, which is written as 0."""

    moments: Moments
    spatial: Moments | None
    images: UInt8[np.ndarray, 'n h w c'] | None  # some of them


def is_statistics(path: Path) -> bool:
    """Whether a file is one of statistics by its suffix `.pkl`, or by its arrays `mu` and `sigma`."""
    if path.suffix == '.pkl':
        return True
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return {'mu.npy', 'sigma.npy'} <= set(file.namelist())


def read(path: Path, features: Features, out: Outputs) -> Statistics:
    """The statistics of a file that are of these features.

    Args:
        path: of an `.npz`, or of a pickle of numbers and NumPy arrays alone.
        features: that they should be of, for the message.
        out: what the features say of any samples, for their dimensions.

    Raises:
        UserError: for a file that cannot be read, is none of these, wants to run code, or is of other features.
    """
    try:
        found = _unpickled(path) if path.suffix == '.pkl' else _arrays(path)
        pairs = [*_pairs(found)]
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror or one_line(error)}') from error
    except Exception as error:  # of a damaged or hostile file anything may be raised
        raise UserError(f'{path} is no file of statistics that can be read: {one_line(error)}') from error
    if not pairs:
        raise UserError(f'{path} is no file of statistics that can be read: it holds no mu and sigma')
    of_each = [(_moments(path, pair['mu'], pair['sigma']), pair) for pair in pairs]
    dim = np.shape(out.rows)[1]
    moments, pair = next(((m, p) for m, p in of_each if len(m.mean) == dim), of_each[0])
    _check_dim(path, moments, dim, features.name)
    spatial = None
    if out.spatial is not None and {'mu_s', 'sigma_s'} <= {*pair}:
        spatial = _moments(path, pair['mu_s'], pair['sigma_s'])
        _check_dim(path, spatial, np.shape(out.spatial)[1], f'spatial {features.name}')
    images = np.asarray(pair.get('arr_0'))
    return Statistics(moments, spatial, images if images.ndim == 4 and images.dtype == np.uint8 else None)


def _check_dim(path, moments, dim, name):
    if len(moments.mean) != dim:
        raise UserError(
            f'{path} holds statistics of {len(moments.mean)} features, and {name} has {dim}: choose the --features '
            'that they were made with'
        )


def _moments(path: Path, mean: Any, cov: Any) -> Moments:
    mean, cov = np.asarray(mean), np.asarray(cov)
    is_real = mean.dtype.kind in 'fiu' and cov.dtype.kind in 'fiu'
    if not is_real or mean.ndim != 1 or cov.shape != 2 * mean.shape or not np.isfinite(cov.sum() + mean.sum()):
        raise UserError(
            f'{path}: a mean and a covariance must be finite numbers of shapes [d] and [d, d]; got {mean.dtype} '
            f'{list(mean.shape)} and {cov.dtype} {list(cov.shape)}'
        )
    return Moments(mean.astype(np.float64), cov.astype(np.float64), 0)


def _arrays(path):
    with path.open('rb') as opened, np.load(opened) as file:  # np.load refuses pickled objects
        return {name: file[name] for name in file.files}


def _pairs(found: Any) -> Iterator[Mapping[str, Any]]:
    """The dicts with a mean and a covariance: the content of a file itself, or those in it."""
    if isinstance(found, Mapping):
        if {'mu', 'sigma'} <= {*found}:
            yield found
        else:
            for part in found.values():
                yield from _pairs(part)


def _unpickled(path):
    with path.open('rb') as file:
        return _Unpickler(file).load()


class _Unpickler(pickle.Unpickler):
    """Builds containers, numbers, strings and arrays, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            'multiarray._reconstruct': lambda *_: np.empty(0),
            'multiarray.scalar': lambda dtype, data: np.frombuffer(data, dtype)[0],
            'numeric._frombuffer': _from_buffer,
        }
        of_numpy = {
            f'{package}.{key}': made for package in ('numpy.core', 'numpy._core') for key, made in known.items()
        }
        of_numpy |= {'numpy.dtype': np.dtype, 'numpy.ndarray': np.ndarray, '_codecs.encode': _latin_1}
        if f'{module}.{name}' not in of_numpy:
            raise pickle.UnpicklingError(f'it needs {module}.{name}, and only numbers and arrays are read')
        return of_numpy[f'{module}.{name}']


def _from_buffer(data, dtype, shape, order):
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _latin_1(text, encoding='latin1'):
    """How old pickles spell bytes."""
    del encoding
    return text.encode('latin1')
