"""A classifier of noisy points as a run: what it learns, whom it guides, what it is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import chain_masked
from diffusion_jax import builders, schedules
from diffusion_jax.builders.guidance import check_guidance, guided, take
from diffusion_jax.data import mixture
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from diffusion_jax.types import Models
from tests import tiny
from tests.builders.test_experiment import changed

pytestmark = pytest.mark.slow

K, KEY = 4, jax.random.key(0)
RING = {'name': 'ring', 'k': K, 'radius': 0.8, 'std': 0.15}
DATA = mixture.ring(K, 0.8, 0.15)
OBJECTIVE = {'name': 'noisy_classification', 'p_t': {'name': 'discrete_uniform'}}
SPEC = {'name': 'classifier', 'of': 'somewhere', 'w': 1.0}


def points(**train_section):
    """Points of four clusters, told nothing."""
    return changed(changed(tiny.points(**train_section), 'data.components', RING), 'sample.clip', False)


def classifier(**train_section):
    """The config of a classifier of their clusters at any noise level."""
    config = changed(changed(points(**train_section), 'data.condition', 'label'), 'objective', OBJECTIVE)
    return {**config, 'net': {'name': 'MLP', 'width': 32, 'depth': 2}}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """A run of points, and one of their classifier that has learnt it; both only to be read."""
    folder = tmp_path_factory.mktemp('runs')
    train(points(steps=1), folder / 'points')
    learning = changed(classifier(steps=300, batch_size=256, save_every=300), 'data.n', 4096)
    learning = changed(changed(learning, 'optim.lr', 3e-3), 'ema', {'name': 'warm_up', 'decay': 0.98})
    # It has no samples to show at step 150.
    train({**learning, 'train': {**learning['train'], 'log_every': 100, 'sample_every': 150}}, folder / 'classifier')
    return folder


def divergence(log_p, exact):
    """KL(exact || log_p), a mean over the points."""
    return float(jnp.mean(jnp.sum(jnp.exp(exact) * (exact - log_p), 1)))


def test_a_network_learns_the_exact_posterior_at_every_noise_level(folders):
    run = runs.load(folders / 'classifier')
    schedule, start = run.experiment.schedule, jax.jit(run.experiment.init)(KEY)
    exact = mixture.classifier(DATA, schedule)
    bound = jax.jit(lambda params, x, t: run.experiment.models.classify(params, None, None)(x, t))
    x_0 = mixture.sample(DATA, jax.random.key(7), 2000)
    for level in (0.05, 0.2, 0.4, 0.7):
        t = jnp.full(2000, level)
        x = schedule.alpha(t)[:, None] * x_0 + schedule.sigma(t)[:, None] * jax.random.normal(KEY, x_0.shape)
        before, after = (divergence(bound(params, x, t), exact(x, t)) for params in (start, run.params))
        np.testing.assert_allclose(bound(start, x, t), -np.log(K), atol=1e-3)  # of equal weights: it knows nothing
        assert after < 0.03, (level, before, after)
        assert after < 0.2 * before or before < 0.01
    lines = [json.loads(line) for line in (folders / 'classifier' / 'metrics.jsonl').read_text().splitlines()]
    assert lines[-1]['loss'] < lines[0]['loss'] < np.log(K) + 0.1
    assert lines[-1]['accuracy'] > 0.35  # of all noise levels together; 1/4 by chance
    assert not (folders / 'classifier' / 'samples').exists()


def nearest(x):
    return np.argmin(np.sum((x[:, None] - np.asarray(DATA.means)[None]) ** 2, -1), 1)


def drawn(folder, out, *arguments):
    command = [f'--workdir={folder}', f'--out={out}', '--num=200', '--batch_size=200', '--sampler=ddim', '--steps=25']
    assert tiny.call('sample', *command, *arguments) == 0
    with np.load(f'{out}.npz') as file:
        return file['samples']


def test_an_unconditional_model_draws_what_its_classifier_is_asked_for(folders, tmp_path, monkeypatch):
    """The exact denoiser of the whole mixture, and the classifier that was trained: from the commands to the file."""
    load = runs.load

    def with_the_exact_denoiser(folder, which='newest', mesh=None, sigma_rel=None, changes=None):
        run = load(folder, which, mesh)
        if not run.experiment.draws:
            return run
        exact = mixture.denoiser(DATA, run.experiment.schedule)
        return run._replace(experiment=run.experiment._replace(models=Models(denoise=lambda params, cond, key: exact)))

    monkeypatch.setattr(runs, 'load', with_the_exact_denoiser)
    of = f'--guidance=classifier:of={folders / "classifier"}'
    run, out = folders / 'points', tmp_path / 'x'
    share = [
        float(np.mean(nearest(drawn(run, out, f'{of},w={w}', f'--cond={cond}')) == want))
        for w, cond, want in [
            (0, 'label:value=2', 2), (1, 'label:value=2', 2), (1, 'turn', np.arange(200) % K), (1, 'nothing', 0),
        ]
    ]  # fmt: skip
    assert abs(share[0] - 1 / K) < 0.13
    assert share[1] > 0.9
    assert share[2] > 0.9
    assert abs(share[3] - 1 / K) < 0.13
    unguided = drawn(run, out)
    np.testing.assert_allclose(drawn(run, out, f'{of},w=0,step=newest', '--cond=turn'), unguided, atol=1e-4)
    np.testing.assert_allclose(drawn(run, out, f'{of},w=3,low=500', '--cond=turn'), unguided, atol=1e-4)
    assert tiny.call('sample', f'--workdir={run}', '--num=4', '--steps=2', f'{of},w=1', '--cond=label:value=2') == 0
    (written,) = (run / 'samples').glob('*classifier-of*cond-label-value=2*.npz')
    written.unlink()


def random_params(experiment, seed):
    """Weights that make every input count: the last layer starts at zero, and would hide the network."""
    shapes = jax.eval_shape(experiment.init, KEY)
    return jax.tree.map(lambda a: jax.random.normal(jax.random.key(seed + a.size), a.shape) / 3, shapes)


@pytest.mark.parametrize('told', [True, False], ids=['classes', 'nothing'])
def test_a_model_is_guided_to_the_class_that_is_asked_for(told):
    """As ADM does it: x_0, under y if the model knows it, and w sigma^2 / alpha grad log p(y | x_t); none for no y.

    Other parameters of that run compile nothing anew.
    """
    experiment = builders.build(changed(points(), 'data.condition', 'label' if told else None))
    asked, other = take(experiment, SPEC, THEIRS)
    assert asked.source.condition is not None
    assert (asked is experiment) == told
    params, traces = random_params(experiment, 0), []
    x, t, cond = jnp.linspace(-1, 1, 8).reshape(4, 2), jnp.array([0.2, 0.4, 0.6, 0.3]), jnp.array([0, 1, 3, K])

    @jax.jit
    def denoise(params):
        traces.append(1)
        return guided(asked, {**SPEC, 'w': 2.0}, other, params, cond)(x, t)[0]

    @jax.jit
    def by_hand(of_classifier):
        def own(x):
            log_p = THEIRS.models.classify(of_classifier, None, None)(x, t)
            return log_p[0, 0] + log_p[1, 1] + log_p[2, 3]

        alpha, sigma = (f(t)[:, None] for f in (experiment.schedule.alpha, experiment.schedule.sigma))
        x_0 = experiment.models.denoise(params, cond if told else None, None)(x, t)
        return x_0 + 2 * sigma**2 / alpha * jax.grad(own)(x)

    before = None
    for seed in (1, 2):
        of_classifier = random_params(THEIRS, seed)
        got = denoise(builders.WithOther(params, of_classifier))
        np.testing.assert_allclose(got, by_hand(of_classifier), rtol=1e-4, atol=1e-5)
        assert before is None or jnp.abs(got - before)[:3].min() > 1e-3
        before = got
    assert len(traces) == 1


def test_it_is_not_told_the_class():
    assert 'classes' not in jax.eval_shape(THEIRS.init, KEY)['embedding']
    assert THEIRS.source.condition is not None


def test_it_goes_with_measuring_edits_and_steps_in_parallel(folders, tmp_path, capsys):
    run, of = f'--workdir={folders / "points"}', f'--guidance=classifier:of={folders / "classifier"},w=1'
    few = ['--sampler=ddim', '--steps=2', '--cond=turn', of]
    results = f'--results={tmp_path}/metrics.json'
    assert tiny.call('evaluate', run, '--num=40', results, *few) == 0
    assert 'turn(), step 1, 40 samples' in capsys.readouterr().out
    np.save(tmp_path / 'x.npy', np.zeros(2, np.float32))
    out, image = f'--out={tmp_path}/y', f'--image={tmp_path}/x.npy'
    assert tiny.call('sample', run, '--num=2', out, '--edit=sdedit:t0=0.5', image, *few) == 0
    assert tiny.call('sample', run, '--num=2', out, '--parallel=picard:window=2', *few) == 0
    assert tiny.call('sample', run, '--num=2', out, '--trajectory=1', *few) == 0
    edit = ['--edit=interpolate', image, f'--image2={tmp_path}/x.npy']
    said = tiny.refusal(capsys, 'sample', run, '--num=2', out, *edit, of, '--cond=label:value=1')
    assert said == '--edit: encoding an image takes no guidance: set --guidance=none'


def test_a_classifier_draws_nothing():
    assert not THEIRS.draws
    with pytest.raises(UserError, match=r'^config\.sample: this run trained a classifier, which draws nothing: it'):
        builders.build_draw(THEIRS, classifier()['sample'])


def test_commands_that_would_draw_from_a_classifier(folders, tmp_path, capsys):
    run = f'--workdir={folders / "classifier"}'
    said = ': this run trained a classifier, which draws nothing: it guides another run, --guidance=classifier:of='
    for command in ('sample', 'evaluate'):
        assert tiny.refusal(capsys, command, run, '--num=40').startswith(f'config.sample{said}')
    np.save(tmp_path / 'x.npy', np.zeros(2, np.float32))
    edit = [f'--image={tmp_path}/x.npy', f'--image2={tmp_path}/x.npy', '--edit=interpolate', '--cond=label:value=1']
    assert tiny.refusal(capsys, 'sample', run, *edit).startswith(f'--edit{said}')
    weak = f'--guidance=auto:weak={folders / "classifier"},w=2'
    refused = tiny.refusal(capsys, 'sample', f'--workdir={folders / "points"}', weak)
    assert refused == 'config.sample.guidance.weak: that run did not train a diffusion model'


def test_it_starts_from_no_run_and_teaches_none():
    sections = ('data', 'schedule', 'precond', 'net', 'objective')
    for config, teacher, message in [
        (points(), classifier(), 'a teacher is a diffusion model (denoising), and that run has the objective noisy_'),
        (classifier(), {**points(), 'net': classifier()['net']}, 'a classifier cannot start from a whole run: leave'),
    ]:
        config = {**config, 'init_from': 'runs/teacher', 'teacher': {name: teacher[name] for name in sections}}
        with pytest.raises(UserError) as error:
            builders.build(config)
        assert str(error.value).startswith(f'config.init_from: {message}'), str(error.value)


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('data.condition', None, 'config.objective: a classifier learns one label of the data: set --config.data.cond'),
        ('data.drop_cond', 0.1, 'config.data.drop_cond=0.1: a classifier learns the conditions: leave it out'),
        ('net', {'name': 'DiT'}, "config.net.name='DiT' is unknown; known: MLP, UNetEncoder"),
        ('net', {'name': 'UNetEncoder'}, 'config.net: a U-Net takes x with one to three spatial axes and channels'),
    ],
    ids=['untold', 'dropped', 'network', 'axes'],
)
def test_configs_of_classifiers_that_are_refused(field, value, message):
    with pytest.raises(UserError) as error:
        builders.build(changed(classifier(), field, value))
    assert str(error.value).startswith(message), str(error.value)


THEIRS = builders.build(classifier())
WIDE = THEIRS.source._replace(kind=THEIRS.source.kind._replace(shape=(3,)))
GRID = THEIRS.source._replace(kind=THEIRS.source.kind._replace(levels=17))


@pytest.mark.parametrize(
    ('ours', 'theirs', 'message'),
    [
        ({}, {'source': WIDE}, 'that run has samples of shape (3,), and this one (2,)'),
        ({}, {'source': GRID}, 'that run has levels 17, and this one none'),
        ({}, {'schedule': schedules.CosineVP()}, 'that run has another schedule'),
        ({}, {'models': Models(denoise=lambda *given: None)}, 'that run did not train a classifier'),
        (
            {'data.condition': 'label', 'data.components': {**RING, 'k': 8}}, {},
            'that run has the condition Part(shape=(), num=4, sequence=False), and this one Part(shape=(), num=8, ',
        ),
    ],
    ids=['shape', 'levels', 'schedule', 'kind', 'classes'],
)  # fmt: skip
def test_classifiers_that_do_not_fit(ours, theirs, message):
    config = points()
    for field, value in ours.items():
        config = changed(config, field, value)
    with pytest.raises(UserError) as error:
        take(builders.build(config), SPEC, THEIRS._replace(**theirs))
    assert str(error.value).startswith(f'config.sample.guidance.of: {message}'), str(error.value)


def test_commands_and_configs_that_are_refused(folders, capsys):
    run = f'--workdir={folders / "points"}'
    for guide, message in [
        ('classifier:w=1', ': classifier needs another run: --guidance=classifier:of=WORKDIR,w=1.0'),
        ('classifier:of=/no,w=1', '.of: /no holds no run (no config.json): train'),
        (f'classifier:of={folders / "points"},w=1', '.of: that run did not train a classifier'),
        (f'classifier:of={folders / "classifier"},step=7,w=1', f'.of: {folders / "classifier"} has no'),
        (f'classifier:of={folders / "classifier"}', ": classifier: missing a required argument: 'w'"),
        (f'classifier:of={folders / "classifier"},w=nan', ': classifier: w must be a finite number; got nan'),
        (f'classifier:of={folders / "classifier"},w=1,scale=2', '.scale is not an argument of classifier; '),
        (f'classifier:of={folders / "classifier"},w=1,other=2', '.other of classifier is what this run has'),
    ]:
        said = tiny.refusal(capsys, 'sample', run, f'--guidance={guide}')
        assert said.startswith(f'config.sample.guidance{message}'), said
    asked = tiny.refusal(
        capsys, 'sample', run, f'--guidance=classifier:of={folders / "classifier"},w=1', '--cond=label:value=4'
    )
    assert asked == "--cond: '4' is no class: there are 0 to 3"
    with pytest.raises(
        UserError, match=r': classifier is for sampling a finished run by --guidance=classifier:of=WORK'
    ):
        builders.build_draw(builders.build(points()), {**points()['sample'], 'guidance': SPEC})


def test_tokens_have_no_gradient_to_follow():
    experiment = builders.build(builders.resolve(chain_masked.get_config('runlocal')))
    with pytest.raises(UserError, match='classifier follows a gradient in x, and this run has tokens'):
        check_guidance(experiment, {'name': 'classifier', 'w': 1.0}, lambda params, cond: None)
