"""Whatever a user may get wrong ends in one clear line and exit code 2, before anything is written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.training.run import train
from diffusion_jax.workdir import reading
from tests import tiny

ROOT = Path(__file__).parents[1]
DIGITS = f'--config={ROOT}/configs/quickstart.py:runlocal'
POINTS = f'--config={ROOT}/configs/toy2d.py:runlocal'
MNIST = f'--config={ROOT}/configs/mnist_ddpm.py:runlocal'

TRAIN = [
    ([DIGITS, '--config.optim.lrr=1'], 'config.optim.lrr is not an argument of adam; did you mean lr?'),
    ([DIGITS, '--config.optm.lr=1'], 'config.optm is not a field; did you mean optim or second_optim? See --help.'),
    (
        [DIGITS, '--config.eval.held_out=validation'],
        "config.eval.held_out='validation', which evaluation will want: digits has no split 'validation'; it has train",
    ),
    ([DIGITS, '--config.eval.reference=all'], "config.eval.reference='all', which evaluation will want: digits has"),
    ([DIGITS, '--config.eval.variance=None'], 'config.eval.variance=None must be of type str'),
    ([DIGITS, '--config.net.channels=4294967296'], 'config.net.channels=4294967296 is more than 32 bits hold'),
    ([DIGITS, '--config.xyz=1'], 'config.xyz is not a field; known: data, ema, eval,'),
    ([DIGITS, '--config.seed.x=1'], 'config.seed.x is not a field: config.seed has no fields. See --help.'),
    ([DIGITS, '--config.optim.lr=fast'], 'flag --config.optim.lr=fast: could not convert string to float'),
    (
        [DIGITS, '--config.train.steps=3.5'],
        "flag --config.train.steps=3.5: invalid literal for int() with base 10: '3.5'",
    ),
    (
        [DIGITS, '--config.schedule.name=DiscretVP'],
        "config.schedule.name='DiscretVP' is unknown; did you mean DiscreteVP?",
    ),
    ([DIGITS, '--config.sample.sampler.name=dim'], "config.sample.sampler.name='dim' is unknown; did you mean ddim"),
    (
        [DIGITS, '--config.net.name=MLP'],
        'config.net.attention is not an argument of MLP; known: depth, width',
    ),
    (
        [DIGITS, '--config.train.batch_size=12'],
        'train.batch_size=12 does not divide over 8 devices: use 8 or 16, or set',
    ),
    ([DIGITS, '--config.mesh.data=9'], 'mesh.data=9, mesh.fsdp=1, but there are 8 devices'),
    ([DIGITS, '--config.net.multipliers=(1,1,1,1,1)'], 'config.net: an image of 8x8 cannot be halved evenly 4 times'),
    ([DIGITS, '--config.data.drop_cond=0.1'], 'config.data.drop_cond=0.1, but the model is unconditional: set config'),
    (
        [DIGITS, '--config.data.drop_conds=0.1'],
        'config.data.drop_conds is not an argument of digits; did you mean drop_cond?',
    ),
    ([DIGITS, '--config.data.condition=kind'], "digits/train can tell its 'label' or nothing; got condition='kind'"),
    ([DIGITS, '--config.net.num_classes=9'], 'config.net.num_classes is not an argument of UNet; known: attention,'),
    ([DIGITS, '--config.net=DTi'], "config.net.name='DTi' is unknown; did you mean DiT?"),
    ([DIGITS, '--config.net=MLP:depht=2'], 'config.net.depht is not an argument of MLP; did you mean depth?'),
    ([DIGITS, '--config.data.augment=flop'], "config.data.augment.name='flop' is unknown; did you mean flip?"),
    ([DIGITS, '--config.sample.cond=turn'], '--cond=turn: this run trained an unconditional model: leave it out'),
    (
        [DIGITS, '--config.data.name=digit', '--config.data.dir=/nowhere'],
        "no data set 'digit' in /nowhere; it has none",
    ),
    (
        [DIGITS, '--config.data.name=folder', '--config.data.dir=/nowhere', '--config.data.sizes=8'],
        'config.data.sizes is not an argument of folder; did you mean size or resize?',
    ),
    (
        [DIGITS, '--config.data.name=folder', '--config.data.dir=/nowhere', '--config.data.size=8.5'],
        'config.data.size=8.5 must be of type None or int',
    ),
    (
        [DIGITS, '--config.data.size=8', '--config.data.name=folder', '--config.data.dir=/nowhere'],
        'cannot read /nowhere: there is no such file or folder',
    ),
    ([DIGITS, '--config.data=folder'], "'folder' needs config.data.dir, a folder, a .zip archive, or an .npy or .npz"),
    (
        [DIGITS, '--config.data.size=8'],
        'config.data.size is not an argument of digits; known: augment, condition, drop_cond, few, few_seed, name',
    ),
    ([DIGITS, '--config.sample.times.n=0'], 'config.sample.times: uniform: a grid needs at least 1 step; got 0'),
    ([DIGITS, '--config.train.keep=0'], 'config.train.keep=0 must be at least 1'),
    ([DIGITS, '--config.train.profile_at=0'], 'config.train.profile_at=0 must be at least 1'),
    ([DIGITS, '--config.train.max_skips=0'], 'config.train.max_skips=0 must be at least 1'),
    ([DIGITS, '--config.train.spike=9.0'], 'config.train.spike=9.0 needs config.train.max_skips, the most steps to'),
    (
        [DIGITS, '--config.train.max_skips=3', '--config.train.spike=0.5'],
        'config.train.spike=0.5 must be more than 1, the usual gradient norm',
    ),
    (
        [DIGITS, '--config.train.remat=ful'],
        "config.train.remat='ful' is unknown; did you mean full?",
    ),
    ([POINTS, '--config.train.remat=full'], "config.train.remat='full': MLP keeps too little to compute it again"),
    ([MNIST, '--config.data.dir=/nowhere'], "'mnist' is not prepared in /nowhere; run: pip install"),
    (['--config=configs/nope.py'], 'there is no config file configs/nope.py. See --help.'),
    (['--config=configs/nope.py:x', '--config.seed=1'], 'there is no config file configs/nope.py. See --help.'),
    ([], 'flag --config=None: Flag --config must have a value other than None. See --help.'),
    ([DIGITS, '--confg.seed=1'], "Unknown command line flag 'confg.seed'."),
    ([DIGITS, 'extra'], "unexpected argument 'extra': flags are --name=value, see --help"),
]


def test_an_argument_that_the_config_does_not_name_reaches_its_factory(tmp_path, capsys):
    config = f'--config={ROOT}/configs/digits_ct.py:runlocal'
    said = tiny.refusal(capsys, 'train', f'--workdir={tmp_path}/run', config, '--config.objective.ode_step=bach')
    assert said.startswith("config.objective.ode_step.name='bach' is unknown; did you mean batch?"), said


@pytest.mark.parametrize(('arguments', 'message'), TRAIN, ids=[' '.join(t[0])[-40:] for t in TRAIN])
def test_train(arguments, message, tmp_path, capsys):
    said = tiny.refusal(capsys, 'train', f'--workdir={tmp_path}/run', *arguments)
    assert said.startswith(message), said
    assert not (tmp_path / 'run').exists()


def test_no_workdir(capsys):
    assert tiny.refusal(capsys, 'evaluate').startswith('set --workdir, the folder of a trained run, or --samples, im')
    for name in ('train', 'sample'):
        said = tiny.refusal(capsys, name, *([DIGITS] if name == 'train' else []))
        assert said == 'flag --workdir=None: Flag --workdir must have a value other than None. See --help.'


SAMPLE = [
    (['--sampler=dim'], "config.sample.sampler.name='dim' is unknown; did you mean ddim"),
    (['--sampler=ddim:et=1'], 'config.sample.sampler.et is not an argument of ddim; did you mean eta?'),
    (['--sampler=ddim:eta'], "cannot read 'ddim:eta': the form is name:key=value,key=value"),
    (['--sampler=ddim:eta=much'], "config.sample.sampler.eta='much' must be of type float"),
    (['--sampler=ancestral_learned'], 'config.sample.sampler: ancestral_learned needs a diffusion model with a'),
    (['--grid=unifrm'], "config.sample.times.name='unifrm' is unknown; did you mean uniform"),
    (
        ['--grid=quadratic', '--steps=1001'],
        'config.sample.times: quadratic: a grid needs at least 1 step and at most T =',
    ),
    (
        ['--guidance=classifier_free:w=2.0'],
        'config.sample.guidance: classifier_free needs a condition, and this run trained',
    ),
    (
        ['--guidance=classifer:w=2.0'],
        "config.sample.guidance.name='classifer' is unknown; did you mean classifier or classifier_free?",
    ),
    (['--guidance=classifier_free:2.0'], "cannot read 'classifier_free:2.0': the form is name:key=value,key=value"),
    (['--guidance=auto:weak=/nowhere,w=2.0'], 'config.sample.guidance.weak: /nowhere holds no run (no config.json)'),
    (['--cond=label:value=3'], '--cond=label: this run trained an unconditional model: leave it out'),
    (['--label=3'], "Unknown command line flag 'label'"),
    (['--steps=0'], 'flag --steps=0: 0 is not an integer in the range [1, 2147483647]. See --help.'),
    (['--num=2147483648'], 'flag --num=2147483648: 2147483648 is not an integer in the range [1, 2147483647]'),
    (['--seed=4294967296'], 'flag --seed=4294967296: 4294967296 is not an integer in the range [0, 4294967295]'),
    (['--sampler=.x'], "config.sample.sampler.name='.x' is no dotted name"),
    (['--num=many'], "flag --num=many: invalid literal for int() with base 10: 'many'. See --help."),
]


@pytest.mark.parametrize(('arguments', 'message'), SAMPLE, ids=[' '.join(s[0]) for s in SAMPLE])
def test_sample(arguments, message, digits_run, tmp_path, capsys):
    said = tiny.refusal(capsys, 'sample', f'--workdir={digits_run}', f'--out={tmp_path}/x', *arguments)
    assert said.startswith(message), said
    assert not [*tmp_path.iterdir()]


EDIT = [
    (['--edit=inpant'], "--edit.name='inpant' is unknown; did you mean inpaint?"),
    (['--edit=sdedit:t=1'], '--edit.t is not an argument of sdedit; did you mean t0?'),
    (['--edit=sdedit:t0=much'], "--edit.t0='much' must be of type float"),
    (['--edit=sdedit:t0=2', '--image=IMAGE'], '--edit: sdedit: needs 0 < t0 <= 1, the first time of the grid; got 2'),
    (['--edit=inpaint', '--image=IMAGE'], '--edit: inpaint: needs --mask=FILE'),
    (['--edit=inpaint', '--mask=MASK'], '--edit: inpaint: needs --image=FILE'),
    (['--edit=inpaint', '--image=IMAGE', '--mask=WIDE'], 'the mask is 9x8x1, this run has data of 8x8x1'),
    (['--edit=inpaint', '--image=LARGE', '--mask=MASK'], '--image is 9x8x1, this run and edit need 8x8x1'),
    (['--edit=inpaint', '--image=COLOUR', '--mask=MASK'], '--image is 8x8x3, this run and edit need 8x8x1'),
    (['--edit=super_resolve:factor=2', '--image=LARGE'], '--image is 9x8x1, this run and edit need 8x8x1 or 4x4x1'),
    (['--edit=super_resolve:factor=3', '--image=IMAGE'], '--edit: super_resolve: blocks of 3 do not divide samples of'),
    (['--edit=super_resolve', '--image=IMAGE'], '--edit: super_resolve: '),
    (['--edit=colourise', '--image=IMAGE'], '--edit: colourise: there are weights for 3 channels, samples have 1'),
    (['--edit=interpolate', '--image=IMAGE'], '--edit: interpolate: needs --image2=FILE'),
    (['--edit=inpaint:repeats=0', '--image=IMAGE', '--mask=MASK'], '--edit: inpaint: length and repeats must be at'),
    (['--edit=inpaint', '--image=IMAGE', '--mask=NONE'], 'cannot read NONE: there is no such file'),
    (['--edit=inpaint', '--image=TEXT', '--mask=MASK'], 'cannot read TEXT: it is no picture and no .npy array'),
    (['--edit=inpaint', '--image=IMAGE', '--mask=GREY'], 'GREY must hold two values, 0 and 1, 0 and 255 or False and'),
    (['--edit=inpaint', '--image=IMAGE', '--mask=BLACK'], 'BLACK hides nothing: white (1, 255, True) is what is'),
    (['--edit=inpaint', '--image=IMAGE', '--mask=WHITE'], 'WHITE hides everything'),
    (
        ['--edit=transfer:source=1,target=2', '--image=IMAGE'],
        '--edit: transfer leads from one condition to another, and',
    ),
    (['--image=IMAGE'], '--image is for an edit: set --edit'),
]


NAMES = ('IMAGE', 'LARGE', 'COLOUR', 'TEXT', 'NONE', 'MASK', 'WIDE', 'GREY', 'BLACK', 'WHITE')


@pytest.mark.parametrize(('arguments', 'message'), EDIT, ids=[' '.join(e[0]) for e in EDIT])
def test_edit(arguments, message, digits_run, tmp_path, capsys):
    files = {name: tmp_path / f'{name.lower()}.png' for name in NAMES}
    for name, shape in (('IMAGE', (8, 8)), ('LARGE', (9, 8)), ('COLOUR', (8, 8, 3))):
        Image.fromarray(np.full(shape, 200, np.uint8)).save(files[name])
    hidden = np.zeros((9, 8), np.uint8)
    hidden[4:] = 255
    for name, values in (('MASK', hidden[:8]), ('WIDE', hidden), ('GREY', hidden // 2), ('BLACK', 0 * hidden)):
        Image.fromarray(values).save(files[name])
    Image.fromarray(0 * hidden + 255).save(files['WHITE'])
    files['TEXT'].write_text('no picture')

    def filled(text):
        for name, path in files.items():
            text = text.replace(name, str(path))
        return text

    said = tiny.refusal(
        capsys, 'sample', f'--workdir={digits_run}', f'--out={tmp_path}/out/x', *(filled(a) for a in arguments)
    )
    assert said.startswith(filled(message)), said
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['sample', 'evaluate'])
def test_a_workdir_without_a_run(name, tmp_path, digits_run, capsys):
    said = tiny.refusal(capsys, name, f'--workdir={tmp_path}')
    assert said == f'{tmp_path} holds no run (no config.json): train first, or check the path'
    shutil.copy(digits_run / 'config.json', tmp_path)
    said = tiny.refusal(capsys, name, f'--workdir={tmp_path}')
    assert said == f'{tmp_path} holds no checkpoint: train first, or check the path'
    (tmp_path / 'config.json').write_text('{"seed": 0')
    said = tiny.refusal(capsys, name, f'--workdir={tmp_path}')
    assert said.startswith(f'{tmp_path}/config.json is damaged (')
    (tmp_path / 'config.json').write_text('{"format": 2, "seed": 0}')
    assert tiny.refusal(capsys, name, f'--workdir={tmp_path}').startswith('config has no data, schedule,')
    (tmp_path / 'config.json').write_text('{"seed": 0}')
    said = tiny.refusal(capsys, name, f'--workdir={tmp_path}')
    assert said.startswith(f'{tmp_path} was written by another version of diffusion_jax (format 1, this one reads 2)')


def test_evaluate(digits_run, capsys):
    said = tiny.refusal(capsys, 'evaluate', f'--workdir={digits_run}', '--num=1')
    assert said == 'flag --num=1: 1 is not an integer in the range [2, 2147483647]. See --help.' or 'num=1' in said


def test_the_data_set_is_gone(tmp_path, monkeypatch, capsys, digits_run):
    text = (digits_run / 'config.json').read_text()
    (tmp_path / 'config.json').write_text(text.replace('"digits"', '"mnist"'))
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    said = tiny.refusal(capsys, 'sample', f'--workdir={tmp_path}')
    assert said.startswith(
        f"'mnist' is not prepared in {tmp_path}; run: pip install 'diffusion_jax[prepare]' && python"
    )


def test_a_set_prepared_as_tfrecord(tmp_path, monkeypatch, capsys):
    from diffusion_jax.data import sources

    command = f'python -m diffusion_jax.data.convert {tmp_path}/mnist/3.0.1'

    def tfds(name, dir=None, split='train'):
        raise sources.DataError(
            f'{tmp_path}/mnist/3.0.1 is prepared as tfrecord, array_record is needed; run: {command}'
        )

    monkeypatch.setattr(sources, 'tfds', tfds)
    assert tiny.refusal(capsys, 'train', MNIST, f'--workdir={tmp_path}/run').endswith(f'run: {command}')
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_another_config_is_refused_unless_allowed(tmp_path, capsys):
    arguments = [POINTS, '--config.data.n=64', '--config.train.steps=5', '--config.train.sample_every=0']
    arguments += [f'--workdir={tmp_path}', '--config.sample.times.n=2']
    assert tiny.call('train', *arguments) == 0
    before = sorted(path for path in tmp_path.rglob('*'))
    capsys.readouterr()
    assert tiny.call('train', *arguments, '--config.optim.lr=0.5') == 2
    assert capsys.readouterr().err.splitlines() == [
        f'error: {tmp_path} holds a run with another config (saved -> given):',
        '  optim.lr: 0.001 -> 0.5',
        'Use another --workdir, or --allow_config_change to go on with the config given.',
    ]
    assert sorted(path for path in tmp_path.rglob('*')) == before
    more = ['--config.optim.lr=0.5', '--config.train.steps=10', '--allow_config_change']
    assert tiny.call('train', *arguments, *more) == 0
    assert '"lr": 0.5' in (tmp_path / 'config.json').read_text()
    assert (tmp_path / 'checkpoints' / '10').is_dir()


def test_a_workdir_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    said = tiny.refusal(capsys, 'train', POINTS, f'--workdir={tmp_path}/file/run')
    assert said == f'cannot write to {tmp_path}/file/run: Not a directory'


@pytest.mark.skipif(os.geteuid() == 0, reason='permissions do not bind root')
def test_a_workdir_without_permission(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert 'Permission denied' in tiny.refusal(capsys, 'train', POINTS, f'--workdir={tmp_path}')


def test_a_full_disk_outside_a_checkpoint(monkeypatch, tmp_path, digits_run, capsys):
    def full(*_, **__):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('diffusion_jax.sample.media.save', full)
    monkeypatch.setattr('numpy.savez_compressed', full)
    said = tiny.refusal(capsys, 'sample', f'--workdir={digits_run}', '--num=2', f'--out={tmp_path}/x')
    assert said == '[Errno 28] No space left on device'


@pytest.mark.parametrize('error', [MemoryError('no room'), RuntimeError('RESOURCE_EXHAUSTED: no room')], ids=repr)
def test_too_little_memory(error, monkeypatch, digits_run, capsys):
    def large(*_, **__):
        raise error

    monkeypatch.setattr(reading, 'restore_ema', large)
    said = tiny.refusal(capsys, 'sample', f'--workdir={digits_run}')
    assert said.startswith('there is not enough memory: take a smaller batch')
    assert said.endswith('no room)')


def test_ctrl_c_while_sampling(monkeypatch, digits_run, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, 'restore_ema', interrupted)
    assert tiny.call('sample', f'--workdir={digits_run}') == 130
    assert capsys.readouterr().err == 'interrupted\n'


def test_bugs_keep_their_traceback(monkeypatch, digits_run):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(reading, 'restore_ema', broken)
    with pytest.raises(ZeroDivisionError):
        tiny.call('sample', f'--workdir={digits_run}')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['train', 'sample', 'evaluate'])
def test_the_real_commands(name):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, '-m', f'diffusion_jax.{name}', *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    shown = run('--help')
    assert shown.returncode == 0, shown.stderr
    assert f'python -m diffusion_jax.{name} ' in shown.stdout
    assert '--workdir' in shown.stdout
    refused = run('--workdir=x', '--nope=1')
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == ["error: Unknown command line flag 'nope'. See --help."]


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_help_that_nobody_reads_to_its_end(unbuffered):
    command = [sys.executable, '-m', 'diffusion_jax.evaluate', '--help']
    env = {**os.environ, 'PYTHONUNBUFFERED': unbuffered}
    helped = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    helped.stdout.close()
    assert (helped.wait(120), helped.stderr.read()) == (0, b'')
    helped.stderr.close()


def test_training_by_name_of_the_library_function(tmp_path):
    """The same refusals without a command line."""
    from diffusion_jax.errors import UserError

    config = tiny.points()
    with pytest.raises(UserError, match='does not divide over 8 devices'):
        train({**config, 'train': {**config['train'], 'batch_size': 9}}, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
