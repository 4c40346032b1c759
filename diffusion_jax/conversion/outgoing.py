"""A workdir as what other programs load: a folder of diffusers, or plain safetensors."""

import json
from pathlib import Path

import jax

from diffusion_jax.conversion import outgoing_texts
from diffusion_jax.data.conditions import is_class
from diffusion_jax.errors import UserError
from diffusion_jax.inference.runs import Run
from diffusion_jax.interop import diffusers_config, diffusers_unet, names, process, unet, weights_file
from diffusion_jax.interop.unet import Architecture
from diffusion_jax.workdir import files


def to_diffusers(run: Run, out: Path) -> None:
    """Writes the folder of a pipeline: UNet2DModel and scheduler, with their weights in safetensors.

    Of a TextUNet it is one of Stable Diffusion (`outgoing_texts.write`).

    Raises:
        UserError: for a network or a process that diffusers has not, or a folder that is not empty.
    """
    config = run.config
    if config['net']['name'] == 'TextUNet':
        _check_new(out)
        outgoing_texts.write(run, out)
        return
    found = _architecture(run)
    about = diffusers_config.config(found)
    schedule = process.scheduler(config, found.learns_variance)
    rows = unet.table(found.net, run.params, diffusers_unet.DIALECT, found.shape[0])
    weights = names.give_out(rows, run.params)
    if found.classes:
        about['num_class_embeds'] = len(weights['class_embedding.weight'])
    consistency = schedule['_class_name'] == 'CMStochasticIterativeScheduler'
    _check_new(out)
    files.check_writable(out / 'model_index.json')
    (out / 'unet').mkdir()
    (out / 'scheduler').mkdir()
    files.write_json(out / 'unet' / 'config.json', about)
    weights_file.write(out / 'unet' / 'diffusion_pytorch_model.safetensors', weights, {'format': 'pt'})
    files.write_json(out / 'scheduler' / 'scheduler_config.json', schedule)
    index = {
        '_class_name': 'ConsistencyModelPipeline' if consistency else 'DDPMPipeline',
        '_diffusers_version': '0.33.0',
        'scheduler': ['diffusers', schedule['_class_name']],
        'unet': ['diffusers', 'UNet2DModel'],
    }
    files.write_json(out / 'model_index.json', index)


def to_safetensors(run: Run, out: Path) -> None:
    """Writes the averaged weights under our own names, `down_0_block_0.conv_1.kernel`, with the config beside them.

    Raises:
        UserError: if there is something at `out` already.
    """
    if out.exists():
        raise UserError(f'{out} is there already, and a conversion overwrites nothing: choose another --out')
    weights = {'.'.join(path): leaf for path, leaf in names.flat(jax.device_get(run.params)).items()}
    files.check_writable(out)
    weights_file.write(out, weights, {'config': json.dumps(run.config), 'step': str(run.step)})


def _check_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f'{out} is there already, and a conversion overwrites nothing: choose another --out')


def _architecture(run: Run) -> Architecture:
    kind, models, condition = run.experiment.source.kind, run.experiment.models, run.experiment.source.condition
    if models.denoise is None and models.consistency is None:
        raise UserError('--to=diffusers takes diffusion and consistency models of images: this run trained another')
    if len(kind.shape) != 3:
        raise UserError(f'--to=diffusers takes models of images, and this one is of {kind.name} {kind.shape}')
    parts = [] if condition is None else jax.tree.leaves(condition.parts)
    if len(parts) > 1 or not all(map(is_class, parts)):
        raise UserError('--to=diffusers: a UNet2DModel is told one class or nothing, and this model is told more')
    height, width, channels = kind.shape
    learns = models.with_variance is not None
    return Architecture(
        unet.complete(run.config['net']), (height, width, channels), parts[0].num if parts else None, learns
    )
