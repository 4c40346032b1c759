"""EDM2's network and loss restated in PyTorch, with the names of their weights: what ours is compared with."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def unit(x, dims):
    """Over its root mean square, and 1e-4 more."""
    return x / (1e-4 + x.square().mean(dims, keepdim=True).sqrt())


def weighed(a, b, t):
    return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)


class Layer(nn.Module):
    """A convolution, or a dense layer for `side` 0; in training the weights that it stores are normalised first."""

    def __init__(self, a, b, side=0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(b, a, *(side,) * (2 if side else 0)))

    def forward(self, x, gain=1.0):
        dims = tuple(range(1, self.weight.ndim))
        if self.training:
            with torch.no_grad():
                self.weight.copy_(unit(self.weight, dims))
        w = unit(self.weight, dims) * gain / math.sqrt(self.weight[0].numel())
        return F.linear(x, w) if w.ndim == 2 else F.conv2d(x, w, padding=w.shape[-1] // 2)


class Waves(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.register_buffer('freqs', 2 * math.pi * torch.randn(n))
        self.register_buffer('phases', 2 * math.pi * torch.rand(n))

    def forward(self, c):
        return math.sqrt(2) * torch.cos(c[:, None] * self.freqs + self.phases)


class Block(nn.Module):
    def __init__(self, a, b, e, up=False, change=None, heads=0, clip=256.0):
        super().__init__()
        self.up, self.change, self.heads, self.clip = up, change, heads, clip
        self.emb_gain = nn.Parameter(torch.zeros(()))
        self.conv_res0, self.conv_res1 = Layer(a if up else b, b, 3), Layer(b, b, 3)
        self.emb_linear = Layer(e, b)
        self.conv_skip = Layer(a, b, 1) if a != b else None
        self.attn_qkv, self.attn_proj = (Layer(b, 3 * b, 1), Layer(b, b, 1)) if heads else (None, None)

    def forward(self, x, emb):
        if self.change == 'down':
            x = F.avg_pool2d(x, 2)
        if self.change == 'up':
            x = F.interpolate(x, scale_factor=2, mode='nearest')
        if not self.up:
            x = unit(x if self.conv_skip is None else self.conv_skip(x), (1,))
        y = self.conv_res0(F.silu(x) / 0.596)
        y = y * (1 + self.emb_linear(emb, self.emb_gain))[:, :, None, None]
        y = self.conv_res1(F.silu(y) / 0.596)
        if self.up and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = weighed(x, y, 0.3)
        if self.heads:
            qkv = self.attn_qkv(x).flatten(2).unflatten(1, (self.heads, -1, 3))
            q, k, v = unit(qkv, (2,)).unbind(3)
            logits = torch.einsum('bhcq,bhck->bhqk', q, k) / math.sqrt(q.shape[2])
            y = torch.einsum('bhqk,bhck->bhcq', logits.softmax(-1), v)
            x = weighed(x, self.attn_proj(y.reshape(x.shape)), 0.3)
        return x.clamp(-self.clip, self.clip)


class UNet(nn.Module):
    """(x [B, C, H, W], c_noise [B], unit vectors [B, N] or None) -> [B, C, H, W]."""

    def __init__(self, side, channels, multipliers, blocks, attends, classes=0, per_head=64, seen=3, clip=256.0):
        super().__init__()
        widths = [channels * m for m in multipliers]
        e = max(widths)
        self.out_gain = nn.Parameter(torch.zeros(()))
        self.emb_fourier, self.emb_noise = Waves(widths[0]), Layer(widths[0], e)
        self.emb_label = Layer(classes, e) if classes else None

        def block(a, b, of=None, **how):
            return Block(a, b, e, heads=b // per_head if of in attends or of == 'middle' else 0, clip=clip, **how)

        self.enc, self.dec, h, skips = nn.ModuleDict(), nn.ModuleDict(), seen + 1, []
        for level, b in enumerate(widths):
            s = side >> level
            if level:
                self.enc[f'{s}x{s}_down'] = block(h, h, change='down')
            else:
                self.enc[f'{s}x{s}_conv'], h = Layer(h, b, 3), b
            skips.append(h)
            for i in range(blocks):
                self.enc[f'{s}x{s}_block{i}'], h = block(h, b, s), b
                skips.append(h)
        for level, b in reversed([*enumerate(widths)]):
            s = side >> level
            if level == len(widths) - 1:
                self.dec[f'{s}x{s}_in0'] = block(h, h, 'middle', up=True)
                self.dec[f'{s}x{s}_in1'] = block(h, h, up=True)
            else:
                self.dec[f'{s}x{s}_up'] = block(h, h, up=True, change='up')
            for i in range(blocks + 1):
                self.dec[f'{s}x{s}_block{i}'], h = block(h + skips.pop(), b, s, up=True), b
        self.out_conv = Layer(h, seen, 3)

    def forward(self, x, c_noise, classes=None):
        emb = self.emb_noise(self.emb_fourier(c_noise))
        if self.emb_label is not None:
            emb = weighed(emb, self.emb_label(classes * math.sqrt(classes.shape[1])), 0.5)
        emb = F.silu(emb) / 0.596
        x, skips = torch.cat([x, torch.ones_like(x[:, :1])], dim=1), []
        for name, layer in self.enc.items():
            x = layer(x) if name.endswith('conv') else layer(x, emb)
            skips.append(x)
        for name, layer in self.dec.items():
            if '_block' in name:
                skip = skips.pop()
                a, b = x.shape[1], skip.shape[1]  # each half of the sum of squares
                x = torch.cat([x * math.sqrt((a + b) / a / 2), skip * math.sqrt((a + b) / b / 2)], dim=1)
            x = layer(x, emb)
        return self.out_conv(x, self.out_gain)


class EDM2Net(nn.Module):
    """(x [B, C, H, W], sigma [B], unit vectors or None) -> (D(x, sigma), u(sigma) [B]), with sigma_data = 0.5."""

    def __init__(self, waves=128, **settings):
        super().__init__()
        self.unet = UNet(**settings)
        self.logvar_fourier, self.logvar_linear = Waves(waves), Layer(waves, 1)

    def forward(self, x, sigma, classes=None):
        s, c_noise = sigma[:, None, None, None], sigma.log() / 4
        c_skip, c_out, c_in = 0.25 / (s**2 + 0.25), s * 0.5 / (s**2 + 0.25).sqrt(), 1 / (s**2 + 0.25).sqrt()
        u = self.logvar_linear(self.logvar_fourier(c_noise))[:, 0]
        return c_skip * x + c_out * self.unet(c_in * x, c_noise, classes), u


def loss(net, x, sigma, noise, classes=None):
    """A mean over all numbers."""
    D, u = net(x + noise * sigma[:, None, None, None], sigma, classes)
    lam = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    u = u[:, None, None, None]
    return (lam[:, None, None, None] / u.exp() * (D - x) ** 2 + u).mean()
