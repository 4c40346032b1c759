"""DiT and SiT restated in PyTorch, with the names of their weights: what the conversion is compared with."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def positions(side, hidden):
    """[1, side^2, hidden]: a quarter each of sine and cosine of the column, then of the row."""
    w = 10_000.0 ** (-torch.arange(hidden // 4, dtype=torch.float64) / (hidden // 4))
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing='ij')
    parts = [f(k.reshape(-1, 1) * w) for k in (column, row) for f in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=1)[None].float()


class Attention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, hidden, heads, ratio):
        super().__init__()
        self.attn, self.mlp = Attention(hidden, heads), nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(hidden, ratio * hidden), nn.Linear(ratio * hidden, hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 6 * hidden))

    def forward(self, x, c):
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c)[:, None].chunk(6, dim=-1)
        x = x + gate_a * self.attn(normed(x) * (1 + scale_a) + shift_a)
        h = self.mlp.fc1(normed(x) * (1 + scale_m) + shift_m)
        return x + gate_m * self.mlp.fc2(F.gelu(h, approximate='tanh'))


def normed(x):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


class DiT(nn.Module):
    """(x [B, C, H, W], t [B], classes [B], the last of which is none) -> [B, C or 2 C, H, W]; SiT gives the first C."""

    def __init__(self, side, patch, hidden, depth, heads, classes, channels=4, learns=True, ratio=4):
        super().__init__()
        self.patch, self.out, self.grid = patch, channels * (1 + learns), side // patch
        self.x_embedder, self.t_embedder, self.y_embedder = nn.Module(), nn.Module(), nn.Module()
        self.x_embedder.proj = nn.Conv2d(channels, hidden, patch, patch)
        self.t_embedder.mlp = nn.Sequential(nn.Linear(256, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.y_embedder.embedding_table = nn.Embedding(classes + 1, hidden)
        self.pos_embed = nn.Parameter(positions(self.grid, hidden), requires_grad=False)
        self.blocks = nn.ModuleList(Block(hidden, heads, ratio) for _ in range(depth))
        self.final_layer = nn.Module()
        self.final_layer.linear = nn.Linear(hidden, patch**2 * self.out)
        self.final_layer.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x, t, y):
        w = torch.exp(-math.log(10_000) * torch.arange(128, dtype=torch.float32) / 128)
        phase = t.float()[:, None] * w
        c = self.t_embedder.mlp(torch.cat([phase.cos(), phase.sin()], dim=1)) + self.y_embedder.embedding_table(y)
        h = self.x_embedder.proj(x).flatten(2).mT + self.pos_embed
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.final_layer.adaLN_modulation(c)[:, None].chunk(2, dim=-1)
        h = self.final_layer.linear(normed(h) * (1 + scale) + shift)
        h = h.unflatten(1, (self.grid, self.grid)).unflatten(-1, (self.patch, self.patch, self.out))
        return h.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
