"""Networks. They map (x, c_noise, cond) to an array like x, or to logits, and know nothing about diffusion."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array

from diffusion_jax.nets.dequantiser import Dequantiser
from diffusion_jax.nets.dit import DiT
from diffusion_jax.nets.edm2 import EDM2
from diffusion_jax.nets.log_weight import LogWeight, MPLogWeight
from diffusion_jax.nets.mlp import MLP
from diffusion_jax.nets.remat import REMAT
from diffusion_jax.nets.text_unet import TextUNet
from diffusion_jax.nets.unet import UNet
from diffusion_jax.nets.unet_encoder import UNetEncoder
from diffusion_jax.types import Cond

__all__ = [
    'EDM2',
    'MLP',
    'REMAT',
    'Dequantiser',
    'DiT',
    'LogWeight',
    'MPLogWeight',
    'TextUNet',
    'UNet',
    'UNetEncoder',
    'functional',
]

Init = Callable[..., Any]  # (key, x [B, ...], c_noise [B] or [B, 2], cond = None) -> params
Apply = Callable[[Any, Array, Array, Cond, jax.Array | None], Array]  # types.Network


def functional(module: nn.Module) -> tuple[Init, Apply]:
    """A Linen module as two pure functions: all that the rest of the code base sees of Flax.

    Returns:
        `init(key, x, c_noise, cond=None) -> params`: jit it, so that only the initialisers are compiled and run;
        `apply(params, x, c_noise, cond, key) -> F`: `key` drives dropout, and None switches dropout off.
    """

    def init(key: jax.Array, x: Array, c_noise: Array, cond: Cond = None) -> Any:
        return module.init(key, x, c_noise, cond)['params']

    def apply(params: Any, x: Array, c_noise: Array, cond: Cond, key: jax.Array | None) -> Array:
        rngs = None if key is None else {'dropout': key}
        return module.apply({'params': params}, x, c_noise, cond, deterministic=key is None, rngs=rngs)  # pyright: ignore

    return init, apply
