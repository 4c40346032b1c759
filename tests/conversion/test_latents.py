"""A folder of Stable Diffusion becomes a run, from the command line, without PyTorch."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from configs import sd15, sd15_lcm
from diffusion_jax import builders
from diffusion_jax.builders.data import build_source
from diffusion_jax.data import conditions, kinds, sources
from diffusion_jax.inference import runs
from diffusion_jax.interop import clip_tokenizer, conditional_unet, latent_process, official
from tests import tiny
from tests.conversion import stable_diffusion_files as files

pytestmark = pytest.mark.slow

pytest.importorskip('tokenizers')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return files.write(tmp_path_factory.mktemp('sd'))


@pytest.fixture(scope='module')
def workdir(folder, tmp_path_factory):
    run = tmp_path_factory.mktemp('runs') / 'sd'
    assert tiny.call('convert', '--from=stable_diffusion', f'--in={folder}', f'--workdir={run}') == 0
    return run


def test_the_run_is_what_the_folder_says(workdir, folder):
    run = runs.load(workdir)
    config = run.config
    assert config['schedule']['betas'] == {
        'name': 'scaled_linear_betas', 'T': 1000, 'beta_1': 0.00085, 'beta_T': 0.012,
    }  # fmt: skip
    assert config['precond'] == {'name': 'eps'}
    assert config['sample']['times'] == {'name': 'leading', 'n': 50, 'offset': 1, 'last': 1}
    assert config['sample']['guidance'] == {'name': 'classifier_free', 'w': 7.5}
    unet = load_file(folder / 'unet' / 'diffusion_pytorch_model.safetensors')
    kernel = unet['down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight']
    np.testing.assert_array_equal(run.params['down_0_attention_0']['block_0']['cross']['k']['kernel'], kernel.T)
    assert not np.any(run.params['embedding']['w']['kernel'])
    told = json.loads((workdir / 'provenance.json').read_text())['converted']
    assert len(told['others']) == 1
    assert all(str(workdir) in config['data'][name] for name in ('autoencoder', 'tokenizer'))


def test_a_latent_consistency_model_is_one(folder):
    """Its scheduler says so; the weights of the guidance that it is told are in its files."""
    scheduler = {**files.SCHEDULER, '_class_name': 'LCMScheduler'}
    made = latent_process.of_scheduler('it', scheduler)
    assert made.precond == {'name': 'boundary', 'of': {'name': 'eps'}}
    assert made.sampler == {'name': 'renoise'}
    weights = conditional_unet.completed({'time_embedding.cond_proj.weight': np.ones((8, 256))})
    assert weights['time_embedding.cond_proj.weight'].all()


def test_a_prompt_becomes_latents_and_a_picture(workdir, tmp_path):
    command = ['--num=1', '--steps=3', '--cond=prompts:text=a cat', f'--out={tmp_path}/out']
    assert tiny.call('sample', f'--workdir={workdir}', *command) == 0
    assert np.load(tmp_path / 'out.npz')['samples'].shape == (1, 4, 4, 4)
    assert (tmp_path / 'out.png').exists()


def test_texts_are_read_between_the_first_and_the_last_token(folder):
    encode, num = clip_tokenizer.read(folder / 'tokenizer', 6)
    first, last = files.WORDS.index('<|startoftext|>'), files.WORDS.index('<|endoftext|>')
    cat, a, d = (files.WORDS.index(word) for word in ('cat</w>', 'a</w>', 'd</w>'))
    assert encode('A  CAT').tolist() == [first, a, cat, last, last, last]
    assert encode('').tolist() == [first, *[last] * 5]
    assert encode('d d d d d d d').tolist() == [first, d, d, d, d, last]
    assert num == len(files.WORDS)


def test_names_that_do_not_fit_are_listed_on_both_sides(folder, tmp_path, capsys):
    files.write(tmp_path / 'in')
    file = tmp_path / 'in' / 'unet' / 'diffusion_pytorch_model.safetensors'
    unet = load_file(file)
    unet['another.weight'] = unet.pop('conv_in.weight')
    save_file(unet, file)
    arguments = ['--from=stable_diffusion', f'--in={tmp_path}/in', f'--workdir={tmp_path}/run']
    told = tiny.refusal(capsys, 'convert', *arguments)
    assert 'missing are unet.conv_in.weight; left over are unet.another.weight' in told
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('unet', 'scheduler', 'message'),
    [
        ({'in_channels': 9}, {}, 'in_channels=9 must be out_channels=4'),
        ({'addition_embed_type': 'text_time'}, {}, "can do addition_embed_type=None; got 'text_time'"),
        ({'cross_attention_dim': 16}, {}, 'attends to 16 features, and its texts have 8'),
        ({'surprise': 1}, {}, 'surprise=1 is unknown here'),
        ({}, {'_class_name': 'LCMScheduler'}, 'its U-Net is not told the weight of a guidance'),
        ({}, {'prediction_type': 'sample'}, "prediction_type can be 'epsilon' or 'v_prediction' here"),
    ],
)
def test_what_is_not_known_is_refused_by_name(unet, scheduler, message, tmp_path, capsys):
    files.write(tmp_path / 'in', unet, scheduler)
    arguments = ['--from=stable_diffusion', f'--in={tmp_path}/in', f'--workdir={tmp_path}/run']
    assert message in tiny.refusal(capsys, 'convert', *arguments)


def test_any_images_are_a_set_of_latents_with_texts(folder, tmp_path, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    texts = [conditions.encode_bytes(text, 16) for text in ('a cat', '', 'cat', 'd', 'a')]
    rows = type(texts[0])(*(np.stack(part) for part in zip(*texts, strict=True)))
    made = sources.Source(x, rows, kinds.images((8, 8, 3)), conditions.of_bytes(16), 'pictures')
    monkeypatch.setattr(sources, 'tfds', lambda name, split='train': made)
    spec = {
        'name': 'latents', 'images': {'name': 'pictures'}, 'length': 6, 'w': 8.0, 'cache': str(tmp_path),
        'autoencoder': str(folder / 'vae'), 'tokenizer': str(folder / 'tokenizer'),
    }  # fmt: skip
    source = build_source(spec, 'test')
    assert source.kind.shape == (4, 4, 4)
    index = np.array([2, 0])
    np.testing.assert_allclose(source.x[index], source.kind.read(x[index]), rtol=1e-4, atol=1e-5)
    told = sources.rows_of(source, index)
    encode, _ = clip_tokenizer.read(folder / 'tokenizer', 6)
    np.testing.assert_array_equal(told['text'].values, [encode('cat'), encode('a cat')])
    assert told['w'].mask.all()
    assert (told['w'].values == 8).all()


def test_the_config_is_the_network_of_a_published_folder():
    """Of the config.json of Stable Diffusion 1.5, the fields that say its size."""
    said = {'_class_name': 'UNet2DConditionModel', 'sample_size': 64, 'cross_attention_dim': 768}
    config = builders.resolve(sd15.get_config())
    net = {k: list(v) if isinstance(v, tuple) else v for k, v in config['net'].items()}
    text = net.pop('text')
    assert net == conditional_unet.spec('it', said)
    assert text['width'] == 768
    assert builders.resolve(sd15_lcm.get_config())['net'] == config['net']
    assert 'stable_diffusion' in official.SOURCES
