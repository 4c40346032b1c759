"""The sampling command: what it writes, and that its choices reach the sampler."""

import io

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.inference import runs
from tests import tiny

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


def test_seeds_batches_and_samplers(digits_run, tmp_path):
    first = sampled(digits_run, tmp_path / 'x', '--num=12', '--sampler=ddim', '--steps=2')
    again = sampled(digits_run, tmp_path / 'x', '--num=12', '--sampler=ddim', '--steps=2', '--batch_size=5')
    # Rounding to uint8 may tip over where another batch size sums in another order.
    assert np.abs(first.astype(int) - again.astype(int)).max() <= 1
    other = sampled(digits_run, tmp_path / 'x', '--num=12', '--sampler=ddim', '--steps=2', '--seed=1')
    noisy = sampled(digits_run, tmp_path / 'x', '--num=12', '--sampler=ddim:eta=1', '--steps=2')
    assert (first != other).mean() > 0.2
    assert (first != noisy).mean() > 0.1


def test_rows_of_each_device(digits_run, tmp_path, capsys):
    """Eight devices draw three samples as they draw them among twenty, where three alone would be one on each."""
    few, many = (sampled(digits_run, tmp_path / 'x', '--rows=2', f'--num={n}', '--sampler=ddim') for n in (3, 20))
    np.testing.assert_array_equal(few, many[:3])
    message = tiny.refusal(capsys, 'sample', f'--workdir={digits_run}', '--rows=2', '--batch_size=4')
    assert message == '--rows is for each device, --batch_size for all together: set one of them'


def test_other_settings_go_to_other_files(digits_run, capsys):
    for sampler in ('ddim', 'ddim:eta=0.5'):
        assert tiny.call('sample', f'--workdir={digits_run}', '--num=2', f'--sampler={sampler}', '--steps=2') == 0
    names = {path.name for path in (digits_run / 'samples').glob('ddim*.npz')}
    assert names == {'ddim_uniform-n=2_step4_seed0_n2.npz', 'ddim-eta=0.5_uniform-n=2_step4_seed0_n2.npz'}


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
