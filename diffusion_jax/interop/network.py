"""A network of another program as it is read, and what a command line says of its file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffusion_jax.interop.names import Row, Tree
from diffusion_jax.interop.process import Process
from diffusion_jax.interop.unet import Architecture


class Texts(NamedTuple):
    """What a model of latents under texts needs beside its weights."""

    tokenizer: Path  # folders, to be kept with the model
    autoencoder: Path
    guidance: float | None  # weight of classifier-free guidance, by default
    w: float | None  # that it is told


class Official(NamedTuple):
    """A network of another program."""

    file: Path  # of the weights
    what: str  # they should be, for messages
    weights: dict[str, np.ndarray]
    architecture: Architecture
    rows: Callable[[Tree], list[Row]]  # for parameters of these shapes
    process: Process
    others: tuple[Path, ...] = ()  # files of weights beside `file`
    texts: Texts | None = None  # of a model of latents under texts


class Asked(NamedTuple):
    """What a command line says of a file that does not say it itself; None for what it leaves out."""

    size: int | None = None
    heads: int | None = None
    head_channels: int | None = None
    order: str | None = None  # of `adm_unet.ORDERS`
    betas: dict[str, Any] | None = None
    rescaled: bool | None = None  # iDDPM's rescale_timesteps
