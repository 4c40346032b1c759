"""Networks of EDM, exported, against a restatement of them in PyTorch with random weights."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from diffusion_jax import builders, samplers, times
from diffusion_jax.conversion import incoming
from diffusion_jax.inference import runs
from diffusion_jax.interop import names, official
from tests import tiny

try:
    import torch

    from tests.conversion.edm_unet import EDMNet
except ModuleNotFoundError:  # each test is skipped by itself, so that a planted bug can name it
    torch = None


@pytest.fixture(autouse=True)
def _needs_pytorch():
    pytest.importorskip('torch')


KINDS = {
    'DDPM++': {
        'song': True, 'side': 8, 'channels': 16, 'multipliers': (1, 2), 'blocks': 2, 'attends': (4,), 'augment': 9,
    },
    'DDPM++, attention at both levels': {
        'song': True, 'side': 8, 'channels': 16, 'multipliers': (2, 2), 'blocks': 1, 'attends': (8, 4),
    },
    'ADM with classes': {
        'song': False, 'side': 8, 'channels': 64, 'multipliers': (1, 2), 'blocks': 1, 'attends': (4,), 'classes': 5,
    },
    'NCSN++': {
        'song': True, 'side': 8, 'channels': 16, 'multipliers': (1, 2, 2), 'blocks': 1, 'attends': (4,), 'fir': True,
        'fourier': True, 'encoder': 'residual', 'augment': 9, 'classes': 5,
    },
    'classes_among_sinusoids': {
        'song': True, 'side': 8, 'channels': 16, 'multipliers': (2, 2), 'blocks': 1, 'attends': (4,), 'classes': 5,
    },
    'skips_of_both_kinds': {
        'song': True, 'side': 8, 'channels': 16, 'multipliers': (1, 2, 2), 'blocks': 1, 'attends': (), 'fir': True,
        'encoder': 'skip', 'decoder': 'skip',
    },
    'ADM': {'song': False, 'side': 8, 'channels': 64, 'multipliers': (1, 1), 'blocks': 1, 'attends': (8,)},
}  # fmt: skip


def theirs(settings):
    torch.manual_seed(0)
    model = EDMNet(**settings).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 0.05 if p.ndim == 1 else p[0].numel() ** -0.5
            p.copy_(('norm' in name and name.endswith('weight')) + scale * torch.randn(p.shape))
    return model


def export(model, path):
    """As the script of docs/networks.md does."""
    save_file({f'model.{name}': w.detach().numpy() for name, w in model.state_dict().items()}, path)


def D(model, x, sigma, classes=None):
    """EDM's preconditioned network, of its table 1 with sigma_data = 0.5, on [B, H, W, C]; classes as unit vectors."""
    s = torch.tensor(sigma, dtype=torch.float32)[:, None, None, None]
    x = torch.tensor(x.transpose(0, 3, 1, 2))
    c_skip, c_out, c_in = 0.25 / (s**2 + 0.25), s * 0.5 / (s**2 + 0.25).sqrt(), 1 / (s**2 + 0.25).sqrt()
    out = c_skip * x + c_out * model(c_in * x, s.flatten().log() / 4, classes)
    return out.permute(0, 2, 3, 1)


@pytest.mark.parametrize('kind', KINDS)
def test_outputs_gradients_and_the_way_back(kind, tmp_path):
    settings = KINDS[kind]
    model = theirs(settings)
    export(model, tmp_path / 'w.safetensors')
    found = official.edm(tmp_path / 'w.safetensors', official.Asked())
    experiment = builders.build(incoming.config_of(found))
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    rows = found.rows(shapes)
    params = names.take_in('it', found.what, found.weights, rows, shapes)
    denoise = experiment.models.denoise
    sigma = np.array([0.05, 7.0], np.float32)
    x = (np.random.default_rng(0).standard_normal((2, 8, 8, 3)) * (1 + sigma[:, None, None, None])).astype(np.float32)
    num = settings.get('classes')
    cond = jnp.array([3, num]) if num else None  # the class that is told, and none
    told = torch.cat([torch.eye(num)[[3]], torch.zeros(1, num)]) if num else None
    expected = D(model, x, sigma, told)
    got = jax.jit(lambda p: denoise(p, cond)(jnp.asarray(x), jnp.asarray(sigma)))(params)
    for a, b in zip(got, expected.detach().numpy(), strict=True):
        assert np.abs(a - b).max() < 2e-5 * np.abs(b).max()
    back = names.give_out(rows, params)
    left = ('resample_filter', 'augment')
    kept = {n: w.numpy() for n, w in model.state_dict().items() if not any(part in n for part in left)}
    assert back.keys() == kept.keys()
    for name, w in kept.items():
        np.testing.assert_array_equal(back[name], w)
    expected.square().mean().backward()
    grads = jax.jit(jax.grad(lambda p: jnp.mean(denoise(p, cond)(jnp.asarray(x), jnp.asarray(sigma)) ** 2)))(params)
    if num:  # the class that tells nothing is no part of the network there
        grads['embedding']['classes']['embedding'] = grads['embedding']['classes']['embedding'].at[num].set(0)
    grads = names.give_out(rows, grads)
    if settings.get('fourier'):  # drawn once
        assert not grads['map_noise.freqs'].any()
    of_them = {n: p.grad.numpy() for n, p in model.named_parameters() if n in kept}
    largest = max(np.abs(g).max() for g in of_them.values())
    for name, g in of_them.items():
        assert np.abs(grads[name] - g).max() < 1e-3 * max(np.abs(g).max(), 1e-3 * largest), name


def heun(denoise, x, steps=10, least=0.002, most=80.0):
    """EDM's algorithm 1 without churn, on its own grid."""
    i = np.arange(steps) / (steps - 1)
    sigmas = [*(most ** (1 / 7) + i * (least ** (1 / 7) - most ** (1 / 7))) ** 7, 0.0]
    for s, r in itertools.pairwise(sigmas):
        d = (x - denoise(x, s)) / s
        y = x + (r - s) * d
        if r > 0:
            y = x + (r - s) * (d + (y - denoise(y, r)) / r) / 2
        x = y
    return x


def test_ten_steps_of_heun_from_the_command_line(tmp_path):
    model = theirs(KINDS['DDPM++'])
    export(model, tmp_path / 'w.safetensors')
    command = ['convert', '--from=edm', f'--in={tmp_path}/w.safetensors', f'--workdir={tmp_path}/run']
    assert tiny.call(*command) == 0
    run = runs.load(tmp_path / 'run')
    assert run.config['sample']['sampler'] == {'name': 'heun'}
    sampler = samplers.heun(run.experiment.models.denoise(run.params), run.experiment.schedule)
    x = 80 * np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    grid = jnp.asarray(times.karras(n=10, sigma_min=0.002, sigma_max=80.0), jnp.float32)
    got = jax.jit(lambda x: samplers.sample(sampler, jax.random.key(0), x, grid))(jnp.asarray(x))

    def denoise(x, s):
        with torch.no_grad():
            return D(model, x.astype(np.float32), np.full(2, s)).numpy().astype(np.float64)

    expected = heun(denoise, x.astype(np.float64))
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()


def test_what_is_no_network_of_edm_is_refused(tmp_path, capsys):
    model = theirs(KINDS['DDPM++'])
    weights = {name: w.detach().numpy() for name, w in model.state_dict().items()}
    command = ['convert', '--from=edm', f'--in={tmp_path}/w.safetensors', f'--workdir={tmp_path}/run']

    def told(changes):
        save_file({**weights, **changes}, tmp_path / 'w.safetensors')
        return tiny.refusal(capsys, *command)

    fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32)[None, None] / 64
    line = 'is neither that of [1, 1] nor of [1, 3, 3, 1] as all the others'
    assert told({'enc.4x4_down.conv0.resample_filter': 2 * fir}).endswith(line)
    assert told({'enc.4x4_down.skip.resample_filter': fir}).endswith(line)
    means = np.full((1, 1, 2, 2), 0.25, np.float32)
    assert told({'enc.4x4_down.skip.resample_filter': 2 * means}).endswith(line)
    assert 'must be whole multiples of 16' in told({'map_noise.freqs': np.zeros(8, np.float32)})
    assert told({'more': np.zeros(8, np.float32)}).endswith('missing are none; left over are more')
    save_file(weights, tmp_path / 'w.safetensors', {'precond': 'MyPrecond'})
    line = 'says precond=MyPrecond, and only EDMPrecond, VEPrecond, VPPrecond, iDDPMPrecond are known here'
    assert tiny.refusal(capsys, *command).endswith(line)
    line = tiny.refusal(capsys, *command, '--size=8')
    assert line.startswith('--from=edm: the file says it all: leave out --size, --heads')
    (tmp_path / 'edm.pkl').write_bytes(b'\x80\x04')
    line = tiny.refusal(capsys, 'convert', '--from=edm', f'--in={tmp_path}/edm.pkl', f'--workdir={tmp_path}/run')
    assert line.endswith('edm.pkl is a pickle, which runs code when it is opened: export it as docs/networks.md says')


def of_precond(kind, model, x, sigma):
    """D of EDM's other preconditionings, of its training/networks.py, on [B, H, W, C]."""
    s = torch.tensor(np.full(len(x), sigma), dtype=torch.float64)
    x = torch.tensor(x.astype(np.float64).transpose(0, 3, 1, 2))
    match kind:
        case 'VEPrecond':
            c_out, c_in, c_noise = s, torch.ones(()), (s / 2).log()
        case 'VPPrecond':
            c_out, c_in = -s, 1 / (s**2 + 1).sqrt()
            c_noise = 999 * ((0.01 + 2 * 19.9 * (1 + s**2).log()).sqrt() - 0.1) / 19.9
        case 'iDDPMPrecond':
            index = (edm_levels()[None] - s[:, None]).abs().argmin(1)
            c_out, c_in, c_noise = -s, 1 / (s**2 + 1).sqrt(), 999.0 - index
    shape = (-1, 1, 1, 1)
    inner = (c_in.reshape(shape) * x).float()
    with torch.no_grad():
        F = model(inner, c_noise.float(), None)[:, :3].double()
    return (x + c_out.reshape(shape) * F).permute(0, 2, 3, 1).numpy()


def edm_levels(M=1000):
    """Levels of iDDPM as EDM has them, from the noisiest on, then 0."""
    u = torch.zeros(M + 1, dtype=torch.float64)

    def alpha_bar(j):
        return math.sin(0.5 * math.pi * j / M / 1.008) ** 2

    for j in range(M, 0, -1):
        u[j - 1] = ((u[j] ** 2 + 1) / max(alpha_bar(j - 1) / alpha_bar(j), 0.001) - 1).sqrt()
    return u


def converted(tmp_path, kind, settings, about=None, **more):
    model = theirs(settings)
    weights = {f'model.{name}': w.detach().numpy() for name, w in model.state_dict().items()}
    save_file({**weights, **more}, tmp_path / 'w.safetensors', about)
    command = ['convert', '--from=edm', f'--in={tmp_path}/w.safetensors', f'--workdir={tmp_path}/run']
    assert tiny.call(*command) == 0
    return model, runs.load(tmp_path / 'run')


def test_ten_steps_of_heun_under_the_preconditioning_of_ve(tmp_path):
    """NCSN++, and a file that names its preconditioning."""
    settings = {**KINDS['NCSN++'], 'classes': 0}
    model, run = converted(tmp_path, 'VEPrecond', settings, {'precond': 'VEPrecond'})
    assert run.config['net']['layout'] == {'name': 'ncsnpp'}
    levels = {'sigma_min': 0.02, 'sigma_max': 100.0}
    assert run.config['sample']['times'] == {'name': 'karras', 'n': 18, **levels}
    sampler = samplers.heun(run.experiment.models.denoise(run.params), run.experiment.schedule)
    x = 100 * np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    grid = jnp.asarray(times.karras(n=10, **levels), jnp.float32)
    got = jax.jit(lambda x: samplers.sample(sampler, jax.random.key(0), x, grid))(jnp.asarray(x))
    expected = heun(lambda x, s: of_precond('VEPrecond', model, x, s), x.astype(np.float64), 10, 0.02, 100.0)
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_preconditioning_of_vp(tmp_path):
    """On its own schedule, x = sqrt(alpha_bar) (x_0 + sigma eps)."""
    model, run = converted(tmp_path, 'VPPrecond', KINDS['DDPM++'], {'precond': 'VPPrecond'})
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype(np.float32)
    schedule, denoise = run.experiment.schedule, run.experiment.models.denoise(run.params)
    for t in (0.05, 0.6):
        time = jnp.asarray([t], jnp.float32)
        sigma = math.sqrt(math.expm1(0.5 * 19.9 * t**2 + 0.1 * t))
        got = denoise(schedule.alpha(time)[:, None, None, None] * x * sigma, time)
        assert np.abs(got - of_precond('VPPrecond', model, x * sigma, sigma)).max() < 1e-4 * sigma


def test_the_preconditioning_of_iddpm_is_known_by_its_levels(tmp_path):
    u = edm_levels().float().numpy()
    model, run = converted(tmp_path, 'iDDPMPrecond', {**KINDS['DDPM++'], 'out': 6}, u=u)
    assert run.config['schedule']['betas'] == {'name': 'cosine_betas', 'T': 1000}
    assert run.experiment.models.with_variance is None  # nobody trained it
    x = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype(np.float32)
    schedule, denoise = run.experiment.schedule, run.experiment.models.denoise(run.params)
    for k in (40, 700):
        time, sigma = jnp.asarray([k / 1000], jnp.float32), float(u[1000 - k])
        got = denoise(schedule.alpha(time)[:, None, None, None] * x * sigma, time)
        assert np.abs(got - of_precond('iDDPMPrecond', model, x * sigma, sigma)).max() < 1e-4 * sigma


@pytest.mark.slow
def test_the_ncsnpp_of_cifar_10_at_its_published_size(tmp_path):
    settings = {
        'song': True, 'side': 32, 'channels': 128, 'multipliers': (2, 2, 2), 'blocks': 4, 'attends': (16,), 'fir': True,
        'fourier': True, 'encoder': 'residual', 'augment': 9,
    }  # fmt: skip
    model = theirs(settings)
    export(model, tmp_path / 'w.safetensors')
    found = official.edm(tmp_path / 'w.safetensors', official.Asked())
    experiment = builders.build(incoming.config_of(found))
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    params = names.take_in('it', found.what, found.weights, found.rows(shapes), shapes)
    sigma = np.array([1.5], np.float32)
    x = np.random.default_rng(0).standard_normal((1, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        expected = D(model, x, sigma).numpy()
    got = jax.jit(lambda p: experiment.models.denoise(p)(jnp.asarray(x), jnp.asarray(sigma)))(params)
    assert np.abs(got - expected).max() < 2e-5 * np.abs(expected).max()
