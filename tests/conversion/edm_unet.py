"""EDM's networks restated in PyTorch, with the names of their weights: what the conversion is compared with."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def norm(c, eps):
    return nn.GroupNorm(min(32, c // 4), c, eps)


class Resampling(nn.Module):
    """A convolution, or none, behind a change of the resolution by means and repetition of 2x2 pixels."""

    def __init__(self, a, b, kernel, change=None):
        super().__init__()
        self.change, self.kernel = change, kernel
        if kernel:
            self.weight, self.bias = nn.Parameter(torch.randn(b, a, kernel, kernel)), nn.Parameter(torch.zeros(b))
        if change:
            self.register_buffer('resample_filter', torch.full((1, 1, 2, 2), 0.25))

    def forward(self, x):
        if self.change == 'down':
            x = F.avg_pool2d(x, 2)
        if self.change == 'up':
            x = F.interpolate(x, scale_factor=2, mode='nearest')
        return F.conv2d(x, self.weight, self.bias, padding=self.kernel // 2) if self.kernel else x


class Block(nn.Module):
    """Residual, then attention if there are heads."""

    def __init__(self, a, b, e, song, change=None, attends=False):
        super().__init__()
        eps = 1e-6 if song else 1e-5
        self.song, self.scale = song, math.sqrt(0.5) if song else 1.0
        self.norm0, self.conv0 = norm(a, eps), Resampling(a, b, 3, change)
        self.affine = nn.Linear(e, b if song else 2 * b)
        self.norm1, self.conv1 = norm(b, eps), Resampling(b, b, 3)
        kernel = 1 if a != b or song else 0
        self.skip = Resampling(a, b, kernel, change) if a != b or change else None
        self.heads = 0 if not attends else 1 if song else b // 64
        if self.heads:
            self.norm2, self.qkv, self.proj = norm(b, eps), Resampling(b, 3 * b, 1), Resampling(b, b, 1)

    def forward(self, x, emb):
        h = self.conv0(F.silu(self.norm0(x)))
        e = self.affine(emb)[:, :, None, None]
        if self.song:
            h = self.norm1(h + e)
        else:
            scale, shift = e.chunk(2, dim=1)
            h = self.norm1(h) * (scale + 1) + shift
        h = self.conv1(F.silu(h))
        x = (h + (x if self.skip is None else self.skip(x))) * self.scale
        if not self.heads:
            return x
        q, k, v = self.qkv(self.norm2(x)).flatten(2).unflatten(1, (self.heads, -1, 3)).unbind(3)
        logits = torch.einsum('bhcq,bhck->bhqk', q, k) / math.sqrt(q.shape[2])
        y = torch.einsum('bhqk,bhck->bhcq', logits.softmax(-1), v).reshape(x.shape)
        return (x + self.proj(y)) * self.scale


class EDMNet(nn.Module):
    """(x [B, C, H, W], c_noise [B], unit vectors [B, N] or None) -> [B, C, H, W]."""

    def __init__(self, song, side, channels, multipliers, blocks, attends, classes=0, augment=0):
        super().__init__()
        e = 4 * channels
        self.song, self.channels = song, channels
        self.map_layer0, self.map_layer1 = nn.Linear(channels, e), nn.Linear(e, e)
        self.map_label = nn.Linear(classes, e, bias=False) if classes else None
        self.map_augment = nn.Linear(augment, channels, bias=False) if augment else None
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()

        def block(a, b, **more):
            return Block(a, b, e, song, **more)

        h, skips = channels, []
        for level, m in enumerate(multipliers):
            res = f'{side >> level}x{side >> level}'
            if level:
                self.enc[f'{res}_down'] = block(h, h, change='down')
            else:
                self.enc[f'{res}_conv'] = Resampling(3, h, 3)
            skips.append(h)
            for i in range(blocks):
                self.enc[f'{res}_block{i}'] = block(h, m * channels, attends=(side >> level) in attends)
                h = m * channels
                skips.append(h)
        for level, m in reversed([*enumerate(multipliers)]):
            res = f'{side >> level}x{side >> level}'
            if level == len(multipliers) - 1:
                self.dec[f'{res}_in0'], self.dec[f'{res}_in1'] = block(h, h, attends=True), block(h, h)
            else:
                self.dec[f'{res}_up'] = block(h, h, change='up')
            for i in range(blocks + 1):
                attention = (side >> level) in attends and (i == blocks or not song)
                self.dec[f'{res}_block{i}'] = block(h + skips.pop(), m * channels, attends=attention)
                h = m * channels
        if song:
            self.dec[f'{res}_aux_norm'], self.dec[f'{res}_aux_conv'] = norm(h, 1e-6), Resampling(h, 3, 3)
        else:
            self.out_norm, self.out_conv = norm(h, 1e-5), Resampling(h, 3, 3)

    def forward(self, x, c_noise, classes=None):
        half = self.channels // 2
        i = torch.arange(half, dtype=torch.float32) / (half - self.song)
        phase = c_noise[:, None] * (1 / 10_000) ** i[None]
        waves = [phase.sin(), phase.cos()] if self.song else [phase.cos(), phase.sin()]
        emb = self.map_layer1(F.silu(self.map_layer0(torch.cat(waves, dim=1))))
        if self.map_label is not None:
            emb = emb + self.map_label(classes)
        emb, skips = F.silu(emb), []
        for name, layer in self.enc.items():
            x = layer(x) if name.endswith('conv') else layer(x, emb)
            skips.append(x)
        for name, layer in self.dec.items():
            if '_block' in name:
                x = torch.cat([x, skips.pop()], dim=1)
            x = F.silu(layer(x)) if name.endswith('norm') else layer(x) if 'aux' in name else layer(x, emb)
        return x if self.song else self.out_conv(F.silu(self.out_norm(x)))
