"""The command on augmentation: what classifiers are shown, what a table makes of them, going on where it stopped."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.data import sources
from diffusion_jax.data.few import few
from diffusion_jax.evaluation import classifier
from diffusion_jax.evaluation.features import Features, Outputs
from diffusion_jax.nets.classifier import Classifier
from experiments.augmentation import mixing, table
from tests import tiny

GENERATORS = ('a', 'b')


def real_rows(n=30):
    return few(sources.digits(condition='label'), n)


def generated_rows(like, n):
    """Black pictures with one bright pixel, whose place is their number."""
    x = -np.ones((n, 64), np.float32)
    x[np.arange(n), np.arange(n) % 64] = 1
    return mixing.labelled(like, x.reshape(n, 8, 8, 1), np.arange(n) % 10, 'generated')


def times_seen(found, of):
    rows = [(x.tobytes(), label) for x, label in zip(found.x, found.cond, strict=True)]
    return [rows.count((x.tobytes(), label)) for x, label in zip(of.x, of.cond, strict=True)]


def test_generated_rows_have_the_levels_and_the_classes_that_were_asked_for():
    real = real_rows()
    x = np.linspace(-1.2, 1.2, 2 * 64, dtype=np.float32).reshape(2, 8, 8, 1)
    found = mixing.labelled(real, x, np.array([7, 2]), 'g')
    assert found.cond.tolist() == [7, 2]
    np.testing.assert_array_equal(found.x, np.clip(np.round((x + 1) * 8), 0, 16))
    assert found.kind.levels == 17


@pytest.mark.parametrize('size', [60, 50, 20])
def test_halves_show_every_real_row_as_often(size):
    """Of 30 real rows and 60, 50 or 20 generated ones: halves of 60, 60 and 30 rows."""
    real, half = real_rows(), 30 if size == 20 else 60
    generated = generated_rows(real, size)
    found = {mix.name: mixing.rows(mix, real, generated, 1, 0) for mix in mixing.mixes(GENERATORS)}
    assert {len(rows.x) for rows in found.values()} == {2 * half}
    assert times_seen(found[mixing.REAL], real) == [2 * half // 30] * 30
    for name in ('real and a', f'{mixing.SHIFTED} and a'):
        assert times_seen(found[name], real) == [half // 30] * 30
        assert sum(times_seen(found[name], generated)) == half
        np.testing.assert_array_equal(found[name].x[:half], found[mixing.REAL].x[:half])
    assert sum(times_seen(found['b alone'], real)) == 0
    assert sum(times_seen(found['b alone'], generated)) == 2 * half
    np.testing.assert_array_equal(found['b alone'].x[half:], found['real and b'].x[half:])


def test_shuffled_labels_belong_to_no_picture_and_shifts_to_the_shifted():
    real = real_rows(1000)
    found = {mix.name: mixing.rows(mix, real, generated_rows(real, 20), 1, 0) for mix in mixing.mixes(GENERATORS)}
    shuffled = found[mixing.SHUFFLED]
    np.testing.assert_array_equal(shuffled.x, found[mixing.REAL].x)
    assert np.bincount(shuffled.cond).tolist() == np.bincount(found[mixing.REAL].cond).tolist()
    assert np.mean(shuffled.cond == found[mixing.REAL].cond) == pytest.approx(0.1, abs=0.04)
    np.testing.assert_array_equal(shuffled.cond[:1000], shuffled.cond[1000:])  # a row has one label
    x = jnp.asarray(real.x[:50] / 8 - 1)
    for name, rows in found.items():
        same = np.array_equal(rows.kind.augment(jax.random.key(0), x), x)
        assert same == (mixing.SHIFTED not in name), name


def test_copies_are_copies_and_labels_are_kept_where_the_judge_says_so():
    train, held_out = real_rows(200), sources.digits('test', condition='label')

    def outputs(x):
        """That every picture is a 3."""
        return Outputs(np.zeros((len(x), 1)), None, np.eye(10)[np.full(len(x), 3)])

    judge = Features('threes', outputs, '')
    copied = mixing.about(train, train, held_out, judge)
    assert copied == pytest.approx({'labels kept': 0.1, 'copies': 1})
    honest = mixing.about(held_out, train, held_out, judge)
    assert honest['copies'] == pytest.approx(0, abs=0.02)


def test_the_classifier_sees_augmented_pictures_by_another_key_in_each_step():
    seen = []

    def blank(key, x):
        jax.debug.callback(lambda k: seen.append(tuple(k.tolist())), jax.random.key_data(key))
        return 0 * x

    real = real_rows(50)
    blind = real._replace(kind=real.kind._replace(augment=blank))
    params = classifier.fit(blind, jax.random.key(0), steps=4, batch_size=16)
    jax.effects_barrier()
    assert len(set(seen)) == 4
    first = Classifier(10).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    kernels = [p['params']['conv_0']['kernel'] for p in (params, first)]
    np.testing.assert_allclose(*kernels, rtol=1e-6)  # of blank pictures it learns biases alone


def results():
    """On two n, three seeds that differ by much: b is 0.02 better than real alone in each, c worse by about 0.1."""
    of_seeds = {0: 0.5, 1: 0.6, 2: 0.7}
    worse = {0: -0.1, 1: -0.101, 2: -0.099}

    def values(n, seed):
        real = of_seeds[seed] + n / 1000
        gain = 0.02 + 0.001 * seed if n == 50 else 0.005 + 0.02 * (seed - 1)
        return {
            mixing.REAL: real,
            mixing.SHIFTED: real,
            'b': real + gain,
            'c alone': real + worse[seed],
            'b: kept': 0.9,
        }

    return {n: {seed: values(n, seed) for seed in of_seeds} for n in (50, 100)}


def test_gains_are_paired_and_judged_by_student():
    of = results()
    cell = table.accuracy(of, 50, 'b')
    assert cell.mean == pytest.approx(0.6 + 0.05 + 0.021)
    assert cell.error == pytest.approx(0.101 / np.sqrt(3))
    paired = table.gain(of, 50, 'b', mixing.REAL)
    assert paired.error == pytest.approx(0.001 / np.sqrt(3))
    # Student's t with two degrees of freedom has the quantile (2 p - 1) sqrt(2 / (4 p (1 - p))), here at p = 0.975.
    assert paired.half_width == pytest.approx(0.95 * np.sqrt(2 / (4 * 0.975 * 0.025)) * paired.error)
    assert paired.verdict == '+'
    assert table.gain(of, 100, 'b', mixing.REAL).verdict == ''
    assert table.gain(of, 100, 'c alone', mixing.REAL).verdict == '-'
    text = table.gains(of, mixing.REAL)
    assert '| b | +2.1 ± 0.1 + | +0.5 ± 1.2 | 50 |' in text
    assert '| c alone | -10.0 ± 0.1 - | -10.0 ± 0.1 - | none |' in text
    assert 'kept' not in table.accuracies(of)
    assert '| b: kept | 0.900 ± 0.000 | 0.900 ± 0.000 |' in table.about(of)


def test_of_one_seed_there_is_no_error_and_no_verdict(tmp_path):
    of = {n: {0: seeds[0]} for n, seeds in results().items()}
    cell = table.gain(of, 50, 'b', mixing.REAL)
    assert str(cell) == '0.020'
    assert cell.verdict == ''
    table.draw(tmp_path / 'x.png', of)
    assert (tmp_path / 'x.png').stat().st_size > 1000


TINY = (
    '--config=digits_edm:runlocal', '--distil_config=digits_ect:runlocal', '--seed=0', '--n=20',
    '--config.net.channels=8', '--config.train.steps=2', '--distil_config.train.steps=2', '--generated=20',
    '--classifier_steps=2', '--ddim_steps=2', '--config.train.sample_every=0', '--distil_config.train.sample_every=0',
    '--config.sample.times.n=3',
)  # fmt: skip


def test_what_cannot_be_compared_is_one_line(tmp_path, capsys):
    arguments = f'--workdir={tmp_path}', *TINY
    for more, said in (
        (('--n=1501',), 'digits/train has 10 classes and 1500 rows: few=1501 is not between these'),
        (('--n=9',), 'digits/train has 10 classes and 1500 rows: few=9 is not between these'),
        (('--config.eval.held_out=None',), 'accuracy is measured on held-out rows'),
        (('--seed=-1',), 'is not in [0, 4294967296)'),
    ):
        assert said in tiny.refusal(capsys, 'experiments.augmentation.__main__', *arguments, *more)
    for config, said in (
        ('toy2d', 'a classifier needs pictures with one label'),
        ('fields_gaussian', "got condition='label'"),
    ):
        arguments = f'--workdir={tmp_path}', f'--config={config}', '--n=20'
        assert said in tiny.refusal(capsys, 'experiments.augmentation.__main__', *arguments)
    assert not (tmp_path / 'n_20').exists()


@pytest.mark.slow
def test_a_half_finished_folder_goes_on(tmp_path, capsys):
    arguments = f'--workdir={tmp_path}', *TINY
    assert tiny.call('experiments.augmentation.__main__', *arguments) == 0
    folder = tmp_path / 'n_20' / 'seed_0'
    result = folder / 'accuracy.json'
    first = json.loads(result.read_text())
    for name in ('diffusion', 'consistency'):
        config = json.loads((folder / name / 'config.json').read_text())
        assert (config['data']['few'], config['data']['few_seed'], config['data']['condition']) == (20, 0, 'label')
    assert first['protocol']['of each class'] == [2] * 10
    assert first['protocol']['held-out rows'] == 297
    written = (folder / 'diffusion' / 'config.json').stat().st_mtime_ns
    result.unlink()
    assert tiny.call('experiments.augmentation.__main__', *arguments) == 0
    assert json.loads(result.read_text())['values'] == pytest.approx(first['values'])
    assert (folder / 'diffusion' / 'config.json').stat().st_mtime_ns == written
    assert (tmp_path / 'augmentation.png').exists()
    assert (tmp_path / 'samples.png').exists()
    assert 'real and CM, 2 steps' in (tmp_path / 'table.md').read_text()
    for other in ('--generated=40', '--shift=2', '--distil_config.train.steps=3'):
        said = tiny.refusal(capsys, 'experiments.augmentation.__main__', *arguments, other)
        assert 'measured with other settings' in said
    result.unlink()
    said = tiny.refusal(capsys, 'experiments.augmentation.__main__', *arguments, '--config.optim.lr=0.5')
    assert 'holds a run of another config' in said
