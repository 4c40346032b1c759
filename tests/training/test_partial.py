"""Runs that take what fits of another run: which arrays, from which checkpoint, and what is said of the others."""

import json
import shutil

import jax
import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from diffusion_jax.workdir import reading
from tests import few_step, tiny
from tests.builders.test_experiment import changed
from tests.training.test_checkpoint import damage

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The folder of a tiny EDM run with checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp('trained')
    train(few_step.run('edm'), folder)
    return folder


def tuned(folder, names, **net):
    """The config of another kind of model with another network, which does not start to train."""
    config = few_step.run('ect', folder, steps=0)
    return {**config, 'init_partial': names, 'net': {**config['net'], **net}}


def by_name(params):
    flat = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(a) for path, a in flat}


def own(config):
    key = jax.random.split(jax.random.key(config['seed']), 3)[0]
    return by_name(jax.jit(builders.build({**config, 'teacher': None}).init)(key))


NEW = [f'block_1_dense_{i}/{array}' for i in (1, 2) for array in ('bias', 'kernel')]
OTHERS = [f'{layer}/{array}' for layer in ('dense_in', 'dense_out') for array in ('bias', 'kernel')]
BIASES = [f'{layer}/bias' for layer in ('block_0_dense_1', 'block_0_dense_2', 'dense_out')]
CASES = {
    'deeper': ('.*', {'depth': 2}, NEW),
    'by-name': ('(block|embedding).*', {'depth': 2}, [*NEW, *OTHERS]),
    'whole-names': ('dense_in|embedding/.*|.*/kernel', {}, [*BIASES, 'dense_in/bias']),
}


def matching(folder, config, *which):
    experiment = builders.build({**config, 'teacher': None})
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    shardings = sharding.of_state(sharding.make_mesh(1), shapes)
    abstract = sharding.with_shardings(shapes, shardings)
    return reading.restore_matching(folder, abstract, config['init_partial'], *which)


@pytest.mark.parametrize('case', CASES)
def test_what_fits_by_name_and_shape_is_taken(trained, case):
    names, net, left = CASES[case]
    taken = matching(trained, tuned(trained, names, **net))
    ours, theirs = by_name(taken.params), by_name(runs.load(trained).params)
    assert (taken.step, sorted(taken.left)) == (4, sorted(left))
    assert {*ours} == {*theirs} - {*left}
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_another_shape_stays(trained):
    taken = matching(trained, tuned(trained, '.*', width=16))
    assert {*by_name(taken.params)} == {'dense_out/bias'}
    assert len(taken.left) == 11


def test_a_damaged_one_is_passed_over_and_stays(trained, tmp_path):
    shutil.copytree(trained, tmp_path / 'damaged')
    damage(tmp_path / 'damaged', 4, 'ema')
    assert matching(tmp_path / 'damaged', tuned(trained, '.*', depth=2)).step == 2
    assert (tmp_path / 'damaged' / 'checkpoints' / '4').is_dir()


def test_a_run_starts_with_what_was_taken_and_says_what_was_not(trained, tmp_path, capsys):
    config = {**tuned(trained, '.*', depth=2), 'init_step': '2'}
    state = train(config, tmp_path / 'run')
    said = capsys.readouterr().err.splitlines()[0]
    assert said == f'12 of 16 arrays are from step 2 of {trained}; initialised from the seed: {", ".join(NEW)}'
    theirs, ours, fresh = by_name(runs.load(trained, '2').params), by_name(state.params), own(config)
    for name in ours:
        np.testing.assert_allclose(ours[name], fresh[name] if name in NEW else theirs[name], atol=1e-6)
    assert not np.array_equal(theirs['dense_out/kernel'], by_name(runs.load(trained).params)['dense_out/kernel'])


def test_what_cannot_be_taken(trained, tmp_path):
    cases = [
        (
            tuned(trained, 'dense'),
            "config.init_from: no array of {} whose name matches 'dense' has the shape of this one's",
        ),
        (
            tuned(trained, '.*') | {'init_step': '3'},
            'config.init_from: {} has no checkpoint 3; known: 2, 4, best, newest',
        ),
        (
            few_step.run('cd', trained) | {'init_partial': '.*'},
            'config.init_partial: this objective distils a teacher, which it needs whole: leave it out',
        ),
    ]
    for config, message in cases:
        with pytest.raises(UserError) as error:
            train(config, tmp_path / 'run')
        assert str(error.value) == message.format(trained)
    for names, message in [('(', "config.init_partial='(' is no regular expression: "), ('.*', 'config.init_partial=')]:
        config = few_step.run('edm') | {'init_partial': names}
        with pytest.raises(UserError) as error:
            builders.check(config if names == '.*' else config | {'init_from': 'runs/x'})
        assert str(error.value).startswith(message)
    assert not (tmp_path / 'run').exists()


def test_a_run_of_an_older_version_goes_on(trained, tmp_path):
    """Fields that its config.json has not yet are at their defaults, and no change."""
    shutil.copytree(trained, tmp_path / 'run')
    config = json.loads((tmp_path / 'run' / 'config.json').read_text())
    for name in ('init_step', 'init_partial'):
        del config[name]
    for name in ('keep_every', 'keep_best', 'best_by', 'accumulate'):
        del config['train'][name]
    (tmp_path / 'run' / 'config.json').write_text(json.dumps(config))
    assert int(train(few_step.run('edm'), tmp_path / 'run').step) == 4
    with pytest.raises(UserError, match=r'config \(saved -> given\):\n  train.keep_best: 0 -> 1\nUse'):
        train(changed(few_step.run('edm'), 'train.keep_best', 1), tmp_path / 'run')
    assert tiny.call('sample', f'--workdir={tmp_path}/run', '--num=2', f'--out={tmp_path}/x') == 0
