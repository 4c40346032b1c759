"""UNet2DModels of diffusers with random weights: what they compute, they compute here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders, schedules
from diffusion_jax.conversion import incoming
from diffusion_jax.inference import runs
from diffusion_jax.interop import names, official
from diffusion_jax.nets import UNet
from diffusion_jax.samplers import ddim, sample
from tests import tiny
from tests.conversion.official_files import unet2d_config, unet2d_shapes

torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')

DDPM = unet2d_config()
OPENAI = {
    'down_block_types': ['ResnetDownsampleBlock2D', 'AttnDownBlock2D'],
    'up_block_types': ['AttnUpBlock2D', 'ResnetUpsampleBlock2D'],
    'downsample_type': 'resnet',
    'upsample_type': 'resnet',
    'resnet_time_scale_shift': 'scale_shift',
    'attn_norm_num_groups': 8,
    'attention_head_dim': 8,
    'flip_sin_to_cos': True,
    'freq_shift': 0,
    'norm_eps': 1e-5,
    'num_class_embeds': 4,
}
CONFIGS = {
    'ddpm': DDPM,
    'the_defaults_of_diffusers': unet2d_config(
        downsample_padding=1, flip_sin_to_cos=True, freq_shift=0, norm_eps=1e-5, attention_head_dim=8
    ),
    'openai': unet2d_config(**OPENAI),
    'attention everywhere, learned variance': unet2d_config(
        out_channels=6,
        block_out_channels=[16, 32, 32],
        down_block_types=['AttnDownBlock2D'] * 3,
        up_block_types=['AttnUpBlock2D'] * 3,
        layers_per_block=2,
    ),
}


def theirs(config):
    torch.manual_seed(0)
    model = diffusers.UNet2DModel.from_config({k: v for k, v in config.items() if k[0] != '_'}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape))  # what starts at zero or one would hide mistakes
    return model


def ours(folder):
    """(apply, params) of a saved folder, and its rows."""
    found = official.diffusers(folder, official.Asked())
    experiment = builders.build(incoming.config_of(found))
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    rows = found.rows(shapes)
    params = names.take_in('it', found.what, found.weights, rows, shapes)
    net = experiment.models.with_variance or experiment.models.denoise
    return net, params, rows


def inputs(size, n=2):
    x = np.random.default_rng(0).standard_normal((n, size, size, 3), np.float32)
    return x, np.array([3, 871][:n])


def times_of(index):
    return jnp.asarray((index + 1) / 1000, jnp.float32)


def scales(index):
    """Alpha and sigma of DDPM's table, [n, 1, 1, 1]."""
    schedule = schedules.DiscreteVP(schedules.linear_betas(1000))
    return (np.asarray(f(times_of(index)), np.float64)[:, None, None, None] for f in (schedule.alpha, schedule.sigma))


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def forward(model, x, index, classes=None):
    with torch.no_grad():
        labels = None if classes is None else torch.tensor(classes)
        out = model(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(index), class_labels=labels).sample
    return out.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize('kind', CONFIGS)
def test_outputs_and_the_way_back(kind, tmp_path):
    config = CONFIGS[kind]
    model = theirs(config)
    model.save_pretrained(tmp_path)
    net, params, rows = ours(tmp_path)
    x, index = inputs(8)
    classes = np.array([2, 0]) if config.get('num_class_embeds') else None
    cond = None if classes is None else jnp.asarray(classes)
    got = jax.jit(lambda p: net(p, cond)(jnp.asarray(x), times_of(index)))(params)
    got, *logits = got if isinstance(got, tuple) else (got,)
    expected = forward(model, x, index, classes)
    alpha, sigma = scales(index)
    x_0 = (x - sigma * expected[..., :3]) / alpha
    for i in range(2):
        assert relative(got[i], x_0[i]) < 2e-5
        for more in logits:
            assert relative(more[i], expected[i, ..., 3:]) < 2e-5
    back = names.give_out(rows, params)
    state = model.state_dict()
    assert back.keys() == state.keys()
    for name, w in state.items():
        np.testing.assert_array_equal(back[name], w.numpy())


def test_the_listing_of_names_is_that_of_diffusers():
    for config in (DDPM, CONFIGS['attention everywhere, learned variance']):
        state = theirs(config).state_dict()
        assert unet2d_shapes(config) == {name: tuple(w.shape) for name, w in state.items()}


@pytest.mark.parametrize('kind', ['ddpm', 'openai'])
def test_gradients(kind, tmp_path):
    """Of the mean square of x_0 in the weights, all of them."""
    config = CONFIGS[kind]
    model = theirs(config)
    model.save_pretrained(tmp_path)
    net, params, rows = ours(tmp_path)
    x, index = inputs(8)
    classes = np.array([2, 0]) if config.get('num_class_embeds') else None
    cond = None if classes is None else jnp.asarray(classes)
    found = jax.jit(jax.grad(lambda p: jnp.mean(net(p, cond)(jnp.asarray(x), times_of(index)) ** 2)))(params)
    alpha, sigma = (torch.tensor(a, dtype=torch.float32) for a in scales(index))
    x_t = torch.tensor(x.transpose(0, 3, 1, 2))
    labels = None if classes is None else torch.tensor(classes)
    eps = model(x_t, torch.tensor(index), class_labels=labels).sample
    ((x_t - sigma * eps) / alpha).square().mean().backward()
    got = names.give_out(rows, found)
    for name, p in model.named_parameters():
        expected = p.grad.numpy()
        # Attention does not depend on its keys' biases, so that of them there is only rounding.
        scale = 1 if name.endswith('to_k.bias') else np.abs(expected).max()
        assert np.abs(got[name] - expected).max() < 1e-3 * scale, name


def ten_steps(model):
    """A sample of DDIMScheduler in ten steps, and what it began with."""
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(10)
    x = torch.tensor(inputs(model.config.sample_size)[0].transpose(0, 3, 1, 2))
    start = x.numpy().transpose(0, 2, 3, 1)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(model(x, t).sample, t, x).prev_sample
    return start, x.numpy().transpose(0, 2, 3, 1)


def drawn(net, params, start):
    """The same here: k = 901, 801 .. 1 of the table, then clean data."""
    schedule = schedules.DiscreteVP(schedules.linear_betas(1000))
    sampler = ddim(net(params), schedule, 0.0)
    times = jnp.append(jnp.arange(901, 0, -100) / 1000, 0.0)
    return jax.jit(lambda x: sample(sampler, jax.random.key(0), x, times))(jnp.asarray(start))


def test_ten_steps_of_ddim(tmp_path):
    model = theirs(DDPM)
    model.save_pretrained(tmp_path)
    net, params, _ = ours(tmp_path)
    start, expected = ten_steps(model)
    assert relative(np.asarray(drawn(net, params, start)), expected) < 1e-4


def test_a_pipeline_comes_back_from_the_command_bit_by_bit(tmp_path):
    model = theirs(CONFIGS['the_defaults_of_diffusers'])
    pipeline = diffusers.DDPMPipeline(model, diffusers.DDPMScheduler(beta_schedule='squaredcos_cap_v2'))
    pipeline.save_pretrained(tmp_path / 'in')
    run = f'--workdir={tmp_path}/run'
    assert tiny.call('convert', '--from=diffusers', f'--in={tmp_path}/in', run) == 0
    assert runs.load(tmp_path / 'run').config['schedule']['betas'] == {'name': 'cosine_betas', 'T': 1000}
    assert tiny.call('convert', '--to=diffusers', f'--out={tmp_path}/out', run) == 0
    again = diffusers.DDPMPipeline.from_pretrained(tmp_path / 'out')
    for name, w in model.state_dict().items():
        np.testing.assert_array_equal(again.unet.state_dict()[name], w)
    for part in ('unet', 'scheduler'):
        before, after = (dict(getattr(p, part).config) for p in (pipeline, again))
        known = {k: v for k, v in after.items() if k[0] != '_'}
        differ = {k for k, v in known.items() if before[k] != v and tuple(before[k]) != tuple(v)}
        assert not differ


@pytest.mark.slow
def test_the_published_size_of_cifar10(tmp_path):
    config = unet2d_config(
        sample_size=32,
        norm_num_groups=32,
        block_out_channels=[128, 256, 256, 256],
        layers_per_block=2,
        down_block_types=['DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'],
        up_block_types=['UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
    )
    model = theirs(config)
    assert model.num_parameters() == 35_746_307
    model.save_pretrained(tmp_path)
    net, params, _ = ours(tmp_path)
    assert incoming.config_of(official.diffusers(tmp_path, official.Asked()))['net'] == {
        'name': 'UNet', 'channels': 128, 'multipliers': [1, 2, 2, 2], 'blocks': 2, 'attention': [16], 'dropout': 0.0,
        'dtype': 'float32',
    }  # fmt: skip
    x, index = inputs(32)
    x_0 = jax.jit(lambda p: net(p)(jnp.asarray(x), times_of(index)))(params)
    alpha, sigma = scales(index)
    expected = (x - sigma * forward(model, x, index)) / alpha
    for i in range(2):
        assert relative(x_0[i], expected[i]) < 2e-5
    start, sampled = ten_steps(model)
    assert relative(np.asarray(drawn(net, params, start)), sampled) < 1e-4


SIZES = {
    'ddpm-cifar10-32': (32, [128, 256, 256, 256], 1, 35_746_307),
    'ddpm-celebahq-256': (256, [128, 128, 256, 256, 512, 512], 4, 113_673_219),
}


@pytest.mark.parametrize('name', SIZES)
def test_parameters_of_published_sizes(name):
    size, widths, at, num = SIZES[name]
    down = ['DownBlock2D'] * len(widths)
    down[at] = 'AttnDownBlock2D'
    up = [kind.replace('Down', 'Up') for kind in down[::-1]]
    config = unet2d_config(
        sample_size=size,
        norm_num_groups=32,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=down,
        up_block_types=up,
    )
    with torch.device('meta'):
        model = diffusers.UNet2DModel.from_config({k: v for k, v in config.items() if k[0] != '_'})
    net = UNet(widths[0], [w // widths[0] for w in widths], 2, (size >> at,))
    shape = jnp.zeros((1, size, size, 3)), jnp.zeros(1)
    found = jax.eval_shape(lambda: net.init(jax.random.key(0), *shape))
    assert sum(leaf.size for leaf in jax.tree.leaves(found)) == model.num_parameters() == num
