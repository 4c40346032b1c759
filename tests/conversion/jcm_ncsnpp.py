"""NCSN++ and DDPM++ of score_sde restated in Linen: classes of the same names give the weights the same names."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn


def filtered(x, taps, up=1, down=1, pads=(0, 0)):
    """Zeros between the pixels, padding, a filter along both axes and every `down`-th pixel, as one convolution."""
    f = np.outer(taps, taps).astype(np.float32)
    kernel = jnp.tile(jnp.asarray(f)[:, :, None, None], (1, 1, 1, x.shape[-1]))
    return jax.lax.conv_general_dilated(
        x, kernel, (down, down), [pads, pads], lhs_dilation=(up, up), dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=x.shape[-1], precision='highest',
    )  # fmt: skip


SMOOTH = np.array([1, 3, 3, 1]) / 8


def smaller(x, fir):
    return filtered(x, SMOOTH, down=2, pads=(1, 1)) if fir else nn.avg_pool(x, (2, 2), (2, 2))


def larger(x, fir):
    return filtered(x, 2 * SMOOTH, up=2, pads=(2, 2)) if fir else x.repeat(2, 1).repeat(2, 2)


def norm(x):
    return nn.GroupNorm(min(32, x.shape[-1] // 4), epsilon=1e-6)(x)


class GaussianFourierProjection(nn.Module):
    features: int

    @nn.compact
    def __call__(self, c):
        w = self.param('W', nn.initializers.normal(16.0), (self.features,))
        phase = 2 * jnp.pi * c[:, None] * jax.lax.stop_gradient(w)[None]
        return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)


class NIN(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        w = self.param('W', nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        b = self.param('b', nn.initializers.normal(0.1), (self.features,))
        return x @ w + jnp.broadcast_to(b, (*x.shape[:-1], self.features))


class AttnBlockpp(nn.Module):
    @nn.compact
    def __call__(self, x):
        b, h, w, c = x.shape
        y = norm(x)
        q, k, v = (NIN(c)(y).reshape(b, h * w, c) for _ in range(3))
        weights = jax.nn.softmax(q @ k.swapaxes(1, 2) / np.sqrt(c), axis=-1)
        return (x + NIN(c)((weights @ v).reshape(x.shape))) / np.sqrt(2)


class ResnetBlockBigGANpp(nn.Module):
    features: int | None = None
    change: str | None = None
    fir: bool = True

    @nn.compact
    def __call__(self, x, emb):
        c = self.features or x.shape[-1]
        h = nn.swish(norm(x))
        if self.change:
            by = {'up': larger, 'down': smaller}[self.change]
            x, h = by(x, self.fir), by(h, self.fir)
        h = nn.Conv(c, (3, 3))(h) + nn.Dense(c)(nn.swish(emb))[:, None, None, :]
        h = nn.Conv(c, (3, 3))(nn.swish(norm(h)))
        return (h + (nn.Conv(c, (1, 1))(x) if x.shape[-1] != c or self.change else x)) / np.sqrt(2)


class Conv2d(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        w = self.param('weight', nn.initializers.lecun_normal(), (3, 3, x.shape[-1], self.features))
        x = filtered(x, SMOOTH, pads=(2, 2))
        x = jax.lax.conv_general_dilated(x, w, (2, 2), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
        b = self.param('bias', nn.initializers.normal(0.1), (self.features,))
        return x + jnp.broadcast_to(b, x.shape)


class Downsample(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x):
        return Conv2d(self.features)(x)


class NCSNpp(nn.Module):
    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    plus: bool = True  # NCSN++; DDPM++ otherwise

    @nn.compact
    def __call__(self, x, c_noise):
        block = ResnetBlockBigGANpp
        if self.plus:
            emb = GaussianFourierProjection(self.channels)(c_noise)
        else:
            half = self.channels // 2
            w = 10_000.0 ** (-np.arange(half, dtype=np.float32) / (half - 1))
            phase = c_noise[:, None] * w[None]
            emb = jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)
        emb = nn.Dense(4 * self.channels)(emb)
        emb = nn.Dense(4 * self.channels)(nn.swish(emb))
        aux, seen = x, x.shape[-1]
        skips = [nn.Conv(self.channels, (3, 3))(x)]
        for level, m in enumerate(self.multipliers):
            for _ in range(self.blocks):
                h = block(self.channels * m)(skips[-1], emb)
                skips.append(AttnBlockpp()(h) if h.shape[1] == 16 else h)
            if level < len(self.multipliers) - 1:
                h = block(change='down', fir=self.plus)(skips[-1], emb)
                if self.plus:
                    h = aux = (Downsample(h.shape[-1])(aux) + h) / np.sqrt(2)
                skips.append(h)
        h = block()(skips[-1], emb)
        h = AttnBlockpp()(h)
        h = block()(h, emb)
        for level, m in reversed([*enumerate(self.multipliers)]):
            for _ in range(self.blocks + 1):
                h = block(self.channels * m)(jnp.concatenate([h, skips.pop()], axis=-1), emb)
            if h.shape[1] == 16:
                h = AttnBlockpp()(h)
            if level:
                h = block(change='up', fir=self.plus)(h, emb)
        return nn.Conv(seen, (3, 3))(nn.swish(norm(h)))
