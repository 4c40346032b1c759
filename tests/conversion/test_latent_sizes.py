"""Numbers of parameters of Stable Diffusion 1 and 2, as docs/networks.md has them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

from diffusion_jax.nets import TextUNet, autoencoder
from diffusion_jax.nets.clip_text import CLIPText
from diffusion_jax.nets.layout import adm
from diffusion_jax.optim.frozen_parts import without
from diffusion_jax.types import Part

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / 'docs' / 'networks.md').read_text()
UNET = {'channels': 320, 'multipliers': (1, 2, 4, 4), 'attention': (64, 32, 16), 'out_channels': 4, 'layout': adm()}
TEXTS = {
    '1.5': CLIPText(),
    '2.1': CLIPText(width=1024, layers=23, heads=16, mlp=4096, activation='gelu'),
}
HEADS = {'1.5': {'heads': 8}, '2.1': {'head_channels': 64}}


def size(shapes):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def whole(version):
    parts = {'text': Part((77,), 49_408, True), 'w': Part((1,))}
    net = TextUNet(**UNET, **HEADS[version], condition=parts, text=TEXTS[version])
    return jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, 64, 64, 4)), jnp.zeros(1)))['params']


def unet(version):
    """Without the text, and without the matrix for the weight of a guidance, which official weights have not."""
    shapes = whole(version)
    return size(shapes) - size(shapes['text']) - size(shapes['embedding']['w'])


def text(version):
    tokens = jnp.zeros((1, 77), jnp.int32)
    return size(jax.eval_shape(lambda: TEXTS[version].init(jax.random.key(0), tokens)))


def vae():
    init, _, _ = autoencoder.functional({})
    return size(jax.eval_shape(lambda: init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))))


ROWS = {
    'Stable Diffusion 1.5, U-Net': lambda: unet('1.5'),
    'Stable Diffusion 1.5, text': lambda: text('1.5'),
    'Stable Diffusion 2.1, U-Net': lambda: unet('2.1'),
    'Stable Diffusion 2.1, text': lambda: text('2.1'),
    'Stable Diffusion, autoencoder': vae,
}


@pytest.mark.parametrize('name', ROWS)
def test_the_page_has_the_number_of_parameters(name):
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f'| {name}'))
    assert line.rstrip(' |').endswith(f' {ROWS[name]():,}')


def test_the_page_has_what_an_optimiser_does_not_keep_of_the_text():
    """Of 1.5, in bytes of float32."""
    shapes, adam = whole('1.5'), optax.adam(1e-5)
    plain, less = (size(jax.eval_shape(tx.init, shapes)) for tx in (adam, without(adam, TextUNet.FROZEN)))
    page = (Path(__file__).parents[2] / 'docs' / 'latent_diffusion.md').read_text()
    assert f'{4 * (plain - less):,} bytes' in page
    assert f'of {4 * plain:,}' in page
