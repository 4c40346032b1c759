"""Runs that start from another run: what they start with, keep, refuse, and how near they come to the exact map."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax import builders, samplers
from diffusion_jax.builders import teacher
from diffusion_jax.data import kinds, sources
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import generate
from diffusion_jax.optim import skip_bad_updates
from diffusion_jax.training.run import train
from diffusion_jax.workdir import files
from tests import few_step, tiny
from tests.builders.test_experiment import changed, rates
from tests.oracles import Gaussian
from tests.training.test_run import assert_same

ROOT, KEY = Path(__file__).parents[2], jax.random.key(7)
# What learns from a teacher, and what only starts from one.
DISTILLED, TUNED = ('cd', 'dmd', 'scd', 'mscm', 'pd'), ('ct', 'ect', 'sct')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The final state and the folder of a tiny EDM run."""
    folder = tmp_path_factory.mktemp('teacher')
    return jax.device_get(train(few_step.run('edm'), folder)), folder


@pytest.fixture(scope='module')
def cd(trained, tmp_path_factory):
    """The same of a consistency model distilled from it."""
    folder = tmp_path_factory.mktemp('cd')
    return train(few_step.run('cd', trained[1]), folder), folder


def config_of(folder):
    return builders.check(files.load_config(folder))


def without(params, name):
    return {k: v for k, v in params.items() if k != name}


@pytest.mark.slow
def test_a_flow_map_learns_from_another_network(trained, tmp_path):
    """The student begins from its seed; the teacher, which it keeps, is the diffusion model's own network."""
    teacher, folder = trained
    config = few_step.run('mean_flow_distillation', folder, steps=1)
    config['net']['width'] = 16  # which the teacher's is not
    state = train(config, tmp_path)
    assert_same(state.frozen.teacher, teacher.ema)
    own = train(changed(few_step.run('mean_flow', steps=0), 'net.width', 16), tmp_path / 'own')
    begun = train({**config, 'train': {**config['train'], 'steps': 0}}, tmp_path / 'begun')
    assert_same(begun.params, own.params)
    experiment = builders.build({**config, 'teacher': config_of(folder)})
    x, t = jax.random.normal(KEY, (5, 2)), jnp.array([0.1, 0.3, 0.5, 0.7, 0.9])
    found = experiment.context.given['teacher'](teacher.ema, None, None)(x, t)
    edm = builders.build(config_of(folder)).models.denoise(teacher.ema, None, None)
    np.testing.assert_allclose(found, edm(x / (1 - t[:, None]), t / (1 - t)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', [*DISTILLED, *TUNED])
def test_starts_as_the_teachers_average(name, trained, tmp_path):
    teacher, folder = trained
    state = train(few_step.run(name, folder, steps=0), tmp_path)
    assert not np.array_equal(teacher.params['dense_out']['kernel'], teacher.ema['dense_out']['kernel'])
    assert_same(without(state.params, 'log_weight'), teacher.ema)
    assert_same(state.ema, state.params)
    assert ('log_weight' in state.params) == (name in ('sct', 'scd'))
    if name in DISTILLED:
        assert_same(state.frozen.teacher, teacher.ema)
    else:
        assert state.frozen.teacher is None
    assert (state.second is None) == (name != 'dmd')
    if state.second:
        assert_same(state.second.params, teacher.ema)
    if name in ('cd', 'ct'):
        assert_same(state.frozen.target, teacher.ema)
    else:
        assert state.frozen.target is None


def test_without_a_teacher_a_run_starts_from_its_seed(trained, tmp_path):
    state = train(few_step.run('ect', steps=0), tmp_path)
    own = builders.build(few_step.run('ect')).init(jax.random.split(jax.random.key(0), 3)[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, own)
    assert not np.array_equal(state.params['dense_out']['kernel'], trained[0].ema['dense_out']['kernel'])


@pytest.mark.parametrize('name', ['cd', *(pytest.param(n, marks=pytest.mark.slow) for n in ('ct', 'dmd', 'pd', 'sct'))])
def test_resumes_without_its_teachers_folder_bit_for_bit(name, trained, tmp_path):
    """Two steps and two more are four; with them go moving target, staged teacher, adaptive weight, second learner."""
    teacher, run = tmp_path / 'teacher', tmp_path / 'run'
    shutil.copytree(trained[1], teacher)
    config = few_step.run(name, teacher)
    expected = train(config, run)
    shutil.rmtree(run / 'checkpoints' / '4')
    shutil.rmtree(teacher)
    final = train(config, run)
    assert int(final.step) == 4
    assert_same(final, expected)
    assert_same(runs.load(run).params, expected.ema)


@pytest.mark.slow
def test_a_truncated_model_starts_and_ends_its_path_in_its_first_stage(cd, tmp_path):
    """The consistency model's average is where it starts, and stays beside it; without one it says what it needs."""
    first, folder = cd
    state = train(few_step.run('tcm', folder, steps=1), tmp_path / 'tcm')
    assert_same(state.frozen.teacher, first.ema)
    begun = changed(few_step.run('tcm', folder, steps=0), 'objective.pairs.N', {'name': 'constant', 'n': 4})
    begun = train(begun, tmp_path / 'begun')
    assert_same(begun.params, first.ema)
    assert not np.array_equal(state.params['dense_out']['kernel'], first.ema['dense_out']['kernel'])
    with pytest.raises(UserError, match='distils a teacher'):
        train(few_step.run('tcm', steps=1), tmp_path / 'alone')


@pytest.mark.slow
def test_a_second_learner_begins_and_ends_to_skip_where_the_model_does(trained, tmp_path):
    """Its updates are counted anew; what it has learnt, and its optimiser, go on."""
    _, folder = trained
    for steps, max_skips in ((1, None), (2, 2), (3, None)):
        config = few_step.run('dmd', folder, steps=steps, max_skips=max_skips)
        state = train(config, tmp_path, allow_config_change=True)
        assert (skip_bad_updates.counts(state.second.opt_state) == {}) == (max_skips is None)
    assert int(optax.tree.get(state.second.opt_state, 'count', filtering=is_radams)) == 3 * 5


def is_radams(path, _):
    return any('ScaleByAdamState' in str(p) for p in path)


def test_the_teacher_stays_and_the_student_moves(trained, cd):
    teacher, (state, _) = trained[0], cd
    assert_same(state.frozen.teacher, teacher.ema)
    for moved in (state.params, state.ema):
        assert not np.array_equal(moved['dense_out']['kernel'], teacher.ema['dense_out']['kernel'])


@pytest.mark.slow
def test_sampled_and_evaluated_without_its_teachers_folder(trained, tmp_path, capsys):
    teacher = tmp_path / 'teacher'
    shutil.copytree(trained[1], teacher)
    train(few_step.run('cd', teacher, steps=1), tmp_path / 'run')
    shutil.rmtree(teacher)
    assert tiny.call('sample', f'--workdir={tmp_path}/run', '--num=8', f'--out={tmp_path}/x') == 0
    x = np.load(tmp_path / 'x.npz')['samples']
    run = runs.load(tmp_path / 'run')
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(8))
    start = 80 * samplers.noise(samplers.fold_in(keys, 0), jnp.zeros((8, 2)))
    f = run.experiment.models.consistency(run.params, None, None)
    np.testing.assert_allclose(x, f(start, jnp.full(8, 80.0)), rtol=1e-4, atol=1e-5)
    assert tiny.call('evaluate', f'--workdir={tmp_path}/run', '--num=40') == 0
    assert 'renoise(), first_of(n=1,times=[80.0, 0.821]), step 1, 40 samples' in capsys.readouterr().out


@pytest.mark.slow
def test_the_target_and_the_staged_teacher_follow_the_student(trained, tmp_path):
    _, folder = trained
    start = trained[0].ema
    ct = train(few_step.run('ct', folder, steps=1), tmp_path / 'ct')  # mu(0) = exp(2 ln 0.9 / 2)
    mixed = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * np.asarray(b), start, ct.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ct.frozen.target, mixed)
    one = train(in_stages_of_one(few_step.run('pd', folder, steps=1), 2), tmp_path / 'one')  # N(0) = 2
    two = train(in_stages_of_one(few_step.run('pd', folder, steps=2), 1), tmp_path / 'two')  # N(1) = 1
    assert_same(one.frozen.teacher, start)
    # Of two programs, which may round differently in the last bit (jaxlib 0.12 does).
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), two.frozen.teacher, one.params)
    assert not np.array_equal(two.params['dense_out']['kernel'], np.asarray(one.params['dense_out']['kernel']))


def in_stages_of_one(config, n_1):
    for section in (config['objective']['N'], config['frozen']['N'], config['optim']['anneal']):
        section.update(n_1=n_1, stretch=1)
    return config


def test_the_learning_rate_of_every_stage_falls_to_zero():
    spec = {**few_step.run('pd')['optim'], 'name': 'sgd', 'lr': 0.2, 'clip': None}
    spec['anneal'] = {'name': 'linear_stages', 'each': 1, 'n_0': 4}
    np.testing.assert_allclose(rates(spec, 6), [0.2, 0.2, 0.1, 0.2, 0.1, 0], atol=1e-7)
    np.testing.assert_allclose(rates({**spec, 'warmup': 4}, 6), [0, 0.05, 0.05, 0.15, 0.1, 0], atol=1e-7)
    without_it = {k: v for k, v in spec.items() if k != 'anneal'}
    np.testing.assert_allclose(rates(without_it, 3), 0.2, rtol=1e-6)


@pytest.mark.slow
def test_mean_flow_is_sampled_by_its_map_and_by_its_denoiser(tmp_path):
    train(few_step.run('mean_flow', steps=2), tmp_path)
    run = runs.load(tmp_path)
    # Another network than the trained one, which is close to 0.
    params = jax.tree.map(lambda a: jax.random.normal(jax.random.key(a.size), a.shape) / 3, run.params)
    u = run.experiment.models.average_velocity(params, None, None)
    keys = jax.random.split(jax.random.key(0), 8)
    x, one, zero = samplers.noise(samplers.fold_in(keys, 0), jnp.zeros((8, 2))), jnp.ones(8), jnp.zeros(8)

    def drawn(name, n):
        spec = runs.sample_spec(run.config['sample'], runs.Choices(name, n))
        return jax.jit(builders.build_draw(run.experiment, spec))(params, keys, jnp.arange(len(keys)))

    np.testing.assert_allclose(drawn('jump', 1), x - u(x, one, zero), atol=1e-5)
    np.testing.assert_allclose(drawn('ddim', 1), x - u(x, one, one), atol=1e-5)
    half = one / 2
    x_half = x - u(x, one, half) / 2
    np.testing.assert_allclose(drawn('jump', 2), x_half - u(x_half, half, zero) / 2, atol=1e-5)
    assert np.abs(drawn('jump', 1) - drawn('ddim', 1)).max() > 0.05
    np.testing.assert_allclose(drawn('heun', 50), drawn('ddim', 50), atol=0.03)
    assert np.abs(drawn('heun', 50) - drawn('ddim', 1)).max() > 0.3


def test_a_teachers_tuples_are_lists_in_its_file():
    net = {'name': 'UNet', 'strides': (1, 2, 2), 'attention_axes': ((1, 2), (0,))}
    teacher._check_net(json.loads(json.dumps(net)), net)
    with pytest.raises(UserError, match=r'attention_axes: \[\[1, 2\], \[0\]\] -> None'):
        teacher._check_net(net, {**net, 'attention_axes': None})


def write_config(folder, config):
    folder.mkdir()
    files.write_json(folder / 'config.json', {'format': files.FORMAT, **config})
    return str(folder)


EDM = few_step.run('edm')
V = changed(EDM, 'precond', {'name': 'v'})
NO_TEACHER = 'config.objective distils a teacher: set --config.init_from=WORKDIR to the folder of its run'
TEACHERS = {
    'no-checkpoint': ('cd', EDM, 'config.init_from: {} holds no checkpoint: train first, or check the path'),
    'no-config': ('cd', {}, 'config.init_from: config has no seed, data, schedule,'),
    'network': (
        'cd',
        changed(changed(EDM, 'net.width', 16), 'net.depth', 2),
        "config.init_from: the teacher has another network (its -> this run's): depth: 2 -> 1, width: 16 -> 8",
    ),
    'schedule': (
        'cd',
        tiny.points(),
        "config.init_from: the teacher has the schedule {{'betas': {{'T': 1000, 'name': 'linear_betas'}}, 'name': ",
    ),
    'v': ('cd', V, "config.init_from: the teacher's network means something else: its precond is {{'name': 'v'}}"),
    'v-on-angles': ('scd', V, "config.init_from: the teacher's network means something else: its precond is {{'name'"),
    'scale': ('cd', changed(EDM, 'precond.sigma_data', 0.7), "config.init_from: the teacher's network means something"),
    'consistency': (
        'cd',
        few_step.run('ect'),
        'config.init_from: a teacher is a diffusion model (denoising), and that run has the objective consistency',
    ),
    'diffusion': (
        'tcm',
        EDM,
        'config.init_from: the teacher of this objective is a consistency model, and that run has the objective d',
    ),
    'flow-map': (
        'pd',
        few_step.run('mean_flow'),
        'config.init_from: a teacher is a diffusion model (denoising), and that run has the objective mean_flow',
    ),
    'for-a-flow-map': ('mean_flow', EDM, 'config.init_from: a flow map cannot start from another run: leave it out'),
}


@pytest.mark.parametrize('name', TEACHERS)
def test_teachers_that_are_refused(name, tmp_path, capsys):
    method, config, message = TEACHERS[name]
    teacher = write_config(tmp_path / 'teacher', config)
    arguments = [f'--config={ROOT}/tests/few_step.py:{method}', f'--workdir={tmp_path}/run']
    said = tiny.refusal(capsys, 'train', *arguments, f'--config.init_from={teacher}')
    assert said.startswith(message.format(teacher)), said
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('method', DISTILLED)
def test_a_distillation_needs_a_teacher(method, tmp_path, capsys):
    arguments = [f'--config={ROOT}/tests/few_step.py:{method}', f'--workdir={tmp_path}/run']
    assert tiny.refusal(capsys, 'train', *arguments) == NO_TEACHER
    nowhere = tmp_path / 'nowhere'
    said = tiny.refusal(capsys, 'train', *arguments, f'--config.init_from={nowhere}')
    assert said == f'config.init_from: {nowhere} holds no run (no config.json): train first, or check the path'
    nowhere.mkdir()
    (nowhere / 'config.json').write_text('{"seed": 0')
    said = tiny.refusal(capsys, 'train', *arguments, f'--config.init_from={nowhere}')
    assert said.startswith(f'config.init_from: {nowhere}/config.json is damaged (')
    assert not (tmp_path / 'run').exists()


def test_a_teacher_of_data_with_other_levels(tmp_path, monkeypatch, capsys):
    def tfds(name, dir=None, split='train'):
        return sources.Source(np.zeros((4, 8, 8, 1), np.uint8), None, kinds.images((8, 8, 1)), None, f'{name}/{split}')

    monkeypatch.setattr(sources, 'tfds', tfds)
    config = [f'--config={ROOT}/configs/digits_cd.py:runlocal', f'--workdir={tmp_path}/run']
    from configs import digits_edm

    teacher = write_config(tmp_path / 'teacher', builders.resolve(digits_edm.get_config('runlocal')))
    said = tiny.refusal(capsys, 'train', *config, '--config.data.name=x', f'--config.init_from={teacher}')
    assert said == "config.init_from: the teacher's data have levels 17, and these 256"


def test_schedules_of_the_same_scales_are_the_same(tmp_path):
    """What a precond leaves unsaid is the schedule's: sigma_data of TrigFlow, for teacher and student alike."""
    schedule = {'name': 'TrigFlow', 'sigma_data': 0.5}
    config = {**few_step.run('edm'), 'schedule': schedule, 'precond': {'name': 'trig'}}
    teacher = {**config, 'precond': {'name': 'trig', 'sigma_data': 0.5}}
    for theirs, ours in ((config, teacher), (teacher, config), (config, config)):
        builders.build({**ours, 'teacher': theirs, 'init_from': 'somewhere'})


SAMPLING = [
    ('teacher', ['--sampler=renoise'], 'config.sample.sampler: renoise needs a consistency model, and this run trained '
     'a diffusion model: use adaptive, ancestral, ddim,'),
    ('teacher', ['--sampler=jump'], 'config.sample.sampler: jump needs a flow map, and this run trained a diffusion '
     'model: use adaptive, ancestral, ddim,'),
    ('cd', ['--sampler=ddim'], 'config.sample.sampler: ddim needs a diffusion model, and this run trained a '
     'consistency model: use renoise'),
    ('cd', ['--sampler=jump'], 'config.sample.sampler: jump needs a flow map, and this run trained a consistency'),
    ('cd', ['--grid=at:times=100'], "config.sample.times: t = 100 lies beyond 80, the end of this run's VE"),
    ('cd', ['--grid=at:times=80/0.0001'], 'config.sample.times: t = 0.0001 lies outside [sigma_min, sigma_max]'),
    ('cd', ['--grid=at:times=80', '--steps=2'], "--steps=2: the grid 'at' has no number of steps: set --grid"),
    ('cd', ['--grid=uniform:n=2'], 'config.sample.times: t = 1 of VE is not noisy enough to start from: choose'),
    ('teacher', ['--grid=uniform'], 'config.sample.times: t = 1 of VE is not noisy enough to start from: choose'),
]  # fmt: skip


@pytest.mark.parametrize(('which', 'arguments', 'message'), SAMPLING, ids=['-'.join([s[0], *s[1]]) for s in SAMPLING])
def test_sampling_that_is_refused(which, arguments, message, trained, cd, tmp_path, capsys):
    folder = {'teacher': trained, 'cd': cd}[which][1]
    said = tiny.refusal(capsys, 'sample', f'--workdir={folder}', f'--out={tmp_path}/x', *arguments)
    assert said.startswith(message), said
    assert not [*tmp_path.iterdir()]


TIMES = [
    ('sct', 'at:times=1.5', 2, "--steps=2: the grid 'at' has no number of steps: set --grid"),
    ('sct', None, 3, 'config.sample.times: first_of: a grid of 3 steps needs as many times; there are 2: choose'),
    ('ect', None, 3, 'config.sample.times: first_of: a grid of 3 steps needs as many times; there are 2: choose'),
    ('sct', 'multstep', None, "config.sample.times.name='multstep' is unknown; did you mean multistep"),
    ('sct', 'at:times=1.6', None, "config.sample.times: t = 1.6 lies beyond 1.571, the end of this run's TrigFlow"),
    ('mean_flow', 'at:times=1.1', None, "config.sample.times: t = 1.1 lies beyond 1, the end of this run's Rectified"),
    ('sct', 'uniform', 2, 'config.sample.times: t = 1 of TrigFlow is not noisy enough to start from: choose another'),
]


@pytest.mark.parametrize(('method', 'grid', 'steps', 'message'), TIMES, ids=[f'{t[0]}-{t[1]}' for t in TIMES])
def test_grids_that_are_refused(method, grid, steps, message):
    config = few_step.run(method)
    experiment = builders.build({**config, 'teacher': None})
    with pytest.raises(UserError) as error:
        builders.build_draw(experiment, runs.sample_spec(config['sample'], runs.Choices(steps=steps, times=grid)))
    assert str(error.value).startswith(message), str(error.value)


def test_a_grid_of_steps_in_place_of_one_without_needs_their_number():
    sample = {**few_step.run('sct')['sample'], 'times': {'name': 'at', 'times': (1.5,)}}
    with pytest.raises(UserError, match=r'^--grid=multistep needs --steps$'):
        runs.sample_spec(sample, runs.Choices(times='multistep'))


def test_a_consistency_model_has_no_bits_per_dimension():
    experiment = builders.build({**few_step.run('ect'), 'teacher': None})
    with pytest.raises(UserError, match=r'^bits/dim needs a diffusion model: set --bits_num=0$'):
        builders.build_bound(experiment, sources.digits('test'), 'large', None)


@pytest.mark.slow
def test_nothing_that_is_not_finite_is_saved(trained, tmp_path):
    config = few_step.run('sct', trained[1], save_every=1, keep=9)
    with pytest.raises(UserError, match=r'^step 2: .*loss=nan, tangent_norm=nan\. Stopped; checkpoints from before'):
        train(changed(config, 'optim.lr', 1e30), tmp_path / 'huge')
    assert [p.name for p in (tmp_path / 'huge' / 'checkpoints').iterdir()] == ['1']
    state = train(changed(config, 'train.steps', 1), tmp_path / 'huge', allow_config_change=True)  # restored
    assert all(np.isfinite(a).all() for a in jax.tree.leaves((state.params, state.ema)))
    with pytest.raises(UserError, match=r'^step 1: weights that are not finite\. Stopped; checkpoints from before'):
        train(changed(config, 'optim.lr', float('inf')), tmp_path / 'inf')
    assert not [*(tmp_path / 'inf' / 'checkpoints').iterdir()]


@pytest.mark.slow
def test_tuning_a_diffusion_model_comes_near_the_exact_map(tmp_path):
    """An EDM run on a Gaussian, and ECT from it to one step, by the entry points' own functions."""

    def config(name, steps, teacher=None):
        given = few_step.get_config(name)
        given.data = {'name': 'mixture', 'components': {'name': 'grid', 'k': 1, 'extent': 0.3, 'std': 0.4}, 'seed': 0}
        given.data.n = 4096
        given.net.width, given.optim.lr, given.ema.decay, given.mesh.data = 32, 1e-3, 0.98, 1
        given.train.update(batch_size=256, steps=steps, log_every=0, save_every=0)
        given.sample.update(num=256, batch_size=256)
        if teacher:
            given.init_from, given.objective.pairs.stages = str(teacher), 8
        return builders.resolve(given)

    def error(folder):
        run = runs.load(folder)
        drawing = runs.sampling(run, run.config['sample']).drawing._replace(batch_size=512)
        x = generate(drawing, KEY, 512)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(512))
        start = 80 * np.asarray(samplers.noise(samplers.fold_in(keys, 0), jnp.zeros((512, 2))), np.float64)
        exact = Gaussian(np.float64(-0.3), np.float64(0.16)).pf_ode(start, (1, 80), (1, 0))
        return np.linalg.norm(x - exact, axis=1).mean()

    train(config('edm', 700), tmp_path / 'edm')
    train(config('ect', 1, tmp_path / 'edm'), tmp_path / 'start')
    train(config('ect', 1500, tmp_path / 'edm'), tmp_path / 'ect')
    start, end = error(tmp_path / 'start'), error(tmp_path / 'ect')
    assert start > 0.4  # the diffusion model's one step leads to the mean: off by 0.4 E||N(0, I)|| = 0.5
    assert end < 0.08
