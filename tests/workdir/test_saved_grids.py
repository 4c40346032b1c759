import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import search, times
from diffusion_jax.builders import specs
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from diffusion_jax.workdir import saved_grids
from tests import few_step, tiny

SAMPLE = {'sampler': {'name': 'ddim'}, 'times': {'name': 'uniform', 'n': 1000}, 'clip': True}


def test_a_saved_grid_becomes_its_times(tmp_path):
    grid = times.karras(3)
    path = saved_grids.save(tmp_path, 'ddim_3', grid, {'step': 7})
    assert json.loads(path.read_text()) == {'times': grid.tolist(), 'step': 7}
    spec = runs.sample_spec(SAMPLE, runs.Choices(times='saved:grid=ddim_3'))
    resolved = saved_grids.resolved(tmp_path, spec)
    assert resolved == {**SAMPLE, 'times': {'name': 'at', 'times': tuple(grid)}}
    assert times.at(resolved['times']['times']).tolist() == grid.tolist()
    assert saved_grids.resolved(tmp_path, SAMPLE) == SAMPLE


def test_the_times_of_the_model_go_with_them(tmp_path):
    grid, told = times.karras(3), np.array([70.0, 2.0, 0.01])
    saved_grids.save(tmp_path, 'retimed', grid, {}, told)
    resolved = saved_grids.resolved(tmp_path, runs.sample_spec(SAMPLE, runs.Choices(times='saved:grid=retimed')))
    assert resolved == {**SAMPLE, 'times': {'name': 'at', 'times': tuple(grid)}, 'model_times': tuple(told)}


def test_what_is_not_there_is_told_with_the_nearest(tmp_path):
    def resolve(text, steps=None):
        return saved_grids.resolved(tmp_path, runs.sample_spec(SAMPLE, runs.Choices(steps=steps, times=text)))

    with pytest.raises(UserError, match=r'experiments\.search_grid'):
        resolve('saved:grid=ddim_3')
    saved_grids.save(tmp_path, 'ddim_3', times.karras(3), {})
    with pytest.raises(UserError, match='did you mean ddim_3'):
        resolve('saved:grid=ddim_4')
    for text in ('saved', 'saved:gird=ddim_3', 'saved:grid=ddim_3,n=4'):
        with pytest.raises(UserError, match='saved:grid=NAME'):
            resolve(text)
    with pytest.raises(UserError, match='no number of steps'):
        resolve('saved:grid=ddim_3', 5)
    for text in ('[1]', '{}', '{"times": true}', '{"times": [null]}', '{"times": [1, 0], "model_times": ["1"]}'):
        (tmp_path / 'grids' / 'ddim_3.json').write_text(text)
        with pytest.raises(UserError, match='damaged'):
            resolve('saved:grid=ddim_3')


@pytest.mark.slow
def test_the_error_of_a_searched_grid_is_that_of_what_is_sampled(tmp_path):
    """Guided and clipped, by the sampling command's own functions on the noises that the search did not see."""
    config = few_step.run('edm', steps=40, save_every=40)
    config = {**config, 'optim': {**config['optim'], 'lr': 0.1, 'warmup': 0}}  # a network that says something
    config = {**config, 'data': {**config['data'], 'condition': 'label', 'drop_cond': 0.25}}
    guided = {'name': 'classifier_free', 'w': 3.0}
    config = {**config, 'sample': {**config['sample'], 'clip': True, 'cond': {'name': 'turn'}}}
    train(config, tmp_path)
    command = [f'--workdir={tmp_path}', '--sampler=ddim', '--steps=3', '--num=16', '--iterations=2', '--reference=10']
    assert tiny.call('experiments.search_grid', *command, '--guidance=classifier_free:w=3.0') == 0
    kept = json.loads((tmp_path / 'grids' / 'ddim_3.json').read_text())
    assert kept['guidance'] == guided

    run = runs.load(tmp_path)
    keys = jax.random.split(jax.random.split(jax.random.key(0))[1], 16)
    fine = times.karras(10, 0.002, 80.0)

    def drawn(sampler, grid, **changes):
        at = {'times': {'name': 'at', 'times': tuple(grid)}, 'guidance': guided}
        spec = {**run.config['sample'], 'sampler': {'name': sampler}, **at, **changes}
        return runs.sampling(run, spec).drawing.draw(run.params, keys, jnp.arange(16))

    def error(**changes):
        x, exact = drawn('ddim', kept['times'], **changes), drawn('heun', fine, **changes)
        return float(jnp.mean(search.per_sample_error(x, exact)))

    np.testing.assert_allclose(kept['error'], error(), rtol=1e-4)
    for change in ({'guidance': None}, {'clip': False}):
        assert abs(error(**change) / kept['error'] - 1) > 0.01


@pytest.mark.slow
def test_a_searched_grid_is_better_on_other_noises_and_is_used(tmp_path, capsys):
    train(few_step.run('edm'), tmp_path)
    command = [f'--workdir={tmp_path}', '--sampler=ddim', '--steps=3', '--num=32', '--iterations=10']
    errors = []
    for more in ([], ['--model_times']):
        assert tiny.call('experiments.search_grid', *command, *more) == 0
        said = capsys.readouterr().out
        found, by_hand = (
            float(e) for e in re.findall(r'error ([\d.e-]+), best of the grids by hand ([\d.e-]+)', said)[0]
        )
        assert found < by_hand
        errors.append(found)
    assert errors[1] < errors[0]
    drawn = []
    for name in ('ddim_3', 'ddim_3_retimed'):
        out = tmp_path / name
        grid = f'--grid=saved:grid={name}'
        assert tiny.call('sample', f'--workdir={tmp_path}', '--sampler=ddim', grid, f'--out={out}', '--num=4') == 0
        with np.load(f'{out}.npz') as file:
            drawn.append(file['samples'])
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize('method', ['ect', pytest.param('sct', marks=pytest.mark.slow)])
def test_searched_times_are_the_best_of_those_tried_and_can_be_sampled(method, tmp_path, capsys):
    train(few_step.run(method), tmp_path)
    command = [f'--workdir={tmp_path}', '--steps=3', '--num=100', '--evaluations=2']
    assert tiny.call('experiments.search_times', *command) == 0
    said = capsys.readouterr().out
    tried = {
        grid: float(d) for grid, d in re.findall(r'^([\d./e-]+): Frechet distance \(\S+\) ([\d.e-]+)$', said, re.M)
    }
    best = re.findall(r'^best: --sampler=renoise --grid=at:times=(\S+)$', said, re.M)
    assert [grid.count('/') for grid in tried] == [1, 1, 2, 2]
    of_three = {grid: d for grid, d in tried.items() if grid.count('/') == 2}
    assert best == [min(of_three, key=of_three.__getitem__)]
    run = runs.load(tmp_path)
    spec = runs.sample_spec(run.config['sample'], runs.Choices('renoise', times=f'at:times={best[0]}'))
    x = runs.draw(run, spec, 100)
    as_sampled = measure.measure(x, runs.reference(run, None), (0,)).values['Frechet distance (pixels-2)']
    np.testing.assert_allclose(of_three[best[0]], as_sampled, rtol=0.01)  # the times are printed to six digits
    config = specs.parse_spec(re.findall(r'^as a config: sample.times = (\S+)$', said, re.M)[0].replace("'", ''))
    grids = [run.experiment.context.make(times, {**config, 'n': n}, 'config.sample.times') for n in (1, 2, 3)]
    np.testing.assert_array_equal(grids[2], times.at(best[0]))
    assert '/'.join(f'{t:.6g}' for t in grids[1][:-1]) in tried
    np.testing.assert_array_equal(grids[0], [grids[1][0], 0])
    grid = f'--grid=at:times={best[0]}'
    assert tiny.call('sample', f'--workdir={tmp_path}', '--sampler=renoise', grid, '--num=2') == 0
    message = tiny.refusal(capsys, 'experiments.search_times', *command, '--step=3')
    assert message.startswith(f'{tmp_path} has no checkpoint 3')
