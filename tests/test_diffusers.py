"""Step by step against diffusers' PyTorch schedulers (extra `oracle`).

Left out, because diffusers deviates there: DDIM steps to t - T // n, not to the next point of the grid (so only n that
divide T are compared, and never its `linspace`); its DDPM `trailing` adds noise at its last step.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import guidance, precond, reverse, samplers, schedules, times
from diffusion_jax.times import noise_levels

torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')

TABLE = schedules.DiscreteVP(schedules.linear_betas())
KWARGS = {'num_train_timesteps': 1000, 'beta_start': 1e-4, 'beta_end': 0.02, 'clip_sample': False}
PREDICTIONS = {'epsilon': precond.eps(TABLE), 'sample': precond.x0(), 'v_prediction': precond.v(TABLE)}
RNG = np.random.default_rng(0)
X, OUT, LOGITS, Z = (RNG.normal(size=(4, 3)).astype(np.float32) for _ in range(4))
LOGITS = np.tanh(LOGITS)
GRIDS = {'leading': times.leading, 'trailing': times.trailing}
MULTISTEP = {'prediction_type': 'epsilon', 'final_sigmas_type': 'zero', **KWARGS}
MULTISTEP.pop('clip_sample')


def denoise(prediction):
    """The denoiser of a network that always answers OUT."""
    return precond.denoiser(PREDICTIONS[prediction], lambda *_: jnp.asarray(OUT))(None, None, None)


def pairs(grid):
    """(k_t, k_s) on the table; diffusers' timestep is k - 1."""
    k = np.round(np.asarray(grid) * 1000).astype(int).tolist()
    return list(pairwise(k))


def on_grid(scheduler, n, grid):
    scheduler.set_timesteps(n)
    ours = pairs(grid)
    assert [k - 1 for k, _ in ours] == scheduler.timesteps.tolist()
    return ours


def column(k):
    return jnp.full(len(X), k / 1000, jnp.float32)


@pytest.mark.parametrize('schedule', ['linear', 'squaredcos_cap_v2'])
def test_tables_and_forward_process(schedule):
    scheduler = diffusers.DDPMScheduler(beta_schedule=schedule, **KWARGS)
    betas = schedules.linear_betas() if schedule == 'linear' else schedules.cosine_betas()
    np.testing.assert_allclose(betas, scheduler.betas.double().numpy(), rtol=1e-4)
    table = schedules.DiscreteVP(betas)
    for k in (1, 2, 500, 900):
        want = scheduler.add_noise(torch.tensor(X), torch.tensor(Z), torch.tensor([k - 1]))
        np.testing.assert_allclose(
            schedules.q_sample(table, jnp.asarray(X), column(k), jnp.asarray(Z)), want.numpy(), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize('prediction', PREDICTIONS)
@pytest.mark.parametrize('spacing', GRIDS)
@pytest.mark.parametrize('variance', ['fixed_small', 'fixed_large', 'learned_range'])
def test_ddpm_steps(prediction, spacing, variance):
    scheduler = diffusers.DDPMScheduler(
        variance_type=variance, prediction_type=prediction, timestep_spacing=spacing, **KWARGS
    )
    if variance == 'learned_range':
        p = reverse.learned(lambda x, t: (denoise(prediction)(x, t), jnp.asarray(LOGITS)), TABLE)
    else:
        p = reverse.fixed(denoise(prediction), TABLE, reverse.small if variance == 'fixed_small' else reverse.large)
    p = jax.jit(p)
    out = torch.tensor(np.concatenate([OUT, LOGITS], 1) if variance == 'learned_range' else OUT)
    out = out[:, :, None, None]
    for k, j in on_grid(scheduler, 10, GRIDS[spacing](10)):
        generator = torch.Generator().manual_seed(k)
        want = scheduler.step(out, k - 1, torch.tensor(X)[:, :, None, None], generator=generator).prev_sample
        noise = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(k)).numpy()[:, :, 0, 0]
        mean, log_variance = p(jnp.asarray(X), column(k), column(j))
        if j == 0 and spacing == 'trailing':
            continue
        got = mean + (j > 0) * jnp.exp(log_variance / 2) * noise
        np.testing.assert_allclose(got, want.numpy()[:, :, 0, 0], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize('prediction', PREDICTIONS)
@pytest.mark.parametrize('spacing', GRIDS)
@pytest.mark.parametrize('eta', [0.0, 0.5, 1.0])
def test_ddim_steps(prediction, spacing, eta):
    scheduler = diffusers.DDIMScheduler(prediction_type=prediction, timestep_spacing=spacing, **KWARGS)
    key = jax.random.key(0)
    noise = torch.tensor(np.asarray(samplers.noise(key, jnp.asarray(X))))
    sampler = samplers.ddim(denoise(prediction), TABLE, eta)
    step = jax.jit(lambda t, s: sampler.step(key, sampler.init(jnp.asarray(X)), t, s).x)
    for k, j in on_grid(scheduler, 10, GRIDS[spacing](10)):
        want = scheduler.step(torch.tensor(OUT), k - 1, torch.tensor(X), eta=eta, variance_noise=noise if eta else None)
        got = step(jnp.float32(k / 1000), jnp.float32(j / 1000))
        np.testing.assert_allclose(got, want.prev_sample.numpy(), rtol=1e-3, atol=1e-4)


def test_zero_terminal_snr_runs_as_diffusers_does():
    scheduler = diffusers.DDIMScheduler(
        prediction_type='v_prediction', timestep_spacing='trailing', rescale_betas_zero_snr=True, **KWARGS
    )
    table = schedules.DiscreteVP(scheduler.betas.double().numpy())
    model = precond.denoiser(precond.v(table), lambda params, x, c_noise, cond, key: 0.3 * x)
    x = torch.tensor(X)
    for k, _ in on_grid(scheduler, 5, times.trailing(5)):
        x = scheduler.step(0.3 * x, k - 1, x).prev_sample
    got = samplers.sample(samplers.ddim(model(None), table), jax.random.key(0), jnp.asarray(X), times.trailing(5))
    np.testing.assert_allclose(got, x.numpy(), rtol=5e-3, atol=5e-4)


def test_ddim_inverse_is_our_encoder():
    """Away from clean data, where the two conventions differ in which time the first evaluation is given."""
    scheduler = diffusers.DDIMInverseScheduler(timestep_spacing='leading', **KWARGS)
    scheduler.set_timesteps(10)
    sampler = samplers.ddim_encode(denoise('epsilon'), TABLE)
    x, key = jnp.asarray(X), jax.random.key(0)
    for t in scheduler.timesteps.tolist()[1:]:
        # Its step at timestep t evaluates with the scales of t - 100 and moves to those of t.
        want = scheduler.step(torch.tensor(OUT), t, torch.tensor(X)).prev_sample
        got = sampler.step(key, sampler.init(x), jnp.float32((t - 99) / 1000), jnp.float32((t + 1) / 1000)).x
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-3, atol=1e-4)


def test_guidance_rescaled_and_thresholded_as_diffusers_does():
    """Its functions on x_0, for they do not mind what a tensor means; its pipelines rescale eps or v, as predicted."""
    from diffusers.guiders.guider_utils import rescale_noise_cfg

    cond, null = (np.random.default_rng(i).normal(size=(3, 4, 4, 2)).astype(np.float32) for i in (0, 1))
    guided = torch.tensor(null) + 5.0 * (torch.tensor(cond) - torch.tensor(null))
    want = rescale_noise_cfg(guided, torch.tensor(cond), guidance_rescale=0.7).numpy()
    model = guidance.auto(lambda x, t: jnp.asarray(cond), lambda x, t: jnp.asarray(null), 5.0, 0.7)
    got = model(jnp.asarray(cond), jnp.ones(3))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    # sample_max_value bounds s: with its default, 1, nothing is left of the method
    scheduler = diffusers.DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1e9)
    got = guidance.dynamic_threshold(lambda x, t: jnp.asarray(want), 0.9)(jnp.asarray(want), jnp.ones(3))
    np.testing.assert_allclose(got, scheduler._threshold_sample(torch.tensor(want)).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('n', [7, 10])
def test_grids_are_its_timesteps(n):
    for spacing, grid in {**GRIDS, 'linspace': times.linspace}.items():
        scheduler = diffusers.DDIMScheduler(timestep_spacing=spacing, **KWARGS)
        scheduler.set_timesteps(n)
        assert [k - 1 for k, _ in pairs(grid(n))] == scheduler.timesteps.tolist()
    scheduler = diffusers.DPMSolverMultistepScheduler(timestep_spacing='linspace', **MULTISTEP)
    scheduler.set_timesteps(n)
    assert [k - 1 for k, _ in pairs(np.delete(times.linspace(n + 1), -2))] == scheduler.timesteps.tolist()


def test_karras_levels_are_its_sigmas():
    """Between the ends of the table; its timesteps are those levels' rounded to the table."""
    scheduler = diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True, **MULTISTEP)
    scheduler.set_timesteps(10)
    least, most = noise_levels.of(TABLE, np.array([0.001, 1.0])).tolist()
    grid = times.karras(10, least, most, schedule=TABLE)
    np.testing.assert_allclose(noise_levels.of(TABLE, grid), scheduler.sigmas.numpy(), rtol=1e-4)
    np.testing.assert_allclose(grid[:-1] * 1000 - 1, scheduler.timesteps.numpy(), atol=0.51)
