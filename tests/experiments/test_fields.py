"""The command on fields: with exact denoisers in the place of a run's it must find the law, and the exact posterior."""

import numpy as np
import pytest

from configs import fields_gaussian
from diffusion_jax import builders, schedules
from diffusion_jax.axes import per_sample
from diffusion_jax.data import gaussian_fields
from diffusion_jax.devices import sharding
from diffusion_jax.inference import runs
from diffusion_jax.types import Models
from tests import tiny

LAW = gaussian_fields.advected(8, shift=1, damping=0.3, diffusion=0.05)
VE = schedules.VE()


def config(condition):
    config = fields_gaussian.get_config('runlocal')
    config.data.n, config.data.condition = 64, condition
    config.data.law.update(size=8, shift=1, damping=0.3, diffusion=0.05)
    config.net.update(channels=4, multipliers=(1,))
    config.train.update(steps=1, save_every=1, sample_every=0, batch_size=8)
    config.sample.update(num=4, batch_size=500)
    config.eval.update(num=200, batch_size=500)
    return builders.resolve(config)


def told(params, cond, key):
    """The exact denoiser of the last channel, the one before it known."""
    exact = gaussian_fields.forecast(LAW)
    mean, rest = exact.mean(cond.values), gaussian_fields.denoiser(exact.remainder, VE)
    return lambda x, t: mean + rest(x - per_sample(VE.alpha(t), x) * mean, t)


def joint(params, cond, key):
    return gaussian_fields.denoiser(LAW, VE)


@pytest.fixture(scope='module', params=['before', None])
def exact(request, tmp_path_factory):
    """A folder, what its run is told, and the run, whose model is exact and has no parameters."""
    run = run_of(config(request.param), told if request.param else joint)
    return tmp_path_factory.mktemp('fields'), request.param, run


def run_of(config, denoise):
    experiment = builders.build(config)._replace(models=Models(denoise=denoise))
    return runs.Run(config, experiment, {}, 0, sharding.make_mesh())


def table(workdir):
    lines = (workdir / 'fields.md').read_text().splitlines()[2:]
    return {
        row[0]: [float(v) for v in row[2:] if v] for row in ([c.strip() for c in r.split('|')[1:-1]] for r in lines)
    }


@pytest.mark.slow
def test_exact_models_have_the_law_and_its_forecasts(exact, monkeypatch):
    workdir, condition, run = exact
    monkeypatch.setattr(runs, 'load', lambda workdir: run)
    arguments = f'--workdir={workdir}', '--sampling=heun@40', '--num=500', '--states=8', '--members=16'
    assert tiny.call('experiments.fields', *arguments) == 0
    rows = table(workdir)
    # Chance alone: one wave of 500 fields has a relative error of sqrt(2 / 500).
    assert rows['data'][0] < 0.25
    assert rows['heun'][0] < 0.25
    np.testing.assert_allclose(rows['data'][2:], 1, atol=0.1)
    if condition:
        np.testing.assert_allclose(rows['heun'][2:], 1, atol=0.1)
    else:  # what is drawn by projection is not quite the posterior
        assert 1.0 < rows['heun'][2] < 2.5


def test_what_does_not_fit_is_one_line(tmp_path, capsys, monkeypatch):
    workdir, run = tmp_path, run_of(config(None), joint)
    monkeypatch.setattr(runs, 'load', lambda workdir: run)
    for argument, said in (
        ('--sampling=heun', 'the form is SAMPLER@STEPS'),
        ('--sampling=heun@0', 'the form is SAMPLER@STEPS'),
        ('--sampling=hein@3', 'did you mean heun or'),
    ):
        assert said in tiny.refusal(capsys, 'experiments.fields', f'--workdir={workdir}', argument)
    points = run_of(tiny.points(), joint)
    monkeypatch.setattr(runs, 'load', lambda workdir: points)
    assert 'was not trained on gaussian_fields' in tiny.refusal(capsys, 'experiments.fields', f'--workdir={workdir}')


def test_a_law_of_one_channel_has_no_forecast(tmp_path, monkeypatch):
    one = config(None)
    one['data']['law'] = {'name': 'power_law', 'size': 8}
    law = gaussian_fields.power_law(8)
    run = run_of(one, lambda params, cond, key: gaussian_fields.denoiser(law, VE))
    monkeypatch.setattr(runs, 'load', lambda workdir: run)
    assert tiny.call('experiments.fields', f'--workdir={tmp_path}', '--sampling=heun@40', '--num=500') == 0
    rows = table(tmp_path)
    assert [len(row) for row in rows.values()] == [2, 2]
    assert max(rows['heun']) < 0.25
