"""Where samples come from: embedded digits, Gaussian mixtures, and any image set that tensorflow-datasets prepared.

A `Source` is data at random access and nothing else; `pipeline` decides the order. TensorFlow is never imported.
"""

import difflib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from diffusion_jax.data import mixture as mixtures
from diffusion_jax.errors import UserError

MEMORY_LIMIT = 2 * 2**30  # bytes of decoded images; a larger set is read from disk batch by batch
_READ_ROWS = 1024  # rows decoded at once while filling an in-memory array


class DataError(UserError):
    """Data that cannot be used as asked. The message is one line that a user can act on."""


@runtime_checkable
class Rows(Protocol):
    """Random access to `N` rows: a NumPy array, or something that reads from disk."""

    def __len__(self) -> int:
        """Number of rows N."""
        ...

    def __getitem__(self, index: Any, /) -> Any:
        """The rows at an integer array `[n]`, as a NumPy array `[n, ...]`."""
        ...


class Source(NamedTuple):
    """A data set at random access. Rows are indexed by integer arrays only."""

    x: Rows  # [N, ...] uint8 with values in 0 .. levels-1, or float32 where levels is None
    label: Rows | None  # [N] int32, or None for unlabelled data
    levels: int | None  # number of quantisation levels of the uint8 values; None for continuous data
    num_classes: int | None  # labels are in 0 .. num_classes-1
    name: str  # data set, version and split, as reports quote it


def digits(split: str = 'train') -> Source:
    """Scikit-learn's embedded 8x8 digits: x is `[N, 8, 8, 1]` uint8 in 0..16 (17 levels), 10 classes.

    Args:
        split: 'train' (1500 rows) or 'test' (297 rows), disjoint, stratified by class and always the same.

    Raises:
        DataError: for any other split.
    """
    # Scikit-learn takes a second to import, and only this source needs it.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    rows = dict(
        zip(
            ('train', 'test'),
            train_test_split(np.arange(len(labels)), test_size=297, stratify=labels, random_state=0),
            strict=True,
        )
    )
    if split not in rows:
        raise DataError(f"digits has no split '{split}'; it has {', '.join(rows)}")
    index = np.sort(rows[split])
    x = images[index].reshape(-1, 8, 8, 1).astype(np.uint8)
    return Source(x, labels[index].astype(np.int32), levels=17, num_classes=10, name=f'digits/{split}')


def mixture(components: mixtures.GaussianMixture, n: int, seed: int, name: str = 'mixture') -> Source:
    """`n` points drawn once from a Gaussian mixture: x is `[n, D]` float32, the label is the component."""
    x, component = mixtures.sample_labelled(components, jax.random.key(seed), n)
    num_classes = components.weights.shape[0]
    return Source(np.asarray(x, np.float32), np.asarray(component), None, num_classes, f'{name}/n={n},seed={seed}')


def tfds(name: str, dir: str | None = None, split: str = 'train', memory_limit: int = MEMORY_LIMIT) -> Source:
    """Any image set prepared by tensorflow-datasets as array_record, whether or not TFDS registers its name.

    The set is read from `dir/name/version`, which must hold fixed-size uint8 images (4 channels stay 4). The image is
    the feature called 'image' or else the first one; the label is the ClassLabel called 'label' or else the only one.
    Sets of at most `memory_limit` decoded bytes are decoded once into one array; larger ones are read and decoded in
    threads whenever they are indexed, images and labels each for themselves.

    Args:
        name: 'name', 'name/config', either with ':version'; without a version, the newest that `dir` holds.
        dir: the TFDS data directory; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
        split: a split or a part of one, such as 'train', 'test', 'train[:1000]'.
        memory_limit: bytes of images to hold in memory.

    Raises:
        DataError: for a name that `dir` does not hold, a set that is not prepared or prepared as TFRECORD, a set
            without usable images, and an unknown or empty split.
    """
    import tensorflow_datasets

    root = tensorflow_datasets.core.Path(dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets')
    folder = _find_folder(root.expanduser(), name)
    builder = tensorflow_datasets.builder_from_directory(str(folder))
    features: Any = builder.info.features
    kinds = tensorflow_datasets.features
    image = _find_image(name, {k: f for k, f in features.items() if isinstance(f, kinds.Image)}, features)
    labels = [k for k, f in features.items() if isinstance(f, kinds.ClassLabel)]
    label = 'label' if 'label' in labels else labels[0] if len(labels) == 1 else None

    full_name = f'{builder.info.full_name}/{split}'
    num_classes = None if label is None else features[label].num_classes
    records = _open(builder, folder, split, keep=(image, label))
    shape = features[image].shape
    if len(records) * int(np.prod(shape)) <= memory_limit:
        return Source(*_decode_all(records, image, label, shape), 256, num_classes, full_name)
    x = _Column(_open(builder, folder, split, keep=(image,)), image, np.uint8)
    y = None if label is None else _Column(_open(builder, folder, split, keep=(label,)), label, np.int32)
    return Source(x, y, 256, num_classes, full_name)


def _find_folder(root: Any, name: str) -> Any:
    """The newest `root/name/version` that holds a prepared set."""
    path, _, version = name.partition(':')
    prepared: dict[str, dict[str, Any]] = {}  # name or name/config -> version -> folder
    for pattern in ('*/*/dataset_info.json', '*/*/*/dataset_info.json'):
        for folder in (p.parent for p in root.glob(pattern)):
            if folder.name[0].isdigit():  # an interrupted preparation leaves 'incomplete...' folders
                prepared.setdefault(str(folder.parent.relative_to(root)), {})[folder.name] = folder
    versions = prepared.get(path, {})
    if versions and (not version or version in versions):
        return versions[version or max(versions, key=lambda v: [int(part) for part in v.split('.')])]
    if versions:
        raise DataError(f"no version '{version}' of '{path}' in {root}; it has {', '.join(sorted(versions))}")
    configs = sorted(p for p in prepared if p.startswith(f'{path}/'))
    if configs:
        raise DataError(f"'{path}' needs one of its configs; {root} has {', '.join(configs)}")

    import tensorflow_datasets

    if path.split('/')[0] in tensorflow_datasets.list_builders(with_community_datasets=False):
        # Not `tfds build`: that command line imports Apache Beam and mlcroissant (4.9.10).
        prepare = f"t.builder('{name}', data_dir='{root}', file_format='array_record').download_and_prepare()"
        raise DataError(
            f"'{name}' is not prepared in {root}; run: pip install 'diffusion_jax[prepare]' && "
            f'python -c "import tensorflow_datasets as t; {prepare}"'
        )
    near = difflib.get_close_matches(path, prepared, n=3, cutoff=0.5) or sorted(prepared)
    raise DataError(f"no data set '{name}' in {root}; it has {', '.join(near) or 'none'}")


def _find_image(name: str, images: dict[str, Any], features: Any) -> str:
    if not images:
        raise DataError(f"'{name}' has no image feature; it has {', '.join(features)}")
    image = 'image' if 'image' in images else next(iter(images))
    shape, dtype = images[image].shape, np.dtype(images[image].np_dtype)
    if None in shape or dtype != np.uint8:
        raise DataError(f"'{name}' has images of shape {shape} and type {dtype}; fixed-size uint8 images are needed")
    return image


def _open(builder: Any, folder: Any, split: str, keep: tuple[str | None, ...]) -> Any:
    """Random access to the examples of a split, of which only the features in `keep` are decoded."""
    import tensorflow_datasets

    if 'array_record' not in {f.value for f in builder.info.available_file_formats()}:
        raise DataError(
            f'{folder} is prepared as {builder.info.file_format.value}, array_record is needed; '
            f'run: python -m diffusion_jax.data.convert {folder}'
        )
    decoders = {key: tensorflow_datasets.decode.SkipDecoding() for key in builder.info.features if key not in keep}
    try:
        return builder.as_data_source(split, decoders=decoders, file_format='array_record')
    except (ValueError, KeyError) as error:
        splits = ', '.join(builder.info.splits)
        raise DataError(
            f"no examples in split '{split}' of {folder}; it has {splits} and parts such as 'train[:1000]'"
        ) from error


def _read(records: Any, index: np.ndarray, dtypes: dict[str, Any]) -> list[np.ndarray]:
    rows = records.__getitems__(index.tolist())
    return [np.asarray([row[key] for row in rows], dtype) for key, dtype in dtypes.items()]


def _decode_all(records: Any, image: str, label: str | None, shape: tuple) -> tuple[np.ndarray, np.ndarray | None]:
    dtypes = {image: np.uint8} if label is None else {image: np.uint8, label: np.int32}
    columns = [np.empty((len(records), *shape), np.uint8), np.empty(len(records), np.int32)][: len(dtypes)]
    for first in range(0, len(records), _READ_ROWS):
        index = np.arange(first, min(first + _READ_ROWS, len(records)))
        for column, rows in zip(columns, _read(records, index, dtypes), strict=True):
            column[index] = rows
    return columns[0], columns[1] if label is not None else None


class _Column:
    """One feature of a prepared set, decoded in threads when it is indexed by an integer array."""

    def __init__(self, records: Any, key: str, dtype: Any):
        self._records, self._key, self._dtype = records, key, dtype
        self._threads = min(8, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f'decode-{key}')

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: np.ndarray, /) -> np.ndarray:
        parts = [part for part in np.array_split(index, self._threads) if len(part)] or [index]
        read = self._pool.map(lambda part: _read(self._records, part, {self._key: self._dtype})[0], parts)
        return np.concatenate(list(read))
