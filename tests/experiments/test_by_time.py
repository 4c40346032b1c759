"""Metrics and gradients of a run by time."""

import itertools

import jax
import numpy as np
import pytest

from configs import common, methods, toy2d
from diffusion_jax import builders
from diffusion_jax.data import pipeline
from diffusion_jax.training import run
from tests import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A consistency model of three steps, and its last state, whose target and average are not its weights."""
    config = methods.ct(common.on_data_of(common.edm(), toy2d.get_config('runlocal')), {'name': 'l2'})
    config.data.n, config.net.width, config.net.depth = 64, 8, 1
    config.objective['pairs'] = {'name': 'uniform_pairs', 'N': {'name': 'constant', 'n': 9}}
    config.frozen = {'name': 'moving_target', 'decay': {'name': 'constant_decay', 'mu': 0.5}}
    config.train.update(steps=3, save_every=3, sample_every=0, batch_size=64)
    config.optim = {'name': 'adam', 'lr': 0.3}
    workdir = tmp_path_factory.mktemp('by_time') / 'ct'
    config = builders.resolve(config)
    return workdir, config, run.train(config, workdir)


def rows(workdir, name):
    """The cells of a written table."""
    lines = (workdir / 'by_time' / f'{name}.md').read_text().splitlines()
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines if line.startswith('| ')]


def test_the_parts_together_are_the_whole(trained, capsys):
    """Their mean loss is that of whole batches at the run's weights, target and step; no time is left out."""
    workdir, config, state = trained
    arguments = f'--workdir={workdir}', '--parts=4', '--batches=40'
    before = sorted(p for p in workdir.rglob('*') if p.is_file())
    assert tiny.call('experiments.by_time', *arguments) == 0
    made = {p.name for p in workdir.rglob('*') if p.is_file()} - {p.name for p in before}
    assert made == {'step3_seed0.md', 'step3_seed0.png'}
    head, *parts = rows(workdir, 'step3_seed0')
    assert head == ['times', 'sigma / alpha', 'loss', 'signal', 'noise', 'share of the noise']
    losses, errors = np.array([[float(v) for v in row[2].split(' ± ')] for row in parts]).T

    experiment = builders.build(config)
    batch = pipeline.batch_at(experiment.source, 1, 64)
    draws = [(jax.random.key(k), batch(k)) for k in range(200)]
    loss = jax.jit(lambda key, raw: experiment.loss(state.params, state.frozen, key, raw, state.step)[0])
    whole = [float(loss(*draw)) for draw in draws]
    error = np.hypot(np.std(whole) / np.sqrt(len(whole)), np.linalg.norm(errors) / len(errors))
    assert abs(losses.mean() - np.mean(whole)) < 4 * error
    averaged = [float(experiment.loss(state.ema, state.frozen, *draw, state.step)[0]) for draw in draws[:20]]
    assert abs(np.mean(averaged) - np.mean(whole)) > 8 * error  # the weights are not the averaged ones

    times = [[float(v) for v in row[0].split(' to ')] for row in parts]
    assert times[-1][1] == 80
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(times))
    shares = [float(row[-1].rstrip('%')) for row in parts]
    assert abs(sum(shares) - 100) < 0.3
    assert 'step3_seed0.md' in capsys.readouterr().out


def test_another_argument_at_the_same_weights(trained):
    """What the batch makes of x_0 has less noise than x_0 itself, and the data of the parts are the same."""
    workdir, *_ = trained
    arguments = f'--workdir={workdir}', '--parts=4', '--batches=40'
    assert tiny.call('experiments.by_time', *arguments) == 0
    assert tiny.call('experiments.by_time', *arguments, '--argument=ode_step=batch') == 0
    plain, batch = (
        [float(row[4]) for row in rows(workdir, name)[1:]] for name in ('step3_seed0', 'step3_seed0_ode_step=batch')
    )
    assert sum(batch) < sum(plain)


def test_what_does_not_fit_is_one_line(trained, tmp_path, capsys):
    workdir, *_ = trained
    for argument, said in (
        ('--argument=ode_stp=batch', 'did you mean ode_step?'),
        ('--argument=ode_step', 'the form is name=value'),
        ('--argument=ode_step=bath', 'did you mean batch?'),
        ('--step=7', 'no checkpoint 7'),
    ):
        assert said in tiny.refusal(capsys, 'experiments.by_time', f'--workdir={workdir}', argument)
    config = tiny.points(steps=1, save_every=1)
    config['objective'] = {'name': 'vlb'}
    run.train(config, tmp_path / 'vlb')
    said = tiny.refusal(capsys, 'experiments.by_time', f'--workdir={tmp_path / "vlb"}')
    assert 'the objective vlb draws no times' in said
