"""EDM's networks restated in PyTorch, with the names of their weights: what the conversion is compared with."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def norm(c, eps):
    return nn.GroupNorm(min(32, c // 4), c, eps)


class Resampling(nn.Module):
    """A convolution, or none, behind a change of the resolution by means and repetition of 2x2 pixels."""

    def __init__(self, a, b, kernel, change=None, fir=False, fused=False):
        super().__init__()
        self.change, self.kernel, self.fused = change, kernel, fused
        if kernel:
            self.weight, self.bias = nn.Parameter(torch.randn(b, a, kernel, kernel)), nn.Parameter(torch.zeros(b))
        if change:
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0] if fir else [1.0, 1.0])
            self.register_buffer('resample_filter', torch.outer(taps, taps)[None, None] / taps.sum() ** 2)

    def forward(self, x):
        f = self.resample_filter if self.change else torch.zeros(1, 1, 1, 1)
        pad, kernels = (f.shape[-1] - 1) // 2, f.expand(x.shape[1], -1, -1, -1)
        if self.fused:
            x = F.conv2d(x, self.weight, self.bias, padding=pad + 1)
            return F.conv2d(x, f.expand(x.shape[1], -1, -1, -1), groups=x.shape[1], stride=2)
        if self.change == 'down':
            x = F.conv2d(x, kernels, groups=x.shape[1], stride=2, padding=pad)
        if self.change == 'up':
            x = F.conv_transpose2d(x, 4 * kernels, groups=x.shape[1], stride=2, padding=pad)
        return F.conv2d(x, self.weight, self.bias, padding=self.kernel // 2) if self.kernel else x


class Block(nn.Module):
    """Residual, then attention if there are heads."""

    def __init__(self, a, b, e, song, change=None, attends=False, fir=False):
        super().__init__()
        eps = 1e-6 if song else 1e-5
        self.song, self.scale = song, math.sqrt(0.5) if song else 1.0
        self.norm0, self.conv0 = norm(a, eps), Resampling(a, b, 3, change, fir)
        self.affine = nn.Linear(e, b if song else 2 * b)
        self.norm1, self.conv1 = norm(b, eps), Resampling(b, b, 3)
        kernel = 1 if a != b or song else 0
        self.skip = Resampling(a, b, kernel, change, fir) if a != b or change else None
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

    def __init__(
        self, song, side, channels, multipliers, blocks, attends, classes=0, augment=0, fir=False, fourier=False,
        encoder='standard', decoder='standard', out=3,
    ):  # fmt: skip
        super().__init__()
        e, noise = 4 * channels, channels * (1 + fourier)
        self.song, self.channels = song, channels
        self.map_layer0, self.map_layer1 = nn.Linear(noise, e), nn.Linear(e, e)
        self.map_label = nn.Linear(classes, noise if song else e, bias=song) if classes else None
        self.map_augment = nn.Linear(augment, noise, bias=False) if augment else None
        self.map_noise = nn.Module()
        if fourier:
            self.map_noise.register_buffer('freqs', 16 * torch.randn(noise // 2))
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()

        def block(a, b, **more):
            return Block(a, b, e, song, fir=fir, **more)

        h, skips, aux = channels, [], 3
        for level, m in enumerate(multipliers):
            res = f'{side >> level}x{side >> level}'
            if level:
                self.enc[f'{res}_down'] = block(h, h, change='down')
                if encoder == 'skip':
                    self.enc[f'{res}_aux_down'] = Resampling(3, 3, 0, 'down', fir)
                    self.enc[f'{res}_aux_skip'] = Resampling(3, h, 1)
                if encoder == 'residual':
                    self.enc[f'{res}_aux_residual'] = Resampling(aux, h, 3, 'down', fir, fused=True)
                    aux = h
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
            if song and (level == 0 or decoder == 'skip'):
                if level < len(multipliers) - 1 and decoder == 'skip':
                    self.dec[f'{res}_aux_up'] = Resampling(out, out, 0, 'up', fir)
                self.dec[f'{res}_aux_norm'], self.dec[f'{res}_aux_conv'] = norm(h, 1e-6), Resampling(h, out, 3)
        if not song:
            self.out_norm, self.out_conv = norm(h, 1e-5), Resampling(h, out, 3)

    def forward(self, x, c_noise, classes=None):
        half = self.channels // 2
        if hasattr(self.map_noise, 'freqs'):
            phase = c_noise[:, None] * (2 * math.pi * self.map_noise.freqs)
        else:
            i = torch.arange(half, dtype=torch.float32) / (half - self.song)
            phase = c_noise[:, None] * (1 / 10_000) ** i[None]
        waves = [phase.sin(), phase.cos()] if self.song else [phase.cos(), phase.sin()]
        emb = torch.cat(waves, dim=1)
        if self.map_label is not None and self.song:
            emb = emb + self.map_label(classes * math.sqrt(classes.shape[1]))
        emb = self.map_layer1(F.silu(self.map_layer0(emb)))
        if self.map_label is not None and not self.song:
            emb = emb + self.map_label(classes)
        emb, skips, aux = F.silu(emb), [], x
        for name, layer in self.enc.items():
            if name.endswith('aux_down'):
                aux = layer(aux)
            elif name.endswith('aux_skip'):
                x = skips[-1] = x + layer(aux)
            elif name.endswith('aux_residual'):
                x = skips[-1] = aux = (x + layer(aux)) / math.sqrt(2)
            else:
                x = layer(x) if name.endswith('conv') else layer(x, emb)
                skips.append(x)
        answer = None
        for name, layer in self.dec.items():
            if name.endswith('aux_up'):
                answer = layer(answer)
            elif name.endswith('aux_norm'):
                here = F.silu(layer(x))
            elif name.endswith('aux_conv'):
                answer = layer(here) if answer is None else answer + layer(here)
            else:
                x = layer(torch.cat([x, skips.pop()], dim=1) if '_block' in name else x, emb)
        return answer if self.song else self.out_conv(F.silu(self.out_norm(x)))
