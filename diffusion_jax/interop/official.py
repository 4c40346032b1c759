"""Official networks read from their files: weights, architecture, names, and what they were trained for."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.home import expanded
from diffusion_jax.interop import (
    adm_unet,
    autoencoder_kl,
    clip_text,
    conditional_unet,
    ddim_unet,
    diffusers_config,
    diffusers_unet,
    edm2_unet,
    edm_unet,
    flax_file,
    jcm,
    latent_process,
    process,
    unet,
    weights_file,
)
from diffusion_jax.interop import dit as dit_names
from diffusion_jax.interop.names import Row, Tree
from diffusion_jax.interop.network import Asked as Asked
from diffusion_jax.interop.network import Official as Official
from diffusion_jax.interop.network import Texts as Texts
from diffusion_jax.interop.process import Process
from diffusion_jax.interop.unet import Architecture, Dialect


def _of_unet(architecture: Architecture, dialect: Dialect) -> Callable[[Tree], list[Row]]:
    return lambda shapes: unet.table(architecture.net, shapes, dialect, architecture.shape[0])


def diffusers(folder: Path, asked: Asked) -> Official:
    """A folder of diffusers: of a pipeline, or of a UNet2DModel alone, which is taken for DDPM's process.

    Raises:
        UserError: if a file is missing or damaged; for another model, scheduler or option, by its name.
    """
    folder = expanded(folder)
    if not folder.is_dir():
        raise UserError(f'{folder} is no folder: give the one that diffusers saved, with config.json')
    places = folder / 'scheduler' / 'scheduler_config.json', folder / 'scheduler_config.json'
    scheduler = next((place for place in places if place.exists()), None)
    said = {'heads': asked.heads, 'head_channels': asked.head_channels, 'qkv': asked.order, 'rescaled': asked.rescaled}
    said |= {'betas': asked.betas if scheduler else None}
    for flag, value in said.items():
        if value is not None:
            raise UserError(f'--{flag} is of files without a config, and a folder of diffusers has one: leave it out')
    inside = folder / 'unet' if (folder / 'unet').is_dir() else folder
    config = inside / 'config.json'
    architecture = diffusers_config.architecture(str(config), weights_file.read_json(config), asked.size)
    file = weights_file.found(inside, autoencoder_kl.WEIGHTS)
    weights = weights_file.as_float32(diffusers_unet.renamed(weights_file.read(file)))
    if scheduler is None:
        betas = {'T': 1000, **(asked.betas or {'name': 'linear_betas'})}
        of = process.of_table(betas, learns_variance=architecture.learns_variance)
    else:
        of = process.of_scheduler(str(scheduler), weights_file.read_json(scheduler), architecture.learns_variance)
    rows = _of_unet(architecture, diffusers_unet.DIALECT)
    return Official(file, diffusers_unet.WHAT, weights, architecture, rows, of)


def stable_diffusion(folder: Path, asked: Asked) -> Official:
    """A pipeline of diffusers of the family of Stable Diffusion 1 and 2: unet, text_encoder, vae, tokenizer, scheduler.

    Raises:
        UserError: if a part is missing or damaged; for another model or option, by its name.
    """
    folder = expanded(folder)
    if any(value is not None for value in asked[1:]):
        raise UserError(
            '--from=stable_diffusion: the folder says it all but for --size, in pixels: leave out the others'
        )
    unet_config, text_config, of = (
        folder / name for name in ('unet/config.json', 'text_encoder/config.json', 'scheduler/scheduler_config.json')
    )
    factor = autoencoder_kl.described(folder / 'vae').factor
    if asked.size is not None and asked.size % factor:
        raise UserError(f'--size={asked.size} must be a multiple of {factor}, the pixels of a latent')
    config, size = weights_file.read_json(unet_config), None if asked.size is None else asked.size // factor
    net = conditional_unet.spec(str(unet_config), config, size)
    net['text'] = clip_text.spec(str(text_config), weights_file.read_json(text_config))
    width = config.get('cross_attention_dim', 1280)
    if net['text']['width'] != width:
        raise UserError(f'{folder}: the U-Net attends to {width} features, and its texts have {net["text"]["width"]}')
    shape = conditional_unet.latents(str(unet_config), config, size)
    files = (
        weights_file.found(folder / 'unet', autoencoder_kl.WEIGHTS),
        weights_file.found(folder / 'text_encoder', ('model.safetensors', 'pytorch_model.bin')),
    )
    unet_weights, text_weights = (weights_file.as_float32(weights_file.read(file)) for file in files)
    weights = {conditional_unet.UNET + n: w for n, w in conditional_unet.completed(unet_weights).items()}
    weights |= {conditional_unet.TEXT + n: w for n, w in clip_text.bare(text_weights).items()}
    scheduler = weights_file.read_json(of)
    consistent = scheduler.get('_class_name') == latent_process.CONSISTENT
    if consistent and config.get('time_cond_proj_dim') is None:
        raise UserError(f'{folder} has an LCMScheduler, and its U-Net is not told the weight of a guidance')
    told = (None, latent_process.TOLD) if consistent else (latent_process.GUIDANCE, None)
    linear = bool(config.get('use_linear_projection', False))
    return Official(
        files[0],
        conditional_unet.WHAT,
        weights,
        Architecture(net, shape, None, learns_variance=False, latents=True, drops=True),
        lambda shapes: conditional_unet.rows(net, shapes, shape[0], linear),
        latent_process.of_scheduler(str(of), scheduler),
        files[1:],
        Texts(folder / 'tokenizer', folder / 'vae', *told),
    )


def edm(path: Path, asked: Asked) -> Official:
    """Weights that were exported from a network of EDM, SongUNet or DhariwalUNet.

    Its preconditioning is EDM's, unless the file says another, or has the noise levels of iDDPM's.

    Raises:
        UserError: if the file cannot be read, is of another architecture, or names another preconditioning.
    """
    file = _says_it_all('edm', path, asked)
    given = weights_file.as_float32(weights_file.read(file))
    weights = edm_unet.bare(str(file), given)
    architecture, dialect = edm_unet.architecture(str(file), weights, edm_unet.smooth(given))
    named = 'iDDPMPrecond' if 'u' in given else weights_file.about(file).get('precond', 'EDMPrecond')
    if named not in process.PRECONDITIONED:
        raise UserError(f'{file} says precond={named}, and only {", ".join(process.PRECONDITIONED)} are known here')
    of = process.PRECONDITIONED[named](18 if architecture.shape[0] <= 32 else 40)
    return Official(file, edm_unet.WHAT, weights, architecture, _of_unet(architecture, dialect), of)


def edm2(path: Path, asked: Asked) -> Official:
    """Weights that were exported from a network of EDM2, with its u(sigma); raises as `edm`."""
    file = _says_it_all('edm2', path, asked)
    weights = weights_file.as_float32(weights_file.read(file))
    settings = edm2_unet.said(str(file), weights_file.about(file))
    architecture = edm2_unet.architecture(str(file), weights, settings)
    rows = functools.partial(edm2_unet.table, architecture)
    made = process.of_edm2(architecture.latents, settings['sigma_data'])
    return Official(file, edm2_unet.WHAT, weights, architecture, rows, made)


def _says_it_all(kind: str, path: Path, asked: Asked) -> Path:
    if any(value is not None for value in asked):
        raise UserError(
            f'--from={kind}: the file says it all: leave out --size, --heads, --head_channels, --qkv, --betas, '
            '--rescaled'
        )
    return expanded(path)


def ddim(path: Path, asked: Asked) -> Official:
    """A checkpoint of DDIM's release in PyTorch: a state dict, under 1000 linear betas unless another table is said.

    Raises:
        UserError: if the file cannot be read, or is of another architecture; if the size is not told.
    """
    file, size = expanded(path), _size_alone(asked._replace(betas=None), path)
    weights = weights_file.as_float32(weights_file.read(file))
    weights.pop('logvar', None)  # of a bound on the likelihood: no output depends on it
    architecture = ddim_unet.architecture(str(file), weights, size)
    made = process.of_ddim({'T': 1000, **(asked.betas or {'name': 'linear_betas'})})
    return Official(file, ddim_unet.WHAT, weights, architecture, _of_unet(architecture, ddim_unet.DIALECT), made)


def _score_sde(of: Callable[[bool], Process], path: Path, asked: Asked) -> Official:
    """A Flax checkpoint of NCSN++ or DDPM++; `of` is told whether it is NCSN++. Raises as `ddim`."""
    file, size = expanded(path), _size_alone(asked, path)
    weights = weights_file.as_float32(jcm.bare(flax_file.read(file)))
    architecture = jcm.architecture(str(file), weights, size)
    made = of(architecture.net['layout']['name'] == 'ncsnpp')
    return Official(file, jcm.WHAT, weights, architecture, _of_unet(architecture, jcm.DIALECT), made)


def _size_alone(asked: Asked, path: Path) -> int:
    if any(value is not None for value in asked[1:]):
        raise UserError('of these weights --size alone must be said: leave out --heads, --head_channels, --qkv, ...')
    if asked.size is None:
        raise UserError(f'{path} does not say the size of an image: set --size')
    return asked.size


def dit(path: Path, asked: Asked) -> Official:
    """A checkpoint of DiT: a state dict, under 1000 linear betas unless another table is said.

    Raises:
        UserError: if the file cannot be read, or is of another architecture; for heads that must be said.
    """
    file, weights, architecture = _transformer(path, asked)
    betas = {'T': 1000, **(asked.betas or {'name': 'linear_betas'})}
    weights = dit_names.bare(str(file), weights)
    made = process.of_dit(betas, architecture.learns_variance)
    return Official(file, dit_names.WHAT, weights, architecture, _of_transformer(architecture), made)


def sit(path: Path, asked: Asked) -> Official:
    """A checkpoint of SiT on the linear path, a state dict; raises as `dit`."""
    if asked.betas is not None:
        raise UserError('--betas is of tables of noise levels, and SiT has a straight path: leave it out')
    file, weights, architecture = _transformer(path, asked)
    weights = dit_names.answered(dit_names.bare(str(file), weights))
    architecture = architecture._replace(learns_variance=False)
    return Official(file, dit_names.WHAT, weights, architecture, _of_transformer(architecture), process.of_sit())


def _transformer(path: Path, asked: Asked) -> tuple[Path, dict[str, np.ndarray], Architecture]:
    if any(value is not None for value in (asked.size, asked.head_channels, asked.order, asked.rescaled)):
        raise UserError('of a DiT or SiT only --heads must be said, and --betas can: leave out the others')
    file = expanded(path)
    weights = weights_file.as_float32(weights_file.read(file))
    return file, weights, dit_names.architecture(str(file), weights, asked.heads)


def _of_transformer(architecture: Architecture) -> Callable[[Tree], list[Row]]:
    return lambda shapes: dit_names.table(architecture.net, shapes, architecture.shape[-1])


def _table(betas: dict[str, Any], rescaled: bool) -> Callable[[Asked, bool], Process]:
    def made(asked: Asked, learns_variance: bool) -> Process:
        given = asked.betas or betas
        told = rescaled if asked.rescaled is None else asked.rescaled
        return process.of_table({'T': 1000, **given}, learns_variance=learns_variance, rescaled=told)

    return made


def _levels_of(made: Callable[[], Process]) -> Callable[[Asked, bool], Process]:
    def without_table(asked: Asked, learns_variance: bool) -> Process:
        if asked.betas is not None or asked.rescaled is not None or learns_variance:
            raise UserError("OpenAI's EDM and consistency models have no table of betas and learn no variance")
        return made()

    return without_table


def _openai(of: Callable[[Asked, bool], Process], order: str, path: Path, asked: Asked) -> Official:
    """A checkpoint of OpenAI: a state dict, whose names and shapes tell the network but for what is asked.

    Raises:
        UserError: if the file cannot be read, or is of another architecture; if the size or the heads are not told.
    """
    file = expanded(path)
    weights = weights_file.as_float32(weights_file.read(file))
    if asked.size is None:
        raise UserError(f'{file} does not say the size of an image: set --size')
    if (asked.heads is None) == (asked.head_channels is None):
        raise UserError(f'{file} does not say how attention is split into heads: set --heads or --head_channels')
    told = adm_unet.Told(asked.size, asked.heads or 1, asked.head_channels)
    architecture = adm_unet.architecture(str(file), weights, told)
    dialect = adm_unet.dialect(weights, asked.order or order)
    rows, made = _of_unet(architecture, dialect), of(asked, architecture.learns_variance)
    return Official(file, adm_unet.WHAT, weights, architecture, rows, made)


# How each kind of file is read: (path, what is said of it).
SOURCES: dict[str, Callable[[Path, Asked], Official]] = {
    'ddim': ddim,
    'diffusers': diffusers,
    'dit': dit,
    'iddpm': functools.partial(_openai, _table({'name': 'cosine_betas', 'T': 4000}, True), 'heads_first'),
    'adm': functools.partial(_openai, _table({'name': 'linear_betas', 'T': 1000}, False), 'heads_first'),
    'edm': edm,
    'edm2': edm2,
    'jcm': functools.partial(_score_sde, lambda fourier: process.of_jcm()),
    'jcm_edm': functools.partial(_score_sde, lambda fourier: process.of_edm(steps=18)),
    'score_sde': functools.partial(_score_sde, process.of_score_sde),
    'openai_edm': functools.partial(_openai, _levels_of(process.of_openai_edm), 'three_first'),
    'openai_cm': functools.partial(_openai, _levels_of(process.of_openai_cm), 'three_first'),
    'sit': sit,
    'stable_diffusion': stable_diffusion,
}
