"""Sources: the digits' split, prepared sets written and read without TensorFlow, and one clear line for each error."""

import io
import json
import os
import struct
import subprocess
import sys

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from diffusion_jax.data import columns, conditions, kinds, mixture, sources
from diffusion_jax.data.convert import tfrecord_to_array_record
from diffusion_jax.errors import UserError
from diffusion_jax.types import Masked

COUNT = 20


def pictures():
    return np.random.default_rng(0).integers(0, 256, (COUNT, 4, 5, 4), np.uint8)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'PNG')
    file.seek(0)
    return file


class TinyPictures(tfds.core.GeneratorBasedBuilder):
    """RGBA pictures with a label, an integer and a text: encoded PNG, which needs no TensorFlow to write."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = {
            'caption': tfds.features.Text(),
            'picture': tfds.features.Image(shape=(4, 5, 4)),
            'kind': tfds.features.ClassLabel(num_classes=3),
            'number': np.int64,
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _):
        return {'train': self._generate_examples()}

    def _generate_examples(self):
        for i, image in enumerate(pictures()):
            yield i, {'caption': str(i), 'picture': png(image), 'kind': i % 3, 'number': i % 4}


class TinyTexts(tfds.core.GeneratorBasedBuilder):
    """No image at all."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = tfds.features.FeaturesDict({'text': tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, _):
        return {'train': self._generate_examples()}

    def _generate_examples(self):
        yield 0, {'text': 'a\nb'}


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tfds')
    for builder in (TinyPictures, TinyTexts):
        builder(data_dir=str(folder), file_format='array_record').download_and_prepare()
    return folder


def as_tfrecord(folder, destination):
    """The prepared set `folder` framed as TFRECORD instead, as `tfds.load` would have prepared it."""
    destination.mkdir(parents=True)
    info = json.loads((folder / 'dataset_info.json').read_text())
    (destination / 'dataset_info.json').write_text(json.dumps(info | {'fileFormat': 'tfrecord'}))
    (destination / 'features.json').write_text((folder / 'features.json').read_text())
    builder = tfds.builder_from_directory(str(folder))
    raw = builder.as_data_source('train', deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    with (destination / 'tiny_pictures-train.tfrecord-00000-of-00001').open('wb') as file:
        for record in raw:
            file.write(struct.pack('<QI', len(record), 0) + record + struct.pack('<I', 0))


def same_rows(source):
    """Rows of a tiny set in the order they were written in; TFDS shuffles when it prepares."""
    written, index = pictures(), np.arange(COUNT)
    order = [int(np.flatnonzero((written == row).all((1, 2, 3)))[0]) for row in source.x[index]]
    assert sorted(order) == list(range(COUNT))
    np.testing.assert_array_equal(source.cond[index], np.array(order) % 3)
    return order


def test_digits_split_is_disjoint_complete_and_stratified():
    from sklearn.datasets import load_digits

    train, test = (sources.digits(split, condition='label') for split in ('train', 'test'))
    assert train.x.shape == (1500, 8, 8, 1)
    assert test.x.shape == (297, 8, 8, 1)
    both = np.concatenate([train.x, test.x]).reshape(1797, 64)
    reference = load_digits().data.astype(np.uint8)
    np.testing.assert_array_equal(both[np.lexsort(both.T)], reference[np.lexsort(reference.T)])
    assert train.x.dtype == np.uint8
    assert train.x.max() == train.kind.levels - 1 == 16
    shares = np.bincount(train.cond) / 1500 - np.bincount(test.cond) / 297
    assert np.abs(shares).max() < 2e-3
    np.testing.assert_array_equal(train.x, sources.digits('train').x)


def test_digits_has_no_other_split():
    with pytest.raises(sources.DataError, match="no split 'validation'; it has train, test"):
        sources.digits('validation')


def test_mixture_is_drawn_by_its_seed():
    components = mixture.ring(4)
    one, same, other = (sources.mixture(components, 100, seed, condition='label') for seed in (1, 1, 2))
    assert one.x.shape == (100, 2)
    assert one.x.dtype == np.float32
    assert one.kind.levels is None
    np.testing.assert_array_equal(one.x, same.x)
    assert not np.array_equal(one.x, other.x)
    nearest = np.linalg.norm(one.x[:, None] - np.asarray(components.means)[None], axis=-1).argmin(1)
    np.testing.assert_array_equal(nearest, one.cond)


@pytest.mark.parametrize('memory_limit', [2**20, 0])
def test_prepared_set_in_memory_and_from_disk(data_dir, memory_limit):
    source = sources.tfds('tiny_pictures', str(data_dir), condition='kind', memory_limit=memory_limit)
    order = same_rows(source)
    index = np.array([7, 3, 3, 19])
    np.testing.assert_array_equal(source.x[index], pictures()[np.array(order)[index]])
    assert source.x[index].dtype == np.uint8
    assert source.cond[index].dtype == np.int32
    assert (source.kind.levels, source.condition.parts, source.name) == (
        256,
        conditions.label(3),
        'tiny_pictures/1.0.0/train',
    )
    assert len(source.x) == len(source.cond) == COUNT


@pytest.mark.parametrize('memory_limit', [2**20, 0])
def test_what_a_set_tells(data_dir, memory_limit):
    """A text as its bytes, several features at once, and what a command line says of them."""
    of_text = sources.tfds(
        'tiny_pictures', str(data_dir), condition='caption', text_length=2, memory_limit=memory_limit
    )
    index = np.arange(COUNT)
    rows = sources.rows_of(of_text, index)
    said = [bytes(v[m].tolist()).decode() for v, m in zip(rows.values.astype(np.uint8), rows.mask, strict=True)]
    assert sorted(said, key=int) == [str(i) for i in index]
    both = sources.tfds('tiny_pictures', str(data_dir), condition='kind+caption', memory_limit=memory_limit)
    rows = sources.rows_of(both, index[:3])
    assert (rows['kind'].shape, rows['caption'].values.shape) == ((3,), (3, 64))
    row = both.condition.read('caption=17+kind=2')
    assert (int(row['kind']), row['caption'].values[:3].tolist(), row['caption'].mask.sum()) == (2, [49, 55, 0], 2)
    for text, message in (
        ('kind=2', 'does not say caption'),
        ('kin=2+caption=a', 'did you mean kind'),
        ('kind=3+caption=a', 'is no class'),
    ):
        with pytest.raises(UserError, match=message):
            both.condition.read(text)
    number = sources.tfds('tiny_pictures', str(data_dir), condition='number:4', memory_limit=memory_limit)
    assert number.condition.parts == conditions.label(4)
    assert np.bincount(number.cond[index]).tolist() == [COUNT // 4] * 4
    for key, message in (
        ('label', "has no feature 'label'"),
        ('picture', "'picture' is the sample itself"),
        ('number', "integers of no known number: say it, for 0 .. 9 by 'number:10'"),
        ('number:many', "asks for integers 0 .. K - 1 by 'NAME:K'"),
        ('caption:3', "asks for integers 0 .. K - 1 by 'NAME:K'; 'caption' is Text"),
    ):
        with pytest.raises(sources.DataError, match=message):
            sources.tfds('tiny_pictures', str(data_dir), condition=key)


GOOD = sources.Source(
    np.zeros((5, 2), np.uint8),
    np.array([0, 1, 2, 1, 0], np.int32),
    kinds.images((2,), 17),
    conditions.of_classes(3),
    's',
)
BAD = {
    'unlabelled': (
        {'cond': np.array([0, 1, -1, 1, 0], np.int32)},
        's: the condition of row 2 holds -1, which is not in 0 .. 2',
    ),
    'a-class-too-high': (
        {'cond': np.array([0, 1, 2, 3, 0], np.int32)},
        's: the condition of row 3 holds 3, which is not in',
    ),
    'a-level-too-high': (
        {'x': np.array([[0, 1], [2, 17]], np.uint8)},
        's: row 1 holds values that are not levels in 0 .. 16',
    ),
    'another-shape': ({'x': np.zeros((5, 3), np.uint8)}, r's: samples of shape \(3,\), declared \(2,\)'),
    'floats-of-levels': (
        {'x': np.zeros((5, 2), np.float32)},
        's: samples of type float32, which do not go with levels=17',
    ),
    'NaN': (
        {'x': np.array([[0, 1], [np.nan, 0]], np.float32), 'kind': kinds.points(2)},
        's: row 1 holds values that are not finite',
    ),
    'no-condition': ({'cond': None}, 's has no condition for each row, and declares a condition'),
    'none-declared': ({'condition': None}, 's has a condition for each row, and declares no condition'),
    'another-form': (
        {'cond': Masked(np.zeros((5, 2), np.int32), np.ones((5, 2), bool))},
        's: the conditions have the form',
    ),
    'floats-of-classes': (
        {'cond': np.zeros(5, np.float32)},
        r's: the conditions have rows of shape \(\) and type float32',
    ),
    'two-of-a-class': (
        {'cond': np.zeros((5, 2), np.int32)},
        r's: the conditions have rows of shape \(2,\) and type int32',
    ),
}


@pytest.mark.parametrize('case', BAD)
def test_a_source_is_what_it_declares(case):
    changes, message = BAD[case]
    assert sources.checked(GOOD) is GOOD
    with pytest.raises(UserError, match=f'^{message}'):
        sources.checked(GOOD._replace(**changes))


def test_rows_on_disk_are_checked_when_they_are_read(data_dir):
    source = sources.tfds('tiny_pictures', str(data_dir), condition='kind', memory_limit=0)
    narrow = columns.Checked(source.cond._rows, conditions.of_classes(2), 's')
    bad = int(np.flatnonzero(source.cond[np.arange(COUNT)] == 2)[0])
    with pytest.raises(UserError, match=f'^s: the condition of row {bad} holds 2, which is not in 0 .. 1'):
        narrow[np.array([bad])]


def test_part_of_a_split(data_dir):
    whole = sources.tfds('tiny_pictures', str(data_dir))
    part = sources.tfds('tiny_pictures:1.0.0', str(data_dir), 'train[5:12]')
    np.testing.assert_array_equal(part.x, whole.x[5:12])


def test_tensorflow_and_absl_stay_unimported():
    code = (
        'import sys; from diffusion_jax.data import sources, pipeline; sources.digits(); '
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'absl') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == '[]'


def test_unknown_name_gets_the_nearest(data_dir):
    with pytest.raises(sources.DataError, match=r"no data set 'tiny_picture' in .*; it has tiny_pictures"):
        sources.tfds('tiny_picture', str(data_dir))


def test_empty_directory_says_none(tmp_path):
    with pytest.raises(sources.DataError, match=r"no data set 'no_such_set' in .*; it has none"):
        sources.tfds('no_such_set', str(tmp_path))


def test_unknown_version(data_dir):
    with pytest.raises(sources.DataError, match=r"no version '2.0.0' of 'tiny_pictures' in .*; it has 1.0.0"):
        sources.tfds('tiny_pictures:2.0.0', str(data_dir))


def test_missing_config(data_dir, tmp_path):
    (tmp_path / 'named').mkdir()
    (tmp_path / 'named' / 'small').symlink_to(data_dir / 'tiny_pictures')
    with pytest.raises(sources.DataError, match=r'needs one of its configs; .* has named/small'):
        sources.tfds('named', str(tmp_path))


def test_unprepared_set_gets_the_command(tmp_path):
    with pytest.raises(sources.DataError) as error:
        sources.tfds('mnist', str(tmp_path))
    command = f"t.builder('mnist', data_dir='{tmp_path}', file_format='array_record').download_and_prepare()"
    assert command in str(error.value)
    assert '\n' not in str(error.value)


def test_unknown_split(data_dir):
    with pytest.raises(sources.DataError, match=r"no examples in split 'test' of .* it has train and parts"):
        sources.tfds('tiny_pictures', str(data_dir), 'test')


def test_no_image_feature(data_dir):
    with pytest.raises(
        sources.DataError,
        match="'tiny_texts' has no feature of fixed-size uint8 images or videos, or of float32 tensors; it has text",
    ):
        sources.tfds('tiny_texts', str(data_dir))


def test_tfrecord_gets_the_command_and_the_command_fixes_it(data_dir, tmp_path):
    folder = tmp_path / 'tiny_pictures' / '1.0.0'
    as_tfrecord(data_dir / 'tiny_pictures' / '1.0.0', folder)
    with pytest.raises(sources.DataError) as error:
        sources.tfds('tiny_pictures', str(tmp_path))
    assert str(error.value).endswith(f'run: python -m diffusion_jax.data.convert {folder}')
    assert tfrecord_to_array_record(folder) == COUNT
    same_rows(sources.tfds('tiny_pictures', str(tmp_path), condition='kind'))


def test_conversion_refuses_a_cut_shard(data_dir, tmp_path):
    folder = tmp_path / 'tiny_pictures' / '1.0.0'
    as_tfrecord(data_dir / 'tiny_pictures' / '1.0.0', folder)
    shard = next(folder.glob('*.tfrecord-*'))
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(sources.DataError, match='is cut short'):
        tfrecord_to_array_record(folder)
    with pytest.raises(sources.DataError, match='array_record is needed'):
        sources.tfds('tiny_pictures', str(tmp_path))


def test_conversion_refuses_other_folders(tmp_path):
    with pytest.raises(sources.DataError, match='holds no TFRECORD set'):
        tfrecord_to_array_record(tmp_path)


@pytest.mark.skipif('TFDS_DATA_DIR' not in os.environ, reason='TFDS_DATA_DIR does not name a TFDS data directory')
def test_mnist():
    try:
        source = sources.tfds('mnist', split='train[:100]')
    except sources.DataError as error:
        pytest.skip(str(error))
    assert source.x.shape == (100, 28, 28, 1)
    assert source.condition.parts == conditions.label(10)
    assert 0.05 < source.x.mean() / 255 < 0.2  # the mean of MNIST's training images is 0.1307
    assert jax.numpy.unique(source.cond).size == 10


def test_the_texts_of_a_prepared_set(data_dir):
    assert sources.texts('tiny_texts', 'text', str(data_dir), 'train') == ('tiny_texts/1.0.0/train', ['a\nb'])
    with pytest.raises(UserError, match="'tiny_texts' has no feature 'words'; known: text"):
        sources.texts('tiny_texts', 'words', str(data_dir), 'train')
