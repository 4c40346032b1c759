"""From a config's `sample` section to samples: guidance, weak models, classes, Brownian keys, and where NaN came up."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders, samplers, schedules
from diffusion_jax.data import conditions
from diffusion_jax.data.pipeline import RawBatch
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import generate
from diffusion_jax.training.run import train
from diffusion_jax.types import Frozen, Models
from diffusion_jax.workdir import files
from tests import few_step, tiny
from tests.builders.test_experiment import changed

KEY = jax.random.key(0)
KEYS = jax.random.split(jax.random.key(1), 6)
CLASSES = jnp.array([0, 7, 3, 3, 5, 1])
CONDITIONAL = changed(changed(tiny.points(), 'data.condition', 'label'), 'data.drop_cond', 0.25)
TURN = {'name': 'turn'}  # so that a sample's index is its class
ONE_STEP = {'sampler': {'name': 'ddim'}, 'times': {'name': 'uniform', 'n': 1}, 'clip': False}
START = samplers.noise(samplers.fold_in(KEYS, 0), jnp.zeros((6, 2)))  # on the table sigma(1) is 1 but for 2e-5
HYBRID = {'name': 'hybrid', 'weight': {'name': 'snr'}}
FREE = {'name': 'classifier_free', 'w': 3.0}


def random_params(experiment, seed=0):
    """Weights that make every input count: the last layer starts at zero, and would hide the network."""
    shapes = jax.eval_shape(experiment.init, KEY)
    return jax.tree.map(lambda a: jax.random.normal(jax.random.key(seed + a.size), a.shape) / 3, shapes)


@pytest.fixture(scope='module')
def model():
    """An experiment with a learned variance, its parameters, and x_0 of its model at the start: of classes, of none."""
    experiment = builders.build({**CONDITIONAL, 'precond': {'name': 'v'}, 'objective': HYBRID})
    params = random_params(experiment)
    x_0 = jax.jit(lambda cond: experiment.models.denoise(params, cond, None)(START, jnp.ones(6)))
    return experiment, params, np.asarray(x_0(CLASSES)), np.asarray(x_0(jnp.full(6, 8)))


def drawn_by(experiment, params, specs):
    """What each spec draws; one compilation for all."""
    draws = [builders.build_draw(experiment, {**ONE_STEP, 'cond': TURN, **spec}) for spec in specs]
    return jax.jit(lambda params: [draw(params, KEYS, CLASSES) for draw in draws])(params)


def test_one_step_is_the_guided_prediction(model):
    """DDIM's step to t = 0 returns x_0 itself, as DDPM's does, where no noise is added. Clipping comes last."""
    experiment, params, x_0, x_null = model
    assert np.abs(x_0 - x_null).min() > 1e-3
    guided = 3 * x_0 - 2 * x_null
    assert np.abs(guided).max() > 1.2
    cases = [
        ({}, x_0),
        ({'guidance': FREE}, guided),
        ({'guidance': FREE, 'sampler': {'name': 'ancestral_learned'}}, guided),
        ({'guidance': {**FREE, 'high': 150.0}}, x_0),  # sigma / alpha is 157 there
        ({'guidance': {**FREE, 'low': 150.0, 'high': 160.0}}, guided),
        ({'guidance': FREE, 'clip': True}, np.clip(guided, -1, 1)),
        ({'guidance': {**FREE, 'threshold': 1.0}}, guided / np.maximum(np.abs(guided).max(1, keepdims=True), 1)),
    ]
    for got, (spec, want) in zip(drawn_by(experiment, params, [spec for spec, _ in cases]), cases, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4, err_msg=str(spec))


def test_a_guided_model_that_is_asked_for_nothing_draws_the_null_class(model):
    experiment, params, _, x_null = model
    draw = jax.jit(builders.build_draw(experiment, {**ONE_STEP, 'guidance': FREE, 'cond': {'name': 'nothing'}}))
    np.testing.assert_allclose(draw(params, KEYS, CLASSES), x_null, rtol=1e-3, atol=1e-4)


def test_autoguidance_by_another_network(model):
    experiment, params, x_0, _ = model
    small = builders.build(changed(CONDITIONAL, 'net.width', 4))
    theirs = random_params(small, seed=1)
    other = jax.jit(small.models.denoise(theirs, CLASSES, None))(START, jnp.ones(6))
    spec = {**ONE_STEP, 'cond': TURN, 'guidance': {'name': 'auto', 'weak': 'somewhere', 'w': 2.0}}
    draw = jax.jit(builders.build_draw(experiment, spec, builders.take(experiment, spec['guidance'], small)[1]))
    got = draw(builders.WithOther(params, theirs), KEYS, CLASSES)
    np.testing.assert_allclose(got, 2 * x_0 - other, rtol=1e-3, atol=1e-3)


WIDE = builders.build_source(CONDITIONAL['data'])
WIDE = WIDE._replace(kind=WIDE.kind._replace(shape=(3,)))


@pytest.mark.parametrize(
    ('theirs', 'message'),
    [
        (
            {'source': builders.build_source(tiny.points()['data'])},
            f'that run has the condition none, and this one {conditions.label(8)}',
        ),
        ({'source': WIDE}, 'that run has samples of shape (3,), and this one (2,)'),
        ({'schedule': schedules.CosineVP()}, 'that run has another schedule'),
        ({'models': Models()}, 'that run did not train a diffusion model'),
    ],
    ids=['classes', 'shape', 'schedule', 'kind'],
)
def test_weak_models_that_do_not_fit(theirs, message, model):
    with pytest.raises(UserError) as error:
        builders.take(model[0], {'name': 'auto'}, model[0]._replace(**theirs))
    assert str(error.value) == f'config.sample.guidance.weak: {message}'


RUNS = {
    'classes': CONDITIONAL,
    'none': tiny.points(),
    'undropped': changed(CONDITIONAL, 'data.drop_cond', None),
    'ect': {**few_step.run('ect'), 'teacher': None},
    'mean_flow': few_step.run('mean_flow'),
}
built = functools.cache(lambda name: builders.build(RUNS[name]))
REFUSED = [
    (
        'classes',
        {'name': 'classifer_free'},
        ".name='classifer_free' is unknown; did you mean classifier_free or classifier?",
    ),
    ('classes', {'name': 'classifier_free'}, ": classifier_free: missing a required argument: 'w'"),
    ('classes', {**FREE, 'w': 'much'}, ".w='much' must be of type float"),
    ('classes', {**FREE, 'w': float('nan')}, ': classifier_free: w must be a finite number; got nan'),
    ('classes', {**FREE, 'rescal': 1.0}, '.rescal is not an argument of classifier_free; did you mean rescale'),
    ('classes', {**FREE, 'rescale': 2.0}, ': classifier_free: rescale must be in [0, 1]; got 2.0'),
    ('classes', {**FREE, 'low': 2.0, 'high': 1.0}, ': classifier_free: the noise levels sigma / alpha must have 0 <='),
    ('classes', {**FREE, 'threshold': 99.5}, ': classifier_free: threshold is a quantile in (0, 1]; got 99.5'),
    (
        'classes',
        {**FREE, 'null': 3},
        '.null of classifier_free is what this run has, and no spec can set it: leave it out',
    ),
    (
        'classes',
        {**FREE, 'bind': 3},
        '.bind of classifier_free is what this run has, and no spec can set it',
    ),
    ('classes', {'name': 'auto', 'w': 2.0}, ': auto is for sampling a finished run by --guidance=auto:weak=WORKDIR,w='),
    ('none', FREE, ': classifier_free needs a condition, and this run trained an unconditional model'),
    (
        'undropped',
        FREE,
        ': classifier_free needs to know what no condition means, and this run dropped none: train one with',
    ),
    ('ect', FREE, ': classifier_free guides a diffusion model, and renoise samples a consistency model: leave it out'),
    ('mean_flow', FREE, ': classifier_free guides a diffusion model, and jump samples a flow map: leave it out'),
]


@pytest.mark.parametrize(('name', 'guide', 'message'), REFUSED, ids=[f'{r[0]}-{i}' for i, r in enumerate(REFUSED)])
def test_guidance_that_is_refused(name, guide, message):
    with pytest.raises(UserError) as error:
        builders.build_draw(built(name), {**RUNS[name]['sample'], 'guidance': guide})
    assert str(error.value).startswith(f'config.sample.guidance{message}'), str(error.value)
    assert '\n' not in str(error.value)


def test_which_runs_drop_conditions():
    flow_of_classes = changed(RUNS['mean_flow'], 'data.condition', 'label')
    assert built('classes').drops_cond
    assert not built('undropped').drops_cond
    assert builders.build(flow_of_classes).drops_cond
    assert not builders.build(changed(flow_of_classes, 'objective.drop', 0.0)).drops_cond
    assert not built('mean_flow').drops_cond
    builders.build(changed(flow_of_classes, 'objective.omega', 2.0))  # guided by the network's classes
    with pytest.raises(UserError, match='guide by a condition, and the model has none'):
        builders.build(changed(RUNS['mean_flow'], 'objective.omega', 2.0))
    for config, p, message in [
        (CONDITIONAL, 1.5, '=1.5 must be a probability'),
        (CONDITIONAL, 'some', "='some' must be of type None or float"),
        (tiny.points(), 0.1, '=0.1, but the model is unconditional: set config.data.condition'),
        (flow_of_classes, 0.1, '=0.1: this objective drops conditions itself: set config.objective.drop'),
    ]:
        with pytest.raises(UserError) as error:
            builders.build(changed(config, 'data.drop_cond', p))
        assert str(error.value).startswith(f'config.data.drop_cond{message}'), str(error.value)


def test_training_sees_the_null_class():
    """With other weights for the null class alone the loss is another."""
    raw = RawBatch(built('classes').source.x[np.arange(64)], built('classes').source.cond[np.arange(64)])
    params = random_params(built('classes'))
    table = params['embedding']['classes']['embedding']
    other = {**params, 'embedding': {**params['embedding'], 'classes': {'embedding': table.at[8].add(1.0)}}}
    loss = jax.jit(lambda params: built('classes').loss(params, Frozen(), KEY, raw, jnp.int32(0))[0])
    assert abs(loss(params) - loss(other)) > 1e-3


def test_a_sampler_may_ask_for_brownian_keys(monkeypatch):
    """Of each sample alone, and neither those of its start nor of its steps."""

    def path(denoise, schedule, brownian):
        def step(key, state, t, s):
            draws = [jax.vmap(jax.random.normal)(keys) for keys in (brownian, key)]
            return state._replace(x=jnp.stack(draws, 1))

        return samplers.ddim(denoise, schedule)._replace(step=step)

    monkeypatch.setattr(samplers, 'path', path, raising=False)
    monkeypatch.setattr(samplers, '__all__', [*samplers.__all__, 'path'])
    draw = builders.build_draw(built('none'), {**ONE_STEP, 'sampler': {'name': 'path'}})
    of_path, of_step = np.asarray(jax.jit(draw)({}, KEYS, CLASSES)).T
    np.testing.assert_allclose(of_path, jax.vmap(jax.random.normal)(samplers.fold_in(KEYS, 2)), rtol=1e-6)
    assert len({*of_path, *of_step}) == 12


def test_a_grid_of_too_few_steps(monkeypatch):
    def third(denoise, schedule):
        return samplers.ddim(denoise, schedule)._replace(order=3, least_steps=3)

    monkeypatch.setattr(samplers, 'third', third, raising=False)
    monkeypatch.setattr(samplers, '__all__', [*samplers.__all__, 'third'])
    spec = {**ONE_STEP, 'sampler': {'name': 'third'}, 'times': {'name': 'uniform', 'n': 3}}
    builders.build_draw(built('none'), spec)
    with pytest.raises(
        UserError, match=r'^config.sample.sampler: third has order 3 from 3 steps on, and the grid has 2$'
    ):
        builders.build_draw(built('none'), {**spec, 'times': {'name': 'uniform', 'n': 2}})


def test_the_model_is_told_its_own_times(model):
    experiment, params, x_0, _ = model
    told, itself = drawn_by(experiment, params, [{'model_times': (0.5,)}, {'model_times': (1.0,)}])
    ratio = experiment.schedule.alpha(jnp.array(0.5)) / experiment.schedule.alpha(jnp.array(1.0))
    want = experiment.models.denoise(params, CLASSES, None)(ratio * START, jnp.full(6, 0.5))
    np.testing.assert_allclose(told, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(itself, x_0, rtol=1e-4, atol=1e-4)
    for bad in ((0.5, 0.2), (0.0,), (np.inf,), (np.nan,)):
        with pytest.raises(UserError, match='model_times: needs 1 positive times, one for each step'):
            builders.build_draw(experiment, {**ONE_STEP, 'model_times': bad})
    with pytest.raises(UserError, match=r"model_times=\('a',\) must be numbers"):
        builders.build_draw(experiment, {**ONE_STEP, 'model_times': ('a',)})
    without = experiment._replace(models=Models(consistency=experiment.models.denoise))
    with pytest.raises(UserError, match='only a diffusion model can be told other times'):
        builders.build_draw(without, {**ONE_STEP, 'sampler': {'name': 'renoise'}, 'model_times': (0.5,)})


@pytest.fixture(scope='module')
def guided_run(tmp_path_factory):
    """The folder of a run of classes with dropped labels, only to be read."""
    folder = tmp_path_factory.mktemp('guided')
    config = changed(changed(CONDITIONAL, 'train.steps', 1), 'sample.guidance', FREE)
    train(changed(config, 'sample.cond', TURN), folder)
    return folder


def drawn(folder, out, *arguments):
    assert tiny.call('sample', f'--workdir={folder}', f'--out={out}', '--num=6', *arguments) == 0
    with np.load(f'{out}.npz') as file:
        return file['samples']


@pytest.mark.slow
def test_the_commands_choices_reach_the_model(guided_run, tmp_path, monkeypatch):
    """A network that returns its class in x_0: guided by w away from the null class, 8, it says w c + (1 - w) 8."""
    load, opened = runs.load, []

    def with_a_model_of_classes(folder, which='newest', mesh=None, sigma_rel=None, changes=None):
        opened.append(which)
        run = load(folder, which, mesh)

        def model(params, cond, key):
            return lambda x, t: jnp.zeros_like(x) + cond[:, None]

        return run._replace(experiment=run.experiment._replace(models=Models(denoise=model)))

    monkeypatch.setattr(runs, 'load', with_a_model_of_classes)
    for arguments, want in [
        (['--guidance=none'], [0, 1, 2, 3, 4, 5]),
        ([], [-16, -13, -10, -7, -4, -1]),
        (['--guidance=classifier_free:w=2,low=0'], [-8, -6, -4, -2, 0, 2]),
        (['--guidance=none', '--cond=label:value=7'], [7] * 6),
        ([f'--guidance=auto:weak={guided_run},w=4'], [0, 1, 2, 3, 4, 5]),
        ([f'--guidance=auto:weak={guided_run},weak_step=best,w=4'], [0, 1, 2, 3, 4, 5]),
    ]:
        x = drawn(guided_run, tmp_path / 'x', '--sampler=ddim', '--steps=1', *arguments)
        np.testing.assert_allclose(x, np.array(want)[:, None] * np.ones(2), atol=1e-5)
    assert opened == ['newest'] * 6 + ['newest', 'best']


@pytest.mark.slow
def test_names_tell_the_guidance(guided_run, capsys):
    guide = '--guidance=classifier_free:w=2.0'
    arguments = [f'--workdir={guided_run}', '--num=4', '--sampler=ddim', '--steps=1']
    assert tiny.call('sample', *arguments, guide, '--cond=label:value=3') == 0
    assert (
        guided_run / 'samples' / 'ddim_uniform-n=1_classifier_free-w=2.0_cond-label-value=3_step1_seed0_n4.npz'
    ).exists()
    arguments[1] = '--num=40'
    assert tiny.call('evaluate', *arguments, guide) == 0
    assert 'ddim(), uniform(n=1), classifier_free(w=2.0), turn(), step 1, 40 samples, seed 0' in capsys.readouterr().out
    for arguments, message in [
        ('--guidance=auto:w=2.0', 'config.sample.guidance: auto needs another run: --guidance=auto:weak=WORKDIR,w='),
        ('--guidance=auto:weak=/no,w=2.0', 'config.sample.guidance.weak: /no holds no run (no config.json): train'),
        (f'--guidance=auto:weak={guided_run},weak_step=7,w=2.0', f'config.sample.guidance.weak: {guided_run} has no'),
        ('--guidance=classifier_free:weak=/no,w=2.0', 'config.sample.guidance.weak is not an argument of'),
        ('--cond=label:value=8', "--cond: '8' is no class: there are 0 to 7"),
        ('--cond=label:value=-1', "--cond: '-1' is no class: there are 0 to 7"),
        ('--cond=prompts:text=a', '--cond=prompts: this model is told one of 8 classes: use label:value=.., row:index'),
        ('--cond=row:index=64', '--cond=row: index=64, and mixture/n=64,seed=0 has the rows 0 to 63'),
        ('--cond=lable', "--cond.name='lable' is unknown; did you mean label?"),
    ]:
        said = tiny.refusal(capsys, 'sample', f'--workdir={guided_run}', arguments)
        assert said.startswith(message), said


@pytest.mark.slow
def test_a_run_that_was_split_is_sampled_split(tmp_path):
    """Over 8 devices by fsdp = 4, with a weak model that was trained on one: the samples of whole parameters."""
    for name, fsdp in (('split', 4), ('whole', 1)):
        config = tiny.points(steps=2)
        config['net'] |= {'width': 128}  # its square is large enough
        train({**config, 'mesh': {**config['mesh'], 'fsdp': fsdp}}, tmp_path / name)
    run = runs.load(tmp_path / 'split')
    split = [a for a in jax.tree.leaves(run.params) if not a.is_fully_replicated]
    assert split
    assert all(a.addressable_shards[0].data.size == a.size // 4 for a in split)
    spec = {**run.config['sample'], 'guidance': {'name': 'auto', 'weak': str(tmp_path / 'whole'), 'w': 2.0}}
    mesh = sharding.make_mesh()
    whole = run._replace(params=jax.device_put(run.params, sharding.replicated(mesh)), mesh=mesh)
    x, y = (
        generate(runs.sampling(r, spec).drawing._replace(batch_size=8), jax.random.key(0), 11) for r in (run, whole)
    )
    assert x.std() > 0.1
    np.testing.assert_allclose(x, y, atol=1e-4)


def test_where_nan_came_up(guided_run, capsys, monkeypatch):
    """A model that fails for one class from t = 0.6 down: the sixth of eight samples, the third step of five."""
    load = runs.load

    def with_a_broken_model(folder, which='newest', mesh=None, sigma_rel=None, changes=None):
        run = load(folder, which, mesh)

        def broken(params, cond, key):
            return lambda x, t: jnp.where(((t < 0.61) & (cond == 5))[:, None], jnp.nan, x)

        return run._replace(experiment=run.experiment._replace(models=Models(denoise=broken)))

    monkeypatch.setattr(runs, 'load', with_a_broken_model)
    said = tiny.refusal(capsys, 'sample', f'--workdir={guided_run}', '--num=8', '--steps=5')
    assert said == 'sample 5 holds NaN or infinity that came up in the step from t = 0.6 to t = 0.4: the model diverged'


def test_what_a_config_need_not_say(tmp_path):
    """What is left out is at its default, and no change; another value is one."""
    config = tiny.points()
    saved = {**config, 'sample': {k: v for k, v in config['sample'].items() if k not in ('guidance', 'cond')}}
    assert builders.check(saved) == config
    files.record(tmp_path, saved)
    files.check(tmp_path, config, allow_change=False, complete=builders.check)
    files.check(tmp_path, changed(config, 'net.later', None), allow_change=False, complete=builders.check)
    with pytest.raises(UserError, match=r'data.drop_cond: None -> 0.25'):
        files.check(tmp_path, changed(config, 'data.drop_cond', 0.25), allow_change=False, complete=builders.check)
    with pytest.raises(UserError, match=r"^config.sample.guidance='no' must be None or a spec"):
        builders.check(changed(config, 'sample.guidance', 'no'))
