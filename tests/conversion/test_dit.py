"""DiT and SiT against a restatement of them in PyTorch, and against diffusers' DiT, with random weights."""

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

    from tests.conversion.dit_torch import DiT
except ModuleNotFoundError:  # each test is skipped by itself, so that a planted bug can name it
    torch = None


SMALL = {'side': 8, 'patch': 2, 'hidden': 32, 'depth': 3, 'heads': 4, 'classes': 5}
KINDS = {
    'learned_variance': SMALL,
    'patches_of_4': {**SMALL, 'patch': 4, 'channels': 3, 'ratio': 2},
    'fixed_variance': {**SMALL, 'learns': False, 'depth': 2, 'heads': 2},
}
S_2 = {'side': 32, 'patch': 2, 'hidden': 384, 'depth': 12, 'heads': 6, 'classes': 1000}
INDEX = np.array([3, 871])  # of two steps of the table
CLASSES = np.array([2, 5])  # the second tells nothing


def theirs(settings):
    pytest.importorskip('torch')
    torch.manual_seed(0)
    model = DiT(**settings).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name != 'pos_embed':
                p.copy_((0.1 if p.ndim == 1 else p[0].numel() ** -0.5) * torch.randn(p.shape))
    return model


def export(model, path):
    save_file({name: w.detach().numpy().copy() for name, w in model.state_dict().items()}, path)


def read(kind, path, heads=None):
    """(network, parameters, rows of names)."""
    found = official.SOURCES[kind](path, official.Asked(heads=heads))
    config = incoming.config_of(found)
    init, apply = network_functions(config['net'], config['objective'], builders.build_source(config['data']))
    shapes = jax.eval_shape(init, jax.random.key(0))
    rows = found.rows(shapes)

    def network(params, x, index, classes):
        return apply(params, jnp.asarray(x), jnp.asarray(index, jnp.float32), jnp.asarray(classes), None)

    return jax.jit(network), names.take_in('it', found.what, found.weights, rows, shapes), rows


def inputs(settings):
    channels = settings.get('channels', 4)
    x = np.random.default_rng(0).standard_normal((2, settings['side'], settings['side'], channels))
    return x.astype(np.float32)


def first(a):
    return torch.tensor(np.asarray(a).transpose(0, 3, 1, 2))


def last(a):
    return a.detach().numpy().transpose(0, 2, 3, 1)


def close(got, expected, to):
    return np.abs(np.asarray(got) - expected).max() < to * np.abs(expected).max()


@pytest.mark.parametrize('kind', KINDS)
def test_outputs_gradients_and_the_way_back(kind, tmp_path):
    settings = KINDS[kind]
    model = theirs(settings)
    export(model, tmp_path / 'w.safetensors')
    network, params, rows = read('dit', tmp_path / 'w.safetensors', settings['heads'])
    x = inputs(settings)
    expected = model(first(x), torch.tensor(INDEX), torch.tensor(CLASSES))
    assert close(network(params, x, INDEX, CLASSES), last(expected), 2e-5)
    back = names.give_out(rows, params)
    kept = {n: w.numpy() for n, w in model.state_dict().items() if n != 'pos_embed'}
    assert back.keys() == kept.keys()
    for name, w in kept.items():
        np.testing.assert_array_equal(back[name], w)
    expected.square().mean().backward()
    grads = jax.jit(jax.grad(lambda p: jnp.mean(network(p, x, INDEX, CLASSES) ** 2)))(params)
    grads = names.give_out(rows, grads)
    of_them = {n: p.grad.numpy() for n, p in model.named_parameters() if n in kept}
    largest = max(np.abs(g).max() for g in of_them.values())
    for name, g in of_them.items():
        assert np.abs(grads[name] - g).max() < 1e-3 * max(np.abs(g).max(), 1e-3 * largest), name


def test_diffusers_has_the_same_transformer(tmp_path):
    """But for its sinusoids, whose last is of another frequency than in the official code: set right here."""
    diffusers = pytest.importorskip('diffusers')
    model = theirs(SMALL)
    export(model, tmp_path / 'w.safetensors')
    network, params, _ = read('dit', tmp_path / 'w.safetensors', SMALL['heads'])
    other = diffusers.DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=3, sample_size=8,
        patch_size=2, num_embeds_ada_norm=5, norm_elementwise_affine=False, norm_eps=1e-6,
    ).eval()  # fmt: skip
    w, state = model.state_dict(), {}
    places = {
        'pos_embed.proj': 'x_embedder.proj', 'proj_out_1': 'final_layer.adaLN_modulation.1',
        'proj_out_2': 'final_layer.linear',
    }  # fmt: skip
    for i in range(3):
        there, here = f'transformer_blocks.{i}', f'blocks.{i}'
        places |= {
            f'{there}.norm1.linear': f'{here}.adaLN_modulation.1', f'{there}.attn1.to_out.0': f'{here}.attn.proj',
            f'{there}.ff.net.0.proj': f'{here}.mlp.fc1', f'{there}.ff.net.2': f'{here}.mlp.fc2',
            f'{there}.norm1.emb.timestep_embedder.linear_1': 't_embedder.mlp.0',
            f'{there}.norm1.emb.timestep_embedder.linear_2': 't_embedder.mlp.2',
        }  # fmt: skip
        table = w['y_embedder.embedding_table.weight']
        state[f'{there}.norm1.emb.class_embedder.embedding_table.weight'] = table
        for end in ('weight', 'bias'):
            q, k, v = w[f'{here}.attn.qkv.{end}'].chunk(3)
            state |= {f'{there}.attn1.to_{n}.{end}': part for n, part in (('q', q), ('k', k), ('v', v))}
    state |= {f'{there}.{end}': w[f'{here}.{end}'] for there, here in places.items() for end in ('weight', 'bias')}
    missing, unexpected = other.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {'pos_embed.pos_embed'}
    for module in other.modules():
        if hasattr(module, 'downscale_freq_shift'):
            module.downscale_freq_shift = 0
    x, index, classes = inputs(SMALL)[1:], INDEX[1:], np.array([3])
    with torch.no_grad():
        expected = other(first(x), torch.tensor(index), torch.tensor(classes)).sample
    assert close(network(params, x, index, classes), last(expected), 2e-5)


def test_ten_steps_of_ddim_from_the_command_line(tmp_path):
    model = theirs(SMALL)
    export(model, tmp_path / 'w.safetensors')
    command = ['convert', '--from=dit', f'--in={tmp_path}/w.safetensors', f'--workdir={tmp_path}/run', '--heads=4']
    assert tiny.call(*command) == 0
    run = runs.load(tmp_path / 'run')
    assert run.config['schedule'] == {'name': 'DiscreteVP', 'betas': {'name': 'linear_betas', 'T': 1000}}
    assert run.config['sample']['times'] == {'name': 'linspace', 'n': 250}
    sampler = samplers.ddim(run.experiment.models.denoise(run.params, jnp.asarray(CLASSES)), run.experiment.schedule)
    x = inputs(SMALL)
    grid = jnp.asarray(times.linspace(10), jnp.float32)
    got = jax.jit(lambda x: samplers.sample(sampler, jax.random.key(0), x, grid))(jnp.asarray(x))
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    y = x.astype(np.float64)
    steps = [*np.round(np.linspace(999, 0, 10)).astype(int), -1]
    for i, j in itertools.pairwise(steps):
        with torch.no_grad():
            eps = last(model(first(y.astype(np.float32)), torch.full((2,), i), torch.tensor(CLASSES)))[..., :4]
        x_0 = (y - np.sqrt(1 - alpha_bar[i]) * eps) / np.sqrt(alpha_bar[i])
        a = alpha_bar[j] if j >= 0 else 1.0
        y = np.sqrt(a) * x_0 + np.sqrt(1 - a) * eps
    assert close(got, y, 1e-4)
    out = f'--out={tmp_path}/x'
    guided = '--guidance=classifier_free:w=4.0'  # as its release samples; its last class is the one that tells nothing
    assert tiny.call('sample', f'--workdir={tmp_path}/run', '--num=2', '--steps=3', guided, out) == 0
    with np.load(tmp_path / 'x.npz') as file:
        assert file['samples'].shape == (2, 8, 8, 4)
        assert file['samples'].dtype == np.float32  # latents, not pictures


def test_sit_goes_from_noise_to_data(tmp_path):
    """Ten steps of Euler's method in its own time, from 0 to 1, with the velocity that the network answers there."""
    model = theirs(SMALL)
    export(model, tmp_path / 'w.safetensors')
    command = ['convert', '--from=sit', f'--in={tmp_path}/w.safetensors', f'--workdir={tmp_path}/run', '--heads=4']
    assert tiny.call(*command) == 0
    run = runs.load(tmp_path / 'run')
    denoise = run.experiment.models.denoise(run.params, jnp.asarray(CLASSES))
    sampler, x = samplers.ddim(denoise, run.experiment.schedule), inputs(SMALL)  # on this path it is Euler's method
    grid = jnp.asarray(times.uniform(10), jnp.float32)
    got = jax.jit(lambda x: samplers.sample(sampler, jax.random.key(0), x, grid))(jnp.asarray(x))

    def velocity(x, t):
        with torch.no_grad():
            return last(model(first(x.astype(np.float32)), torch.full((2,), t), torch.tensor(CLASSES)))[..., :4]

    y = x.astype(np.float64)
    for t, s in itertools.pairwise(np.arange(11) / 10):
        y = y + (s - t) * velocity(y, t)
    assert close(got, y, 1e-4)


def test_what_it_does_not_say_or_cannot_be_is_refused(tmp_path, capsys):
    file = tmp_path / 'w.safetensors'
    command = ['convert', f'--workdir={tmp_path}/run', f'--in={file}']
    rng = np.random.default_rng(0)
    weights = {
        'x_embedder.proj.weight': rng.standard_normal((32, 4, 2, 2)).astype(np.float32),
        'pos_embed': rng.standard_normal((1, 16, 32)).astype(np.float32),
        'y_embedder.embedding_table.weight': np.zeros((6, 32), np.float32),
        'final_layer.linear.bias': np.zeros(32, np.float32),
        'blocks.0.mlp.fc1.bias': np.zeros(128, np.float32),
    }

    def told(weights, *more):
        save_file(weights, file)
        return tiny.refusal(capsys, *command, '--from=dit', *more)

    assert told(weights).endswith('is of 32 channels, which is none of S, B, L and XL: set --heads')
    assert ': 5 heads must divide 32 channels' in told(weights, '--heads=5')
    assert told(weights, '--heads=4').endswith(
        'its pos_embed is not the sinusoids of a square of patches, as our blocks have'
    )
    assert told(weights, '--size=8').startswith('of a DiT or SiT only --heads must be said, and --betas can')
    line = 'should be the weights of a DiT or SiT, and looks like a network of EDM (--from=edm)'
    assert line in told({'map_layer0.weight': np.zeros(1, np.float32)})
    line = tiny.refusal(capsys, *command, '--from=sit', '--betas=linear_betas')
    assert line.startswith('--betas is of tables of noise levels')
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_dit_s_2_at_its_published_size(tmp_path):
    model = theirs(S_2)
    export(model, tmp_path / 'w.safetensors')
    network, params, _ = read('dit', tmp_path / 'w.safetensors')
    x = inputs(S_2)[1:]
    index, classes = INDEX[1:], np.array([281])
    with torch.no_grad():
        expected = last(model(first(x), torch.tensor(index), torch.tensor(classes)))
    assert close(network(params, x, index, classes), expected, 2e-5)
