"""The command on anomalies: which rows are compared, what a table makes of them, and going on where it stopped."""

import json

import jax
import numpy as np
import pytest

from diffusion_jax.data import kinds, sources
from diffusion_jax.data.quantise import from_levels
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import anomaly
from experiments.anomaly import baselines, methods, splits, table
from tests import tiny

DATA = {'name': 'digits', 'split': 'train', 'condition': None}


def keys(x):
    return {row.tobytes() for row in x}


def test_anomalies_are_of_the_class_and_normal_rows_of_no_training():
    split = splits.without_class(DATA, 3, 'test', 60, 0)
    train, test = (sources.digits(name, condition='label') for name in ('train', 'test'))
    of_class = keys(np.concatenate([from_levels(s.x[s.cond == 3], 17) for s in (train, test)]))
    assert {name: len(x) for name, x in split.sets.items()} == dict.fromkeys(split.sets, 60)
    assert keys(split.sets[splits.LEFT_OUT]) <= of_class
    assert keys(split.sets[splits.NORMAL]) <= keys(from_levels(test.x[test.cond != 3], 17))
    assert keys(split.sets[splits.TRAINING]) <= keys(split.train[:]) == keys(from_levels(train.x[train.cond != 3], 17))
    other = splits.without_class(DATA, 3, 'test', 60, 1)
    assert keys(other.sets[splits.NORMAL]) != keys(split.sets[splits.NORMAL])


def test_scrambled_rows_are_the_normal_ones_in_one_other_order():
    sets = splits.without_class(DATA, 3, 'test', 100, 0).sets
    normal, scrambled = (sets[name].reshape(100, -1) for name in (splits.NORMAL, splits.SCRAMBLED))
    np.testing.assert_array_equal(np.sort(normal), np.sort(scrambled))
    columns = [column.tobytes() for column in normal.T]
    assert all(column.tobytes() in columns for column in np.ascontiguousarray(scrambled.T))
    assert (normal != scrambled).any(1).all()


def test_another_set_comes_in_the_form_of_the_data():
    split = splits.against(DATA, {'name': 'tiles'}, 'test', 200, 0)
    x = split.sets['tiles']
    assert x.shape == (122, 8, 8, 1)
    np.testing.assert_allclose(x * 8 + 8, np.round(x * 8 + 8), atol=1e-5)
    assert len(split.sets[splits.NORMAL]) == 200


def test_images_take_the_form_of_others():
    white = np.ones((2, 4, 4, 3), np.float32)
    white[1, ..., 0] = -1
    grey = splits.like(kinds.images((2, 2, 1), levels=4), white, 'x')
    np.testing.assert_allclose(grey[:, 0, 0, 0], [1, 1 / 3], atol=1e-6)
    assert splits.like(kinds.images((2, 2, 3)), np.ones((1, 4, 4, 1), np.float32), 'x').shape == (1, 2, 2, 3)
    with pytest.raises(UserError, match='--against=x: 2 channels cannot become 3'):
        splits.like(kinds.images((2, 2, 3)), white[..., :2], 'x')
    with pytest.raises(UserError, match='--against=x: images against images alone'):
        splits.like(kinds.points(2), white, 'x')


def test_every_row_is_scored_once_whatever_the_batch():
    names = splits.NORMAL, 'a', splits.SCRAMBLED, splits.TRAINING
    sets = {name: np.full((n, 2), i, np.float32) for i, (name, n) in enumerate(zip(names, (3, 4, 1, 5), strict=True))}
    sets[splits.NORMAL] = np.array([[0, 0], [4, 4], [8, 8]], np.float32)
    found = {methods.LIKELIHOOD: lambda weights, key, x: weights.diffusion * x.sum(1)}
    depths = [(family, t) for family in methods.NOISED for t in (1, 2)]
    found |= {f'{family}, t = {t}': lambda weights, key, x, t=t: t * x.sum(1) for family, t in depths}
    sets[splits.TRAINING] += np.arange(5, dtype=np.float32)[:, None]
    weights = methods.Weights(0.5, 0.0)
    for size in (4, 50):
        scores = methods.scored(found, weights, sets, jax.random.key(0), size, sharding.make_mesh())
        of = scores[methods.LIKELIHOOD]
        np.testing.assert_allclose(of[splits.NORMAL], [0, 4, 8])
        np.testing.assert_allclose(of[splits.TRAINING], [3, 4, 5, 6, 7])
        assert [len(of[name]) for name in names] == [3, 4, 1, 5]
        np.testing.assert_allclose(scores[methods.TYPICALITY][splits.NORMAL], [5, 1, 3])
        mean = scores[f'{methods.ONCE}, mean over t'][splits.NORMAL]
        np.testing.assert_allclose(mean, (np.array([0, 4, 8]) - 5) / np.sqrt(2), rtol=1e-5)


def test_baselines_know_what_is_strange():
    """A line of points: off it by more is stranger for all, and to be a training row is no distance from it."""
    train = np.linspace(-1, 1, 101)[:, None] * np.ones((1, 3))
    x = train[50:51] + np.array([[0.0], [0.3], [3.0]]) * np.array([[1, -1, 0]])
    found = baselines.fitted(train, 0)
    np.testing.assert_allclose(found[baselines.PCA](x), [0, 2 * 0.09 / 3, 2 * 9 / 3], atol=1e-12)
    near = np.sqrt(3) * 0.02 * np.array([0, 1, 1, 2, 2]).mean()
    np.testing.assert_allclose(found[baselines.NEIGHBOURS](x)[0], near)
    for name in found:
        assert (np.diff(found[name](x)) > 0).all(), name


def test_verdicts_have_the_controls_of_the_judge():
    rng = np.random.default_rng(0)
    scores = {
        'good': {splits.NORMAL: rng.normal(size=400), 'odd': rng.normal(9, 1, 50), splits.SCRAMBLED: 9 + np.ones(400)},
        'none': {splits.NORMAL: rng.normal(size=400), 'odd': rng.normal(0, 1, 50), splits.SCRAMBLED: np.zeros(400)},
    }
    found = table.verdicts(scores, 'odd')
    assert found['good: AUROC'] == found['good: average precision'] == found['good: scrambled'] == 1
    assert found['none: AUROC'] == pytest.approx(0.5, abs=4 * anomaly.chance_error(400, 50))
    for name in scores:
        assert found[f'{name}: halves'] == pytest.approx(0.5, abs=4 * anomaly.chance_error(200, 200))
    assert table.methods_of({'3': {0: found}}) == ['good', 'none']


def test_errors_are_over_seeds_of_means_over_classes():
    results = {
        label: {seed: {'a: AUROC': value + shift} for seed, value in enumerate((0.2, 0.4, 0.6))}
        for label, shift in (('3', 0.0), ('4', 0.2))
    }
    cell = table.summary(results, 'a', 'AUROC')
    assert cell.mean == pytest.approx(0.5)
    assert cell.error == pytest.approx(0.2 / np.sqrt(3))
    assert str(cell) == '0.500 ± 0.115'
    assert table.summary({'3': {1: {'a: AUROC': 0.25}}}, 'a', 'AUROC') == (0.25, None)
    del results['4'][2]  # a seed that not all have yet is of no mean over all
    assert table.summary(results, 'a', 'AUROC').mean == pytest.approx(0.4)
    assert '| a | 0.400 | 0.500 |' in table.by_comparison(results)


TINY = (
    '--config=digits_edm:runlocal', '--distil_config=digits_ect:runlocal', '--against=', '--seed=0', '--num=12',
    '--config.net.channels=8', '--config.train.steps=2', '--distil_config.train.steps=2', '--depth=0.5',
    '--latent_depth=0.5', '--draws=1', '--tolerance=0.3', '--config.train.sample_every=0',
    '--distil_config.train.sample_every=0', '--config.sample.times.n=3',
)  # fmt: skip


def test_what_cannot_be_compared_is_one_line(tmp_path, capsys):
    arguments = f'--workdir={tmp_path}', *TINY
    for more, said in (
        (('--classes=',), 'there is nothing to compare'),
        (('--classes=12',), '--classes=12: the classes are 0 to 9'),
        (('--classes=x',), '--classes=x: the classes are 0 to 9'),
        (('--depth=90',), '--depth=90: needs 0 < t0 <= 80'),
    ):
        assert said in tiny.refusal(capsys, 'experiments.anomaly.__main__', *arguments, *more)
    assert not list(tmp_path.iterdir())  # and nothing was trained


@pytest.mark.slow
def test_a_half_finished_folder_goes_on(tmp_path, capsys):
    arguments = f'--workdir={tmp_path}', *TINY, '--classes=3'
    assert tiny.call('experiments.anomaly.__main__', *arguments) == 0
    folder = tmp_path / 'without_3' / 'seed_0'
    result = folder / 'against_class.json'
    first = json.loads(result.read_text())
    config = json.loads((folder / 'diffusion' / 'config.json').read_text())
    assert config['data']['without'] == 3
    assert first['protocol']['training rows'] == (sources.digits(condition='label').cond != 3).sum()
    written = (folder / 'diffusion' / 'config.json').stat().st_mtime_ns
    result.unlink()
    assert tiny.call('experiments.anomaly.__main__', *arguments) == 0
    again = json.loads(result.read_text())
    assert again['values'] == pytest.approx(first['values'])
    assert (folder / 'diffusion' / 'config.json').stat().st_mtime_ns == written
    assert (tmp_path / 'anomaly.png').exists()
    assert 'isolation forest' in (tmp_path / 'table.md').read_text()
    for other in ('--draws=2', '--config.train.steps=3', '--distil_config.train.steps=3'):
        said = tiny.refusal(capsys, 'experiments.anomaly.__main__', *arguments, other)
        assert 'measured with other settings' in said
