"""A run of Stable Diffusion goes out as a folder that diffusers loads, and what is drawn from it is what we draw."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders, samplers, times
from diffusion_jax.inference import runs
from diffusion_jax.interop import autoencoder_kl
from diffusion_jax.nets.tiling import Tiles, tiled
from tests import tiny

torch = pytest.importorskip('torch')
diffusers = pytest.importorskip('diffusers')
pytest.importorskip('transformers')
theirs = pytest.importorskip('tests.conversion.stable_diffusion_torch')

PROMPT = 'a big red cat'
LCM = 'attention everywhere, told a guidance scale'
NEVER_SAID = {'_name_or_path', '_diffusers_version', '_use_default_values', 'pad_token_id'}
MADE = {
    '1.5': {},
    '2.1': {'prediction_type': 'v_prediction', 'timestep_spacing': 'trailing', 'set_alpha_to_one': True},
    LCM: {},
}


def first(x):
    """Channels first."""
    return torch.tensor(np.moveaxis(np.asarray(x), -1, 1))


@pytest.fixture(scope='module', params=[*MADE])
def both(request, tmp_path_factory):
    """(their pipeline, the workdir that it became, the pipeline that this became)."""
    folder = tmp_path_factory.mktemp('out')
    pipeline = theirs.pipeline(folder, request.param, **MADE[request.param])
    if request.param == LCM:
        pipeline.scheduler = diffusers.LCMScheduler.from_config(pipeline.scheduler.config)
        pipeline.save_pretrained(folder / 'pipeline')
    run = folder / 'run'
    assert tiny.call('convert', '--from=stable_diffusion', f'--in={folder}/pipeline', f'--workdir={run}') == 0
    assert tiny.call('convert', '--to=diffusers', f'--workdir={run}', f'--out={folder}/out') == 0
    again = diffusers.DiffusionPipeline.from_pretrained(folder / 'out')
    again.set_progress_bar_config(disable=True)
    return pipeline, run, again


def said(part):
    config = part.config.to_dict() if hasattr(part.config, 'to_dict') else dict(part.config)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items() if k not in NEVER_SAID}


def test_every_weight_and_setting_comes_back(both):
    """Bit by bit; pad_token_id, which a CLIPTextModel makes no use of, is the tokenizer's."""
    pipeline, _, again = both
    for name in ('unet', 'vae', 'text_encoder'):
        given, got = (getattr(of, name).state_dict() for of in (pipeline, again))
        assert given.keys() == got.keys()
        for key, w in given.items():
            np.testing.assert_array_equal(got[key].numpy(), w.numpy(), err_msg=key)
    for name in ('unet', 'vae', 'text_encoder', 'scheduler'):
        assert said(getattr(again, name)) == said(getattr(pipeline, name)), name
    assert type(again.scheduler) is type(pipeline.scheduler)
    assert again.tokenizer(PROMPT).input_ids == pipeline.tokenizer(PROMPT).input_ids


def drawn(workdir, z_T, steps, keys, w):
    config = json.loads((workdir / 'config.json').read_text())
    config['data']['w'] = w
    (workdir / 'config.json').write_text(json.dumps(config))
    run = runs.load(workdir)
    spec = runs.sample_spec(run.config['sample'], runs.Choices(steps=steps, cond=f'prompts:text={PROMPT}'))
    grid, make_sampler = builders.build_sampling(run.experiment, spec)
    cond = builders.build_asked(run.experiment, spec['cond'])(jnp.arange(len(z_T)))
    draw = jax.jit(lambda params, x: samplers.sample(make_sampler(params, keys, cond), keys, x, grid))
    return np.asarray(draw(run.params, jnp.asarray(z_T)))


def test_its_samples_are_ours(both, monkeypatch):
    """Of the same noise within 1e-4: guided DDIM in ten steps, and a latent consistency model in four.

    That is told w = 1.0625, because float32 has the phases 1000 (w - 1) of 8 to 1e-3 alone, there and here.
    """
    _, workdir, again = both
    z_T, keys = (
        np.random.default_rng(0).standard_normal((2, 8, 8, 4), np.float32),
        jax.random.split(jax.random.key(0), 2),
    )
    consistent = isinstance(again, diffusers.LatentConsistencyModelPipeline)
    steps, guidance = (4, 1.0625) if consistent else (10, 7.5)
    noises = (first(samplers.loop.noise(samplers.loop.fold_in(keys, i), jnp.asarray(z_T))) for i in range(steps))
    monkeypatch.setattr(
        'diffusers.schedulers.scheduling_lcm.randn_tensor', lambda *shape, **kwargs: next(noises), raising=True
    )
    asked = {'num_inference_steps': steps, 'guidance_scale': guidance, 'latents': first(z_T), 'output_type': 'latent'}
    expected = np.moveaxis(again([PROMPT] * 2, **asked).images.numpy(), 1, -1)
    found = drawn(workdir, z_T, steps, keys, guidance if consistent else None)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize('n', [1, 2, 3, 4, 6, 7, 8, 50])
def test_the_grid_of_a_latent_consistency_model_is_the_schedulers(n):
    scheduler = diffusers.LCMScheduler()
    scheduler.set_timesteps(n)
    np.testing.assert_array_equal(np.round(1000 * times.trailing(n, among=50)[:-1]), scheduler.timesteps.numpy() + 1)


@pytest.mark.parametrize('sides', [(21, 17), (8, 20), (8, 8)])
def test_tiles_are_those_of_diffusers(sides, tmp_path):
    """Tiles of 8 latents, of which a quarter is shared, at lengths at which none lies whole within the one before."""
    model = theirs.vae()
    model.save_pretrained(tmp_path)
    model.enable_tiling()
    model.tile_latent_min_size, model.tile_sample_min_size, model.tile_overlap_factor = 8, 16, 0.25
    if sides == (8, 20):  # along the axis of one tile theirs would follow it by a second within the first
        model.tile_overlap_factor, of = 0.0, Tiles(8, 0)
    else:
        of = Tiles(8, 2)
    frozen, scale = autoencoder_kl.read(tmp_path), model.config.scaling_factor
    rng = np.random.default_rng(0)
    z, x = (
        rng.standard_normal((2, *sides, 4), np.float32),
        rng.standard_normal((2, *(2 * s for s in sides), 3), np.float32),
    )
    with torch.no_grad():
        expected = np.moveaxis(model.decode(first(z / scale)).sample.numpy(), 1, -1)
        mean = scale * np.moveaxis(model.encode(first(x)).latent_dist.mean.numpy(), 1, -1)
    found = tiled(frozen.decode, z, of, pixels_out=2)
    assert np.abs(found - expected).max() < 2e-5 * np.abs(expected).max()
    found = tiled(lambda x: frozen.encode(x).mean, x, of, pixels_in=2)
    assert np.abs(found - mean).max() < 2e-5 * np.abs(mean).max()
    if sides != (8, 8):
        assert np.abs(found - np.asarray(frozen.encode(x).mean)).max() > 1e-2 * np.abs(mean).max()
