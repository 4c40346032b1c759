"""DDIM's U-Net restated in PyTorch, with the names of its weights: what the conversion is compared with."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def norm(c):
    return nn.GroupNorm(32, c, 1e-6)


class Block(nn.Module):
    def __init__(self, a, b, e):
        super().__init__()
        self.norm1, self.conv1, self.temb_proj = norm(a), nn.Conv2d(a, b, 3, padding=1), nn.Linear(e, b)
        self.norm2, self.conv2 = norm(b), nn.Conv2d(b, b, 3, padding=1)
        if a != b:
            self.nin_shortcut = nn.Conv2d(a, b, 1)

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x))) + self.temb_proj(F.silu(emb))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, 'nin_shortcut') else x)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = norm(c)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x):
        y = self.norm(x)
        q, k, v = (layer(y).flatten(2) for layer in (self.q, self.k, self.v))
        weights = (q.mT @ k / math.sqrt(q.shape[1])).softmax(-1)
        return x + self.proj_out((v @ weights.mT).reshape(x.shape))


class Change(nn.Module):
    def __init__(self, c, stride, padding):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride, padding)


class Model(nn.Module):
    """(x [B, 3, H, W], index [B]) -> [B, 3, H, W]."""

    def __init__(self, channels, multipliers, blocks, attends):
        super().__init__()
        e, self.channels = 4 * channels, channels
        self.temb = nn.Module()
        self.temb.dense = nn.ModuleList([nn.Linear(channels, e), nn.Linear(e, e)])
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        self.down, self.mid, self.up = nn.ModuleList(), nn.Module(), nn.ModuleList()
        last, h, skips = len(multipliers) - 1, channels, [channels]

        def level(num, inputs, width, attention):
            made = nn.Module()
            made.block = nn.ModuleList(Block(a, width, e) for a in inputs)
            made.attn = nn.ModuleList(Attention(width) for _ in range(num * attention))
            return made

        for i, m in enumerate(multipliers):
            inputs = [h] + [m * channels] * (blocks - 1)
            h = m * channels
            self.down.append(level(blocks, inputs, h, attends[i]))
            skips += [h] * blocks
            if i < last:
                self.down[i].downsample = Change(h, 2, 0)
                skips.append(h)
        self.mid.block_1, self.mid.attn_1, self.mid.block_2 = Block(h, h, e), Attention(h), Block(h, h, e)
        for i, m in reversed([*enumerate(multipliers)]):
            inputs = [(h if j == 0 else m * channels) + skips.pop() for j in range(blocks + 1)]
            h = m * channels
            self.up.insert(0, level(blocks + 1, inputs, h, attends[i]))
            if i:
                self.up[0].upsample = Change(h, 1, 1)
        self.norm_out, self.conv_out = norm(h), nn.Conv2d(h, 3, 3, padding=1)

    def forward(self, x, index):
        half = self.channels // 2
        w = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10_000) / (half - 1)))
        phase = index.float()[:, None] * w
        emb = self.temb.dense[1](F.silu(self.temb.dense[0](torch.cat([phase.sin(), phase.cos()], dim=1))))
        hs = [self.conv_in(x)]
        for level in self.down:
            for i, block in enumerate(level.block):
                h = block(hs[-1], emb)
                hs.append(level.attn[i](h) if len(level.attn) else h)
            if hasattr(level, 'downsample'):
                hs.append(level.downsample.conv(F.pad(hs[-1], (0, 1, 0, 1))))
        h = self.mid.block_2(self.mid.attn_1(self.mid.block_1(hs[-1], emb)), emb)
        for level in reversed(self.up):
            for i, block in enumerate(level.block):
                h = block(torch.cat([h, hs.pop()], dim=1), emb)
                h = level.attn[i](h) if len(level.attn) else h
            if hasattr(level, 'upsample'):
                h = level.upsample.conv(F.interpolate(h, scale_factor=2, mode='nearest'))
        return self.conv_out(F.silu(self.norm_out(h)))
