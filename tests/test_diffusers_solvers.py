"""Whole runs of the solvers, step by step, against diffusers' schedulers with the same model (extra `oracle`).

diffusers' noise levels sigma / alpha are our times on TrigFlow, t = arctan(sigma / alpha), where both are exact. The
model is the exact denoiser of a mixture. Of diffusers' options, ours are: `solver_type='midpoint'` for `dpm_solver`,
`dpm_solver_pp_single`, `dpm_solver_pp` and `sde_dpm_solver_pp` up to order 2; 'heun' (the integral of the polynomial)
for `deis`, which is also its multistep 'dpmsolver' of order 2.

Left out, because diffusers deviates there:
- `DPMSolverMultistep` of order 3 has half of the second divided difference where it stands for u^2, which makes it a
  method of order 2 (shown below). Our 3M is compared with `UniPCMultistep` without its corrector instead, which is
  the same method.
- `DPMSolverSinglestep` of order 3 uses one `solver_type` for both stages, where the paper has 'heun' for the
  intermediate and 'midpoint' for the last: the test switches between them.
- Its singlestep methods take the grid's own points within a step: they agree where these are equally spaced in
  log-SNR, as with `use_exponential_sigmas`, and a step of ours is `order` of theirs.
- `lower_order_final` lowers the order of the last two steps below 15 steps; it is off. `UniPCMultistep` divides by an
  infinite log-SNR with a last sigma of 0 then, so its runs end at its sigma_min; so do those of `DEISMultistep`, which
  knows no other end, and of 'dpmsolver'.
- `PNDM` steps to t - T // n whatever the grid, so n divides T, and ends at abar_1 unless `set_alpha_to_one`.
- `EulerDiscrete` and `HeunDiscrete` work on x / alpha: VE.
- Tables of sigma and abar are float32: the tests replace them by float64 where a scheduler computes with them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import samplers, schedules, times
from diffusion_jax.samplers import exponential
from diffusion_jax.samplers.sde_dpm_solver import driven_by
from tests.oracles import MIXTURE
from tests.samplers.test_ancestral import bind

pytestmark = pytest.mark.filterwarnings('ignore:.algorithm_types:FutureWarning')
torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')

VP = schedules.TrigFlow()
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 2))
KWARGS = {'num_train_timesteps': 1000, 'beta_start': 1e-4, 'beta_end': 0.02}
SIGMA_MIN = {'use_exponential_sigmas': True, 'final_sigmas_type': 'sigma_min', 'lower_order_final': False}
TO_ZERO = {'use_exponential_sigmas': True, 'final_sigmas_type': 'zero', 'lower_order_final': False}


def levels(scheduler, n):
    """A scheduler ready to run, and its noise levels sigma / alpha, at which `sigmas` now are in float64.

    sigma_min is twice there with exponential sigmas: the last is moved to half of it.
    """
    scheduler.set_timesteps(n)
    sigmas = scheduler.sigmas.double()
    if sigmas[-1] > 0:
        sigmas[-1] = sigmas[-2] / 2
    scheduler.sigmas = sigmas
    return sigmas.numpy()


def exact(x, a, s, prediction='sample'):
    x_0 = MIXTURE.denoise(x.numpy(), a, s)
    return torch.tensor(x_0 if prediction == 'sample' else (x.numpy() - a * x_0) / s)


def run_diffusers(scheduler, sigmas, before_step=lambda scheduler, i: {}):
    """Every state of a run, `[n + 1, B, D]`."""
    x, states = torch.tensor(X), [X]
    for i, t in enumerate(scheduler.timesteps):
        a = 1 / np.hypot(1, sigmas[i])
        out = exact(x, a, a * sigmas[i], scheduler.config.prediction_type)
        x = scheduler.step(out, t, x, **before_step(scheduler, i)).prev_sample
        states.append(x.numpy())
    return np.stack(states)


def run_ours(make, sigmas, schedule=VP):
    sampler = make(bind(MIXTURE, schedule), schedule)
    grid = np.arctan(sigmas) if schedule == VP else sigmas
    return np.asarray(jax.jit(lambda x: samplers.trajectory(sampler, KEY, x, grid))(jnp.asarray(X)))


def same(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want[-1]).max())


@pytest.mark.parametrize(
    ('kwargs', 'make'),
    [
        ({**TO_ZERO, 'solver_order': 1, 'algorithm_type': 'dpmsolver++'}, samplers.euler),
        ({**TO_ZERO, 'solver_order': 2, 'algorithm_type': 'dpmsolver++'}, samplers.dpm_solver_pp),
        (
            {**SIGMA_MIN, 'solver_order': 2, 'algorithm_type': 'dpmsolver', 'solver_type': 'heun'},
            lambda *model: samplers.deis(*model, order=2),
        ),
    ],
)
def test_dpm_solver_multistep(kwargs, make, x64):
    prediction = 'epsilon' if kwargs['algorithm_type'] == 'dpmsolver' else 'sample'
    scheduler = diffusers.DPMSolverMultistepScheduler(prediction_type=prediction, **kwargs, **KWARGS)
    sigmas = levels(scheduler, 12)
    same(run_ours(make, sigmas), run_diffusers(scheduler, sigmas))


def test_sde_dpm_solver_with_given_noise(x64):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type='sample', solver_order=2, algorithm_type='sde-dpmsolver++', **TO_ZERO, **KWARGS
    )
    sigmas, z = levels(scheduler, 12), RNG.normal(size=(12, *X.shape))
    want = run_diffusers(scheduler, sigmas, lambda _, i: {'variance_noise': torch.tensor(z[i])})
    ts = jnp.arctan(sigmas)

    def noise(x, t, s):
        return jnp.sqrt(schedules.posterior_variance(VP, t, s)) * jnp.asarray(z)[jnp.argmin(jnp.abs(ts - t))]

    same(run_ours(lambda *model: driven_by(noise, *model), sigmas), want)


@pytest.mark.parametrize('order', [1, 2, 3])
@pytest.mark.parametrize('variant', ['bh1', 'bh2'])
def test_unipc(order, variant, x64):
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type='sample', solver_order=order, solver_type=variant, **SIGMA_MIN, **KWARGS
    )
    sigmas = levels(scheduler, 12)
    same(run_ours(lambda *model: samplers.unipc(*model, order, variant), sigmas), run_diffusers(scheduler, sigmas))


def test_unipc_without_corrector_is_dpm_solver_pp_3m(x64):
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type='sample', solver_order=3, disable_corrector=list(range(12)), **SIGMA_MIN, **KWARGS
    )
    sigmas = levels(scheduler, 12)
    same(run_ours(lambda *model: samplers.dpm_solver_pp(*model, 3), sigmas), run_diffusers(scheduler, sigmas))


@pytest.mark.parametrize('order', [1, 2, 3])
def test_deis(order, x64):
    scheduler = diffusers.DEISMultistepScheduler(
        prediction_type='epsilon', solver_order=order, use_exponential_sigmas=True, lower_order_final=False, **KWARGS
    )
    sigmas = levels(scheduler, 12)
    same(run_ours(lambda *model: samplers.deis(*model, order), sigmas), run_diffusers(scheduler, sigmas))


@pytest.mark.parametrize('order', [1, 2, 3])
@pytest.mark.parametrize(
    ('algorithm', 'make'), [('dpmsolver', samplers.dpm_solver), ('dpmsolver++', samplers.dpm_solver_pp_single)]
)
def test_dpm_solver_singlestep(order, algorithm, make, x64):
    prediction = 'epsilon' if algorithm == 'dpmsolver' else 'sample'
    scheduler = diffusers.DPMSolverSinglestepScheduler(
        prediction_type=prediction, algorithm_type=algorithm, solver_order=order, **SIGMA_MIN, **KWARGS
    )
    levels(scheduler, 12)
    sigmas = np.geomspace(50.0, 0.02, 13)
    scheduler.sigmas = torch.tensor(sigmas)

    def stages(scheduler, i):
        scheduler.register_to_config(solver_type='heun' if order == 3 and i % 3 == 1 else 'midpoint')
        return {}

    want = run_diffusers(scheduler, sigmas, stages)[::order]
    same(run_ours(lambda *model: make(*model, order), sigmas[::order]), want)


@pytest.mark.parametrize(
    ('name', 'make'), [('EulerDiscreteScheduler', samplers.euler), ('HeunDiscreteScheduler', samplers.heun)]
)
def test_euler_and_heun_discrete(name, make, x64):
    scheduler = getattr(diffusers, name)(prediction_type='sample', use_exponential_sigmas=True, **KWARGS)
    levels(scheduler, 12)
    stages = 2 if name.startswith('Heun') else 1
    sigmas = np.append(np.geomspace(50.0, 0.02, 12), 0.0)
    scheduler.sigmas = torch.tensor(np.append(np.repeat(sigmas[:-1], stages)[stages - 1 :], [0.0]))
    x, states = torch.tensor(X), [X]
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas.numpy(), strict=False):
        x = scheduler.step(torch.tensor(MIXTURE.denoise(x.numpy(), 1.0, sigma)), t, x).prev_sample
        states.append(x.numpy())
    same(run_ours(make, sigmas, schedules.VE()), np.stack([*states[:-1:stages], states[-1]]))


def test_pndm(x64):
    scheduler = diffusers.PNDMScheduler(
        skip_prk_steps=False, set_alpha_to_one=True, timestep_spacing='leading', **KWARGS
    )
    table = schedules.DiscreteVP(schedules.linear_betas())
    scheduler.alphas_cumprod = torch.tensor(table.alpha_bar[1:])
    scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(10)
    x, states = torch.tensor(X), []
    for i, t in enumerate(scheduler.timesteps.tolist()):
        if i >= 12 or i % 4 == 0:
            states.append(x.numpy())
        a, s = np.sqrt(table.alpha_bar[t + 1]), np.sqrt(table.one_minus_alpha_bar[t + 1])
        x = scheduler.step(exact(x, a, s, 'epsilon'), t, x).prev_sample
    got = run_ours(samplers.pndm, times.leading(10), table)
    same(got, np.stack([*states, x.numpy()]))


def test_multistep_of_order_3_has_half_of_the_second_difference(x64, monkeypatch):
    """Why it is left out: with that half ours would be the same, and of order 2 as half of a term in h^3 is missing."""
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type='sample', solver_order=3, algorithm_type='dpmsolver++', **TO_ZERO, **KWARGS
    )
    sigmas = levels(scheduler, 12)
    integral = exponential.integral
    monkeypatch.setattr(exponential, 'integral', lambda form, h, r: halved(form, h, r, integral))
    same(run_ours(lambda *model: samplers.dpm_solver_pp(*model, 3), sigmas), run_diffusers(scheduler, sigmas))


def halved(form, h, r, integral):
    """The integral of Newton's u (u - r_1), as u^2 / 2 - r_1 u."""
    if len(r) < 2:
        return integral(form, h, r)
    zero = jnp.zeros_like(h)
    return integral(form, h, [zero, zero]) / 2 - r[1] * integral(form, h, [zero])
