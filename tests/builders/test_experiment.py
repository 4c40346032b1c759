"""From a config to objects: what the specs mean, and what the optimiser and the loss then do."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffusion_jax import builders, precond, samplers, schedules, times
from diffusion_jax.axes import per_sample
from diffusion_jax.builders import specs
from diffusion_jax.data import pipeline
from diffusion_jax.data.pipeline import RawBatch
from diffusion_jax.errors import UserError
from diffusion_jax.types import Frozen
from tests import tiny


def changed(config, path, value):
    """The config with one field set."""
    head, _, rest = path.partition('.')
    return {**config, head: changed(config[head], rest, value) if rest else value}


def rates(spec, steps):
    """The learning rate of each step, read off the updates of SGD on gradients of one."""
    tx = builders.build_optimiser({'name': 'sgd', **spec}, steps=8)
    state, found = tx.init({'w': jnp.zeros(())}), []
    for _ in range(steps):
        updates, state = tx.update({'w': jnp.ones(())}, state)
        found.append(-float(updates['w']))
    return found


def test_the_learning_rate_warms_up_and_stays():
    expected = [0.2 * min(k / 4, 1) for k in range(8)]
    np.testing.assert_allclose(rates({'lr': 0.2, 'warmup': 4, 'clip': None}, 8), expected, rtol=1e-6)
    np.testing.assert_allclose(rates({'lr': 0.2, 'warmup': 0, 'clip': None}, 3), 0.2, rtol=1e-6)


def test_clipping_is_of_the_global_norm():
    grads = {'a': jnp.array([3.0, 0.0]), 'b': jnp.array([4.0])}
    tx = builders.build_optimiser({'name': 'sgd', 'lr': 1.0, 'warmup': 0, 'clip': 0.5}, steps=8)
    updates, _ = tx.update(grads, tx.init(grads))
    np.testing.assert_allclose(updates['a'], [-0.3, 0], rtol=1e-6)
    np.testing.assert_allclose(updates['b'], [-0.4], rtol=1e-6)


def test_adam_is_adam():
    grads, params = {'w': jnp.array([1.0, -2.0])}, {'w': jnp.zeros(2)}
    ours = builders.build_optimiser({'name': 'adam', 'lr': 0.1, 'b2': 0.99, 'warmup': 0, 'clip': None}, steps=8)
    theirs = optax.adam(0.1, b2=0.99)
    a, b = ours.init(params), theirs.init(params)
    for _ in range(3):
        (x, a), (y, b) = ours.update(grads, a), theirs.update(grads, b)
        np.testing.assert_allclose(x['w'], y['w'], rtol=1e-6)


def test_warm_up_and_clipping_may_change_between_resumes():
    params = {'w': jnp.zeros(2)}
    states = [
        builders.build_optimiser({'name': 'adam', 'lr': 0.1, 'warmup': warmup, 'clip': clip}, steps=8).init(params)
        for warmup in (0, 5)
        for clip in (None, 1.0)
    ]
    assert len({jax.tree.structure(state) for state in states}) == 1


@pytest.mark.slow
def test_the_loss_is_that_of_its_parts():
    experiment = builders.build(tiny.digits())
    raw = RawBatch(experiment.source.x[np.arange(8)], None)
    params, key = jax.jit(experiment.init)(jax.random.key(0)), jax.random.key(1)
    loss, _ = jax.jit(experiment.loss)(params, Frozen(), key, raw, jnp.int32(0))

    schedule = schedules.DiscreteVP(schedules.linear_betas(1000))
    x = jnp.asarray(raw.x, jnp.float32) / 8 - 1
    _, key = jax.random.split(key)
    key_t, key_eps, _ = jax.random.split(key, 3)
    t = times.discrete_uniform(1000)(key_t, (8,))
    eps = jax.random.normal(key_eps, x.shape)
    x_t = schedules.q_sample(schedule, x, t, eps)
    x_0 = jax.jit(lambda p: experiment.models.denoise(p, None, None)(x_t, t))(params)
    v = [
        per_sample(schedule.alpha(t), x) * schedules.eps_from_x_0(schedule, x_t, clean, t)
        - per_sample(schedule.sigma(t), x) * clean
        for clean in (x_0, x)
    ]
    np.testing.assert_allclose(loss, jnp.mean((v[0] - v[1]) ** 2), rtol=1e-3)


def test_what_is_told_reaches_the_loss_or_there_is_nothing_to_tell():
    """A conditional run sees the condition of every row; an unconditional one has none in its batches."""
    told = builders.build(changed(tiny.points(), 'data.condition', 'label'))
    index = np.arange(8)
    raw = pipeline.batch_at(told.source, 0, 8)(0)
    assert raw.cond.shape == index.shape
    params, key = jax.jit(told.init)(jax.random.key(0)), jax.random.key(1)
    params = jax.tree.map(lambda a: a + 0.1, params)  # the last layer starts at zero, and would hide the condition
    loss = jax.jit(lambda raw: told.loss(params, Frozen(), key, raw, jnp.int32(0))[0])
    assert loss(raw) != loss(raw._replace(cond=np.roll(raw.cond, 1)))
    assert pipeline.batch_at(builders.build(tiny.points()).source, 0, 8)(0).cond is None


def test_the_schedule_and_its_steps_reach_every_factory():
    config = changed(tiny.points(), 'schedule', {'name': 'DiscreteVP', 'betas': {'name': 'cosine_betas', 'T': 40}})
    experiment = builders.build(config)
    assert experiment.context.given['T'] == 40
    np.testing.assert_allclose(
        experiment.schedule.alpha_bar, schedules.DiscreteVP(schedules.cosine_betas(40)).alpha_bar
    )
    t = jnp.array([1 / 40, 1.0])
    captured = []

    def net(params, x, c_noise, cond, key):
        captured.append(c_noise)
        return x

    coefficients = experiment.context.make(precond, {'name': 'eps'}, 'config.precond')
    precond.denoiser(coefficients, net)({}, None, None)(jnp.zeros((2, 2)), t)
    np.testing.assert_allclose(captured[0], [0, 975])


@pytest.mark.parametrize(
    ('text', 'spec'),
    [
        ('ddim', {'name': 'ddim'}),
        ('ddim:eta=0.5', {'name': 'ddim', 'eta': 0.5}),
        ('quadratic:n=7,t_max=0.9', {'name': 'quadratic', 'n': 7, 't_max': 0.9}),
        ('x:a=True,b=None,c=text,d=-1e-3', {'name': 'x', 'a': True, 'b': None, 'c': 'text', 'd': -0.001}),
    ],
)
def test_specs_on_the_command_line(text, spec):
    parsed = specs.parse_spec(text)
    assert parsed == spec
    assert [type(v) for v in parsed.values()] == [type(v) for v in spec.values()]


def test_a_name_is_said_once():
    with pytest.raises(UserError, match=r"cannot read 'ddim:name=5': the form is name:key=value,key=value"):
        specs.parse_spec('ddim:name=5')


@pytest.mark.parametrize('error', [ValueError, OverflowError, ZeroDivisionError, MemoryError])
def test_numbers_that_a_factory_cannot_hold(error):
    def factory(n: int):
        raise error(f'no room for {n}')

    module = SimpleNamespace(__all__=['factory'], factory=factory)
    with pytest.raises(UserError, match=r'^here: factory: no room for 7$'):
        specs.make(module, {'name': 'factory', 'n': 7}, {}, 'here')


POINTS, DIGITS = tiny.points(), tiny.digits()
REFUSED = [
    (POINTS, 'schedule.name', 'DiscretVP', "config.schedule.name='DiscretVP' is unknown; did you mean DiscreteVP?"),
    (POINTS, 'schedule.name', 'linear_betas', 'config.schedule.betas is not an argument of linear_betas'),
    (POINTS, 'schedule', {'name': 'linear_betas'}, "config.schedule.name='linear_betas' is a table of betas, not a"),
    (POINTS, 'schedule', 'DiscreteVP', "config.schedule='DiscreteVP' must be a spec"),
    (POINTS, 'schedule.betas.t', 10, 'config.schedule.betas.t is not an argument of linear_betas'),
    (POINTS, 'schedule.betas.T', '10', "config.schedule.betas.T='10' must be of type int"),
    (POINTS, 'schedule.betas.T', 3.5, 'config.schedule.betas.T=3.5 must be of type int'),
    (POINTS, 'schedule.betas.beta_T', 2.0, 'config.schedule.betas: linear_betas: beta_T must be in (0, 1]; got'),
    (POINTS, 'precond.name', 'epsilon', "config.precond.name='epsilon' is unknown"),
    (POINTS, 'net.wdth', 8, 'config.net.wdth is not an argument of MLP; did you mean width'),
    (POINTS, 'net.width', {'name': 'x'}, 'config.net.width of MLP is not a spec'),
    (POINTS, 'net.name', 'functional', "config.net.name='functional' is unknown"),
    (POINTS, 'net.width', 7, 'config.net: '),
    (POINTS, 'objective.name', 'denoise', "config.objective.name='denoise' is unknown; did you mean denoising?"),
    (POINTS, 'objective.weight.name', 'nope', "config.objective.weight.name='nope' is unknown"),
    (POINTS, 'optim.name', 'adamm', "config.optim.name='adamm' is unknown; did you mean adam"),
    (POINTS, 'optim.beta1', 0.9, 'config.optim.beta1 is not an argument of adam'),
    (POINTS, 'optim.lr', 'fast', "config.optim.lr='fast' must be of type float"),
    (POINTS, 'ema.decay', '1', "config.ema.decay='1' must be of type float"),
    (POINTS, 'data.components.name', 'jax', "config.data.components.name='jax' is unknown; known: cloud, grid, ring"),
    (POINTS, 'data.m', 3, 'config.data.m is not an argument of mixture'),
    (POINTS, 'net.condition', 3, 'config.net.condition of MLP is what this run has, and no spec can set it'),
    (POINTS, 'objective.model', 3, 'config.objective.model of denoising is what this run has, and no spec can set it'),
    (POINTS, 'objective.p_t.T', 10, 'config.objective.p_t.T of discrete_uniform is what this run has'),
    (POINTS, 'objective.p_t', 3, 'config.objective.p_t=3 must be a spec'),
    (POINTS, 'data.condition', 'labels', "mixture/n=64,seed=0 can tell its 'label' or nothing; got condition='labels'"),
    (POINTS, 'net.name', 'no.such.Net', "config.net.name='no.such.Net' cannot be imported: No module named 'no'"),
    (POINTS, 'data.augment', {'name': 'flop'}, "config.data.augment.name='flop' is unknown; did you mean flip?"),
    (POINTS, 'ema.name', '.x', "config.ema.name='.x' is no dotted name, such as my_module.my_factory"),
    (POINTS, 'ema.name', '..math.sqrt', "config.ema.name='..math.sqrt' is no dotted name"),
    (POINTS, 'ema.name', 'math.pi', "config.ema.name='math.pi' is no function with named arguments: "),
    (POINTS, 'ema.name', 'builtins.dict', "config.ema.name='builtins.dict' is no function with named arguments: "),
    (
        POINTS,
        'data.components.k',
        0,
        'config.data.components: ring: k must be a whole number in [1, 2147483648); got 0',
    ),
    (POINTS, 'data.n', 2**31, 'config.data: mixture: n must be a whole number in [1, 2147483648); got'),
    (POINTS, 'data.seed', 2**32, 'config.data: mixture: seed must be a whole number in [0, 4294967296); got'),
    (DIGITS, 'data', {'name': 'x', 'split': 3}, 'config.data.split=3 must be of type str'),
    (DIGITS, 'data.split', 'valid', "digits has no split 'valid'; it has train, test"),
    (DIGITS, 'net.multipliers', [1, 1, 1, 1, 1], 'config.net: an image of 8x8 cannot be halved evenly 4 times'),
    (DIGITS, 'net.dtype', 'floaty', 'config.net: '),
]


@pytest.mark.parametrize(('config', 'path', 'value', 'message'), REFUSED, ids=[f'{r[1]}={r[2]}' for r in REFUSED])
def test_what_cannot_be_built(config, path, value, message):
    with pytest.raises(UserError) as error:
        builders.build(changed(config, path, value))
    assert str(error.value).startswith(message), str(error.value)
    assert '\n' not in str(error.value)


CHECKED = [
    ('nets', {}, 'config.nets is not a field; did you mean net or mesh?'),
    ('train.step', 3, 'config.train.step is not a field; did you mean steps'),
    ('train.batch_size', 0, 'config.train.batch_size=0 must be at least 1'),
    ('train.keep', 0, 'config.train.keep=0 must be at least 1'),
    ('train.log_every', -1, 'config.train.log_every=-1 must be at least 0'),
    ('sample.batch_size', None, 'config.sample.batch_size=None must be of type int'),
    ('seed', -1, 'config.seed=-1 must be at least 0'),
    ('seed', 2**32, 'config.seed=4294967296 must be at most 4294967295'),
    ('train.steps', 2**31, 'config.train.steps=2147483648 must be at most 2147483647'),
    ('data', [], "config.data=[] must be a spec such as {'name': ...}"),
    ('objective', None, "config.objective=None must be a spec such as {'name': ...}"),
    ('sample.guidance', 3, "config.sample.guidance=3 must be None or a spec such as {'name': ...}"),
    ('eval', 3, 'config.eval must have the fields num, batch_size'),
]


@pytest.mark.parametrize(('path', 'value', 'message'), CHECKED, ids=[c[0] for c in CHECKED])
def test_fields_that_are_no_specs(path, value, message):
    with pytest.raises(UserError) as error:
        builders.check(changed(POINTS, path, value))
    assert str(error.value).startswith(message), str(error.value)


@pytest.mark.parametrize('path', ['optim', 'train.steps', 'eval.features'])
def test_missing_fields(path):
    config = {k: v for k, v in POINTS.items() if k != path}
    section, _, field = path.partition('.')
    if field:
        config[section] = {k: v for k, v in POINTS[section].items() if k != field}
    with pytest.raises(UserError, match=f'has no {field or path}$'):
        builders.check(config)


SAMPLING = [
    ('sampler', {'name': 'dim'}, "config.sample.sampler.name='dim' is unknown; did you mean ddim"),
    ('sampler', {'name': 'sample'}, "config.sample.sampler.name='sample' is unknown"),
    ('sampler', {'name': 'ddim', 'et': 0.1}, 'config.sample.sampler.et is not an argument of ddim; did you mean eta?'),
    ('sampler', {'name': 'ddim', 'eta': 'x'}, "config.sample.sampler.eta='x' must be of type float"),
    ('sampler', {'name': 'ancestral', 'variance': 'huge'}, 'config.sample.sampler: ancestral: variance must be one of'),
    (
        'sampler',
        {'name': 'ancestral_learned'},
        'config.sample.sampler: ancestral_learned needs a diffusion model with a learned variance',
    ),
    (
        'times',
        {'name': 'trailing', 'n': 1001},
        'config.sample.times: trailing: a grid needs at least 1 step and at most',
    ),
    ('times', {'name': 'leading', 'n': 1001}, 'config.sample.times: leading: a grid needs at least 1 step and at most'),
    ('times', {'name': 'quadratic', 'n': 1001}, 'config.sample.times: quadratic: a grid needs at least 1 step and at'),
    ('times', {'name': 'uniform', 'n': 0}, 'config.sample.times: uniform: a grid needs at least 1 step; got 0'),
    ('times', {'name': 'uniform'}, 'config.sample.times: uniform: '),
    ('times', {'name': 'log_normal'}, "config.sample.times.name='log_normal' is a distribution, not a grid"),
]


@pytest.mark.parametrize(('field', 'spec', 'message'), SAMPLING, ids=[str(s[1]) for s in SAMPLING])
def test_samplers_that_cannot_be_built(field, spec, message):
    experiment = builders.build(POINTS)
    with pytest.raises(UserError) as error:
        builders.build_draw(experiment, {**POINTS['sample'], field: spec})
    assert str(error.value).startswith(message), str(error.value)


def continuous_in_time(config):
    return changed(changed(config, 'schedule', {'name': 'LinearVP'}), 'objective.p_t.T', 10)


def test_bounds_that_cannot_be_built():
    points, digits = builders.build(POINTS), builders.build(DIGITS)
    continuous = builders.build(continuous_in_time(DIGITS))
    for experiment, source, variance, terms, message in [
        (points, points.source, 'large', None, 'bits/dim needs quantised data, and mixture.* is continuous'),
        (continuous, digits.source, 'large', None, r'needs a table of steps \(DiscreteVP\)'),
        (digits, digits.source, 'larg', None, "config.eval.variance='larg' is unknown; known: small, large"),
        (digits, digits.source, 'large', 1000, 'config.eval.bits_terms: terms must be between 1 and T - 1 = 999'),
    ]:
        with pytest.raises(UserError, match=message):
            builders.build_bound(experiment, source, variance, terms)


def test_methods_of_bits_that_cannot_be_built():
    points, digits = builders.build(POINTS), builders.build(DIGITS)
    for experiment, spec, message in [
        (digits, {'name': 'vbl'}, r"--bits.name='vbl' is unknown; .*vlb"),
        (digits, {'name': 'ode', 'probe': 2}, r'--bits.probe is not an argument of ode; .*probes'),
        (digits, {'name': 'ode', 'dequantise': 'normal'}, r"--bits: ode: dequantise must be .*; got 'normal'"),
        (digits, {'name': 'ode', 'sigma_min': 0.0}, r'--bits: ode: sigma must be above 0; got 0.0'),
        (points, {'name': 'ode'}, r'bits/dim needs quantised data, and mixture.* is continuous'),
    ]:
        with pytest.raises(UserError, match=message):
            builders.build_bits(experiment, experiment.source, DIGITS['eval'], spec)


def test_bits_are_the_bounds_where_the_schedule_is_a_table_and_the_odes_elsewhere():
    digits = builders.build(DIGITS)
    continuous = builders.build(continuous_in_time(DIGITS))
    fields = [
        builders.build_bits(experiment, digits.source, DIGITS['eval']).evaluate.__qualname__
        for experiment in (digits, continuous)
    ]
    assert ['build_bound' in fields[0], '_ode' in fields[1]] == [True, True]


def test_churn_learns_the_number_of_steps_from_the_grid():
    config = tiny.points()
    config |= {'schedule': {'name': 'VE'}, 'precond': {'name': 'edm'}}
    config['objective'] = {'name': 'denoising', 'p_t': {'name': 'log_normal'}, 'weight': {'name': 'edm'}}
    experiment = builders.build(config)
    params, keys = jax.jit(experiment.init)(jax.random.key(0)), jax.random.split(jax.random.key(1), 4)
    spec = {'times': {'name': 'karras', 'n': 3}, 'clip': False}
    churn = {**spec, 'sampler': {'name': 'edm_churn'}}
    grid, make_sampler = builders.build_sampling(experiment, churn)
    start = samplers.prior(samplers.fold_in(keys, 0), experiment.schedule, (4, 2), grid[0])
    denoise = experiment.models.denoise(params, None, None)
    by_hand = samplers.edm_churn(denoise, experiment.schedule, n=3)
    run = jax.jit(lambda sampler: samplers.sample(sampler, samplers.fold_in(keys, 1), start, grid), static_argnums=0)
    np.testing.assert_allclose(run(make_sampler(params, keys, None)), run(by_hand), rtol=1e-6)
    with pytest.raises(UserError, match='n of edm_churn is what this run has, and no spec can set it'):
        builders.build_draw(experiment, {**spec, 'sampler': {'name': 'edm_churn', 'n': 3}})
