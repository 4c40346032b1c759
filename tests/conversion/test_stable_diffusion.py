"""Stable Diffusion of diffusers and transformers with random weights: what it computes, it computes here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders, precond, samplers
from diffusion_jax.inference import runs
from diffusion_jax.interop import autoencoder_kl, clip_text, clip_tokenizer, conditional_unet, names
from diffusion_jax.nets import clip_text as clip_nets
from diffusion_jax.nets import functional
from diffusion_jax.nets.layout import adm
from diffusion_jax.nets.text_unet import TextUNet
from diffusion_jax.types import Masked, Part
from tests import tiny

torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')
pytest.importorskip('transformers')
theirs = pytest.importorskip('tests.conversion.stable_diffusion_torch')


def relative(a, b):
    return np.abs(np.asarray(a) - b).max() / np.abs(b).max()


def last(x):
    """Channels last."""
    return np.moveaxis(x.detach().numpy(), 1, -1)


def first(x):
    """Channels first."""
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1))


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'shift_factor': 0.3, 'scaling_factor': 0.5, 'use_quant_conv': False, 'use_post_quant_conv': False},
        {'block_out_channels': [8, 16, 16], 'layers_per_block': 2, 'mid_block_add_attention': False,
         'down_block_types': ['DownEncoderBlock2D'] * 3, 'up_block_types': ['UpDecoderBlock2D'] * 3},
    ],
)  # fmt: skip
def test_the_autoencoder(changes, tmp_path):
    model = theirs.vae(**changes)
    model.save_pretrained(tmp_path)
    frozen = autoencoder_kl.read(tmp_path)
    x, scale, shift = noise(2, 16, 16, 3), model.config.scaling_factor, model.config.shift_factor or 0
    posterior = model.encode(first(x)).latent_dist
    found = frozen.encode(x)
    assert relative(found.mean, scale * (last(posterior.mean) - shift)) < 2e-5
    assert relative(found.std, scale * last(posterior.std)) < 2e-5
    z = noise(*found.mean.shape)
    assert relative(frozen.decode(z), last(model.decode(first(z / scale + shift)).sample)) < 2e-5


@pytest.mark.parametrize('activation', clip_nets.ACTIVATIONS)
def test_the_transformer_of_texts(activation):
    model = theirs.text_encoder(50, hidden_act=activation)
    tokens = np.random.default_rng(0).integers(0, 50, (3, theirs.LENGTH))
    spec = clip_text.spec('it', model.config.to_dict())
    net = clip_nets.CLIPText(**{k: v for k, v in spec.items() if k != 'name'})
    shapes = jax.eval_shape(net.init, jax.random.key(0), tokens)['params']
    weights = clip_text.bare({n: w.detach().numpy() for n, w in model.state_dict().items()})
    params = names.take_in('it', 'it', weights, clip_text.rows(shapes), shapes)

    @jax.jit
    def run(params):
        return net.apply({'params': params}, jnp.asarray(tokens))

    expected = model(torch.tensor(tokens)).last_hidden_state
    assert relative(run(params), expected.detach().numpy()) < 2e-5
    found = jax.jit(jax.grad(lambda p: jnp.mean(run(p) ** 3)))(params)
    (expected**3).mean().backward()
    got = names.give_out(clip_text.rows(shapes), found)
    _same_gradients(got, clip_text.bare({n: p.grad.numpy() for n, p in model.named_parameters()}))


def _same_gradients(got, expected):
    for name, grad in expected.items():
        # Attention does not depend on its keys' biases, so that of them there is only rounding.
        scale = 1 if name.endswith('k_proj.bias') else np.abs(grad).max()
        assert np.abs(got[name] - grad).max() <= 1e-3 * scale, name


@pytest.mark.parametrize('kind', theirs.KINDS)
def test_the_unet(kind):
    """Its outputs, gradients in all weights, and the way back; the states of the text are theirs."""
    model = theirs.unet(kind)
    told, size = bool(model.config.time_cond_proj_dim), model.config.sample_size
    net = conditional_unet.spec('it', {**model.config, '_class_name': 'UNet2DConditionModel'})
    states, x, index = noise(2, 5, 24), noise(2, size, size, 4), np.array([3, 871])
    ours = _with_states(net)
    # Near 1, so that float32 holds the phases 1000 (w - 1).
    w = Masked(jnp.array([[1.0625], [1.0078125]]), jnp.full(2, told))
    cond = {'text': Masked(jnp.asarray(states), jnp.ones((2, 5), bool)), 'w': w}
    shapes = jax.eval_shape(lambda key: ours[0](key, jnp.asarray(x), jnp.zeros(2), cond), jax.random.key(0))
    linear = model.config.use_linear_projection
    rows = [row for row in _rows(net, shapes, size, linear)]
    weights = conditional_unet.completed({n: p.detach().numpy() for n, p in model.state_dict().items()})
    params = names.take_in('it', 'it', weights, rows, shapes)

    def run(params):
        return ours[1](params, jnp.asarray(x), jnp.asarray(index, jnp.float32), cond, None)

    waves = None
    if told:
        phase = np.array([[62.5], [7.8125]]) * np.exp(-np.log(10_000) * np.arange(128) / 127)
        waves = torch.tensor(np.concatenate([np.sin(phase), np.cos(phase)], 1), dtype=torch.float32)
    out = model(first(x), torch.tensor(index), torch.tensor(states), timestep_cond=waves).sample
    found = jax.jit(run)(params)
    for i in range(2):
        assert relative(found[i], last(out)[i]) < 2e-5
    out.square().mean().backward()
    got = names.give_out(rows, jax.jit(jax.grad(lambda p: jnp.mean(run(p) ** 2)))(params))
    _same_gradients(got, {n: p.grad.numpy() for n, p in model.named_parameters()})
    back = names.give_out(rows, params)
    for name, p in model.state_dict().items():
        np.testing.assert_array_equal(back[name], p.numpy())


def _with_states(spec):
    """(init, apply) of a TextUNet whose text is states already."""

    class Given(clip_nets.CLIPText):
        def __call__(self, tokens):
            return tokens

    layout = adm(spec['layout']['groups'])
    sizes = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items() if k not in ('name', 'layout')}
    condition = {'text': Part((5, 24), None, True), 'w': Part((1,))}
    return functional(TextUNet(**sizes, layout=layout, out_channels=4, condition=condition, text=Given()))


def _rows(net, shapes, size, linear):
    found = conditional_unet.rows(net, {**shapes, 'text': {}}, size, linear)
    return [row._replace(name=row.name.removeprefix('unet.')) for row in found]


@pytest.mark.parametrize('text', ['a red cat, big!', '', "  A Cat's\n naïve 42 ÅÖ猫", 'cat ' * 30])
def test_the_tokenizer(text, tmp_path):
    words = theirs.tokenizer(tmp_path / 'words')
    words.save_pretrained(tmp_path / 'saved')
    expected = words(text, padding='max_length', max_length=theirs.LENGTH, truncation=True).input_ids
    for folder in ('words', 'saved'):
        encode, num = clip_tokenizer.read(tmp_path / folder, theirs.LENGTH)
        assert encode(text).tolist() == expected
        assert num == len(words)


@pytest.fixture(scope='module', params=['epsilon', 'v_prediction'])
def converted(request, tmp_path_factory):
    """(their pipeline, the workdir)."""
    folder = tmp_path_factory.mktemp(request.param)
    kind = '1.5' if request.param == 'epsilon' else '2.1'
    pipeline = theirs.pipeline(folder, kind, prediction_type=request.param)
    run = folder / 'run'
    assert tiny.call('convert', '--from=stable_diffusion', f'--in={folder}/pipeline', f'--workdir={run}') == 0
    return pipeline, run


PROMPT = 'a big red cat'


def test_ten_guided_steps_decoded_to_pixels(converted):
    """DDIM, guidance 7.5, the negative prompt the empty one; from the same noise."""
    pipeline, workdir = converted
    z_T = noise(2, 8, 8, 4)
    made = pipeline(
        [PROMPT] * 2, num_inference_steps=10, guidance_scale=7.5, latents=first(z_T), output_type='np'
    ).images
    latents = pipeline(
        [PROMPT] * 2, num_inference_steps=10, guidance_scale=7.5, latents=first(z_T), output_type='latent'
    ).images
    run = runs.load(workdir)
    choices = runs.Choices(steps=10, cond=f'prompts:text={PROMPT}')
    spec = runs.sample_spec(run.config['sample'], choices)
    grid, make_sampler = builders.build_sampling(run.experiment, spec)
    cond = builders.build_asked(run.experiment, spec['cond'])(jnp.arange(2))
    keys = jax.random.split(jax.random.key(0), 2)

    @jax.jit
    def draw(params, x):
        return samplers.sample(make_sampler(params, keys, cond), keys, x, grid)

    found = draw(run.params, jnp.asarray(z_T))
    scaling = pipeline.vae.config.scaling_factor
    assert relative(found, last(latents)) < 1e-4
    decoded = autoencoder_kl.read(run.config['data']['autoencoder']).decode(found)
    assert scaling == 0.18215
    assert np.abs(np.clip(np.asarray(decoded) / 2 + 0.5, 0, 1) - made).max() < 1e-4


def test_the_command_samples_a_prompt(converted, tmp_path):
    _, workdir = converted
    out = f'--out={tmp_path}/out'
    command = ['--num=2', '--steps=2', f'--cond=prompts:text={PROMPT}', out]
    assert tiny.call('sample', f'--workdir={workdir}', *command) == 0
    assert np.load(tmp_path / 'out.npz')['samples'].shape == (2, 8, 8, 4)
    assert (tmp_path / 'out.png').exists()


def test_an_inverted_picture_comes_back(converted):
    """A picture becomes latents by `kind.read`, as an edit takes it."""
    pipeline, workdir = converted
    kind = runs.load(workdir).experiment.source.kind
    x = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    mean = pipeline.vae.encode(first(2 * x[None].astype(np.float32) / 255 - 1)).latent_dist.mean
    assert relative(kind.read(x), 0.18215 * last(mean)[0]) < 2e-5


def test_the_boundary_is_that_of_the_scheduler_of_lcm():
    scheduler = diffusers.LCMScheduler()
    zero_one = precond.x0()
    made = precond.boundary(zero_one)
    for index in (0, 1, 19, 999):
        expected = scheduler.get_scalings_for_boundary_condition_discrete(index)
        t = jnp.array([(index + 1) / 1000])
        got = float(made.c_skip(t)[0]), float(made.c_out(t)[0])
        np.testing.assert_allclose(got, [float(e) for e in expected], rtol=1e-4, atol=1e-7)
