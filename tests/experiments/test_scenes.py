"""Text to image by its commands, and the table of what a run's pictures keep."""

import json

import numpy as np
import pytest
from PIL import Image

from configs import scenes_text, scenes_text_cd
from diffusion_jax import builders
from diffusion_jax.data import scenes
from diffusion_jax.data.scene_grammar import parse
from diffusion_jax.training.run import train
from experiments import scene_sheet
from tests import tiny


def config_of(module, **changes):
    config = module.get_config('runlocal')
    config.data.n = 64
    config.net.update(multipliers=(1,), text_layers=1)
    config.train.update(steps=2, save_every=2, sample_every=0, batch_size=8)
    config.update(changes)
    return builders.resolve(config)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('scenes')
    train({**config_of(scenes_text), 'teacher': None}, path)
    return path


@pytest.fixture(scope='module')
def experiment():
    """The experiment's module, whose flags are defined by its import: taken away again at once."""
    from absl import flags

    defined = {*flags.FLAGS}
    from experiments import scenes as module

    for flag in {*flags.FLAGS} - defined:
        delattr(flags.FLAGS, flag)
    return module


@pytest.mark.slow
def test_prompts_are_drawn(folder, tmp_path):
    prompt = '--cond=prompts:text=a small red circle left of a blue square'
    guided = '--guidance=classifier_free:w=2.0'
    arguments = f'--workdir={folder}', '--num=2', '--steps=2', '--sampler=ddim', prompt, guided
    assert tiny.call('sample', *arguments, f'--out={tmp_path / "a"}') == 0
    assert np.load(tmp_path / 'a.npz')['samples'].shape == (2, 32, 32, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a red circel', "--cond: 'circel' is not in the vocabulary; did you mean circle?"),
        ('a ' * 17, '--cond: 17 words, and this model is told at most 16'),
        (' ', '--cond: there is no word in this text; --cond=nothing tells nothing'),
        ('', '--cond=prompts: there is no text'),
    ],
)
def test_a_prompt_that_cannot_be_is_refused_in_one_line(folder, capsys, text, message):
    line = tiny.refusal(capsys, 'sample', f'--workdir={folder}', '--num=1', f'--cond=prompts:text={text}')
    assert line.startswith(message)


@pytest.mark.slow
def test_a_consistency_model_is_measured_and_nothing_twice(folder, tmp_path, capsys):
    config = builders.with_teacher({**config_of(scenes_text_cd), 'init_from': str(folder)}, tmp_path / 'cd')
    train(config, tmp_path / 'cd')
    arguments = f'--workdir={tmp_path / "cd"}', f'--out={tmp_path / "out"}', '--num=2', '--real=4'
    assert tiny.call('experiments.scenes', *arguments) == 0
    first = {path.name: path.read_text() for path in (tmp_path / 'out').glob('*.json')}
    assert {name.partition('_')[0] for name in first} == {'judge', 'consistency'}
    table = (tmp_path / 'out' / 'table.md').read_text()
    assert '| real | seen | 4 | 100.0 ± 0.0 |' in table
    assert '| consistency, 1 step | held out | 2 |' in table
    told = json.loads(next(text for name, text in first.items() if name.startswith('consistency_2steps')))
    assert told['sample']['times']['n'] == 2
    assert 0 <= told['values']['held_out: all'] <= 1
    with Image.open(tmp_path / 'out' / 'scenes.png') as page:
        assert page.size[0] > 1000
    lines = (tmp_path / 'out' / 'captions_n=2.txt').read_text().splitlines()
    assert [parse(line) for line in lines] == [scenes.draw(0, i, s).said for s in ('test', 'held_out') for i in (0, 1)]
    stamps = [path.stat().st_mtime_ns for path in sorted((tmp_path / 'out').glob('*.json'))]
    assert tiny.call('experiments.scenes', *arguments) == 0
    assert stamps == [path.stat().st_mtime_ns for path in sorted((tmp_path / 'out').glob('*.json'))]


def test_the_table_has_means_and_standard_errors_of_each_split(experiment):
    drawn = [scenes.draw(0, i, 'test') for i in range(6)]
    x = np.stack([scenes.render(s.placed) for s in drawn])
    said = [s.said for s in drawn]
    x[3] = 0  # one of the six shows nothing
    row = experiment.measured(x, {'test': said[:2], 'held_out': said[2:]})
    assert row.values['test: all'] == 1
    assert row.values['held_out: all'] == row.values['held_out: count'] == 0.75
    assert row.errors['held_out: all'] == pytest.approx(np.std([1, 0, 1, 1], ddof=1) / 2)
    assert '| x | held out | 4 | 75.0 ± 25.0 |' in experiment.table({'x': row})


@pytest.mark.slow
def test_the_judge_is_right_of_real_pictures_and_fails_on_spoilt_ones(experiment, tmp_path):
    found = experiment.validation(tmp_path, 0, 60)
    for split in experiment.SPLITS:
        assert all(found['real'].values[f'{split}: {field}'] == 1 for field in experiment.FIELDS)
        rising = [found[f'noise of {std}'].values[f'{split}: all'] for std in (0.8, 0.4, 0.2)]
        assert rising == sorted(rising)
        assert found['wrong captions'].values[f'{split}: all'] < 0.1


@pytest.mark.slow
def test_a_run_of_other_data_is_refused(tmp_path, capsys):
    train({**tiny.points(), 'teacher': None}, tmp_path / 'run')
    message = tiny.refusal(capsys, 'experiments.scenes', f'--workdir={tmp_path / "run"}', f'--out={tmp_path}/out')
    assert 'is no run of scenes under their captions: train configs/scenes_text.py' in message


def test_a_sheet_shows_each_picture_above_its_caption(tmp_path):
    x = np.stack([np.full((32, 32, 3), value, np.float32) for value in (-1, 0, 1)])
    scene_sheet.sheet(tmp_path / 'sheet.png', x, ['a red circle'] * 3, [True, False, True], columns=2)
    with Image.open(tmp_path / 'sheet.png') as opened:
        page = np.asarray(opened)
    inner = [page[y : y + 192, x0 : x0 + 192] for y, x0 in ((12, 12), (12, 12 + 204))]
    assert [int(i.min()) for i in inner] == [int(i.max()) for i in inner] == [0, 128]
    below = page[12 + 192 : 12 + 192 + 30]
    assert (below[:, :204].min(-1) < 100).any()
    assert not (below[:, :204, 0] > below[:, :204, 1].astype(int) + 60).any()  # black
    assert (below[:, 216:, 0] > below[:, 216:, 1].astype(int) + 60).any()  # red: this one is not kept
