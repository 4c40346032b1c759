"""Where samples come from: embedded digits, Gaussian mixtures, and what tensorflow-datasets prepared.

A `Source` is data at random access and nothing else; `pipeline` decides the order. TensorFlow is never imported.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from diffusion_jax.data import conditions, features, kinds
from diffusion_jax.data import mixture as mixtures
from diffusion_jax.data.columns import Checked, Column
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.features import Cast
from diffusion_jax.errors import nearest
from diffusion_jax.home import data_sets, expanded
from diffusion_jax.ranges import whole
from diffusion_jax.types import Condition, Kind

MEMORY_LIMIT = 2 * 2**30  # bytes of decoded images; a larger set is read from disk batch by batch
_READ_ROWS = 1024  # rows decoded at once while filling an in-memory array


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
    """A data set at random access, and what its rows are. Rows are indexed by integer arrays only."""

    x: Rows  # [N, ...]: levels 0 .. kind.levels - 1 as integers, or float32 where `kind.levels` is None
    cond: Any  # a pytree like `condition.parts` of rows [N, ...], or None where nothing is told
    kind: Kind
    condition: Condition | None  # None for unconditional models
    name: str  # data set, version and split, as reports quote it


def rows_of(source: Source, index: np.ndarray) -> Any:
    """The conditions of these rows, a pytree `[n, ...]`; None where nothing is told."""
    return jax.tree.map(lambda rows: rows[index], source.cond)


def checked(source: Source) -> Source:
    """The source, if its rows in memory are what it declares; those on disk are checked as they are read.

    Raises:
        DataError: for rows of another shape or type, levels or classes out of range, NaN: with the first such row.
    """
    kind, x = source.kind, source.x[np.zeros(1, np.int64)]
    if x.shape[1:] != kind.shape:
        raise DataError(f'{source.name}: samples of shape {x.shape[1:]}, declared {kind.shape}')
    wanted = np.floating if kind.levels is None else np.integer
    if not np.issubdtype(x.dtype, wanted):
        raise DataError(f'{source.name}: samples of type {x.dtype}, which do not go with levels={kind.levels}')
    if isinstance(source.x, np.ndarray):
        good = np.isfinite(source.x) if kind.levels is None else (source.x >= 0) & (source.x < kind.levels)
        if not good.all():
            row = np.argmin(good.reshape(len(good), -1).all(1))
            raise DataError(f'{source.name}: row {row} holds values that are not {_values(kind)}')
    if (source.cond is None) != (source.condition is None):
        has, declares = ('no' if a is None else 'a' for a in (source.cond, source.condition))
        raise DataError(f'{source.name} has {has} condition for each row, and declares {declares} condition')
    leaves = jax.tree.leaves(source.cond)
    if source.condition is not None and all(isinstance(a, np.ndarray) for a in leaves):
        conditions.check(source.condition, source.cond, source.name)
    return source


def _values(kind: Kind) -> str:
    return 'finite' if kind.levels is None else f'levels in 0 .. {kind.levels - 1}'


def digits(split: str = 'train', condition: str | None = None) -> Source:
    """Scikit-learn's embedded 8x8 digits: x is `[N, 8, 8, 1]` uint8 in 0..16 (17 levels), 10 classes.

    Args:
        split: 'train' (1500 rows) or 'test' (297 rows), disjoint, stratified by class and always the same.
        condition: 'label' for the class of each digit; None for nothing.

    Raises:
        DataError: for any other split or condition.
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
    kind = kinds.images((8, 8, 1), levels=17)
    return of_labels(x, labels[index].astype(np.int32), conditions.of_classes(10), kind, condition, f'digits/{split}')


def mixture(
    components: mixtures.GaussianMixture, n: int, seed: int, name: str = 'mixture', condition: str | None = None
) -> Source:
    """`n` points drawn once from a Gaussian mixture: x is `[n, D]` float32; the label is the component.

    `n` is in [1, 2^31), `seed` in [0, 2^32); anything else is a ValueError.
    """
    whole('[1, 2147483648)', n=n)
    whole('[0, 4294967296)', seed=seed)
    x, component = mixtures.sample_labelled(components, jax.random.key(seed), n)
    num = components.weights.shape[0]
    x, component = np.asarray(x, np.float32), np.asarray(component)
    classes, name = conditions.of_classes(num), f'{name}/n={n},seed={seed}'
    return of_labels(x, component, classes, kinds.points(x.shape[1]), condition, name)


def of_labels(
    x: Rows, labels: Int[np.ndarray, ' n'], classes: Condition, kind: Kind, condition: str | None, name: str
) -> Source:
    """Rows with a label each, which is told where `condition` is 'label', and not where it is None.

    Raises:
        DataError: for any other condition.
    """
    if condition not in (None, 'label'):
        raise DataError(f"{name} can tell its 'label' or nothing; got condition={condition!r}")
    if condition is None:
        return Source(x, None, kind, None, name)
    return Source(x, labels, kind, classes, name)


def tfds(
    name: str,
    dir: str | None = None,
    split: str = 'train',
    condition: str | None = None,
    sample: str | None = None,
    text_length: int = 64,
    memory_limit: int = MEMORY_LIMIT,
) -> Source:
    """A set prepared by tensorflow-datasets as array_record, whether or not TFDS registers its name.

    The set is read from `dir/name/version`. A sample is an image or a video of fixed size in uint8 (4 channels stay 4),
    or a float32 tensor of fixed shape. Sets of at most `memory_limit` decoded bytes are decoded once into one array;
    larger ones are read and decoded in threads whenever they are indexed, each feature for itself.

    Args:
        name: 'name', 'name/config', either with ':version'; without a version, the newest that `dir` holds.
        dir: the TFDS data directory; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
        split: a split or a part of one, such as 'train', 'test', 'train[:1000]'.
        condition: the feature that is told beside x, or several, 'label+speaker': ClassLabels are classes, texts their
            bytes, images and float vectors what they are; other integers are classes where their number is given,
            'digit:10'. None for nothing.
        sample: the feature that is x; by default 'image', else the first that can be.
        text_length: bytes of a text that are told.
        memory_limit: bytes of samples to hold in memory.

    Raises:
        DataError: for a name that `dir` does not hold, a set that is not prepared or prepared as TFRECORD, a set
            without usable samples, a feature that it has not or that cannot be told, and an unknown or empty split.
    """
    builder, folder, found = _prepared(name, dir)
    x_name, kind = features.sample(name, found, sample)
    names = [] if condition is None else condition.split('+')
    told = {key.partition(':')[0]: features.told(name, found, key, text_length) for key in names}
    if x_name in told:
        raise DataError(f"'{name}': {x_name!r} is the sample itself, and cannot be told beside it")
    full_name = f'{builder.info.full_name}/{split}'
    dtype = np.float32 if kind.levels is None else np.uint8
    casts = {x_name: lambda rows: np.asarray(rows, dtype), **{key: feature.cast for key, feature in told.items()}}
    records = _open(builder, folder, split, keep=(*casts,))
    if len(records) * int(np.prod(kind.shape)) * np.dtype(dtype).itemsize <= memory_limit:
        columns: dict[str, Any] = _decode_all(records, casts)
    else:
        opened = {key: _open(builder, folder, split, keep=(key,)) for key in casts}
        columns = {key: Column(opened[key], key, cast, folder, full_name) for key, cast in casts.items()}
        for key, feature in told.items():
            columns[key] = Checked(columns[key], feature.condition, full_name)
    x = columns.pop(x_name)
    if not told:
        return Source(x, None, kind, None, full_name)
    if len(told) == 1:
        ((key, feature),) = told.items()
        return Source(x, columns[key], kind, feature.condition, full_name)
    several = conditions.of_several({key: feature.condition for key, feature in told.items()})
    return Source(x, columns, kind, several, full_name)


def texts(name: str, feature: str, dir: str | None, split: str) -> tuple[str, list[str]]:
    """The name with version and split of a set as for `tfds`, and the texts that one of its features holds.

    Raises:
        DataError: as `tfds`.
    """
    _, full_name, rows = examples(name, dir, split, (feature,))
    return full_name, [bytes(row[feature]).decode() for row in rows]


def examples(
    name: str, dir: str | None, split: str, keep: Sequence[str]
) -> tuple[dict[str, Any], str, list[Mapping[str, Any]]]:
    """The features that a set as for `tfds` declares, its name with version and split, its examples with those kept.

    Raises:
        DataError: as `tfds`.
    """
    builder, folder, found = _prepared(name, dir)
    for feature in keep:
        if feature not in found:
            raise DataError(f"'{name}' has no feature {feature!r}; {nearest(feature, found)}")
    records = _open(builder, folder, split, keep=(*keep,))
    return found, f'{builder.info.full_name}/{split}', records.__getitems__(list(range(len(records))))


def _prepared(name: str, dir: str | None) -> tuple[Any, Any, dict[str, Any]]:
    """What reads a prepared set, its folder, and its features."""
    import tensorflow_datasets

    root = str(expanded(dir) if dir else data_sets())
    folder = _find_folder(tensorflow_datasets.core.Path(root), name)
    builder = tensorflow_datasets.builder_from_directory(str(folder))
    declared: Any = builder.info.features
    return builder, folder, dict(declared.items())


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


def _decode_all(records: Any, casts: Mapping[str, Cast]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for first in range(0, len(records), _READ_ROWS):
        index = np.arange(first, min(first + _READ_ROWS, len(records)))
        rows = records.__getitems__(index.tolist())
        for key, cast in casts.items():
            part = cast([row[key] for row in rows])
            if key not in columns:
                columns[key] = jax.tree.map(lambda a: np.empty((len(records), *a.shape[1:]), a.dtype), part)
            jax.tree.map(lambda column, a, index=index: column.__setitem__(index, a), columns[key], part)
    return columns
