"""Statistics that others publish: every form is read to the last bit, and a pickle runs nothing."""

import io
import os
import pickle

import numpy as np
import pytest

from diffusion_jax.errors import UserError
from diffusion_jax.evaluation.features import Outputs, pixels
from diffusion_jax.evaluation.statistics_file import is_statistics, read

RNG = np.random.default_rng(0)
FEATURES = pixels((1, 1, 3))
OUT = Outputs(np.zeros((1, 3)), np.zeros((1, 2)))


def pair(d):
    x = RNG.normal(size=(20, d))
    return {'mu': x.mean(0), 'sigma': np.cov(x, rowvar=False)}


PAIR, SPATIAL = pair(3), {f'{name}_s': value for name, value in pair(2).items()}
IMAGES = RNG.integers(0, 256, (4, 1, 1, 3), np.uint8)


def pickled(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def same(found, expected):
    np.testing.assert_array_equal(found.mean, expected['mu'])
    np.testing.assert_array_equal(found.cov, expected['sigma'])
    assert found.mean.dtype == found.cov.dtype == np.float64


def test_pairs_of_pytorch_fid_and_of_edm(tmp_path):
    np.savez(tmp_path / 'fid.npz', **PAIR)
    assert is_statistics(tmp_path / 'fid.npz')
    found = read(tmp_path / 'fid.npz', FEATURES, OUT)
    same(found.moments, PAIR)
    assert (found.moments.n, found.spatial, found.images) == (0, None, None)
    np.savez(tmp_path / 'x.npz', samples=IMAGES)
    assert not is_statistics(tmp_path / 'x.npz')
    assert not is_statistics(tmp_path)
    assert not is_statistics(tmp_path / 'nothing.npz')


def test_evaluator_batches_of_adm(tmp_path):
    np.savez(tmp_path / 'adm.npz', arr_0=IMAGES, **PAIR, **SPATIAL)
    found = read(tmp_path / 'adm.npz', FEATURES, OUT)
    same(found.moments, PAIR)
    same(found.spatial, {'mu': SPATIAL['mu_s'], 'sigma': SPATIAL['sigma_s']})
    np.testing.assert_array_equal(found.images, IMAGES)
    assert read(tmp_path / 'adm.npz', FEATURES, OUT._replace(spatial=None)).spatial is None


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('version', [1, 2])
def test_pickles_of_edm_by_the_dimension_of_the_features(tmp_path, protocol, version):
    content = {'fd_dinov2': pair(5), 'fid': {**PAIR, 'n': np.int64(7), 'of': ['a', 1.5, None]}}
    path = pickled(tmp_path / 'edm.pkl', content, protocol)
    if version == 1 and protocol < 4:  # where names of modules have no length beside them
        path.write_bytes(path.read_bytes().replace(b'numpy._core', b'numpy.core'))
    assert is_statistics(path)
    same(read(path, FEATURES, OUT).moments, PAIR)
    same(read(pickled(path, PAIR, protocol), FEATURES, OUT).moments, PAIR)


class Calls:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('function', [os.system, eval, io.open, np.load, np.save, getattr, pickle.loads])
def test_a_pickle_that_runs_code_is_refused(tmp_path, function):
    touched = tmp_path / 'touched'
    path = pickled(tmp_path / 'x.pkl', {**PAIR, 'more': Calls(function, f'touch {touched}')})
    with pytest.raises(UserError, match=r'/x.pkl is no file of statistics that can be read: it needs .+, and only'):
        read(path, FEATURES, OUT)
    assert not touched.exists()


def test_statistics_of_other_features_are_refused(tmp_path):
    np.savez(tmp_path / 'x.npz', **pair(5))
    message = (
        r'/x.npz holds statistics of 5 features, and pixels-3 has 3: choose the --features that they were made with'
    )
    with pytest.raises(UserError, match=message):
        read(tmp_path / 'x.npz', FEATURES, OUT)
    path = pickled(tmp_path / 'x.pkl', {'fid': pair(5), 'other': pair(4)})
    with pytest.raises(UserError, match='holds statistics of 5 features, and pixels-3 has 3'):
        read(path, FEATURES, OUT)
    np.savez(tmp_path / 'adm.npz', **PAIR, mu_s=np.zeros(4), sigma_s=np.eye(4))
    with pytest.raises(UserError, match='holds statistics of 4 features, and spatial pixels-3 has 2'):
        read(tmp_path / 'adm.npz', FEATURES, OUT)


@pytest.mark.parametrize(
    'wrong',
    [
        {'mu': np.full(3, np.nan)},
        {'sigma': np.full((3, 3), np.inf)},
        {'sigma': np.eye(4)},
        {'mu': np.zeros((3, 1))},
        {'mu': np.array(['a', 'b', 'c'])},
        {'mu': np.zeros(3, complex)},
    ],
)
def test_what_is_no_mean_and_covariance(tmp_path, wrong):
    np.savez(tmp_path / 'x.npz', **{**PAIR, **wrong})
    with pytest.raises(UserError, match=r'a mean and a covariance must be finite numbers of shapes \[d\] and \[d, d\]'):
        read(tmp_path / 'x.npz', FEATURES, OUT)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('x.pkl', pickle.dumps({'mean': 1}), 'it holds no mu and sigma'),
        ('x.pkl', pickle.dumps(PAIR)[:-30], 'is no file of statistics that can be read'),
        ('x.pkl', b'', 'is no file of statistics that can be read'),
        ('x.npz', b'PK', 'is no file of statistics that can be read'),
        ('x.npz', None, r'cannot read .*/x.npz: No such file'),
    ],
)
def test_files_that_hold_something_else(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path / name, FEATURES, OUT)
    assert len(str(error.value).splitlines()) == 1
