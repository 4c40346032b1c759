"""A run of latents under texts goes out as a folder of diffusers, and moves from place to place, without PyTorch."""

import json
import re
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from diffusion_jax.builders import override
from diffusion_jax.builders.data import build_source
from diffusion_jax.conversion import outgoing, outgoing_texts
from diffusion_jax.data import kinds, sources
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.interop import latent_process
from diffusion_jax.workdir.files import load_config
from tests import tiny
from tests.conversion import stable_diffusion_files as files

pytestmark = pytest.mark.slow

pytest.importorskip('tokenizers')
UNET, TEXT = 'unet/diffusion_pytorch_model.safetensors', 'text_encoder/model.safetensors'
VAE = 'vae/diffusion_pytorch_model.safetensors'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return files.write(tmp_path_factory.mktemp('sd'))


@pytest.fixture(scope='module')
def workdir(folder, tmp_path_factory):
    run = tmp_path_factory.mktemp('runs') / 'sd'
    assert tiny.call('convert', '--from=stable_diffusion', f'--in={folder}', f'--workdir={run}') == 0
    return run


@pytest.fixture(scope='module')
def run(workdir):
    return runs.load(workdir)


def read(file):
    return json.loads(file.read_text())


def test_out_again_bit_by_bit(folder, workdir, tmp_path):
    out = tmp_path / 'out'
    assert tiny.call('convert', '--to=diffusers', f'--workdir={workdir}', f'--out={out}') == 0
    for name in (UNET, TEXT, VAE):
        given, got = load_file(folder / name), load_file(out / name)
        assert given.keys() == got.keys()
        for key, w in given.items():
            np.testing.assert_array_equal(got[key], w, err_msg=key)
    for name, given in (('unet', files.UNET), ('vae', files.VAE), ('text_encoder', files.TEXT)):
        assert given.items() <= read(out / name / 'config.json').items()
    scheduler = read(out / 'scheduler' / 'scheduler_config.json')
    assert scheduler.pop('_class_name') == 'DDIMScheduler'
    assert files.SCHEDULER.items() - {('_class_name', 'PNDMScheduler'), ('skip_prk_steps', True)} <= scheduler.items()
    text = read(out / 'text_encoder' / 'config.json')
    assert [files.WORDS[text[f'{of}_token_id']] for of in ('bos', 'eos')] == ['<|startoftext|>', '<|endoftext|>']
    assert {*(file.name for file in (out / 'tokenizer').iterdir())} == {
        'vocab.json',
        'merges.txt',
        'tokenizer_config.json',
    }
    assert read(out / 'model_index.json')['_class_name'] == 'StableDiffusionPipeline'
    with pytest.raises(UserError, match='overwrites nothing'):
        outgoing.to_diffusers(runs.load(workdir), out)


def test_a_consistency_model_goes_out_with_its_scheduler_and_what_it_is_told(run, tmp_path):
    """Of the config of a distilled run; its weights are those at hand, of which w's matrix is zero."""
    distilled = override(run.config, {'precond': {'name': 'boundary', 'of': {'name': 'v'}},
                                      'sample.times': {'name': 'trailing', 'n': 4, 'among': 25}})  # fmt: skip
    outgoing_texts.write(run._replace(config=distilled), tmp_path / 'out')
    assert read(tmp_path / 'out' / 'unet' / 'config.json')['time_cond_proj_dim'] == 256
    assert load_file(tmp_path / 'out' / UNET)['time_embedding.cond_proj.weight'].shape == (8, 256)
    scheduler = read(tmp_path / 'out' / 'scheduler' / 'scheduler_config.json')
    said = {'_class_name': 'LCMScheduler', 'prediction_type': 'v_prediction', 'original_inference_steps': 25}
    assert said.items() <= scheduler.items()
    assert read(tmp_path / 'out' / 'model_index.json')['_class_name'] == 'LatentConsistencyModelPipeline'
    assert latent_process.of_scheduler('it', scheduler).precond == distilled['precond']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data': {'name': 'absent'}}, "data.name='absent': a pipeline needs the autoencoder and the tokenizer"),
        ({'data.length': 5}, 'config.data.length=5: a pipeline tells all 6 places'),
        ({'net.text.name': 'mine.text'}, 'only a CLIPText can be a CLIPTextModel'),
        ({'net.layout': {'name': 'song'}}, "a UNet2DConditionModel has adm's, with a number of groups"),
        ({'net.scale_shift': True}, 'scale_shift=True: a UNet2DConditionModel has none: only False fits'),
        ({'precond': {'name': 'x0'}}, 'predicts eps or v; this run has scaled_linear_betas and x0'),
        ({'schedule.betas': {'name': 'cosine_betas'}}, 'has linear_betas or scaled_linear_betas and predicts'),
        ({'precond': {'name': 'boundary', 'of': {'name': 'eps'}, 'scaling': 1.0}}, 'consistency function is of T=1000'),
        ({'sample.times': {'name': 'leading', 'n': 5, 'offset': 3, 'last': 3}}, 'last=3: a DDIMScheduler ends at 0'),
    ],
)  # fmt: skip
def test_what_cannot_go_out_is_told(changes, message, run, tmp_path):
    with pytest.raises(UserError, match=re.escape(message)):
        outgoing_texts.write(run._replace(config=override(run.config, changes)), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_run_that_is_moved_is_sampled(folder, tmp_path):
    """What the folder was converted from is gone as well."""
    shutil.copytree(folder, tmp_path / 'in')
    assert tiny.call('convert', '--from=stable_diffusion', f'--in={tmp_path}/in', f'--workdir={tmp_path}/run') == 0
    shutil.rmtree(tmp_path / 'in')
    (tmp_path / 'run').rename(tmp_path / 'moved')
    said = read(tmp_path / 'moved' / 'config.json')['data']
    assert (said['autoencoder'], said['tokenizer']) == ('{workdir}/autoencoder', '{workdir}/tokenizer')
    command = ['--num=1', '--steps=2', '--cond=prompts:text=a cat', f'--out={tmp_path}/x', '--tile=3']
    assert tiny.call('sample', f'--workdir={tmp_path}/moved', *command) == 0
    assert (tmp_path / 'x.png').read_bytes() == shown(tmp_path / 'moved', tmp_path, tile=3)


def shown(workdir, folder, **tiles):
    """The picture of the latents in x.npz, by a source of its own."""
    z = np.load(folder / 'x.npz')['samples']
    build_source({**load_config(workdir)['data'], **tiles}).kind.show(folder / 'shown', z)
    return (folder / 'shown.png').read_bytes()


def test_pictures_are_decoded_in_tiles_where_it_is_asked_for(workdir, tmp_path):
    """Latents are 4 x 4: a tile of 4 is the whole."""
    np.savez(tmp_path / 'x.npz', samples=np.random.default_rng(0).standard_normal((2, 4, 4, 4), np.float32))
    whole = shown(workdir, tmp_path)
    assert shown(workdir, tmp_path, tile=4) == whole
    assert shown(workdir, tmp_path, tile=3) != whole


def test_what_is_encoded_in_tiles_is_another_set(folder, tmp_path, monkeypatch):
    """And an image that is edited is encoded in them as well; tiles that are the whole change neither."""
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    made = sources.Source(x, None, kinds.images((8, 8, 3)), None, 'pictures')
    monkeypatch.setattr(sources, 'tfds', lambda name, split='train': made)
    said = {'name': 'latents', 'images': {'name': 'pictures'}, 'length': 6, 'cache': str(tmp_path),
            'autoencoder': str(folder / 'vae'), 'tokenizer': str(folder / 'tokenizer')}  # fmt: skip
    plain, covered, cut = (build_source({**said, **tile}) for tile in ({}, {'tile': 4}, {'tile': 3, 'tile_overlap': 1}))
    index = np.arange(3)
    np.testing.assert_array_equal(covered.x[index], plain.x[index])
    assert np.abs(cut.x[index] - plain.x[index]).max() > 1e-3
    np.testing.assert_allclose(cut.kind.read(x), cut.x[index], rtol=1e-4, atol=1e-5)
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize(
    ('spec', 'message'),
    [
        ({'tile': 1}, 'side must be a whole number in [2, inf); got 1'),
        ({'tile': 4, 'tile_overlap': 3}, 'overlap must be at most 2, half of a tile; got 3'),
        ({'tile_overlap': 1}, 'tile_overlap=1 is of tiles, and there are none: set tile'),
    ],
)
def test_tiles_that_cannot_be_are_refused(spec, message, run):
    with pytest.raises(UserError, match=re.escape(message)):
        build_source({**run.config['data'], **spec})


def test_a_set_that_is_not_of_latents_has_no_tiles():
    with pytest.raises(UserError, match=r'config\.data\.tile is not an argument of digits'):
        build_source({'name': 'digits', 'tile': 8})


def test_the_text_is_not_in_the_state_of_the_optimiser(run):
    """Adam has two numbers for each parameter that is trained, and its counts."""
    params = jax.eval_shape(run.experiment.init, jax.random.key(0))
    trained = [leaf.shape for name, below in params.items() if name != 'text' for leaf in jax.tree.leaves(below)]
    state = [leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(run.experiment.tx.init, params)) if leaf.shape]
    assert sorted(state) == sorted(2 * trained)
