"""OpenAI's U-Net restated in PyTorch, with the names of its weights: what the conversion is compared with."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def norm(c):
    return nn.GroupNorm(32, c)


class Block(nn.Module):
    """A residual block; `change` is how the resolution changes within it."""

    def __init__(self, a, b, e, scale_shift, change=None):
        super().__init__()
        self.change, self.scale_shift = change, scale_shift
        self.in_layers = nn.Sequential(norm(a), nn.SiLU(), nn.Conv2d(a, b, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(e, b * (1 + scale_shift)))
        self.out_layers = nn.Sequential(norm(b), nn.SiLU(), nn.Dropout(0), nn.Conv2d(b, b, 3, padding=1))
        self.skip_connection = nn.Identity() if a == b else nn.Conv2d(a, b, 1)

    def resized(self, x):
        if self.change == 'down':
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode='nearest') if self.change == 'up' else x

    def forward(self, x, emb):
        h = self.in_layers[2](self.resized(self.in_layers[1](self.in_layers[0](x))))
        e = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.resized(x)) + h


class Attention(nn.Module):
    """Of all pixels to all; `dims` are those of its 1x1 convolutions."""

    def __init__(self, c, heads, order, dims):
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d}[dims]
        self.norm, self.qkv, self.proj_out = norm(c), conv(c, 3 * c, 1), conv(c, c, 1)
        self.heads, self.order, self.dims = heads, order, dims

    def forward(self, x, emb):
        b, c, *space = x.shape
        y = self.norm(x)
        y = self.qkv(y.flatten(2) if self.dims == 1 else y).flatten(2)
        if self.order == 'heads_first':
            q, k, v = y.unflatten(1, (self.heads, 3, -1)).unbind(2)
        else:
            q, k, v = y.unflatten(1, (3, self.heads, -1)).unbind(1)
        logits = torch.einsum('bhcq,bhck->bhqk', q, k) / math.sqrt(c // self.heads)
        y = torch.einsum('bhqk,bhck->bhcq', logits.softmax(-1), v).reshape(b, c, -1)
        y = self.proj_out(y if self.dims == 1 else y.unflatten(2, space))
        return x + y.reshape(x.shape)


class Strided(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.op = nn.Conv2d(c, c, 3, stride=2, padding=1)

    def forward(self, x, emb):
        return self.op(x)


class Doubled(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2, mode='nearest'))


class First(nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class UNetModel(nn.Module):
    """(x [B, C, H, W], t [B], classes [B] or None) -> [B, out, H, W]."""

    def __init__(
        self,
        channels,
        multipliers,
        blocks,
        attends,
        out=3,
        heads=1,
        head_channels=None,
        classes=None,
        scale_shift=True,
        updown=True,
        order='heads_first',
        dims=1,
    ):
        super().__init__()
        self.channels, e = channels, 4 * channels
        self.time_embed = nn.Sequential(nn.Linear(channels, e), nn.SiLU(), nn.Linear(e, e))
        self.label_emb = nn.Embedding(classes, e) if classes else None

        def attention(c):
            return Attention(c, c // head_channels if head_channels else heads, order, dims)

        def changed(c, change, other):
            return Block(c, c, e, scale_shift, change) if updown else other(c)

        h, skips = channels, [channels]
        self.input_blocks = nn.ModuleList([nn.ModuleList([First(3, channels, 3, padding=1)])])
        for level, m in enumerate(multipliers):
            for _ in range(blocks):
                layers = [Block(h, m * channels, e, scale_shift)]
                h = m * channels
                self.input_blocks.append(nn.ModuleList(layers + [attention(h)] * attends[level]))
                skips.append(h)
            if level < len(multipliers) - 1:
                self.input_blocks.append(nn.ModuleList([changed(h, 'down', Strided)]))
                skips.append(h)
        self.middle_block = nn.ModuleList([Block(h, h, e, scale_shift), attention(h), Block(h, h, e, scale_shift)])
        self.output_blocks = nn.ModuleList()
        for level, m in reversed([*enumerate(multipliers)]):
            for i in range(blocks + 1):
                layers = [Block(h + skips.pop(), m * channels, e, scale_shift)]
                h = m * channels
                layers += [attention(h)] * attends[level]
                if level and i == blocks:
                    layers.append(changed(h, 'up', Doubled))
                self.output_blocks.append(nn.ModuleList(layers))
        self.out = nn.Sequential(norm(h), nn.SiLU(), nn.Conv2d(h, out, 3, padding=1))

    def forward(self, x, t, classes=None):
        half = self.channels // 2
        frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half)
        phase = t.float()[:, None] * frequencies[None]
        emb = self.time_embed(torch.cat([phase.cos(), phase.sin()], dim=-1))
        if self.label_emb is not None:
            emb = emb + self.label_emb(classes)
        skips = []
        for layers in self.input_blocks:
            for layer in layers:
                x = layer(x, emb)
            skips.append(x)
        for layer in self.middle_block:
            x = layer(x, emb)
        for layers in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)
            for layer in layers:
                x = layer(x, emb)
        return self.out(x)
