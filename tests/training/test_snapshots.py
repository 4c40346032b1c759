"""Averages of several lengths kept by a run, and others put together from their snapshots afterwards."""

import json
import shutil

import jax
import numpy as np
import pytest

from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.inference import averages, runs
from diffusion_jax.optim import ema as emas
from diffusion_jax.training import checkpoint
from diffusion_jax.training.run import train
from diffusion_jax.workdir import snapshots
from tests import tiny
from tests.training.test_checkpoint import damage
from tests.training.test_run import assert_same

pytestmark = pytest.mark.slow

EVERY, STEPS, TRACKS = 2, 40, (0.05, 0.1)


def config(steps, ema_every=5, **fields):
    """On one device, which compiles sooner."""
    given = tiny.points(steps=steps, ema_every=ema_every, save_every=10, **fields)
    return {**given, 'mesh': {**given['mesh'], 'data': 1}}


def kept(folder):
    return sorted(int(path.name) for path in (folder / snapshots.FOLDER).iterdir())


def shapes(state):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), state.params)


def load(folder, sigma_rel, which='newest', **options):
    return runs.load(folder, which, sigma_rel=sigma_rel, **options)


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    """A run, its final state, and its parameters after every step."""
    folder, path, save = tmp_path_factory.mktemp('recorded'), [], checkpoint.save_snapshot

    def record(manager, state, lengths):
        path.append(jax.device_get(state.params))
        if state.step % EVERY == 0:
            save(manager, state, lengths)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, 'save_snapshot', record)
        final = train(config(STEPS, ema_every=1), folder)
    return folder, final, path


def brute_force(path, step, sigma_rel):
    gamma = emas.gamma_of(sigma_rel)
    weights = np.diff((np.arange(step + 1) / step) ** (gamma + 1))
    return jax.tree.map(lambda *a: np.tensordot(weights, np.stack(a).astype(float), 1), *path[:step])


def distance(a, b):
    a, b = (jax.tree.leaves(jax.device_get(tree)) for tree in (a, b))
    return np.sqrt(sum(((x - y) ** 2).sum() for x, y in zip(a, b, strict=True)))


@pytest.mark.parametrize('index', [0, 1])
def test_tracks_are_the_averages_of_what_was_trained(recorded, index):
    folder, final, path = recorded
    expected = brute_force(path, STEPS, TRACKS[index])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), final.tracks[index], expected)
    assert_same(load(folder, TRACKS[index]).params, final.tracks[index])
    assert kept(folder) == [*range(EVERY, STEPS + 1, EVERY)]


@pytest.mark.parametrize(('sigma_rel', 'step'), [(0.04, 40), (0.07, 40), (0.15, 40), (0.07, 30), (0.2, 30)])
def test_a_length_that_was_not_kept_is_what_it_would_have_been(recorded, sigma_rel, step):
    """Far nearer to the average of every step's parameters than the tracks are, and than its neighbours are."""
    folder, _, path = recorded
    exact = brute_force(path, step, sigma_rel)
    run = load(folder, sigma_rel, str(step))
    assert (run.step, run.sigma_rel) == (step, sigma_rel)
    error = distance(run.params, exact)
    others = [brute_force(path, step, s) for s in (*TRACKS, 0.8 * sigma_rel, 1.2 * sigma_rel)]
    assert error < 0.1 * min(distance(other, exact) for other in others)


def test_averages_lie_on_the_devices_that_are_there(recorded):
    folder, _, _ = recorded
    few, many = load(folder, 0.07, mesh=sharding.make_mesh(1)), load(folder, 0.07)
    assert {len(a.sharding.device_set) for a in jax.tree.leaves(few.params)} == {1}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), few.params, many.params)


def test_nothing_else_of_a_run_depends_on_them(recorded):
    """To the last bit, whether averages are kept or not, and the checkpoints are what they were."""
    with_tracks = train(config(10), recorded[0].parent / 'with')
    without = train(config(10, ema_every=0), recorded[0].parent / 'without')
    assert without.tracks == ()
    assert_same(with_tracks._replace(tracks=()), without)
    assert not (recorded[0].parent / 'without' / snapshots.FOLDER).exists()
    saved = recorded[0].parent / 'without' / 'checkpoints' / '10'
    assert {path.name for path in saved.iterdir() if path.is_dir()} == {'train', 'ema'}
    digests = json.loads((saved / '_CHECKPOINT_METADATA').read_text())['custom_metadata']['digests']['train']
    assert {name.removeprefix('.').split('[')[0].split('.')[0] for name in digests} == {'step', 'params', 'opt_state'}


def test_a_run_that_goes_on_keeps_the_same_ones_bit_for_bit(tmp_path, recorded):
    whole = train(config(20), tmp_path / 'whole')
    train(config(10), tmp_path / 'parts')
    final = train(config(20), tmp_path / 'parts', allow_config_change=True)
    assert_same(final, whole)
    assert kept(tmp_path / 'parts') == kept(tmp_path / 'whole')
    for sigma_rel in (0.05, 0.07):
        assert_same(load(tmp_path / 'parts', sigma_rel).params, load(tmp_path / 'whole', sigma_rel).params)


def test_snapshots_of_a_run_that_is_no_more_are_made_again(tmp_path):
    """From step 10 on with another learning rate: nothing of the steps after it that were done before is left."""
    train(config(20), tmp_path)
    damage(tmp_path, 20)
    other = config(20)
    other = {**other, 'optim': {**other['optim'], 'lr': 0.05}}
    final = train(other, tmp_path, allow_config_change=True)
    assert kept(tmp_path) == [5, 10, 15, 20]
    abstract = shapes(final)
    with snapshots.opened(tmp_path) as reader:
        assert_same(snapshots.read(reader, snapshots.Track(20, 0.05), abstract), final.tracks[0])


def test_averages_begin_with_a_run(tmp_path):
    train(config(10, ema_every=0), tmp_path)
    saved = json.loads((tmp_path / 'config.json').read_text())
    of_before = {name: value for name, value in saved['train'].items() if not name.startswith('ema_')}
    (tmp_path / 'config.json').write_text(json.dumps({**saved, 'train': of_before}))
    train(config(10, ema_every=0), tmp_path)  # of a version that knew nothing of them: no change of its config
    message = 'averages begin with a run, and this one has kept none: set config.train.ema_every=0, or train anew'
    with pytest.raises(UserError, match=message):
        train(config(20), tmp_path, allow_config_change=True)


def test_averages_may_end_before_their_run_and_are_never_other_ones(tmp_path):
    train(config(10), tmp_path)
    with pytest.raises(UserError, match=r'this one has kept 0\.05, 0\.1: set'):
        train(config(20, ema_tracks=(0.05, 0.2)), tmp_path, allow_config_change=True)
    assert train(config(20, ema_every=0), tmp_path, allow_config_change=True).tracks == ()
    assert load(tmp_path, 0.1).step == 10
    with pytest.raises(UserError, match='this one has kept none'):
        train(config(30), tmp_path, allow_config_change=True)


def test_a_damaged_snapshot_is_named_and_the_others_do_without_it(tmp_path, recorded):
    final = train(config(20), tmp_path)
    exact = averages.restore(tmp_path, shapes(final), averages.plan(tmp_path, 0.07))
    folder = tmp_path / snapshots.FOLDER / '15'
    for file in [f for f in (folder / 'ema').rglob('*') if f.is_file() and f.stat().st_size]:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"^{folder} is damaged, or another model's: move it away"):
        load(tmp_path, 0.07)
    folder.rename(tmp_path / 'aside')
    near = load(tmp_path, 0.07).params
    assert 0 < distance(near, exact) < 0.3 * distance(final.tracks[0], final.tracks[1])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'ema_tracks': (0.1, 0.1)}, r'config\.train\.ema_tracks=\(0\.1, 0\.1\) must be lengths that differ'),
        ({'ema_tracks': ()}, r'config\.train\.ema_tracks=\(\) must be lengths that differ'),
        (
            {'ema_tracks': (0.1, 0.3)},
            r'config\.train\.ema_tracks: power: sigma_rel must be in \[1e-6, 0\.288675\); got 0\.3',
        ),
        ({'ema_tracks': ('a', 0.3)}, "sigma_rel='a' must be of type float"),
        ({'ema_every': -1}, r'config\.train\.ema_every=-1 must be at least 0'),
    ],
)
def test_what_cannot_be_kept(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        train(config(10, **options), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--ema=0'], '--ema: sigma_rel must be in [1e-6, 0.288675); got 0.0'),
        (['--ema=0.3'], '--ema: sigma_rel must be in [1e-6, 0.288675); got 0.3'),
        (['--ema=nan'], '--ema: sigma_rel must be in [1e-6, 0.288675); got nan'),
        (
            ['--ema=0.01'],
            '--ema=0.01: 20 snapshots of the lengths 0.05 and 0.1 miss 0.3 of its profile, and may miss 0.1: take a '
            'length nearer to these, or train with a smaller train.ema_every',
        ),
        (['--ema=0.1', '--step=7'], '{folder} has no averages of step 7; known: 10, 12, 14, 16, 18, 2, 20,'),
        (['--ema=0.1', '--step=best'], '{folder} has no averages of step best; '),
    ],
    ids=['zero', 'uniform', 'nan', 'too-short', 'no-such-step', 'best'],
)
@pytest.mark.parametrize('command', ['sample', 'evaluate'])
def test_what_cannot_be_put_together(recorded, capsys, command, arguments, message):
    said = tiny.refusal(capsys, command, f'--workdir={recorded[0]}', *arguments)
    assert said.startswith(message.format(folder=recorded[0]))


def test_a_run_that_kept_none(tmp_path, recorded, capsys):
    folder = tmp_path / 'run'
    shutil.copytree(recorded[0], folder, ignore=shutil.ignore_patterns(snapshots.FOLDER))
    for command in ('sample', 'evaluate'):
        said = tiny.refusal(capsys, command, f'--workdir={folder}', '--ema=0.1')
        assert said == f'{folder} keeps no averages for other lengths: train with --config.train.ema_every=STEPS'


@pytest.mark.slow
def test_samples_are_of_the_length_asked_for_in_a_file_of_its_own(recorded):
    folder, final, _ = recorded
    few = [f'--workdir={folder}', '--num=8', '--sampler=ddim', '--steps=2']
    before = {*folder.glob('samples/ddim*.npz')}
    for more in ([], ['--ema=0.05'], ['--ema=0.070001'], ['--ema=0.07'], ['--ema=0.07', '--step=30']):
        assert tiny.call('sample', *few, *more) == 0
    names = {path.name for path in {*folder.glob('samples/ddim*.npz')} - before}
    emas_and_steps = ('_step40', '_ema0.05_step40', '_ema0.070001_step40', '_ema0.07_step40', '_ema0.07_step30')
    assert names == {f'ddim_uniform-n=2{middle}_seed0_n8.npz' for middle in emas_and_steps}
    run = runs.load(folder, mesh=sharding.make_mesh(1))  # as the final state is
    spec = runs.sample_spec(run.config['sample'], runs.Choices('ddim', 2))
    expected = runs.draw(run._replace(params=final.tracks[0]), spec, 8)
    with np.load(folder / 'samples' / 'ddim_uniform-n=2_ema0.05_step40_seed0_n8.npz') as file:
        np.testing.assert_allclose(file['samples'], expected, atol=1e-5)
        assert not np.allclose(file['samples'], runs.draw(run, spec, 8), atol=1e-5)


def test_results_are_kept_under_their_length(recorded):
    folder, _, _ = recorded
    for more in ([], ['--ema=0.1']):
        assert tiny.call('evaluate', f'--workdir={folder}', '--num=16', '--steps=2', '--bits_num=0', *more) == 0
    results = json.loads((folder / 'metrics.json').read_text())
    assert {*results} == {
        f'ancestral(variance=large), uniform(n=2), step 40{ema}, 16 samples, seed 0' for ema in ('', ', ema 0.1')
    }
    values = [result['values']['Frechet distance (pixels-2)'] for result in results.values()]
    assert values[0] != values[1]


@pytest.mark.slow
def test_the_search_measures_what_evaluate_measures(recorded, capsys):
    """Every length under evaluate's own samples; the best is the least, and the table has the name of its settings."""
    folder, _, _ = recorded
    choices = [f'--workdir={folder}', '--num=16', '--steps=2', '--seed=3']
    assert tiny.call('experiments.search_ema', *choices, '--lengths=.05,.07,.2') == 0
    said = capsys.readouterr().out
    (path,) = (folder / 'ema_search').iterdir()
    middle = 'step40_seed3_n16_pixels-2_ema_0.05_0.07_0.2'
    assert path.name == f'ancestral-variance=large_uniform-n=2_{middle}.md'
    table = {line.split('|')[1].strip(): line.split('|')[2] for line in path.read_text().splitlines() if 'ema' in line}
    assert tiny.call('evaluate', *choices, '--ema=0.07', '--bits_num=0') == 0
    name = 'ancestral(variance=large), uniform(n=2), step 40, ema 0.07, 16 samples, seed 3'
    frechet = json.loads((folder / 'metrics.json').read_text())[name]['values']['Frechet distance (pixels-2)']
    values = {name: float(value) for name, value in table.items()}
    assert values['ema 0.07'] == float(f'{frechet:.4g}')
    assert [*values] == ['ema 0.05', 'ema 0.07', 'ema 0.2']
    assert len({*values.values()}) == 3
    rows = [line.split('|') for line in path.read_text().splitlines()[2:] if line.startswith('| ')]
    assert rows[0][1].strip() == "the run's own"
    best = min(rows, key=lambda row: float(row[2]))
    assert f'best: {best[1].strip()}, Frechet distance (pixels-2) {best[2].strip()}: {path}' in said


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--lengths=.05,x'], '--lengths=.05,x must be numbers, such as .03,.05,.1'),
        (['--lengths='], '--lengths= must be numbers, such as .03,.05,.1'),
        (['--lengths=.05,.005'], '--ema=0.005: 20 snapshots of the lengths 0.05 and 0.1 miss 0.'),
        (['--lengths=.5'], '--ema: sigma_rel must be in [1e-6, 0.288675); got 0.5'),
        (['--lengths=.05', '--step=3'], '{folder} has no averages of step 3; '),
    ],
)
def test_a_search_that_is_refused(recorded, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(runs, 'sampling', lambda *_: pytest.fail('it samples first'))
    said = tiny.refusal(capsys, 'experiments.search_ema', f'--workdir={recorded[0]}', *arguments)
    assert said.startswith(message.format(folder=recorded[0]))
