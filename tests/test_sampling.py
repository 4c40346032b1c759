"""From a config's `sample` section to samples: guidance, weak models, classes, Brownian keys, and where NaN came up."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import build, runs, samplers, schedules
from diffusion_jax.errors import UserError
from diffusion_jax.training import train
from tests import few_step, tiny
from tests.test_build import changed

KEY = jax.random.key(0)
KEYS = jax.random.split(jax.random.key(1), 6)
CLASSES = jnp.array([0, 7, 3, 3, 5, 1])
CONDITIONAL = changed(changed(tiny.points(), 'net.num_classes', 8), 'data.drop_label', 0.25)
ONE_STEP = {'sampler': {'name': 'ddim'}, 'times': {'name': 'uniform', 'n': 1}, 'clip': False}
START = samplers.noise(samplers.fold_in(KEYS, 0), jnp.zeros((6, 2)))  # on the table sigma(1) is 1 but for 2e-5
HYBRID = {'name': 'hybrid', 'weight': {'name': 'snr'}}
FREE = {'name': 'classifier_free', 'w': 3.0}


def random_params(experiment, seed=0):
    """Weights that make every input count: the last layer starts at zero, and would hide the network."""
    shapes = jax.eval_shape(experiment.init, KEY)
    return jax.tree.map(lambda a: jax.random.normal(jax.random.key(seed + a.size), a.shape) / 3, shapes)


@pytest.fixture(scope='module', params=['plain', 'with a variance'])
def model(request):
    """An experiment, its parameters, and x_0 of its model at the start, for the classes and for none."""
    config = changed(CONDITIONAL, 'precond', {'name': 'v'})
    experiment = build.build(changed(config, 'objective', HYBRID) if request.param != 'plain' else config)
    params = random_params(experiment)
    x_0 = jax.jit(lambda cond: experiment.models['model'](params, cond, None)(START, jnp.ones(6)))
    return experiment, params, x_0(CLASSES), x_0(jnp.full(6, 8))


def test_one_step_is_the_guided_prediction(model):
    """DDIM's step to t = 0 returns x_0 itself, as DDPM's does, where no noise is added."""
    experiment, params, x_0, x_null = model
    assert np.abs(x_0 - x_null).min() > 1e-3
    for guide, want in [
        (None, x_0),
        (FREE, 3 * x_0 - 2 * x_null),
        ({**FREE, 'high': 10.0}, x_0),  # sigma / alpha is 157 there
        ({**FREE, 'low': 150.0, 'high': 160.0}, 3 * x_0 - 2 * x_null),
    ]:
        draw = jax.jit(build.build_draw(experiment, {**ONE_STEP, 'guidance': guide}))
        np.testing.assert_allclose(draw(params, KEYS, CLASSES), want, rtol=1e-3, atol=1e-4)
    if 'model_with_variance' in experiment.models:
        spec = {**ONE_STEP, 'sampler': {'name': 'ancestral_learned'}, 'guidance': FREE}
        draw = jax.jit(build.build_draw(experiment, spec))
        np.testing.assert_allclose(draw(params, KEYS, CLASSES), 3 * x_0 - 2 * x_null, rtol=1e-3, atol=1e-4)


def test_clip_and_threshold_come_after_guidance(model):
    experiment, params, x_0, x_null = model
    raw = np.asarray(3 * x_0 - 2 * x_null)
    assert np.abs(raw).max() > 1.2
    for more, want in [
        ({'clip': True, 'guidance': FREE}, np.clip(raw, -1, 1)),
        ({'guidance': {**FREE, 'threshold': 1.0}}, raw / np.maximum(np.abs(raw).max(1, keepdims=True), 1)),
    ]:
        draw = jax.jit(build.build_draw(experiment, {**ONE_STEP, **more}))
        np.testing.assert_allclose(draw(params, KEYS, CLASSES), want, rtol=1e-3, atol=1e-4)


def test_without_classes_a_guided_model_draws_the_null_class(model):
    experiment, params, _, x_null = model
    draw = jax.jit(build.build_draw(experiment, {**ONE_STEP, 'guidance': FREE}))
    np.testing.assert_allclose(draw(params, KEYS), x_null, rtol=1e-3, atol=1e-4)


def test_autoguidance_by_another_network(model):
    experiment, params, x_0, _ = model
    small = build.build(changed(CONDITIONAL, 'net.width', 4))
    theirs = random_params(small, seed=1)
    other = jax.jit(small.models['model'](theirs, CLASSES, None))(START, jnp.ones(6))
    spec = {**ONE_STEP, 'guidance': {'name': 'auto', 'weak': 'somewhere', 'w': 2.0}}
    draw = jax.jit(build.build_draw(experiment, spec, build.check_weak(experiment, small)))
    got = draw(build.WithWeak(params, theirs), KEYS, CLASSES)
    np.testing.assert_allclose(got, 2 * x_0 - other, rtol=1e-3, atol=1e-3)


WEAK = [
    (
        changed(CONDITIONAL, 'net.num_classes', 0) | {'data': tiny.points()['data']},
        'that run has classes none, and this',
    ),
    (tiny.digits(), 'that run has samples of shape (8, 8, 1), and this one (2,)'),
    (
        changed(CONDITIONAL, 'schedule', {'name': 'CosineVP'}) | {'precond': {'name': 'v'}},
        'that run has another schedule',
    ),
    ({**few_step.run('ect'), 'teacher': None}, 'that run did not train a diffusion model'),
]


@pytest.mark.parametrize(('config', 'message'), WEAK, ids=['classes', 'shape', 'schedule', 'kind'])
def test_weak_models_that_do_not_fit(config, message):
    config = changed(config, 'objective.p_t.T', 10) if config['schedule']['name'] == 'CosineVP' else config
    if config['schedule']['name'] == 'CosineVP':
        config['objective']['weight'] = {'name': 'v'}
    with pytest.raises(UserError) as error:
        build.check_weak(build.build(CONDITIONAL), build.build(config))
    assert str(error.value).startswith(f'config.sample.guidance.weak: {message}'), str(error.value)


REFUSED = [
    (CONDITIONAL, {'name': 'classifer_free', 'w': 2.0}, "name='classifer_free' is unknown; did you mean classifier_free?"),
    (CONDITIONAL, {'name': 'classifier_free'}, "classifier_free: _classifier_free() missing 1 required positional"),
    (CONDITIONAL, {**FREE, 'w': 'much'}, "w='much' must be of type float"),
    (CONDITIONAL, {**FREE, 'w': float('nan')}, 'classifier_free: w must be a finite number; got nan'),
    (CONDITIONAL, {**FREE, 'weight': 1.0}, 'weight is not an argument of classifier_free; known: high, low, rescale,'),
    (CONDITIONAL, {**FREE, 'rescale': 2.0}, 'classifier_free: rescale must be in [0, 1]; got 2.0'),
    (CONDITIONAL, {**FREE, 'low': 2.0, 'high': 1.0}, 'classifier_free: the noise levels sigma / alpha must have 0 <='),
    (CONDITIONAL, {**FREE, 'threshold': 99.5}, 'classifier_free: threshold is a quantile in (0, 1]; got 99.5'),
    (CONDITIONAL, {'name': 'auto', 'w': 2.0}, 'auto is for sampling a finished run by --guidance=auto:weak=WORKDIR,w='),
    (tiny.points(), FREE, 'classifier_free needs classes, and this run trained an unconditional model'),
    (changed(CONDITIONAL, 'data.drop_label', None), FREE, 'classifier_free needs a null class, and this run dropped no'),
    ({**few_step.run('ect'), 'teacher': None}, FREE, 'classifier_free guides a diffusion model, and renoise samples a '
     'consistency model: leave it out'),
    (few_step.run('mean_flow'), FREE, 'classifier_free guides a diffusion model, and jump samples a flow map: leave it'),
]  # fmt: skip


@pytest.mark.parametrize(('config', 'guide', 'message'), REFUSED, ids=[r[2][:40] for r in REFUSED])
def test_guidance_that_is_refused(config, guide, message):
    with pytest.raises(UserError) as error:
        build.build_draw(build.build(config), {**config['sample'], 'guidance': guide})
    said = str(error.value)
    assert said.removeprefix('config.sample.guidance').lstrip('.: ').startswith(message), said
    assert '\n' not in said


def test_labels_are_dropped_in_training_alone_and_only_where_asked():
    for config, drops in [
        (CONDITIONAL, True),
        (changed(CONDITIONAL, 'data.drop_label', 0.0), False),
        (changed(few_step.run('mean_flow'), 'net.num_classes', 8), False),
        (changed(changed(few_step.run('mean_flow'), 'net.num_classes', 8), 'objective.num_classes', 8), True),
    ]:
        assert build.build(config).drops_labels is drops
    for config, p, message in [
        (CONDITIONAL, 1.5, 'config.data.drop_label=1.5 must be a probability'),
        (CONDITIONAL, 'some', "config.data.drop_label='some' must be of type None or float"),
        (tiny.points(), 0.1, 'config.data.drop_label=0.1, but the model has no classes: set config.net.num_classes'),
        (few_step.run('mean_flow'), 0.1, 'config.data.drop_label=0.1, but the model has no classes'),
        (changed(few_step.run('mean_flow'), 'net.num_classes', 8), 0.1, 'config.data.drop_label=0.1: this objective'),
    ]:
        with pytest.raises(UserError) as error:
            build.build(changed(config, 'data.drop_label', p))
        assert str(error.value).startswith(message), str(error.value)


def test_a_sampler_may_ask_for_brownian_keys(monkeypatch):
    """Of each sample alone, and neither those of its start nor of its steps."""
    seen = {}

    def path(denoise, schedule, brownian):
        def step(key, state, t, s):
            seen.update(step=jax.random.key_data(key), brownian=jax.random.key_data(brownian))
            return state

        return samplers.ddim(denoise, schedule)._replace(step=step)

    monkeypatch.setattr(samplers, 'path', path, raising=False)
    monkeypatch.setattr(samplers, '__all__', [*samplers.__all__, 'path'])
    experiment = build.build(tiny.points())
    draw = build.build_draw(experiment, {**ONE_STEP, 'sampler': {'name': 'path'}})
    with jax.disable_jit():
        draw(random_params(experiment), KEYS)
    used = [seen['brownian'], seen['step'], *(jax.random.key_data(samplers.fold_in(KEYS, i)) for i in (0, 1))]
    assert len({tuple(map(int, key)) for keys in used for key in np.asarray(keys)}) == 4 * 6
    np.testing.assert_array_equal(seen['brownian'], jax.random.key_data(samplers.fold_in(KEYS, 2)))


@pytest.fixture(scope='module')
def guided_run(tmp_path_factory):
    """The folder of a run of classes with dropped labels, only to be read."""
    folder = tmp_path_factory.mktemp('guided')
    train(changed(changed(CONDITIONAL, 'train.steps', 1), 'sample.guidance', FREE), folder)
    return folder


def drawn(folder, out, *arguments):
    assert tiny.call('sample', f'--workdir={folder}', f'--out={out}', '--num=6', *arguments) == 0
    with np.load(f'{out}.npz') as file:
        return file['samples']


def test_the_commands_choices_reach_the_model(guided_run, tmp_path, monkeypatch):
    """A network that returns its class in x_0: guided by w away from the null class, 8, it says w c + (1 - w) 8."""
    load = runs.load

    def with_a_model_of_classes(folder):
        run = load(folder)

        def model(params, cond, key):
            return lambda x, t: jnp.zeros_like(x) + cond[:, None]

        return run._replace(experiment=run.experiment._replace(models={'model': model}))

    monkeypatch.setattr(runs, 'load', with_a_model_of_classes)
    for arguments, want in [
        (['--guidance=none'], [0, 1, 2, 3, 4, 5]),
        ([], [-16, -13, -10, -7, -4, -1]),
        (['--guidance=classifier_free:w=2,low=0'], [-8, -6, -4, -2, 0, 2]),
        (['--guidance=none', '--label=7'], [7] * 6),
        ([f'--guidance=auto:weak={guided_run},w=4'], [0, 1, 2, 3, 4, 5]),
    ]:
        x = drawn(guided_run, tmp_path / 'x', '--sampler=ddim', '--steps=1', *arguments)
        np.testing.assert_allclose(x, np.array(want)[:, None] * np.ones(2), atol=1e-5)


def test_names_tell_the_guidance(guided_run, capsys):
    guide = '--guidance=classifier_free:w=2.0'
    arguments = [f'--workdir={guided_run}', '--num=4', '--sampler=ddim', '--steps=1']
    assert tiny.call('sample', *arguments, guide, '--label=3') == 0
    assert (guided_run / 'samples' / 'ddim_uniform-n=1_classifier_free-w=2.0_label3_seed0.npz').exists()
    arguments[1] = '--num=40'
    assert tiny.call('evaluate', *arguments, guide) == 0
    assert 'ddim(), uniform(n=1), classifier_free(w=2.0), step 1, 40 samples, seed 0' in capsys.readouterr().out
    for arguments, message in [
        (
            ['--guidance=auto:w=2.0'],
            'config.sample.guidance: auto needs a weaker run: --guidance=auto:weak=WORKDIR,w=2.0',
        ),
        (
            ['--guidance=auto:weak=/no,w=2.0'],
            'config.sample.guidance.weak: /no holds no run (no config.json): train first',
        ),
        (['--label=8'], 'label=8: the model has the classes 0 to 7'),
    ]:
        said = tiny.refusal(capsys, 'sample', f'--workdir={guided_run}', *arguments)
        assert said.startswith(message), said


def test_where_nan_came_up(guided_run, capsys, monkeypatch):
    """A model that fails for one class from t = 0.6 down: the sixth of eight samples, the third step of five."""
    load = runs.load

    def with_a_broken_model(folder):
        run = load(folder)
        model = run.experiment.models['model']

        def broken(params, cond, key):
            fails = lambda t: (t < 0.61) & (cond == 5)  # noqa: E731
            return lambda x, t: jnp.where(fails(t)[:, None], jnp.nan, model(params, cond, key)(x, t))

        return run._replace(experiment=run.experiment._replace(models={'model': broken}))

    monkeypatch.setattr(runs, 'load', with_a_broken_model)
    for name in ('sample', 'evaluate'):
        said = tiny.refusal(capsys, name, f'--workdir={guided_run}', '--num=8', '--steps=5')
        assert said == (
            'sample 5 holds NaN or infinity that came up in the step from t = 0.6 to t = 0.4: the model diverged'
        )


def test_runs_of_before_there_was_guidance_still_load_and_resume(guided_run, tmp_path):
    config = changed(tiny.points(steps=1), 'train.save_every', 1)
    train(config, tmp_path)
    path = tmp_path / 'config.json'
    saved = json.loads(path.read_text())
    del saved['data']['drop_label'], saved['sample']['guidance']
    path.write_text(json.dumps(saved))
    assert runs.load(tmp_path).step == 1
    train(config, tmp_path)


def test_the_schedule_of_the_tests():
    """START stands for the prior of the table, alpha(1) for a level of 157."""
    table = schedules.DiscreteVP(schedules.linear_betas(1000))
    np.testing.assert_allclose(table.sigma(jnp.ones(())) / table.alpha(jnp.ones(())), 157, rtol=0.01)
