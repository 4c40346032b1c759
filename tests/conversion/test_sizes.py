"""Numbers of parameters of published networks, as docs/networks.md has them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from diffusion_jax.data.conditions import label
from diffusion_jax.nets import EDM2, DiT, UNet
from diffusion_jax.nets.layout import DDPM, adm, dhariwal, ncsnpp, song

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / 'docs' / 'networks.md').read_text()
OPENAI = {'layout': adm(), 'scale_shift': True}
IDDPM = {**OPENAI, 'blocks': 3, 'attention': (16, 8), 'heads': 4}
ADM = {**OPENAI, 'head_channels': 64, 'resample_in_block': True, 'attention': (32, 16, 8)}
SONG = {'layout': song(), 'resample_in_block': True, 'attention': (16,), 'blocks': 4}
NCSNPP = {**SONG, 'layout': ncsnpp()}
# The row's beginning, size of an image, settings, classes, output channels.
SIZES = [
    ('google/ddpm-cifar10-32', 32, {'multipliers': (1, 2, 2, 2), 'attention': (16,), 'layout': DDPM}, None, 3),
    ('google/ddpm-celebahq-256', 256, {'multipliers': (1, 1, 2, 2, 4, 4), 'attention': (16,)}, None, 3),
    ('iDDPM CIFAR-10', 32, {**IDDPM, 'multipliers': (1, 2, 2, 2)}, None, 6),
    ('iDDPM ImageNet-64', 64, {**IDDPM, 'multipliers': (1, 2, 3, 4)}, None, 6),
    ('ADM ImageNet-64', 64, {**ADM, 'channels': 192, 'multipliers': (1, 2, 3, 4), 'blocks': 3}, 1000, 6),
    ('ADM ImageNet-128', 128, {**ADM, 'channels': 256, 'multipliers': (1, 1, 2, 3, 4), 'blocks': 2}, 1000, 6),
    ('ADM ImageNet-256 |', 256, {**ADM, 'channels': 256, 'multipliers': (1, 1, 2, 2, 4, 4), 'blocks': 2}, 1000, 6),
    ('ADM ImageNet-256 without', 256,
     {**ADM, 'channels': 256, 'multipliers': (1, 1, 2, 2, 4, 4), 'blocks': 2}, None, 6),
    ("OpenAI's EDM and consistency models, ImageNet", 64,
     {**ADM, 'channels': 192, 'multipliers': (1, 2, 3, 4), 'blocks': 3}, 1000, 3),
    ("OpenAI's EDM and consistency models, LSUN", 256,
     {**ADM, 'channels': 256, 'multipliers': (1, 1, 2, 2, 4, 4), 'blocks': 2, 'scale_shift': False}, None, 3),
    ('EDM CIFAR-10, DDPM++, unconditional', 32, {**SONG, 'multipliers': (2, 2, 2)}, None, 3),
    ('EDM CIFAR-10, DDPM++, 10', 32, {**SONG, 'multipliers': (2, 2, 2)}, 10, 3),
    ('EDM CIFAR-10, NCSN++, unconditional', 32, {**NCSNPP, 'multipliers': (2, 2, 2)}, None, 3),
    ('EDM CIFAR-10, NCSN++, 10', 32, {**NCSNPP, 'multipliers': (2, 2, 2)}, 10, 3),
    ('EDM FFHQ-64, AFHQv2-64, DDPM++', 64, {**SONG, 'multipliers': (1, 2, 2, 2)}, None, 3),
    ('EDM FFHQ-64, AFHQv2-64, NCSN++', 64, {**NCSNPP, 'multipliers': (1, 2, 2, 2)}, None, 3),
    ('EDM ImageNet-64', 64,
     {**ADM, 'layout': dhariwal(), 'channels': 192, 'multipliers': (1, 2, 3, 4), 'blocks': 3}, 1000, 3),
]  # fmt: skip


# The row's beginning, channels, depth and heads.
TRANSFORMERS = [
    ('DiT-S/2', 384, 12, 6),
    ('DiT-B/2', 768, 12, 12),
    ('DiT-L/2', 1024, 24, 16),
    ('DiT-XL/2', 1152, 28, 16),
]


# The row's beginning, size of an image, channels of it and of the network, classes.
EDM2S = [
    *((f'EDM2 {size}, ImageNet-64', 64, 3, channels, 1000)
      for size, channels in {'XS': 128, 'S': 192, 'M': 256, 'L': 320, 'XL': 384}.items()),
    *((f'EDM2 {size}, ImageNet-512', 64, 4, channels, 1000)
      for size, channels in {'XXS': 64, 'XS': 128, 'S': 192, 'M': 256, 'L': 320, 'XL': 384, 'XXL': 448}.items()),
    ('EDM2 XS without classes', 64, 4, 128, None),
    ('EDM2 S without classes', 64, 4, 192, None),
]  # fmt: skip


def count(side, settings, classes, out):
    """Of the network, without the row of our null class."""
    net = UNet(**settings, out_channels=out, condition=label(classes) if classes else None)
    x, c = jnp.zeros((1, side, side, 3)), jnp.zeros(1)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, c))
    shapes = shapes['params']
    null = shapes['embedding']['classes']['embedding'].shape[1] if classes else 0
    drawn = shapes['embedding'].get('frequencies', jnp.zeros(0)).size  # a buffer there
    return sum(leaf.size for leaf in jax.tree.leaves(shapes)) - null - drawn


@pytest.mark.parametrize('row', SIZES, ids=[row[0] for row in SIZES])
def test_the_page_has_the_number_of_parameters(row):
    name, *what = row
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f'| {name}'))
    assert line.rstrip(' |').endswith(f' {count(*what):,}')


@pytest.mark.parametrize('row', TRANSFORMERS, ids=[row[0] for row in TRANSFORMERS])
def test_the_page_has_the_number_of_parameters_of_a_transformer(row):
    """Of latents 32x32x4, with the row of its own null class and without its fixed positions."""
    name, hidden, depth, heads = row
    net = DiT(hidden, depth, heads, 2, out_channels=8, condition=label(1000))
    x, c = jnp.zeros((1, 32, 32, 4)), jnp.zeros(1)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, c))
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f'| {name}'))
    num = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert line.rstrip(' |').endswith(f' {num:,}')


@pytest.mark.parametrize('row', EDM2S, ids=[row[0] for row in EDM2S])
def test_the_page_has_the_number_of_parameters_of_edm2(row):
    """Of the network alone: without the waves that are drawn, which are a buffer there, and without u(sigma)."""
    name, side, seen, channels, classes = row
    net = EDM2(channels, out_channels=seen, condition=label(classes) if classes else None)
    x, c = jnp.zeros((1, side, side, seen)), jnp.zeros(1)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, c))['params']
    num = sum(leaf.size for leaf in jax.tree.leaves({**shapes, 'fourier': {}}))
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f'| {name} |'))
    assert line.rstrip(' |').endswith(f' {num:,}')
