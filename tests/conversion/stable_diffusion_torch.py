"""Stable Diffusion of diffusers at toy width, with random weights and a tokenizer of a few words."""

import json
from pathlib import Path

import diffusers
import torch
import transformers
from transformers.convert_slow_tokenizer import bytes_to_unicode

LENGTH = 16
PAIRS = ['r e', 're d</w>', 'c a', 'ca t</w>', 'b i', 'bi g</w>']
UNET = {
    'sample_size': 8,
    'block_out_channels': [16, 32],
    'down_block_types': ['CrossAttnDownBlock2D', 'DownBlock2D'],
    'up_block_types': ['UpBlock2D', 'CrossAttnUpBlock2D'],
    'layers_per_block': 1,
    'norm_num_groups': 8,
    'cross_attention_dim': 24,
    'attention_head_dim': 2,
}
# As Stable Diffusion 1.5 has it, and 2.1: heads of one size, dense projections, another activation, v-prediction.
KINDS = {
    '1.5': UNET,
    '2.1': {**UNET, 'attention_head_dim': [2, 4], 'use_linear_projection': True, 'layers_per_block': 2},
    'attention everywhere, told a guidance scale': {
        **UNET,
        'block_out_channels': [16, 32, 32],
        'down_block_types': ['CrossAttnDownBlock2D'] * 2 + ['DownBlock2D'],
        'up_block_types': ['UpBlock2D'] + ['CrossAttnUpBlock2D'] * 2,
        'transformer_layers_per_block': 2,
        'time_cond_proj_dim': 256,
    },
}
VAE = {
    'down_block_types': ['DownEncoderBlock2D'] * 2,
    'up_block_types': ['UpDecoderBlock2D'] * 2,
    'block_out_channels': [8, 16],
    'layers_per_block': 1,
    'norm_num_groups': 4,
    'sample_size': 16,
}
SCHEDULER = {
    'beta_start': 0.00085,
    'beta_end': 0.012,
    'beta_schedule': 'scaled_linear',
    'steps_offset': 1,
    'set_alpha_to_one': False,
    'clip_sample': False,
}


def shaken(model):
    """The model with no weight at zero or one, where mistakes would hide."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    return model.eval()


def unet(kind='1.5', **changes):
    """A UNet2DConditionModel of random weights."""
    torch.manual_seed(0)
    return shaken(diffusers.UNet2DConditionModel(**{**KINDS[kind], **changes}))


def vae(**changes):
    """An AutoencoderKL of random weights."""
    torch.manual_seed(1)
    return shaken(diffusers.AutoencoderKL(**{**VAE, **changes}))


def text_encoder(vocabulary, **changes):
    """A CLIPTextModel of random weights."""
    torch.manual_seed(2)
    sizes = {'hidden_size': 24, 'intermediate_size': 40, 'num_hidden_layers': 2, 'num_attention_heads': 3}
    ids = {'vocab_size': vocabulary, 'bos_token_id': vocabulary - 2, 'eos_token_id': vocabulary - 1}
    config = transformers.CLIPTextConfig(**{**sizes, **ids, 'max_position_embeddings': LENGTH, **changes})
    return shaken(transformers.CLIPTextModel(config))


def tokenizer(folder: Path) -> transformers.CLIPTokenizer:
    """Of bytes and a few merges, in the files of CLIP's."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [*bytes_to_unicode().values()]
    words = [*letters, *(f'{c}</w>' for c in letters), *(pair.replace(' ', '') for pair in PAIRS)]
    words = [*words, '<|startoftext|>', '<|endoftext|>']
    (folder / 'vocab.json').write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / 'merges.txt').write_text('\n'.join(['#version: 0.2', *PAIRS]) + '\n')
    files = str(folder / 'vocab.json'), str(folder / 'merges.txt')
    return transformers.CLIPTokenizer(*files, model_max_length=LENGTH)


def pipeline(folder: Path, kind='1.5', **scheduler) -> diffusers.StableDiffusionPipeline:
    """A whole pipeline, saved into `folder / 'pipeline'`."""
    words = tokenizer(folder / 'words')
    made = diffusers.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=text_encoder(len(words)),
        tokenizer=words,
        unet=unet(kind),
        scheduler=diffusers.DDIMScheduler(**{**SCHEDULER, **scheduler}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.save_pretrained(folder / 'pipeline')
    made.set_progress_bar_config(disable=True)
    return made
