"""DINOv2 and its file against the published architecture, put together here from torch.nn's layers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.errors import UserError
from diffusion_jax.interop import dinov2 as files
from diffusion_jax.nets import dinov2
from tests import torch_files

D, DEPTH, GRID = 128, 2, 5
PARTS = ('weight', 'bias')


@pytest.fixture(scope='module')
def torch():
    return pytest.importorskip('torch')


def random_state(torch, d=D, depth=DEPTH, grid=GRID):
    """A state dict with the original's names, every number random."""
    torch.manual_seed(0)
    shapes = {'cls_token': (1, 1, d), 'mask_token': (1, d), 'pos_embed': (1, 1 + grid**2, d)}
    shapes |= {'patch_embed.proj.weight': (d, 3, 14, 14), 'patch_embed.proj.bias': (d,)}
    for i in range(depth):
        wide = {'attn.qkv': (3 * d, d), 'attn.proj': (d, d), 'mlp.fc1': (4 * d, d), 'mlp.fc2': (d, 4 * d)}
        for name, shape in wide.items():
            shapes |= {f'blocks.{i}.{name}.weight': shape, f'blocks.{i}.{name}.bias': shape[:1]}
        for name in ('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias', 'ls1.gamma', 'ls2.gamma'):
            shapes[f'blocks.{i}.{name}'] = (d,)
    shapes |= {'norm.weight': (d,), 'norm.bias': (d,)}
    scale = {n: np.prod(s[1:]) ** -0.5 if n.endswith('weight') else 1.0 for n, s in shapes.items()}
    return {n: torch.randn(s) * scale[n] for n, s in shapes.items()}


def reference(torch, state, x, depth=DEPTH):
    """The class token of images [B, 3, H, W], and the tokens after every block."""
    functional = torch.nn.functional
    d = state['cls_token'].shape[-1]

    def norm(x, name):
        return functional.layer_norm(x, (d,), state[f'{name}.weight'], state[f'{name}.bias'], 1e-6)

    def linear(x, name):
        return functional.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])

    patches = functional.conv2d(x, state['patch_embed.proj.weight'], state['patch_embed.proj.bias'], stride=14)
    h, w = patches.shape[2:]
    position, grid = state['pos_embed'], round((state['pos_embed'].shape[1] - 1) ** 0.5)
    if (h, w) != (grid, grid):
        plane = position[:, 1:].reshape(1, grid, grid, d).permute(0, 3, 1, 2)
        factors = ((h + 0.1) / grid, (w + 0.1) / grid)
        plane = functional.interpolate(plane, scale_factor=factors, mode='bicubic')
        position = torch.cat([position[:, :1], plane.permute(0, 2, 3, 1).reshape(1, h * w, d)], 1)
    tokens = torch.cat([state['cls_token'].expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], 1) + position
    kept = []
    for i in range(depth):
        b = f'blocks.{i}'
        heads = torch.nn.MultiheadAttention(d, d // 64, batch_first=True)
        heads.in_proj_weight.data, heads.in_proj_bias.data = (state[f'{b}.attn.qkv.{p}'] for p in PARTS)
        heads.out_proj.weight.data, heads.out_proj.bias.data = (state[f'{b}.attn.proj.{p}'] for p in PARTS)
        y = norm(tokens, f'{b}.norm1')
        tokens = tokens + state[f'{b}.ls1.gamma'] * heads(y, y, y, need_weights=False)[0]
        y = linear(functional.gelu(linear(norm(tokens, f'{b}.norm2'), f'{b}.mlp.fc1')), f'{b}.mlp.fc2')
        tokens = tokens + state[f'{b}.ls2.gamma'] * y
        kept.append(tokens.detach().numpy())
    return norm(tokens, 'norm')[:, 0].detach().numpy(), kept


def check(torch, path, state, h, w, depth=DEPTH):
    torch.save(state, path)
    net, params = files.read(path)
    x = np.random.default_rng(0).normal(size=(2, h, w, 3)).astype(np.float32)
    with_blocks = partial(net.apply, capture_intermediates=lambda module, _: isinstance(module, dinov2.Block))
    ours, kept = jax.jit(with_blocks)(params, x)
    want, blocks = reference(torch, state, torch.tensor(x.transpose(0, 3, 1, 2)), depth)
    for i, tokens in enumerate(blocks):
        got = kept['intermediates'][f'blocks_{i}']['__call__'][0]
        np.testing.assert_allclose(got, tokens, atol=1e-4 * np.abs(tokens).max(), err_msg=f'block {i}')
    np.testing.assert_allclose(ours, want, atol=1e-4 * np.abs(want).max())


def test_every_block_with_interpolated_positions(torch, tmp_path):
    check(torch, tmp_path / 'x.pth', random_state(torch), 4 * 14, 3 * 14)


@pytest.mark.slow
@pytest.mark.parametrize(('d', 'depth'), [(768, 12), (1024, 24)])
def test_every_block_at_full_size(torch, tmp_path, d, depth):
    check(torch, tmp_path / 'x.pth', random_state(torch, d, depth, 37), 224, 224, depth)


def test_positions_of_the_whole_grid_are_kept():
    position = jnp.asarray(np.random.default_rng(0).normal(size=(1, 10, 4)), jnp.float32)
    np.testing.assert_array_equal(dinov2.interpolated(position, 3, 3), position)


def test_other_files_are_one_line(tmp_path):
    def written(**more):
        tensors = {k: torch_files.full('0', shape) for k, shape in {'pos_embed': (1, 10, 64), **more}.items()}
        (tmp_path / 'x.pth').write_bytes(torch_files.zipped(tensors, {'0': np.ones(1, 'f4')}))
        return tmp_path / 'x.pth'

    with pytest.raises(UserError, match=r'should be DINOv2.s .* and has no cls_token, patch_embed.proj.weight, patch_'):
        files.read(written())
    with pytest.raises(UserError, match=r'x.pth should be .* without registers .*\)$'):
        files.read(written(register_tokens=(1, 4, 64)))
