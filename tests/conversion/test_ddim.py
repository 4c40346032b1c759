"""DDIM's release in PyTorch, against a restatement of its network with random weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from diffusion_jax import builders, samplers, times
from diffusion_jax.builders.models import network_functions
from diffusion_jax.conversion import incoming
from diffusion_jax.inference import runs
from diffusion_jax.interop import names, official
from tests import tiny

try:
    import torch

    from tests.conversion.ddim_torch import Model
except ModuleNotFoundError:  # each test is skipped by itself, so that a planted bug can name it
    torch = None

KINDS = {
    'two_levels': {'channels': 32, 'multipliers': (1, 2), 'blocks': 1, 'attends': (False, True)},
    'three_levels': {'channels': 32, 'multipliers': (1, 1, 2), 'blocks': 2, 'attends': (False, True, False)},
}


def theirs(kind):
    pytest.importorskip('torch')
    torch.manual_seed(0)
    model = Model(**KINDS[kind]).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 0.1 if p.ndim == 1 else p[0].numel() ** -0.5
            p.copy_(('norm' in name and name.endswith('weight')) + scale * torch.randn(p.shape))
    return model


def answered(model, x, index):
    out = model(torch.tensor(np.asarray(x, np.float32).transpose(0, 3, 1, 2)), torch.tensor(index))
    return out.permute(0, 2, 3, 1)


@pytest.mark.parametrize('kind', KINDS)
def test_outputs_gradients_and_the_way_back(kind, tmp_path):
    model = theirs(kind)
    torch.save({**model.state_dict(), 'logvar': torch.zeros(1000)}, tmp_path / 'model.ckpt')
    found = official.ddim(tmp_path / 'model.ckpt', official.Asked(size=16))
    config = incoming.config_of(found)
    init, apply = network_functions(config['net'], config['objective'], builders.build_source(config['data']))
    shapes = jax.eval_shape(init, jax.random.key(0))
    rows = found.rows(shapes)
    params = names.take_in('it', found.what, found.weights, rows, shapes)
    x = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype(np.float32)
    index = np.array([3, 871])

    @jax.jit
    def network(params):
        return apply(params, jnp.asarray(x), jnp.asarray(index, jnp.float32), None, None)

    expected = answered(model, x, index)
    assert np.abs(network(params) - expected.detach().numpy()).max() < 2e-5 * expected.abs().max().item()
    back, kept = names.give_out(rows, params), {n: w.numpy() for n, w in model.state_dict().items()}
    assert back.keys() == kept.keys()
    for name, w in kept.items():
        np.testing.assert_array_equal(back[name], w)
    expected.square().mean().backward()
    grads = names.give_out(rows, jax.jit(jax.grad(lambda p: jnp.mean(network(p) ** 2)))(params))
    largest = max(p.grad.abs().max().item() for p in model.parameters())
    for name, p in model.named_parameters():
        scale = max(p.grad.abs().max().item(), 1e-3 * largest)
        assert np.abs(grads[name] - p.grad.numpy()).max() < 1e-3 * scale, name


def test_ten_steps_of_ddim_from_the_command_line(tmp_path):
    """Its generalized_steps on range(0, 1000, 100), without noise."""
    model = theirs('two_levels')
    torch.save(model.state_dict(), tmp_path / 'model.ckpt')
    command = ['convert', '--from=ddim', f'--in={tmp_path}/model.ckpt', f'--workdir={tmp_path}/run', '--size=16']
    assert tiny.call(*command) == 0
    run = runs.load(tmp_path / 'run')
    assert run.config['sample']['times'] == {'name': 'leading', 'n': 50}
    assert not run.config['sample']['clip']
    sampler = samplers.ddim(run.experiment.models.denoise(run.params), run.experiment.schedule)
    x = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype(np.float32)
    grid = jnp.asarray(times.leading(10), jnp.float32)
    got = jax.jit(lambda x: samplers.sample(sampler, jax.random.key(0), x, grid))(jnp.asarray(x))
    alpha_bar = np.append(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), 1.0)  # the last one for index -1
    y = x.astype(np.float64)
    for i, j in itertools.pairwise([*range(900, -1, -100), -1]):
        with torch.no_grad():
            eps = answered(model, y, np.full(2, i)).numpy()
        x_0 = (y - np.sqrt(1 - alpha_bar[i]) * eps) / np.sqrt(alpha_bar[i])
        y = np.sqrt(alpha_bar[j]) * x_0 + np.sqrt(1 - alpha_bar[j]) * eps
    assert np.abs(got - y).max() < 1e-4 * np.abs(y).max()


def test_what_is_none_of_it_is_refused(tmp_path, capsys):
    file = tmp_path / 'w.safetensors'
    command = ['convert', '--from=ddim', f'--in={file}', f'--workdir={tmp_path}/run']
    zeros = {
        'conv_in.weight': (32, 3, 3, 3), 'conv_out.bias': (3,), 'down.0.block.0.conv1.weight': (32, 32, 3, 3),
        'down.1.block.0.conv1.weight': (48, 32, 3, 3),
    }  # fmt: skip
    save_file({name: np.zeros(shape, np.float32) for name, shape in zeros.items()}, file)
    assert tiny.refusal(capsys, *command).endswith('does not say the size of an image: set --size')
    line = tiny.refusal(capsys, *command, '--size=16')
    assert line.endswith('[32, 48] must be whole multiples of 32, and 3 channels be answered, as are seen')
    line = tiny.refusal(capsys, *command, '--size=16', '--qkv=three_first')
    assert line.startswith('of these weights --size alone must be said')
    save_file({'map_layer0.weight': np.zeros(3, np.float32)}, file)
    line = "should be the weights of DDIM's U-Net (ermongroup/ddim), and looks like a network of EDM (--from=edm)"
    assert line in tiny.refusal(capsys, *command, '--size=16')
