"""OpenAI's checkpoints against a restatement of their network in PyTorch, with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.data.conditions import label
from diffusion_jax.inference import runs
from diffusion_jax.interop import adm_unet, names, unet
from diffusion_jax.nets import UNet, functional
from diffusion_jax.nets.layout import adm
from tests import tiny

try:
    import torch

    from tests.conversion.openai_unet import UNetModel
except ModuleNotFoundError:  # each test is skipped by itself, so that a planted bug can name it
    torch = None


@pytest.fixture(autouse=True)
def _needs_pytorch():
    pytest.importorskip('torch')


SMALL = {'channels': 32, 'multipliers': (1, 2), 'blocks': 1, 'attends': (False, True)}
KINDS = {
    'iddpm': {**SMALL, 'heads': 2, 'out': 6, 'updown': False},
    'iddpm of the first level alone': {**SMALL, 'attends': (True, False), 'heads': 4, 'updown': False, 'blocks': 2},
    'added embedding': {**SMALL, 'heads': 1, 'updown': False, 'scale_shift': False},
    'adm': {**SMALL, 'head_channels': 16, 'classes': 5, 'out': 6},
    'adm, new order': {**SMALL, 'head_channels': 16, 'order': 'three_first', 'attends': (True, True)},
    'consistency': {
        **SMALL, 'multipliers': (1, 2, 3), 'attends': (False, True, True), 'head_channels': 32, 'classes': 5,
        'order': 'three_first', 'dims': 2,
    },
}  # fmt: skip


def theirs(settings):
    torch.manual_seed(0)
    model = UNetModel(**settings).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return model


def ours(model, settings, size=8):
    """(apply, params, rows) as the weights alone and what is said of them tell."""
    weights = {name: w.detach().numpy() for name, w in model.state_dict().items()}
    told = adm_unet.Told(size, settings.get('heads', 1), settings.get('head_channels'))
    found = adm_unet.architecture('it', weights, told)
    spec = {k: v for k, v in found.net.items() if k not in ('name', 'layout', 'dtype')}
    condition = label(found.classes) if found.classes else None
    net = UNet(**spec, layout=adm(), out_channels=settings.get('out', 3), condition=condition)
    init, apply = functional(net)
    x, c = jnp.zeros((1, size, size, 3)), jnp.zeros(1)
    shapes = jax.eval_shape(lambda: init(jax.random.key(0), x, c))
    dialect = adm_unet.dialect(weights, settings.get('order', 'heads_first'))
    rows = unet.table(found.net, shapes, dialect, size)
    return jax.jit(apply), names.take_in('it', adm_unet.WHAT, weights, rows, shapes), rows, found


def inputs(settings):
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)
    classes = np.array([3, 0]) if settings.get('classes') else None
    return x, np.array([12.25, -700.5], np.float32), classes


@pytest.mark.parametrize('kind', KINDS)
def test_outputs_gradients_and_the_way_back(kind):
    settings = KINDS[kind]
    model = theirs(settings)
    apply, params, rows, found = ours(model, settings)
    assert found.learns_variance == (settings.get('out', 3) == 6)
    x, t, classes = inputs(settings)
    cond = None if classes is None else jnp.asarray(classes)
    told = None if classes is None else torch.tensor(classes)
    out = model(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(t), told)
    expected = out.detach().numpy().transpose(0, 2, 3, 1)
    got = np.asarray(apply(params, jnp.asarray(x), jnp.asarray(t), cond, None))
    assert np.abs(got - expected).max() < 2e-5 * np.abs(expected).max()
    back = names.give_out(rows, params)
    state = model.state_dict()
    assert back.keys() == state.keys()
    for name, w in state.items():
        np.testing.assert_array_equal(back[name], w.numpy())
    out.square().mean().backward()
    grads = jax.jit(jax.grad(lambda p: jnp.mean(apply(p, jnp.asarray(x), jnp.asarray(t), cond, None) ** 2)))(params)
    grads = names.give_out(rows, grads)
    largest = max(p.grad.abs().max().item() for p in model.parameters())
    for name, p in model.named_parameters():
        # Of keys' biases, and of what a norm of single channels takes away again, there is only rounding.
        scale = max(p.grad.abs().max().item(), 1e-3 * largest)
        assert np.abs(grads[name] - p.grad.numpy()).max() < 1e-3 * scale, name


def saved(tmp_path, settings):
    model = theirs(settings)
    torch.save(model.state_dict(), tmp_path / 'model.pt')
    return model, ['convert', f'--in={tmp_path}/model.pt', f'--workdir={tmp_path}/run', '--size=8']


def test_a_file_of_torch_becomes_a_workdir(tmp_path):
    model, command = saved(tmp_path, KINDS['adm'])
    assert tiny.call(*command, '--from=adm', '--head_channels=16', '--betas=cosine_betas:T=1000') == 0
    run = runs.load(tmp_path / 'run')
    assert run.config['objective']['name'] == 'hybrid'
    assert run.config['schedule']['betas'] == {'name': 'cosine_betas', 'T': 1000}
    x, _, classes = inputs(KINDS['adm'])
    index = np.array([3, 871])
    t = jnp.asarray((index + 1) / 1000, jnp.float32)
    x_0, logits = run.experiment.models.with_variance(run.params, jnp.asarray(classes))(jnp.asarray(x), t)
    with torch.no_grad():
        out = model(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(index), torch.tensor(classes))
    eps, expected = out.numpy().transpose(0, 2, 3, 1)[..., :3], out.numpy().transpose(0, 2, 3, 1)[..., 3:]
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()
    schedule = run.experiment.schedule
    alpha, sigma = (np.asarray(f(t), np.float64)[:, None, None, None] for f in (schedule.alpha, schedule.sigma))
    np.testing.assert_allclose(x_0, (x - sigma * eps) / alpha, rtol=1e-3, atol=1e-3)
    out = f'--out={tmp_path}/x'
    assert tiny.call('sample', f'--workdir={tmp_path}/run', '--num=2', '--steps=2', out) == 0


def test_a_consistency_model_is_told_250_ln_sigma(tmp_path):
    """D(x, sigma) of the released code, from its formulas, at two noise levels."""
    model, command = saved(tmp_path, KINDS['consistency'])
    assert tiny.call(*command, '--from=openai_cm', '--head_channels=32') == 0
    run = runs.load(tmp_path / 'run')
    x, _, classes = inputs(KINDS['consistency'])
    sigma, data, least = np.array([0.7, 80.0])[:, None, None, None], 0.5, 0.002
    x = (x * sigma).astype(np.float32)
    c_in = 1 / np.sqrt(sigma**2 + data**2)
    c_skip = data**2 / ((sigma - least) ** 2 + data**2)
    c_out = (sigma - least) * data * c_in
    with torch.no_grad():
        told = torch.tensor(1000 * 0.25 * np.log(sigma.ravel()), dtype=torch.float32)
        inner = torch.tensor((c_in * x).astype(np.float32).transpose(0, 3, 1, 2))
        F = model(inner, told, torch.tensor(classes)).numpy().transpose(0, 2, 3, 1)
    got = run.experiment.models.consistency(run.params, jnp.asarray(classes))(
        jnp.asarray(x), jnp.asarray(sigma.ravel(), jnp.float32)
    )
    expected = c_skip * x + c_out * F
    assert np.abs(got - expected).max() < 5e-5 * np.abs(expected).max()
    assert run.config['sample']['times']['n'] == 1
    out = f'--out={tmp_path}/x'
    assert tiny.call('sample', f'--workdir={tmp_path}/run', '--num=2', out) == 0


@pytest.mark.parametrize('told_as', [1000, 4000])
def test_iddpm_is_told_its_4000_steps_as_1000_or_as_they_are(told_as, tmp_path):
    model, command = saved(tmp_path, KINDS['iddpm'])
    assert tiny.call(*command, '--from=iddpm', '--heads=2', f'--rescaled={told_as == 1000}') == 0
    run = runs.load(tmp_path / 'run')
    assert run.config['schedule']['betas'] == {'name': 'cosine_betas', 'T': 4000}
    k = np.array([5, 3488])  # steps of the table, from 1 on: the network is told (k - 1) 1000 / 4000
    x, _, _ = inputs(KINDS['iddpm'])
    t = jnp.asarray(k / 4000, jnp.float32)
    _, logits = run.experiment.models.with_variance(run.params, None)(jnp.asarray(x), t)
    with torch.no_grad():
        told = torch.tensor((k - 1) * told_as / 4000, dtype=torch.float32)
        expected = model(torch.tensor(x.transpose(0, 3, 1, 2)), told).numpy().transpose(0, 2, 3, 1)[..., 3:]
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


def test_what_a_file_does_not_say_must_be_said(tmp_path, capsys):
    _, command = saved(tmp_path, KINDS['iddpm'])
    command = [part for part in command if not part.startswith('--size')]
    assert tiny.refusal(capsys, *command, '--from=iddpm').endswith('does not say the size of an image: set --size')
    sized = [*command, '--size=8']
    line = tiny.refusal(capsys, *sized, '--from=iddpm')
    assert line.endswith('does not say how attention is split into heads: set --heads or --head_channels')
    line = tiny.refusal(capsys, *sized, '--from=iddpm', '--heads=5')
    assert line.endswith('5 heads do not divide the 64 channels where it attends')
    line = tiny.refusal(capsys, *sized, '--from=openai_cm', '--heads=2')
    assert line == "OpenAI's EDM and consistency models have no table of betas and learn no variance"
    assert not (tmp_path / 'run').exists()
