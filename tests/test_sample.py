"""The sampling command: what it writes, and that its choices reach the sampler."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from tests import few_step, tiny

SPEC = {'sampler': {'name': 'ancestral', 'variance': 'large'}, 'times': {'name': 'uniform', 'n': 9}, 'clip': True}


@pytest.mark.parametrize(
    ('choice', 'sampler', 'times'),
    [
        ((None, None, None), SPEC['sampler'], SPEC['times']),
        (('ddim', None, None), {'name': 'ddim'}, SPEC['times']),
        (('ddim:eta=0.5', 4, None), {'name': 'ddim', 'eta': 0.5}, {'name': 'uniform', 'n': 4}),
        ((None, None, 'quadratic'), SPEC['sampler'], {'name': 'quadratic', 'n': 9}),
        ((None, 5, 'quadratic:t_max=0.9'), SPEC['sampler'], {'name': 'quadratic', 'n': 5, 't_max': 0.9}),
        ((None, None, 'leading:n=3'), SPEC['sampler'], {'name': 'leading', 'n': 3}),
    ],
)
def test_choices_replace_what_they_name(choice, sampler, times):
    before = repr(SPEC)
    assert runs.sample_spec(SPEC, runs.Choices(*choice)) == {**SPEC, 'sampler': sampler, 'times': times}
    assert repr(SPEC) == before


def sampled(folder, out, *arguments):
    assert tiny.call('sample', f'--workdir={folder}', f'--out={out}', *arguments) == 0
    with np.load(f'{out}.npz') as file:
        return file['samples']


def test_images(digits_run, tmp_path):
    x = sampled(digits_run, tmp_path / 'a.b' / 'c', '--num=5')
    assert x.dtype == np.uint8
    assert x.shape == (5, 8, 8, 1)
    assert len({row.tobytes() for row in x}) == 5
    with Image.open(tmp_path / 'a.b' / 'c.png') as picture:
        assert picture.width > 3 * 8


@pytest.mark.slow
def test_seeds_batches_and_samplers(digits_run, tmp_path):
    first = sampled(digits_run, tmp_path / 'x', '--num=12', '--sampler=ddim', '--steps=2')
    again = sampled(digits_run, tmp_path / 'x', '--num=12', '--sampler=ddim', '--steps=2', '--batch_size=5')
    # Rounding to uint8 may tip over where another batch size sums in another order.
    assert np.abs(first.astype(int) - again.astype(int)).max() <= 1
    other = sampled(digits_run, tmp_path / 'x', '--num=12', '--sampler=ddim', '--steps=2', '--seed=1')
    noisy = sampled(digits_run, tmp_path / 'x', '--num=12', '--sampler=ddim:eta=1', '--steps=2')
    assert (first != other).mean() > 0.2
    assert (first != noisy).mean() > 0.1


@pytest.mark.slow
def test_rows_of_each_device(digits_run, tmp_path, capsys):
    """Eight devices draw three samples as they draw them among twenty, where three alone would be one on each."""
    few, many = (sampled(digits_run, tmp_path / 'x', '--rows=2', f'--num={n}', '--sampler=ddim') for n in (3, 20))
    np.testing.assert_array_equal(few, many[:3])
    message = tiny.refusal(capsys, 'sample', f'--workdir={digits_run}', '--rows=2', '--batch_size=4')
    assert message == '--rows is for each device, --batch_size for all together: set one of them'


@pytest.mark.slow
def test_other_settings_go_to_other_files(digits_run, capsys):
    for sampler in ('ddim', 'ddim:eta=0.5'):
        assert tiny.call('sample', f'--workdir={digits_run}', '--num=2', f'--sampler={sampler}', '--steps=2') == 0
    names = {path.name for path in (digits_run / 'samples').glob('ddim*.npz')}
    assert names == {'ddim_uniform-n=2_step4_seed0_n2.npz', 'ddim-eta=0.5_uniform-n=2_step4_seed0_n2.npz'}


@pytest.mark.slow
def test_names_of_files(digits_run, tmp_path, capsys, monkeypatch):
    """Bytes that are no text, names of 255 bytes, and folders where a file is asked for."""
    few = [f'--workdir={digits_run}', '--num=2', '--sampler=ddim', '--steps=2']
    with monkeypatch.context() as strict:
        strict.setattr('sys.stdout', io.TextIOWrapper(io.BytesIO(), 'utf-8'))
        assert tiny.call('sample', *few, f'--out={tmp_path}/\udcff') == 0
    assert (tmp_path / '\udcff.npz').exists()
    for out in ('.', '/', '..'):
        said = tiny.refusal(capsys, 'sample', *few, f'--out={out}')
        assert said == f'--out={out} is a folder, and the path of a file is needed, without suffix'
    assert 'File name too long' in tiny.refusal(capsys, 'sample', *few, f'--out={tmp_path}/{"a" * 250}')
    monkeypatch.setattr(runs, 'name_of', lambda spec: '漢' * 60)
    assert tiny.call('sample', *few) == 0
    assert [*(digits_run / 'samples').glob('漢*.npz')]


@pytest.fixture(scope='module')
def points_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('points')
    train(tiny.points(steps=20, log_every=20, save_every=20), folder)
    return folder


def way(folder, out, *arguments):
    x = sampled(folder, out, *arguments)
    with np.load(f'{out}_trajectory.npz') as file:
        return x, file['times'], file['x'], file['x_0']


@pytest.mark.slow
@pytest.mark.parametrize('sampler', ['ancestral', 'dpm_solver_pp:order=2', 'predictor_corrector'])
def test_a_trajectory_ends_in_the_samples_to_the_last_bit(sampler, points_run, tmp_path):
    """Among 11 samples, with the padding of eight devices."""
    arguments = ('--num=11', f'--sampler={sampler}', '--steps=4', '--trajectory=5')
    saved, _, x, _ = way(points_run, tmp_path / 'x', *arguments)
    np.testing.assert_array_equal(x[-1], saved[:5])


@pytest.mark.slow
def test_a_trajectory_of_images(digits_run, tmp_path):
    out = tmp_path / 'x'
    saved, t, x, x_0 = way(digits_run, out, '--num=11', '--sampler=heun', '--steps=4', '--trajectory=5')
    assert t.shape == (5,)
    assert x.shape == (5, 5, 8, 8, 1)
    assert x_0.shape == (4, 5, 8, 8, 1)
    run = runs.load(digits_run)
    spec = runs.sample_spec(run.config['sample'], runs.Choices(sampler='heun', steps=4))
    np.testing.assert_array_equal(x[-1], runs.draw(run, spec, 11)[:5])
    np.testing.assert_array_equal(run.experiment.source.kind.store(x[-1]), saved[:5])
    with Image.open(tmp_path / 'x_trajectory.png') as picture:
        assert picture.width > 700


@pytest.mark.slow
def test_ddims_steps_follow_from_the_predictions_beside_them(points_run, tmp_path):
    """x_s = alpha_s x_0 + sigma_s (x_t - alpha_t x_0) / sigma_t (arXiv 2010.02502, eq. 12)."""
    _, t, x, x_0 = way(points_run, tmp_path / 'x', '--num=6', '--sampler=ddim', '--steps=5', '--trajectory=6')
    schedule = runs.load(points_run).experiment.schedule
    alpha, sigma = (np.asarray(f(jnp.asarray(t, 'f'))).reshape(-1, 1, 1) for f in (schedule.alpha, schedule.sigma))
    eps = (x[:-1] - alpha[:-1] * x_0) / sigma[:-1]
    np.testing.assert_allclose(x[1:], alpha[1:] * x_0 + sigma[1:] * eps, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_trajectory_of_a_consistency_model_of_points(tmp_path):
    """Renoised with a t of 0 at the end: the sample is the last prediction, and the start is not."""
    config = {**few_step.run('ect'), 'teacher': None}
    train(config, tmp_path / 'run')
    arguments = ('--num=7', '--sampler=renoise', '--grid=at:times=80/2/0.5', '--trajectory=7')
    saved, t, x, x_0 = way(tmp_path / 'run', tmp_path / 'x', *arguments)
    np.testing.assert_allclose(t, [80, 2, 0.5, 0], rtol=1e-6)
    np.testing.assert_array_equal(x[-1], saved)
    np.testing.assert_allclose(x_0[-1], saved, rtol=1e-4, atol=1e-5)
    assert np.abs(x[0]).max() > 10
    assert (tmp_path / 'x_trajectory.png').exists()


def test_trajectories_that_there_are_not(points_run, capsys):
    arguments = ('sample', f'--workdir={points_run}', '--num=4', '--trajectory=5')
    assert tiny.refusal(capsys, *arguments) == '--trajectory=5 is more than the 4 samples that are drawn at once'
    message = tiny.refusal(capsys, *arguments, '--edit=sdedit:t0=0.5')
    assert message == '--trajectory is of samples, not of edits: leave one of them out'


@pytest.mark.slow
def test_in_parallel_without_tolerance_samples_are_the_sequential_ones(points_run, tmp_path, capsys):
    """A stochastic sampler; two batches."""
    arguments = ('--num=11', '--batch_size=8', '--sampler=ddim:eta=1', '--steps=12')
    want = sampled(points_run, tmp_path / 'x', *arguments)
    capsys.readouterr()
    got = sampled(points_run, tmp_path / 'y', *arguments, '--parallel=picard:window=5,tolerance=0')
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3 * np.abs(want).max())
    assert np.abs(want).max() > 0.1
    told = capsys.readouterr().out.splitlines()[-1]
    count, rest = told.split(' ', 1)
    assert 3 <= float(count) <= 12
    assert rest == 'evaluations of a step one after another, of a window each, for the 12 steps of a batch'


@pytest.mark.slow
def test_a_parallel_run_is_named_by_all_that_it_depends_on(points_run):
    names = set()
    for parallel, size in (('window=3', 8), ('window=4', 8), ('window=3', 16), ('window=3,tolerance=0.1', 8)):
        arguments = ('--num=24', '--sampler=ddim', '--steps=4', f'--batch_size={size}')
        parallel_run = f'--parallel=picard:{parallel}'
        assert tiny.call('sample', f'--workdir={points_run}', *arguments, parallel_run) == 0
        names.add(f'ddim_uniform-n=4_picard-{parallel.replace(",", "-")}_batch{size}_step20_seed0_n24.npz')
    assert names <= {path.name for path in (points_run / 'samples').iterdir()}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--sampler=unipc'], '--parallel: unipc remembers its earlier steps: use ddim, ancestral or heun'),
        (
            ['--rows=2'],
            '--parallel: a sample depends on all that are drawn with it, to the tolerance: set no --rows',
        ),
        (['--trajectory=2'], '--trajectory is of steps one after another: leave out --parallel'),
        (['--parallel=picard:window=0'], '--parallel: picard: window must be a whole number in [1, inf); got 0'),
        (['--parallel=jacobi:window=2'], "--parallel.name='jacobi' is unknown; known: picard"),
    ],
)
def test_parallel_runs_that_there_are_not(arguments, message, points_run, capsys):
    first = ('sample', f'--workdir={points_run}', '--num=4', '--parallel=picard:window=2')
    assert tiny.refusal(capsys, *first, *arguments) == message
