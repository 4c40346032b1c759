"""What every sampler and every objective promises: add a row, inherit the contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from diffusion_jax import editing, guidance, objectives, precond, reverse, samplers, schedules, times
from diffusion_jax.objectives import distances, equations, kernels, pair_weights, velocities, weights
from diffusion_jax.objectives.adaptive import AdaptiveWeight
from diffusion_jax.times import curricula
from diffusion_jax.types import Batch, Frozen, Masked

TABLE = schedules.DiscreteVP(schedules.linear_betas(20, 1e-3, 0.3))
FLOW = schedules.RectifiedFlow()
VE = schedules.VE()
COND = jnp.array([0, 1] * 4)


def network(params, x, c_noise, cond, key):
    """A linear network in x that listens to all of its arguments; `key` is dropout."""
    out = x * params['w'] + jnp.sin(c_noise)[:, None] * params['b'] + (0 if cond is None else cond[:, None] * 0.1)
    return out if key is None else out * jax.random.bernoulli(key, 0.9, out.shape)


def network_of_two_times(params, x, c_noise, cond, key):
    return network(params, x, c_noise[:, 0], cond, key) + jnp.sin(c_noise[:, 1:]) * x


def network_with_variance(params, x, c_noise, cond, key):
    out = network(params, x, c_noise, cond, key)
    return jnp.concatenate([out, jnp.tanh(out)], -1)


PARAMS = {'w': jnp.array(0.5), 'b': jnp.array(0.1)}
model = precond.denoiser(precond.v(TABLE, 20), network)
model_with_variance = precond.denoiser_with_variance(precond.v(TABLE, 20), network_with_variance)
denoise = model(PARAMS, None, None)
average = precond.average_velocity(network_of_two_times)
of_classes = precond.classifier(precond.v(TABLE, 20), lambda *given: jnp.tanh(network(*given)))  # four of them
edm = precond.denoiser(precond.edm(), network)

MASKING = schedules.PolynomialMasking()


def network_of_levels(params, x, c_noise, cond, key):
    """Four places of three levels, 16 channels in, 12 out; what all logits share would say nothing."""
    return network(params, x, c_noise + 1, cond, key)[:, :12] * jnp.linspace(1, 2, 12)[None]


categorical_model = precond.logits(network_of_levels, 3)
categorical = categorical_model(PARAMS, None, None)
# name: sampler, grid, whether it draws noise
SAMPLERS = {
    'ancestral small': (samplers.ancestral(denoise, TABLE, 'small'), times.trailing(5, 20), True),
    'ancestral large': (samplers.ancestral(denoise, TABLE, 'large'), times.trailing(5, 20), True),
    'ancestral learned': (
        samplers.ancestral_learned(model_with_variance(PARAMS, None, None), TABLE), times.trailing(5, 20), True,
    ),
    'ddim 0': (samplers.ddim(denoise, TABLE), times.quadratic(5, 20), False),
    'ddim 0.5': (samplers.ddim(denoise, TABLE, 0.5), times.uniform(5), True),
    'ddim encode': (samplers.ddim_encode(denoise, TABLE), times.uniform(5)[::-1], False),
    'euler': (samplers.euler(denoise, TABLE), times.uniform(5), False),
    'heun': (samplers.heun(denoise, TABLE), times.uniform(5), False),
    'guided': (
        samplers.ddim(guidance.classifier_free(lambda c: model(PARAMS, c, None), COND, 2, 3.0), TABLE),
        times.uniform(5), False,
    ),
    'guided in an interval': (
        samplers.ddim(
            guidance.interval(
                guidance.classifier_free(lambda c: model(PARAMS, c, None), COND, 2, 3.0), denoise, TABLE, 0.2, 1.0
            ),
            TABLE,
        ),
        times.uniform(5), False,
    ),
    'edm churn': (samplers.edm_churn(edm(PARAMS, None, None), VE, 5), times.karras(5), True),
    'adaptive': (samplers.adaptive(edm(PARAMS, None, None), VE), times.at([80.0, 1.0]), False),
    'euler maruyama': (samplers.euler_maruyama(denoise, TABLE), times.uniform(5), True),
    'predictor corrector': (samplers.predictor_corrector(denoise, TABLE), times.uniform(5), True),
    'remask': (samplers.remask(categorical, MASKING, 3, 0.5), times.uniform(5), True),
    'renoise': (samplers.renoise(denoise, TABLE), times.uniform(5), True),
    'dpm_solver': (samplers.dpm_solver(denoise, TABLE), times.uniform(5), False),
    'dpm_solver_pp_single': (samplers.dpm_solver_pp_single(denoise, TABLE), times.uniform(5), False),
    'dpm_solver_pp': (samplers.dpm_solver_pp(denoise, TABLE, 3), times.uniform(5), False),
    # noise, but none of the loop's key
    'sde_dpm_solver_pp': (samplers.sde_dpm_solver_pp(denoise, TABLE, jax.random.key(2)), times.uniform(5), False),
    'unipc': (samplers.unipc(denoise, TABLE), times.uniform(5), False),
    'unmask': (samplers.unmask(categorical, MASKING, 3), times.uniform(5), True),
    'unmask confident': (samplers.unmask_confident(categorical, MASKING, 3, 0.9), times.uniform(5), True),
    'deis': (samplers.deis(denoise, TABLE), times.uniform(5), False),
    'pndm': (samplers.pndm(denoise, TABLE), times.uniform(5), False),
    'projected, with time travel': (
        editing.time_travel(
            samplers.ddim(editing.project(denoise, editing.inpaint(jnp.arange(4) < 2), jnp.full((8, 4), 0.3)), TABLE),
            TABLE,
        ),
        editing.travels(times.uniform(4), 2, 2), True,
    ),
    'jump': (samplers.jump(precond.flow_map(average)(PARAMS, None, None)), times.uniform(5), False),
}  # fmt: skip
uniform = times.discrete_uniform(20)
bound = precond.denoiser(precond.consistency(), network)  # to the identity at sigma_min
TRIG = schedules.TrigFlow()
angular = precond.denoiser(precond.trig(), network)


DMD = objectives.distribution_matching(bound, edm, VE, times.karras_uniform(), weights.edm(), at=(80.0, 1.0))
assert DMD.second
WEIGHT = AdaptiveWeight(lambda key: jnp.array(0.1), lambda phi, c: phi * c)


def network_told(params, x, c_noise, cond, key):
    return network(params, x, c_noise, cond['label'], key) + jnp.where(cond['w'].mask[:, None], cond['w'].values, 0)


def of_labels(loss):
    """The same on labels alone, to which a weight comes that is not told."""

    def on_labels(params, frozen, key, batch, step):
        n = len(batch.x)
        cond = {'label': batch.cond, 'w': Masked(jnp.zeros((n, 1)), jnp.zeros(n, bool))}
        return loss(params, frozen, key, batch._replace(cond=cond), step)

    return on_labels


OBJECTIVES = {
    'simple': objectives.denoising(model, TABLE, uniform, weights.snr(TABLE)).loss,
    'EDM2': objectives.denoising(edm, VE, times.log_normal(), weights.edm(), WEIGHT).loss,
    'flow': objectives.denoising(
        precond.denoiser(precond.flow(FLOW), network), FLOW, times.logit_normal(), weights.flow(FLOW)
    ).loss,
    'edm': objectives.denoising(
        edm, schedules.VE(), times.log_normal(), weights.edm()
    ).loss,
    'classifier': objectives.noisy_classification(of_classes, TABLE, uniform).loss,
    'vlb': objectives.vlb(model, TABLE, 20).loss,
    'vlb large': objectives.vlb(model, TABLE, 20, log_variance=reverse.large).loss,
    'vlb learned': objectives.vlb_learned(model_with_variance, TABLE, 20).loss,
    'hybrid': objectives.hybrid(model_with_variance, TABLE, weights.snr(TABLE), 20).loss,
    'LCM': of_labels(objectives.latent_consistency(
        precond.denoiser(precond.boundary(precond.eps(TABLE, 20), 20), network_told),
        precond.denoiser(precond.eps(TABLE, 20), network_told),
        TABLE, {'label': np.array(2), 'w': Masked(np.zeros(1), np.array(False))},
        times.neighbours(times.leading(5, 20, offset=3, last=1)), distances.l2(), pair_weights.uniform(),
    ).loss),
    'CD': objectives.consistency(
        bound, VE, times.uniform_pairs(curricula.constant(18)), distances.l1(), pair_weights.uniform(),
        objectives.teacher_step(edm, VE, samplers.heun_step),
    ).loss,
    'CT': objectives.consistency(
        bound, VE, times.uniform_pairs(curricula.constant(18)), distances.l2(), pair_weights.uniform()
    ).loss,
    'CT by the batch': objectives.consistency(
        bound, VE, times.uniform_pairs(curricula.constant(18)), distances.l2(), pair_weights.uniform(),
        objectives.batch_step(VE),
    ).loss,
    'iCT': objectives.consistency(
        bound, VE, times.log_normal_pairs(curricula.doubling(1000, s_1=1280)), distances.pseudo_huber(),
        pair_weights.inverse_gap(),
    ).loss,
    'progressive': objectives.progressive(
        model, model, TABLE, curricula.halving(10, n_0=4), weights.truncated_snr(TABLE)
    ).loss,
    'progressive flow': objectives.progressive(
        precond.denoiser(precond.flow(FLOW), network), precond.denoiser(precond.flow(FLOW), network), FLOW,
        curricula.halving(10, n_0=4), weights.v(FLOW),
    ).loss,
    'ECT': objectives.consistency(
        precond.denoiser(precond.consistency(sigma_min=0.0), network), VE, times.continuous_pairs(80, 8),
        distances.pseudo_huber(), pair_weights.inverse_gap(),
    ).loss,
    'truncated': objectives.truncated_consistency(
        bound, bound, VE, times.uniform_pairs(curricula.constant(18)), distances.l2(), pair_weights.uniform(), 1.0
    ).loss,
    'multistep CT': objectives.multistep_consistency(
        precond.denoiser(precond.flow(FLOW), network), FLOW, times.neighbours(times.uniform(6)), times.uniform(2),
        distances.l2(), weights.v(FLOW),
    ).loss,
    'multistep CD': objectives.multistep_consistency(
        edm, VE, times.neighbours(times.karras(6)), times.karras(2), distances.pseudo_huber(), weights.edm(),
        objectives.teacher_step(edm, VE, samplers.heun_step),
    ).loss,
    'masked': objectives.masked(categorical_model, MASKING, 3, times.low_discrepancy()).loss,
    'MeanFlow': objectives.mean_flow(average, FLOW, times.logit_normal_pairs()).loss,
    'MeanFlow guided': objectives.mean_flow(
        average, FLOW, times.logit_normal_pairs(), omega=0.5, kappa=0.8, null=2
    ).loss,
    'MeanFlow distilled': objectives.mean_flow(
        average, FLOW, times.logit_normal_pairs(),
        velocity=velocities.of_a_teacher(precond.denoiser(precond.flow(FLOW), network), FLOW),
    ).loss,
    'CTM': objectives.consistency_trajectory(
        average, FLOW, times.nested_pairs(0.1, 0.9), distances.pseudo_huber(),
        objectives.teacher_step(precond.denoiser(precond.flow(FLOW), network), FLOW, samplers.heun_step),
    ).loss,
    'CTM alone': objectives.consistency_trajectory(
        average, FLOW, times.nested_pairs(0.1, 0.9), distances.l2(), n=2
    ).loss,
    'IMM': objectives.imm(
        average, FLOW, times.nested_pairs(0.1, 0.9), kernels.laplace(), weights.imm(FLOW), decrement=0.1
    ).loss,
    'sCT': objectives.continuous(angular, TRIG, times.arctan_log_normal(), WEIGHT, warmup=0).loss,
    'sCT by the batch': objectives.continuous(
        angular, TRIG, times.arctan_log_normal(), warmup=0, velocity=velocities.of_the_batch(TRIG)
    ).loss,
    'sCD': objectives.continuous_distillation(
        angular, angular, TRIG, times.arctan_log_normal(), WEIGHT, warmup=0
    ).loss,
    'flow map, Lagrangian': objectives.flow_map(
        average, FLOW, times.logit_normal_pairs(), equations.lagrangian(), velocities.own()
    ).loss,
    'flow map, Eulerian': objectives.flow_map(
        average, FLOW, times.logit_normal_pairs(), equations.eulerian(through=True), velocities.own(), p=1.0
    ).loss,
    'flow map, semigroup': objectives.flow_map(
        average, FLOW, times.logit_normal_pairs(), equations.semigroup(),
        velocities.of_a_teacher(precond.denoiser(precond.flow(FLOW), network), FLOW),
    ).loss,
    'improved MeanFlow': objectives.improved_mean_flow(average, FLOW, times.logit_normal_pairs()).loss,
    'alpha-Flow': objectives.alpha_flow(average, FLOW, times.logit_normal_pairs(), lambda step: jnp.array(0.5)).loss,
    'TVM': objectives.terminal_velocity(average, FLOW, times.logit_normal_pairs()).loss,
    'AYF': objectives.align_your_flow(
        average, precond.denoiser(precond.flow(FLOW), network), FLOW, times.logit_normal_pairs(), warmup=0
    ).loss,
    'FreeFlow': objectives.data_free(
        average, precond.denoiser(precond.flow(FLOW), network), FLOW, times.logit_normal()
    ).loss,
    'DMD': DMD.loss,
    'DMD, the fake score': DMD.second.loss,
    'shortcut': objectives.shortcut(average, FLOW, times.dyadic_pairs(16, 0.5), M=16).loss,
}  # fmt: skip
OWN_PARAMS = {of: {'log_weight': jnp.array(0.1)} for of in ('EDM2', 'sCT', 'sCD')}  # parameters of the loss itself


def counted(f):
    """A jitted f and the list of its traces."""
    traces = []

    @jax.jit
    @functools.wraps(f)
    def g(*args):
        traces.append(1)
        return f(*args)

    return g, traces


def split_over_devices(tree):
    assert len(jax.devices()) == 8
    mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec('data')))


@pytest.mark.parametrize('name', SAMPLERS)
def test_samplers(name):
    sampler, grid, stochastic = SAMPLERS[name]
    run, traces = counted(lambda key, x: samplers.sample(sampler, key, x, grid))
    of_tokens = 'mask' in name
    x = jnp.full((8, 4), 3) if of_tokens else jax.random.normal(jax.random.key(7), (8, 4))
    key, other = jax.random.split(jax.random.key(0))
    out = run(key, x)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert jnp.isfinite(out).all()
    np.testing.assert_array_equal(run(key, x), out)
    assert np.array_equal(run(other, x), out) is not stochastic
    run(key, 2 * x)
    assert len(traces) == 1
    atol = 1e-4 if name == 'adaptive' else 1e-6  # its steps follow from errors beside rounding
    np.testing.assert_allclose(run(key, split_over_devices(x)), out, rtol=1e-5, atol=atol)


@pytest.mark.parametrize('name', OBJECTIVES)
def test_objectives(name):
    loss, cond = OBJECTIVES[name], None if name == 'flow' else COND
    batch = Batch(jax.random.uniform(jax.random.key(3), (8, 4), minval=-1, maxval=1), cond)
    params = {**PARAMS, **OWN_PARAMS.get(name, {})}
    frozen = Frozen(*(jax.tree.map(lambda p: p + i, PARAMS) for i in (1, 2, 3)))  # noqa: B023

    def value_and_grads(params, frozen, key, batch, step):
        return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, frozen, key, batch, step)

    run, traces = counted(value_and_grads)
    key, other = jax.random.split(jax.random.key(0))
    (value, metrics), (grad, grad_frozen) = run(params, frozen, key, batch, jnp.array(0))
    assert value.shape == ()
    assert all(v.shape == () and jnp.isfinite(v) for v in metrics.values())
    assert metrics['loss'] == value
    assert all(jnp.isfinite(g).all() and (g != 0).any() for g in jax.tree.leaves(grad))
    assert all((g == 0).all() for g in jax.tree.leaves(grad_frozen))
    assert run(params, frozen, key, batch, jnp.array(1))[0][0] == value
    assert run(params, frozen, other, batch, jnp.array(1))[0][0] != value
    assert len(traces) == 1
    (sharded, _), (grad_sharded, _) = run(params, frozen, key, split_over_devices(batch), jnp.array(0))
    np.testing.assert_allclose(sharded, value, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), grad_sharded, grad)
