"""The stand-in features: a classifier that learns, its file, and what its numbers are called."""

import jax
import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.data import kinds
from diffusion_jax.data.sources import Source, digits
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import classifier, report

SHAPE = (8, 8, 1)


def fitted(path, steps):
    rows = digits('train', 'label')
    classifier.save(path, classifier.fit(rows, jax.random.key(0), steps=steps, batch_size=64, lr=3e-3))
    return path


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp('classifier') / 'x.npz', 60)


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp('classifier') / 'x.npz', 1)


def features(path):
    return builders.build_features({'name': 'classifier', 'path': str(path)}, np.zeros((2, *SHAPE), np.float32))


@pytest.mark.slow
def test_it_learns_and_its_numbers_carry_its_hash(trained):
    ours = features(trained)
    assert classifier.accuracy(ours, digits('test', 'label')) > 0.9  # chance is 0.1
    assert report.frechet_name(ours) == 'Frechet distance (classifier-128)'
    assert report.class_name(ours) == 'class score (classifier-128)'
    rows, spatial, logits = ours.outputs(np.zeros((3, *SHAPE), np.float32))
    assert (rows.shape, spatial, logits.shape) == ((3, 128), None, (3, 10))
    other = trained.with_name('other.npz')
    with np.load(trained) as file:
        np.savez(other, **{name: file[name] + np.float32(name == 'params/out/bias') for name in file.files})
    again = trained.with_name('again.npz')
    with np.load(trained) as file:
        np.savez(again, **file)
    assert features(again).hash == ours.hash != features(other).hash


def test_wrong_files_and_data_are_one_line(begun, tmp_path):
    (tmp_path / 'bad.npz').write_bytes(b'no')
    np.savez(tmp_path / 'none.npz', a=np.zeros(2))
    np.savez(tmp_path / 'nested.npz', **{'params/out': np.zeros(2), 'params/out/bias': np.zeros(2)})
    np.savez(tmp_path / 'number.npz', **{'params/out/bias': np.zeros(())})
    np.save(tmp_path / 'array.npy', np.zeros(2))
    whole = begun.read_bytes()
    (tmp_path / 'cut.npz').write_bytes(whole[: len(whole) // 2])
    (tmp_path / 'other.npz').write_bytes(whole[:900] + bytes(99) + whole[999:])
    (tmp_path / 'empty.npz').write_bytes(b'')
    cases = [
        (lambda: features(tmp_path / 'bad.npz'), r'cannot read .*bad.npz as a classifier'),
        (lambda: features(tmp_path / 'missing.npz'), r'cannot read .*missing.npz as a classifier'),
        *(
            (lambda name=name: features(tmp_path / name), f'cannot read .*{name} as a classifier')
            for name in ('array.npy', 'cut.npz', 'other.npz', 'empty.npz')
        ),
        (lambda: features(tmp_path / 'nested.npz'), 'nested.npz is no classifier of images'),
        (lambda: features(tmp_path / 'number.npz'), 'number.npz is no classifier of images'),
        (lambda: features(tmp_path / 'none.npz'), r'none.npz is no classifier of images of shape \(8, 8, 1\)'),
        (lambda: classifier.classifier((16, 16, 1), str(begun)), r'no classifier of images of shape \(16, 16, 1\)'),
        (lambda: classifier.classifier(SHAPE), r'experiments.classifier --data=NAME --out=FILE.npz'),
        (
            lambda: classifier.fit(
                Source(np.zeros((4, 2), np.float32), None, kinds.points(2), None, 'points'), jax.random.key(0)
            ),
            'a classifier needs pictures with one label, and points has none',
        ),
    ]
    for make, message in cases:
        with pytest.raises(UserError, match=message):
            make()
