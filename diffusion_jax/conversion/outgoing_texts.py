"""A model of latents under texts as a pipeline of diffusers of the family of Stable Diffusion."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.home import expanded
from diffusion_jax.inference.runs import Run
from diffusion_jax.interop import (
    autoencoder_kl,
    clip_text,
    clip_tokenizer,
    conditional_unet,
    latent_process,
    names,
    unet,
    weights_file,
)
from diffusion_jax.workdir import files

_SAFE = 'diffusion_pytorch_model.safetensors'


def write(run: Run, out: Path) -> None:
    """Writes unet, text_encoder, scheduler and model_index.json into a folder, and copies of tokenizer and vae.

    Raises:
        UserError: for a network, a process or data that such a pipeline has not.
    """
    config, (height, width, channels) = run.config, run.experiment.source.kind.shape
    data, net = _checked(config), unet.complete(config['net'])
    schedule = latent_process.scheduler(config)
    consistent = schedule['_class_name'] == latent_process.CONSISTENT
    params = jax.device_get(run.params)
    told = consistent or bool(np.any(params['embedding']['w']['kernel']))
    configs = {
        'unet/config.json': conditional_unet.config(net, (height, width, channels), told),
        'text_encoder/config.json': clip_text.config(net['text'], clip_tokenizer.ends(data['tokenizer'])),
        'scheduler/scheduler_config.json': schedule,
        'model_index.json': _index(consistent),
    }
    rows = conditional_unet.rows(net, params, height, conditional_unet.is_linear(net))
    of_unet, of_text = conditional_unet.parted(names.give_out(rows, params), told)
    files.check_writable(out / 'model_index.json')
    for name, content in configs.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_json(out / name, content)
    weights_file.write(out / 'unet' / _SAFE, of_unet, {'format': 'pt'})
    weights_file.write(out / 'text_encoder' / 'model.safetensors', clip_text.named(of_text), {'format': 'pt'})
    shutil.copytree(expanded(data['tokenizer']), out / 'tokenizer')
    autoencoder = expanded(data['autoencoder'])
    (out / 'vae').mkdir()
    for file in (autoencoder / 'config.json', weights_file.found(autoencoder, autoencoder_kl.WEIGHTS)):
        shutil.copyfile(file, out / 'vae' / file.name)


def _checked(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `data` section of what such a pipeline can be made of."""
    data, text = config['data'], config['net']['text']
    if data['name'] != 'latents':
        raise UserError(
            f"config.data.name={data['name']!r}: a pipeline needs the autoencoder and the tokenizer of 'latents'"
        )
    if text['name'] != 'CLIPText':
        raise UserError(f'config.net.text.name={text["name"]!r}: only a CLIPText can be a CLIPTextModel')
    length, longest = data.get('length', 77), text.get('length', 77)
    if length != longest:
        raise UserError(f'config.data.length={length}: a pipeline tells all {longest} places of its CLIPTextModel')
    return data


def _index(consistent: bool) -> dict[str, Any]:
    nothing = [None, None]
    return {
        '_class_name': 'LatentConsistencyModelPipeline' if consistent else 'StableDiffusionPipeline',
        '_diffusers_version': '0.33.0',
        'feature_extractor': nothing,
        'image_encoder': nothing,
        'requires_safety_checker': False,
        'safety_checker': nothing,
        'scheduler': ['diffusers', latent_process.CONSISTENT if consistent else 'DDIMScheduler'],
        'text_encoder': ['transformers', 'CLIPTextModel'],
        'tokenizer': ['transformers', 'CLIPTokenizer'],
        'unet': ['diffusers', 'UNet2DConditionModel'],
        'vae': ['diffusers', 'AutoencoderKL'],
    }
