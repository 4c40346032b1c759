"""The evaluation command: results by name, and a bound over exactly the rows asked for."""

import json

import jax
import numpy as np
import pytest
import scipy.stats

from diffusion_jax import builders, likelihood
from diffusion_jax.inference import runs
from tests import tiny


@pytest.mark.slow
def test_results_accumulate(digits_run, capsys):
    ddim = ['--sampler=ddim', '--steps=2', '--features=pixels', '--bits_num=0']
    for arguments in (['--bits_gap'], ddim, ['--seed=1', '--bits_num=0']):
        assert tiny.call('evaluate', f'--workdir={digits_run}', '--num=40', *arguments) == 0
    kept = json.loads((digits_run / 'metrics.json').read_text())
    assert set(kept) == {
        'ancestral(variance=large), uniform(n=3), step 4, 40 samples, seed 0',
        'ddim(), uniform(n=2), step 4, 40 samples, seed 0, pixels-64',
        'ancestral(variance=large), uniform(n=3), step 4, 40 samples, seed 1',
        'bits/dim on digits/test, step 4',
        'bits/dim on digits/train, step 4',
        'bits/dim on digits/test above digits/train, step 4',
    }
    gap = kept['bits/dim on digits/test above digits/train, step 4']['gap']
    on = [kept[f'bits/dim on digits/{split}, step 4']['bits/dim'] for split in ('test', 'train')]
    np.testing.assert_allclose(gap, on[0] - on[1], rtol=1e-6)
    results = kept['ddim(), uniform(n=2), step 4, 40 samples, seed 0, pixels-64']
    assert {'Frechet distance (pixels-64), standard error', 'recall (k=3)', 'coverage (k=5)'} < set(results['values'])
    protocol = results['protocol']
    assert protocol['features'] == 'pixels-64'
    assert protocol['n'] == 40
    assert protocol['reference'] == 'digits/train'
    assert protocol['seeds'] == [0]
    bits = kept['bits/dim on digits/test, step 4']
    np.testing.assert_allclose(bits['bits/dim'], bits['prior'] + bits['kl'] + bits['decoder'], rtol=1e-5)
    printed = capsys.readouterr().out
    assert '| ddim(), uniform(n=2)' in printed
    assert '40 samples have a singular covariance of 64 features: take 65 at least' in printed


@pytest.mark.slow
def test_results_go_where_they_can_be_written(digits_run, tmp_path, capsys, monkeypatch):
    call = [f'--workdir={digits_run}', '--num=70', '--features=pixels', '--seed=4', '--bits_num=0']
    before = (digits_run / 'metrics.json').read_bytes() if (digits_run / 'metrics.json').exists() else None
    with monkeypatch.context() as refused:  # before anything is drawn
        refused.setattr(runs, 'survey', lambda *_: pytest.fail('it samples first'))
        said = tiny.refusal(capsys, 'evaluate', *call, f'--results={digits_run}/config.json/x.json')
    assert said == f'cannot write to {digits_run}/config.json: File exists'
    assert tiny.call('evaluate', *call, f'--results={tmp_path}/sub/mine.json') == 0
    assert [*json.loads((tmp_path / 'sub' / 'mine.json').read_text())] == [
        'ancestral(variance=large), uniform(n=3), step 4, 70 samples, seed 4, pixels-64'
    ]
    assert before == ((digits_run / 'metrics.json').read_bytes() if before else None)


@pytest.mark.slow
def test_another_held_out_split_or_none(digits_run, capsys):
    call = [f'--workdir={digits_run}', '--num=70', '--features=pixels', '--seed=3']
    assert tiny.call('evaluate', *call, '--held_out=none', '--bits_num=0') == 0
    assert 'held-out' not in capsys.readouterr().out
    assert tiny.call('evaluate', *call, '--held_out=train', '--bits_num=1') == 0
    assert 'bits/dim on digits/train' in capsys.readouterr().out
    said = tiny.refusal(capsys, 'evaluate', *call, '--held_out=none', '--bits_num=5')
    assert said == 'bits/dim needs held-out data: set --held_out=SPLIT, or --bits_num=0'


def test_the_gaps_standard_error_is_that_of_welchs_test():
    rng = np.random.default_rng(0)
    rows = rng.normal(2.0, 0.3, 50), rng.normal(1.9, 0.1, 80)
    bits = [{'bits/dim': r.mean(), 'standard error': r.std(ddof=1) / np.sqrt(len(r))} for r in rows]
    gap = runs.bits_gap(*bits)
    welch = scipy.stats.ttest_ind(*rows, equal_var=False)
    np.testing.assert_allclose(gap['gap'] / gap['standard error'], welch.statistic, rtol=1e-12)


@pytest.mark.slow
def test_bits_of_the_ode_have_its_parts(digits_run):
    ode = '--bits=ode:rtol=0.1,atol=0.1'
    assert tiny.call('evaluate', f'--workdir={digits_run}', '--num=40', '--steps=2', '--bits_num=8', ode) == 0
    bits = json.loads((digits_run / 'metrics.json').read_text())[
        'bits/dim on digits/test, step 4, ode(rtol=0.1,atol=0.1)'
    ]
    np.testing.assert_allclose(bits['bits/dim'], bits['prior'] + bits['change'] + bits['dequantisation'], rtol=1e-5)
    np.testing.assert_allclose(bits['dequantisation'], 3, rtol=1e-6)  # bins of 17 levels are an eighth wide


@pytest.mark.parametrize(('num', 'batch_size'), [(7, 3), (8, 8), (1, 8), (5, 1)])
def test_the_bound_counts_every_row_once(digits_run, monkeypatch, num, batch_size):
    """With a bound that is the first pixel of its row, the mean says which rows were counted."""
    run = runs.load(digits_run)
    run = run._replace(config={**run.config, 'eval': {**run.config['eval'], 'batch_size': batch_size}})
    source = builders.build_source(run.config['data'], 'test')
    shapes = []

    def build_bits(*_):
        def bound(params, key, x, cond):
            shapes.append(x.shape)
            total = x.mean((1, 2, 3))
            kl, k = jax.numpy.zeros((len(x), 4)), jax.numpy.full((len(x), 4), 2)
            return likelihood.BoundTerms(total, kl, k, 0 * total, total)

        return real(*_)._replace(evaluate=bound)

    real = builders.build_bits
    monkeypatch.setattr(builders, 'build_bits', build_bits)
    result = runs.bits_per_dim(run, source, num)
    rows = source.x[np.arange(num)].mean((1, 2, 3)) / 8 - 1
    assert result['rows'] == num
    np.testing.assert_allclose(result['bits/dim'], rows.mean(), atol=5e-3)  # values pass through uint8
    if num > 1:
        np.testing.assert_allclose(result['standard error'], rows.std(ddof=1) / np.sqrt(num), rtol=0.02)
    else:
        assert result['standard error'] is None
    assert result['kl_by_step'] == [0.0] + [None] * 9
    assert len(shapes) == 1  # traced once: the last batch has the size of the others
    json.dumps(result, allow_nan=False)


def test_results_that_cannot_take_more_are_told_before_sampling(digits_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runs, 'survey', lambda *_: pytest.fail('it samples first'))
    (tmp_path / 'x.json').write_text('[1]')
    call = [f'--workdir={digits_run}', '--num=70', '--bits_num=0', f'--results={tmp_path}/x.json']
    assert tiny.refusal(capsys, 'evaluate', *call).startswith(
        f'{tmp_path}/x.json is damaged (it holds no named values)'
    )
    assert (tmp_path / 'x.json').read_text() == '[1]'
