"""Anybody's pictures: one set in every form is one source, and what cannot be read is named."""

import hashlib
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.data import folder as folder_module
from diffusion_jax.data import image_cache, sources
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.folder import folder

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 6, 5, 3), np.uint8)
Y = np.arange(40) * 7 % 3  # in turn, so that the order by folders is another


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    return tmp_path / 'home' / '.cache' / 'diffusion_jax_images'


def written(root, names, x=X):
    for name, image in zip(names, x, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / name)
    return root


def zipped(root, path, above=''):
    with zipfile.ZipFile(path, 'w') as archive:
        for file in sorted(root.rglob('*')):
            archive.write(file, above + str(file.relative_to(root)))
    return path


def flat(root):
    return written(root, [f'{i:08d}.png' for i in range(len(X))])


def by_class(root, above=''):
    return written(root, [f'{above}{"abc"[y]}/{i}.png' for i, y in enumerate(Y)])


def same(a, b):
    np.testing.assert_array_equal(a.x, b.x)
    np.testing.assert_array_equal(a.cond, b.cond)
    assert a.kind.shape == b.kind.shape
    assert len(a.x) == len(b.x)


def test_one_set_in_every_form_is_one_source_in_every_split(tmp_path):
    root = flat(tmp_path / 'x')
    forms = [root, zipped(root, tmp_path / 'x.zip'), zipped(root, tmp_path / 'y.ZIP', 'inside/')]
    for name in ('x.npy', 'x.npz'):
        (np.save if name == 'x.npy' else np.savez)(tmp_path / name, X)
        forms.append(tmp_path / name)
    for split in ('train', 'test', 'all'):
        first, *others = (sources.checked(folder(str(form), split)) for form in forms)
        for other in others:
            same(first, other)
    np.testing.assert_array_equal(first.x, X)


def test_classes_are_folders_or_told_by_file_or_array(tmp_path):
    root = by_class(tmp_path / 'x')
    order = np.argsort([f'{"abc"[y]}/{i}.png' for i, y in enumerate(Y)])
    in_folders = folder(str(root), 'all', 'label')
    np.testing.assert_array_equal(in_folders.x, X[order])
    np.testing.assert_array_equal(in_folders.cond, Y[order])
    assert in_folders.condition.parts.num == 3
    assert in_folders.condition.read('b') == 1
    same(in_folders, folder(str(zipped(root, tmp_path / 'x.zip', 'top/')), 'all', 'label'))
    assert folder(str(root)).condition is None
    edm = flat(tmp_path / 'edm')
    labels = {'labels': [[f'{i:08d}.png', int(y)] for i, y in enumerate(Y)][::-1]}
    (edm / 'dataset.json').write_text(json.dumps(labels))
    np.savez(tmp_path / 'x.npz', images=X, labels=Y)
    np.savez(tmp_path / 'adm.npz', X, Y)
    forms = edm, zipped(edm, tmp_path / 'edm.zip'), tmp_path / 'x.npz', tmp_path / 'adm.npz'
    for split in ('train', 'test', 'all'):
        first, *others = (sources.checked(folder(str(form), split, 'label')) for form in forms)
        for other in others:
            same(first, other)
    np.testing.assert_array_equal(first.cond, Y)


def test_one_folder_that_holds_all_is_the_whole(tmp_path):
    edm = written(tmp_path / 'edm', [f'00000/img{i:08d}.png' for i in range(len(X))])
    shutil.copytree(edm / '00000', tmp_path / 'flat')
    forms = tmp_path / 'flat', edm, zipped(edm, tmp_path / 'edm.zip')
    first, *others = (folder(str(form)) for form in forms)
    for other in others:
        same(first, other)
    (edm / 'dataset.json').write_text(
        json.dumps({'labels': [[f'00000/img{i:08d}.png', int(y)] for i, y in enumerate(Y)]})
    )
    for form in (edm, zipped(edm, tmp_path / 'told.zip'), zipped(edm, tmp_path / 'above.zip', 'above/')):
        np.testing.assert_array_equal(folder(str(form), 'all', 'label').cond, Y)


def test_splits_that_are_folders(tmp_path):
    root = written(by_class(tmp_path / 'x', 'train/'), ['test/b/0.png', 'test/b/1.png'], X[:2][::-1])
    test = folder(str(root), 'test', 'label')
    np.testing.assert_array_equal(test.x, X[:2][::-1])
    np.testing.assert_array_equal(test.cond, [1, 1])  # of the classes of all
    assert len(folder(str(root), 'train').x) == len(X)
    assert len(folder(str(root), 'all').x) == len(X) + 2
    same(test, folder(str(zipped(root, tmp_path / 'x.zip', 'top/')), 'test', 'label'))
    only = written(tmp_path / 'y', [f'train/{i:02d}.png' for i in range(len(X))])
    np.testing.assert_array_equal(folder(str(zipped(only, tmp_path / 'y.zip'))).x, X)
    classes = written(tmp_path / 'z', [f'{name}/0.png' for name in ('train', 'car', 'test')], X[:3])
    assert folder(str(classes), 'all', 'label').condition.parts.num == 3


def test_the_split_of_a_picture_is_the_hash_of_its_name(tmp_path):
    def in_test(name):
        return int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) < 0.25 * 2**64

    root = flat(tmp_path / 'x')
    expected = np.array([in_test(f'{i:08d}') for i in range(len(X))])
    assert 0 < expected.sum() < len(X)
    train, test = (folder(str(root), split, test_share=0.25) for split in ('train', 'test'))
    np.testing.assert_array_equal(train.x, X[~expected])
    np.testing.assert_array_equal(test.x, X[expected])
    written(root, ['aa.png'], X[:1])  # moves none of the others
    more = folder(str(root), 'test', test_share=0.25)
    np.testing.assert_array_equal(more.x[: expected.sum()], test.x)
    np.testing.assert_array_equal(folder(str(root), test_share=0.0).x[:-1], X)
    with pytest.raises(DataError, match=r"split 'test' of .*/x has no pictures: it has 41, see test_share"):
        folder(str(root), 'test', test_share=0.0)


def test_the_protocol_says_the_rule(tmp_path):
    root = flat(tmp_path / 'mine')
    assert folder(str(root)).name == 'folder/mine/train (as they are, on white, 0.1 for test)'
    name = folder(str(root), 'all', size=4, channels=1, resize='adm', background='black').name
    assert name == "folder/mine/all (ADM's halving, bicubic, centre crop to 4x4, 1 channels, on black)"


def forbidden(*_):
    raise AssertionError('it decodes again')


def test_a_second_start_reads_one_file(tmp_path, home, monkeypatch):
    root = by_class(tmp_path / 'x')
    first = folder(str(root), 'all', 'label', size=4)
    monkeypatch.setattr(image_cache, 'decode', forbidden)
    same(first, folder(str(root), 'all', 'label', size=4))
    on_disk = folder(str(root), 'all', 'label', size=4, memory_limit=0)
    assert not isinstance(on_disk.x, np.ndarray)
    rows = np.array([3, 39, 0])
    np.testing.assert_array_equal(on_disk.x[rows], np.asarray(first.x)[rows])
    (kept,) = home.glob('*.npy')
    np.testing.assert_array_equal(np.load(kept), first.x)
    moved = tmp_path / 'elsewhere'
    shutil.copytree(home, moved)
    same(first, folder(str(root), 'all', 'label', size=4, cache=str(moved)))


def test_a_split_on_disk_is_the_split(tmp_path):
    root = flat(tmp_path / 'x')
    for split in ('train', 'test'):
        in_memory, on_disk = (folder(str(root), split, test_share=0.5, memory_limit=n) for n in (2**20, 0))
        np.testing.assert_array_equal(on_disk.x[np.arange(len(on_disk.x))], in_memory.x)


@pytest.mark.parametrize('change', ['content', 'time', 'name', 'more', 'fewer', 'rule', 'archive'])
def test_whatever_changes_is_decoded_anew(tmp_path, home, change):
    root = flat(tmp_path / 'x')
    given = zipped(root, tmp_path / 'x.zip') if change == 'archive' else root
    folder(str(given), 'all')
    (before,) = home.glob('*.npy')
    file, expected, rule = root / '00000007.png', X.copy(), {}
    if change in ('content', 'archive'):
        expected[7] = 255 - X[7]
        Image.fromarray(expected[7]).save(file)
    elif change == 'time':
        os.utime(file, ns=(0, 0))
    elif change == 'name':
        file.rename(root / '00000007.PNG')
    elif change == 'more':
        written(root, ['a/b.png'], X[:1])
        expected = np.concatenate([X, X[:1]])
    elif change == 'fewer':
        file.unlink()
        expected = np.delete(X, 7, 0)
    else:
        rule = {'channels': 4}
        expected = np.concatenate([X, np.full((*X.shape[:3], 1), 255, np.uint8)], -1)
    if change == 'archive':
        zipped(root, given)
    np.testing.assert_array_equal(folder(str(given), 'all', **rule).x, expected)
    assert before.exists() == (change == 'rule')  # what nothing can use any more is removed
    assert len([*home.iterdir()]) == 2 + 2 * (change == 'rule')


def test_damaged_files_of_the_cache_are_made_anew(tmp_path, home):
    root = flat(tmp_path / 'x')
    folder(str(root))
    for pattern in ('*.npy', '*.json'):
        (file,) = home.glob(pattern)
        for size in (file.stat().st_size - 1, 0):
            with file.open('r+b') as opened:
                opened.truncate(size)
            np.testing.assert_array_equal(folder(str(root), 'all').x, X)
    # Of two processes that decoded at once, the second's file of what could be read beside the first's pictures.
    file.write_text(json.dumps({'left_out': {'00000003.png': 'not there yet'}}))
    np.testing.assert_array_equal(folder(str(root), 'all', broken='skip').x, X)


def cut_short(root):
    file = root / '00000003.png'
    file.write_bytes(file.read_bytes()[:60])


def test_a_broken_file_is_named_or_left_out_and_counted(tmp_path, home, capsys):
    root = flat(tmp_path / 'x')
    cut_short(root)
    (root / '00000005.png').unlink()
    (root / '00000005.png').symlink_to('nowhere')
    for _ in range(2):
        with pytest.raises(DataError, match=r'/x: 00000003.png cannot be read \(.+\): mend it'):
            folder(str(root), 'all')
    assert not [*home.iterdir()]
    for _ in range(2):  # the second reads what was kept
        folder_module._tell.cache_clear()
        found = folder(str(root), 'all', broken='skip')
        np.testing.assert_array_equal(found.x, np.delete(X, (3, 5), 0))
        assert found.name == 'folder/x/all (as they are, on white, 2 of 40 left out)'
        said = capsys.readouterr().out
        assert f'{root}: 2 of 40 pictures cannot be read and are left out: 00000003.png (' in said
    with pytest.raises(DataError, match=r'00000003.png cannot be read'):
        folder(str(root), 'all')
    shutil.rmtree(root)
    (root / 'a').mkdir(parents=True)
    (root / 'a' / '0.png').write_text('no picture')
    with pytest.raises(DataError, match='none of its 1 pictures can be read'):
        folder(str(root), broken='skip')


def test_labels_stay_with_their_pictures_when_some_are_left_out(tmp_path):
    edm = flat(tmp_path / 'edm')
    (edm / 'dataset.json').write_text(json.dumps({'labels': [[f'{i:08d}.png', int(y)] for i, y in enumerate(Y)]}))
    cut_short(edm)
    found = folder(str(edm), 'all', 'label', broken='skip')
    np.testing.assert_array_equal(found.cond, np.delete(Y, 3))


def test_hidden_files_and_other_files_are_not_looked_at(tmp_path):
    root = flat(tmp_path / 'x')
    for name in ('.hidden.png', '.trash/1.png', '__MACOSX/1.png', 'notes.txt'):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text('no picture')
    np.testing.assert_array_equal(folder(str(root), 'all').x, X)
    np.testing.assert_array_equal(folder(str(zipped(root, tmp_path / 'x.zip')), 'all').x, X)


def mixed_sizes(root):
    Image.fromarray(X[0][:4]).save(root / '00000009.png')


def mixed_channels(root):
    Image.fromarray(X[0][..., 0]).save(root / '00000009.png')


def with_json(content):
    return lambda root: (root / 'dataset.json').write_text(content)


WRONG = [
    (mixed_sizes, {}, r'/x: 00000000.png is 6x5x3, and 00000009.png is 4x5x3: a data set brings all to config.data.s'),
    (mixed_channels, {}, r'/x: 00000000.png is 6x5x3, and 00000009.png is 6x5x1: a data set brings'),
    (None, {'split': 'valid'}, r"/x has no split 'valid'; it has train, test, all"),
    (None, {'condition': 'label'}, r'/x: 0000000..png has no label: put it in a folder of its class, or into dataset'),
    (None, {'condition': 'class'}, r"/x can tell its 'label', its 'caption' or nothing; known: "),
    (with_json('{'), {}, r'/x: dataset.json is not of the form .*: Expecting property name'),
    (with_json('{"labels": [["a.png"]]}'), {}, r'/x: dataset.json is not of the form'),
    (with_json('{"labels": null}'), {'condition': 'label'}, r'has no label'),
    (with_json('{"labels": [["00000000.png", 1]]}'), {'condition': 'label'}, r'00000001.png has no label'),
    (with_json('{"labels": [["00000000.png", 0.5]]}'), {}, r'dataset.json must be one whole number in'),
    (with_json('{"labels": [["00000000.png", [1, 0]]]}'), {}, r'dataset.json must be one whole number in'),
    (lambda root: shutil.rmtree(root) or root.mkdir(), {}, r'/x holds no pictures \(.png, .jpg'),
    (shutil.rmtree, {}, r'cannot read .*/x: there is no such file or folder'),
]


@pytest.mark.parametrize(('spoil', 'given', 'message'), WRONG, ids=[row[2][:40] for row in WRONG])
def test_what_cannot_be_is_told_in_one_line(tmp_path, spoil, given, message):
    root = flat(tmp_path / 'x')
    if spoil:
        spoil(root)
    with pytest.raises(DataError, match=message) as error:
        folder(str(root), **given)
    assert len(str(error.value).splitlines()) == 1


def array(path, x):
    np.save(path, x)


FILES = [
    ('x.zip', lambda path: path.write_bytes(b'PK no archive'), 'it is no zip archive, or a damaged one'),
    ('x.tar', lambda path: path.write_bytes(b'x'), 'it is no zip archive, or a damaged one'),
    ('x.npy', lambda path: path.write_bytes(b'x'), 'it is no file of NumPy arrays, or a damaged one'),
    ('x.npz', lambda path: path.write_bytes(b'x'), 'it is no file of NumPy arrays, or a damaged one'),
    ('x.npy', lambda path: array(path, np.array([{}])), 'it is no file of NumPy arrays, or a damaged one'),
    ('x.npy', lambda path: array(path, X / 255), r'holds float64 \[40, 6, 5, 3\]; uint8 \[N, H, W\] or'),
    ('x.npy', lambda path: array(path, X.transpose(0, 3, 1, 2)), r'holds uint8 \[40, 3, 6, 5\]; uint8'),
    ('x.npz', lambda path: np.savez(path), 'holds no arrays'),
    ('x.npz', lambda path: np.savez(path, images=X, labels=Y[:-1]), 'its labels must be one whole number in'),
    ('x.npz', lambda path: np.savez(path, images=X, labels=Y / 2), 'its labels must be one whole number in'),
]


@pytest.mark.parametrize(('name', 'write', 'message'), FILES, ids=range(len(FILES)))
def test_files_that_hold_something_else(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(DataError, match=message) as error:
        folder(str(tmp_path / name))
    assert name in str(error.value)


def test_an_archive_cut_short_in_a_picture_names_it(tmp_path):
    path = zipped(flat(tmp_path / 'x'), tmp_path / 'x.zip')
    data = bytearray(path.read_bytes())
    data[data.index(b'IDAT') + 20] ^= 255  # the archive's own checksum of the first picture
    path.write_bytes(data)
    with pytest.raises(DataError, match=r'x.zip: 00000000.png cannot be read \(Bad CRC-32'):
        folder(str(path))


def test_a_folder_that_cannot_take_the_cache(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(
        DataError, match=r'decoded pictures cannot be kept in .*/file/x: .+; set config.data.cache to a'
    ):
        folder(str(flat(tmp_path / 'x')), cache=str(tmp_path / 'file' / 'x'))


@pytest.mark.parametrize('wrong', [{'broken': 'ignore'}, {'test_share': 1.0}, {'test_share': -0.1}, {'size': 0}])
def test_arguments_have_ranges(tmp_path, wrong):
    with pytest.raises(ValueError, match=f'{next(iter(wrong))} must be'):
        folder(str(flat(tmp_path / 'x')), **wrong)
    with pytest.raises(DataError, match=r"'folder' needs config.data.dir"):
        folder()
