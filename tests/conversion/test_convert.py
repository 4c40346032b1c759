"""The converting command, on files that are written here: what it reads, writes and refuses."""

import hashlib
import json
import re
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from diffusion_jax import builders
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.interop import diffusers_config, unet
from diffusion_jax.interop.unet import Architecture
from diffusion_jax.training.run import train
from tests import tiny, torch_files
from tests.conversion.official_files import (
    SCHEDULER,
    random_weights,
    unet2d_config,
    unet2d_shapes,
    write_diffusers,
)

pytestmark = pytest.mark.slow

FILE = 'diffusion_pytorch_model.safetensors'


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """(a folder of diffusers, the workdir that it became, its weights)."""
    base = tmp_path_factory.mktemp('official')
    weights = write_diffusers(base / 'in')
    assert tiny.call('convert', '--from=diffusers', f'--in={base}/in', f'--workdir={base}/run') == 0
    return base / 'in', base / 'run', weights


def into(tmp_path, *arguments):
    return ['convert', '--from=diffusers', f'--in={tmp_path}', f'--workdir={tmp_path}/run', *arguments]


def test_the_workdir_says_where_its_weights_are_from(official):
    folder, workdir, weights = official
    told = json.loads((workdir / 'provenance.json').read_text())['converted']
    assert told == {
        'format': 'diffusers',
        'file': str(folder / FILE),
        'sha256': hashlib.sha256((folder / FILE).read_bytes()).hexdigest(),
    }
    run = runs.load(workdir)
    assert sum(leaf.size for leaf in jax.tree.leaves(run.params)) == sum(w.size for w in weights.values())
    assert run.step == 0
    assert run.config['schedule'] == {'name': 'DiscreteVP', 'betas': {'name': 'linear_betas', 'T': 1000}}
    assert run.config['precond'] == {'name': 'eps'}
    assert run.config['sample']['sampler'] == {'name': 'ancestral', 'variance': 'large'}


def test_weights_are_where_they_belong(official):
    _, workdir, weights = official
    params = runs.load(workdir).params
    np.testing.assert_array_equal(
        params['up_1_block_0']['conv_1']['kernel'], weights['up_blocks.0.resnets.0.conv1.weight'].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(
        params['middle_attention']['k']['kernel'], weights['mid_block.attentions.0.to_k.weight'].T
    )
    np.testing.assert_array_equal(params['down_0_resample']['bias'], weights['down_blocks.0.downsamplers.0.conv.bias'])


def test_out_again_bit_by_bit(official, tmp_path):
    folder, workdir, weights = official
    assert tiny.call('convert', '--to=diffusers', f'--workdir={workdir}', f'--out={tmp_path}/out') == 0
    again = load_file(tmp_path / 'out' / 'unet' / FILE)
    assert again.keys() == weights.keys()
    for name, w in weights.items():
        np.testing.assert_array_equal(again[name], w)
    config = json.loads((tmp_path / 'out' / 'unet' / 'config.json').read_text())
    given = json.loads((folder / 'config.json').read_text())
    assert {k: config[k] for k in given if k[0] != '_'} == {k: v for k, v in given.items() if k[0] != '_'}
    scheduler = json.loads((tmp_path / 'out' / 'scheduler' / 'scheduler_config.json').read_text())
    assert {k: scheduler[k] for k in SCHEDULER if k[0] != '_'} == {k: v for k, v in SCHEDULER.items() if k[0] != '_'}
    # And what went out comes in again.
    assert tiny.call('convert', '--from=diffusers', f'--in={tmp_path}/out', f'--workdir={tmp_path}/again') == 0
    assert runs.load(tmp_path / 'again').config == runs.load(workdir).config


def test_plain_safetensors(official, tmp_path):
    _, workdir, weights = official
    assert tiny.call('convert', '--to=safetensors', f'--workdir={workdir}', f'--out={tmp_path}/w.safetensors') == 0
    plain = load_file(tmp_path / 'w.safetensors')
    assert len(plain) == len(weights)
    np.testing.assert_array_equal(plain['conv_in.kernel'], weights['conv_in.weight'].transpose(2, 3, 1, 0))


def test_it_is_sampled_edited_and_trained_on(official, tmp_path):
    _, workdir, _ = official
    out = f'--out={tmp_path}/x'
    assert tiny.call('sample', f'--workdir={workdir}', '--num=3', '--sampler=ddim', '--steps=2', out) == 0
    with np.load(tmp_path / 'x.npz') as file:
        assert file['samples'].shape == (3, 8, 8, 3)
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8)
    np.save(tmp_path / 'i.npy', image)
    edit = [f'--workdir={workdir}', '--edit=sdedit:t0=0.3', f'--image={tmp_path}/i.npy', '--num=1', '--sampler=ddim']
    assert tiny.call('sample', *edit, '--steps=4', f'--out={tmp_path}/e') == 0
    (tmp_path / 'pictures').mkdir()
    for i in range(4):
        np.save(tmp_path / 'pictures' / f'{i}.npy', image[0])
    np.save(tmp_path / 'all.npy', image.repeat(4, 0))
    tuned = builders.override(
        runs.load(workdir).config,
        {
            'data': {'name': 'folder', 'dir': str(tmp_path / 'all.npy'), 'split': 'all'},
            'eval.reference': 'all',
            'init_from': str(workdir),
            'train.batch_size': 8,
            'train.steps': 2,
            'optim': {'name': 'adam', 'lr': 1e-6},
        },
    )
    state = train(builders.check(tuned), tmp_path / 'tuned')
    start = runs.load(workdir).params
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), state.params, start)
    assert 0 < max(jax.tree.leaves(moved)) < 1e-5  # two steps of Adam from the weights that came in


def test_it_has_no_data_unless_they_are_named(official, tmp_path, capsys):
    _, workdir, _ = official
    line = tiny.refusal(capsys, 'evaluate', f'--workdir={workdir}', '--num=4', '--sampler=ddim', '--steps=2')
    assert line.startswith('this model came without its data')
    np.save(tmp_path / 'all.npy', np.zeros((4, 8, 8, 3), np.uint8))
    write_diffusers(tmp_path)
    assert tiny.call(*into(tmp_path, f'--data=folder:dir={tmp_path}/all.npy,split=all')) == 0
    assert runs.load(tmp_path / 'run').experiment.source.x.shape == (4, 8, 8, 3)


def test_attention_under_its_old_names_and_half_precision(official, tmp_path):
    _, workdir, weights = official
    old = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}
    renamed = {}
    for name, w in weights.items():
        for new, before in old.items():
            name = name.replace(new, before)
        renamed[name] = w.astype(np.float16)
    write_diffusers(tmp_path, weights=renamed)
    assert tiny.call(*into(tmp_path)) == 0
    for a, b in zip(
        jax.tree.leaves(runs.load(tmp_path / 'run').params), jax.tree.leaves(runs.load(workdir).params), strict=True
    ):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_classes_come_without_a_null_class_and_leave_without_it(tmp_path):
    config = unet2d_config(num_class_embeds=5)
    weights = write_diffusers(tmp_path, config)
    assert tiny.call(*into(tmp_path)) == 0
    run = runs.load(tmp_path / 'run')
    table = run.params['embedding']['classes']['embedding']
    np.testing.assert_array_equal(table[:5], weights['class_embedding.weight'])
    assert not table[5].any()
    assert run.config['sample']['cond'] == {'name': 'turn'}
    out = f'--out={tmp_path}/x'
    assert tiny.call('sample', f'--workdir={tmp_path}/run', '--num=2', '--sampler=ddim', '--steps=1', out) == 0
    assert tiny.call('convert', '--to=diffusers', f'--workdir={tmp_path}/run', f'--out={tmp_path}/out') == 0
    again = load_file(tmp_path / 'out' / 'unet' / FILE)
    np.testing.assert_array_equal(again['class_embedding.weight'], weights['class_embedding.weight'])
    assert json.loads((tmp_path / 'out' / 'unet' / 'config.json').read_text())['num_class_embeds'] == 5


@pytest.mark.parametrize(
    ('changes', 'line'),
    [
        ({'_class_name': 'UNet2DConditionModel'}, 'is of UNet2DConditionModel, and only UNet2DModel is read'),
        ({'time_embedding_type': 'fourier'}, "our blocks can do time_embedding_type='positional'; got 'fourier'"),
        ({'mid_block_scale_factor': 1.4}, 'our blocks can do mid_block_scale_factor=1; got 1.4'),
        ({'center_input_sample': True}, 'our blocks can do center_input_sample=False; got True'),
        ({'act_fn': 'relu'}, "our blocks can do act_fn='silu' or 'swish'; got 'relu'"),
        (
            {'down_block_types': ['SkipDownBlock2D', 'DownBlock2D']},
            'down_block_types has SkipDownBlock2D, and our blocks can do DownBlock2D, AttnDownBlock2D, '
            'ResnetDownsampleBlock2D',
        ),
        (
            {'up_block_types': ['UpBlock2D', 'UpBlock2D']},
            'up_block_types must attend at the levels at which down_block_types do',
        ),
        ({'block_out_channels': [16, 24]}, 'block_out_channels=[16, 24] must be whole multiples of the first'),
        ({'time_embedding_dim': 7}, 'time_embedding_dim=7 must be 64, 4 times the first width'),
        ({'attn_norm_num_groups': 4}, 'attn_norm_num_groups=4 must be 8, norm_num_groups'),
        ({'out_channels': 4}, 'in_channels=3 and out_channels=4 must be equal, or twice as many'),
        ({'dual_cross_attention': True}, 'dual_cross_attention=True is unknown here'),
        (
            {'up_block_types': ['AttnUpBlock2D', 'UpBlock2D'], 'upsample_type': 'resnet'},
            'the resolution must change in residual blocks at all levels, or at none',
        ),
        ({'sample_size': None}, 'does not say the size of an image: set --size'),
    ],
)
def test_what_the_blocks_cannot_do_is_refused_by_name(changes, line, tmp_path, capsys):
    write_diffusers(tmp_path, unet2d_config(**changes), {'x': np.zeros(1, np.float32)})
    told = tiny.refusal(capsys, *into(tmp_path))
    assert told.startswith(str(tmp_path / 'config.json'))
    assert told.endswith(line)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('changes', 'line'),
    [
        ({'_class_name': 'EulerDiscreteScheduler'}, 'is of EulerDiscreteScheduler, and only DDPMScheduler'),
        ({'beta_schedule': 'scaled_linear'}, "beta_schedule can be 'linear' or 'squaredcos_cap_v2' here; got"),
        ({'trained_betas': [0.1]}, 'trained_betas can be None here; got [0.1]'),
        ({'thresholding': True}, 'thresholding can be False here; got True'),
        ({'variance_type': 'learned_range'}, "does not go with the network's number of channels"),
    ],
)
def test_schedulers_of_another_kind_are_refused(changes, line, tmp_path, capsys):
    write_diffusers(tmp_path, scheduler={**SCHEDULER, **changes})
    assert line in tiny.refusal(capsys, *into(tmp_path))


def test_names_that_do_not_fit_are_listed_on_both_sides(official, tmp_path, capsys):
    _, _, weights = official
    wrong = {('conv_inn.weight' if n == 'conv_in.weight' else n): w for n, w in weights.items()}
    write_diffusers(tmp_path, weights=wrong)
    line = tiny.refusal(capsys, *into(tmp_path))
    assert line.endswith('its names do not fit: missing are conv_in.weight; left over are conv_inn.weight')
    write_diffusers(tmp_path, weights={**weights, 'extra': np.zeros(1, np.float32)})
    assert tiny.refusal(capsys, *into(tmp_path)).endswith('missing are none; left over are extra')
    write_diffusers(tmp_path, weights={**weights, 'conv_in.bias': np.zeros(7, np.float32)})
    assert tiny.refusal(capsys, *into(tmp_path)).endswith('its conv_in.bias has the shape (7,), not (16,)')


def test_files_that_are_no_weights(official, tmp_path, capsys):
    folder, _, _ = official
    write_diffusers(tmp_path)
    file, whole = tmp_path / FILE, (folder / FILE).read_bytes()

    def told(content):
        file.write_bytes(content)
        return tiny.refusal(capsys, *into(tmp_path))

    assert told(whole[: len(whole) // 2]).startswith(f'{file} is no whole safetensors file of {len(whole) // 2} bytes')
    assert told(whole[:100]).startswith(f'{file} is no whole safetensors file of 100 bytes')
    pointer = b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 143\n'
    assert told(pointer).startswith(f'{file} is a pointer of Git LFS')
    evil = torch_files.Call(torch_files.Global('os', 'system'), ('true',))
    code = told(torch_files.zipped(torch_files.ordered({'a': evil}), {}))
    assert 'it needs os.system, and only tensors are read' in code
    dit = {'x_embedder.proj.weight': np.zeros(1), 't_embedder.mlp.0.weight': np.zeros(1)}
    save_file(dit, file)
    assert tiny.refusal(capsys, *into(tmp_path)).endswith('and looks like a DiT or SiT (--from=dit or sit)')
    file.unlink()
    assert tiny.refusal(capsys, *into(tmp_path)).startswith(f'{tmp_path} has no weights: one of {FILE}')
    (tmp_path / 'config.json').unlink()
    assert tiny.refusal(capsys, *into(tmp_path)) == f'cannot read {tmp_path}/config.json: No such file or directory'
    (tmp_path / 'config.json').write_text('{')
    assert 'is no JSON file that can be read' in tiny.refusal(capsys, *into(tmp_path))
    shutil.rmtree(tmp_path)
    assert tiny.refusal(capsys, *into(tmp_path)).startswith(f'{tmp_path} is no folder')


def test_nothing_is_overwritten(official, tmp_path, capsys):
    folder, workdir, _ = official
    before = (workdir / 'config.json').read_text()
    line = tiny.refusal(capsys, 'convert', '--from=diffusers', f'--in={folder}', f'--workdir={workdir}')
    assert line.startswith(f'{workdir} holds a run already')
    assert (workdir / 'config.json').read_text() == before
    (tmp_path / 'x').write_text('mine')
    for to in ('diffusers', 'safetensors'):
        line = tiny.refusal(capsys, 'convert', f'--to={to}', f'--workdir={workdir}', f'--out={tmp_path}/x')
        assert line.startswith(f'{tmp_path}/x is there already')
    assert (tmp_path / 'x').read_text() == 'mine'


def test_flags_of_the_other_direction(official, tmp_path, capsys):
    _, workdir, _ = official
    run = f'--workdir={workdir}'
    line = 'set --from, for what comes in, or --to, for what goes out'
    assert tiny.refusal(capsys, 'convert', run) == line
    assert tiny.refusal(capsys, 'convert', run, '--from=adm', '--to=diffusers') == line
    line = tiny.refusal(capsys, 'convert', run, '--to=diffusers', '--in=x')
    assert line == '--in is of the other direction: leave it out'
    assert tiny.refusal(capsys, 'convert', run, '--from=adm').startswith('set --in, the path')
    for flag in ('--heads=4', '--betas=cosine_betas'):
        line = tiny.refusal(capsys, *into(official[0], flag))
        assert line.startswith(f'{flag.split("=")[0]} is of files without a config')


def test_what_diffusers_has_not_stays_here(tmp_path, capsys):
    train(tiny.points(steps=1, save_every=1), tmp_path / 'points')
    line = tiny.refusal(capsys, 'convert', '--to=diffusers', f'--workdir={tmp_path}/points', f'--out={tmp_path}/x')
    assert line == '--to=diffusers takes models of images, and this one is of points (2,)'


NET = {'name': 'UNet', 'channels': 16, 'multipliers': [1, 2], 'blocks': 1, 'attention': [4], 'dropout': 0.0}
EIGHT = {'layout': {'name': 'Layout', 'groups': 8}}


@pytest.mark.parametrize(
    ('changes', 'line'),
    [
        ({}, 'config.net: a UNet2DModel has one number of groups at all widths'),
        ({**EIGHT, 'name': 'DiT'}, "config.net.name='DiT': only a UNet can be a UNet2DModel"),
        ({**EIGHT, 'padding': 'circular'}, "config.net.padding='circular': a UNet2DModel has none: only zero fits"),
        ({**EIGHT, 'heads': 2, 'attention': [8, 4]}, 'config.net.heads=2: a UNet2DModel has heads of one size'),
    ],
)
def test_networks_that_are_no_unet2d(changes, line):
    with pytest.raises(UserError, match=re.escape(line)):
        diffusers_config.config(Architecture({**NET, **changes}, (8, 8, 3), None, False))


def test_sizes_that_a_spec_leaves_out_are_the_defaults():
    found = diffusers_config.config(Architecture(unet.complete({'name': 'UNet'}), (32, 32, 3), None, False))
    wanted = ('block_out_channels', 'layers_per_block', 'down_block_types')
    assert [found[name] for name in wanted] == [
        [128, 256, 256, 256],
        2,
        ['DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'],
    ]


def test_heads_of_one_size_are_told():
    for net, dim in (({'heads': 2}, 16), ({'head_channels': 8}, 8), ({}, None)):
        found = diffusers_config.config(Architecture({**NET, **EIGHT, **net}, (8, 8, 3), None, False))
        assert found['attention_head_dim'] == dim


def test_random_weights_are_of_the_published_size():
    """google/ddpm-cifar10-32's config, whose number of parameters its model card and its paper have: 35.7 million."""
    config = unet2d_config(
        block_out_channels=[128, 256, 256, 256],
        layers_per_block=2,
        down_block_types=['DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'],
        up_block_types=['UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
    )
    assert sum(int(np.prod(shape)) for shape in unet2d_shapes(config).values()) == 35_746_307
    assert {w.dtype for w in random_weights({'a.weight': (2, 2)}).values()} == {np.dtype(np.float32)}
