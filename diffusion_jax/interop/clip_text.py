"""The CLIPTextModel of transformers: its config.json as a spec of our transformer of texts and back, and its names."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop.names import AS_IT_IS, Row, Tree, flat, kernel
from diffusion_jax.nets.clip_text import ACTIVATIONS, CLIPText

# What a config.json leaves out, as in transformers.
_USUAL: dict[str, Any] = {
    'vocab_size': 49_408,
    'hidden_size': 512,
    'intermediate_size': 2048,
    'num_hidden_layers': 12,
    'num_attention_heads': 8,
    'max_position_embeddings': 77,
    'hidden_act': 'quick_gelu',
    'layer_norm_eps': 1e-5,
}
_LAYERS = {
    'q': 'self_attn.q_proj',
    'k': 'self_attn.k_proj',
    'v': 'self_attn.v_proj',
    'out': 'self_attn.out_proj',
    'norm_1': 'layer_norm1',
    'norm_2': 'layer_norm2',
    'mlp_1': 'mlp.fc1',
    'mlp_2': 'mlp.fc2',
}
_ONCE = {
    ('tokens', 'embedding'): 'embeddings.token_embedding.weight',
    ('positions',): 'embeddings.position_embedding.weight',
    ('norm', 'scale'): 'final_layer_norm.weight',
    ('norm', 'bias'): 'final_layer_norm.bias',
}
_MODEL = 'text_model.'  # before the names in files of transformers 4


def spec(where: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The `text` of a `net` section of a config.json.

    Raises:
        UserError: for another class, or an activation or eps that ours has not.
    """
    kinds = config.get('architectures') or ['CLIPTextModel']
    if kinds[0] not in ('CLIPTextModel', 'CLIPTextModelWithProjection'):
        raise UserError(f'{where} is of {kinds[0]}, and only CLIPTextModel is read')
    c = {**_USUAL, **config}
    if c['hidden_act'] not in ACTIVATIONS or c['layer_norm_eps'] != 1e-5:
        raise UserError(
            f'{where}: hidden_act={c["hidden_act"]!r} and layer_norm_eps={c["layer_norm_eps"]}, and ours are '
            f'{" or ".join(ACTIVATIONS)}, and 1e-05'
        )
    return {
        'name': 'CLIPText',
        'vocabulary': c['vocab_size'],
        'length': c['max_position_embeddings'],
        'width': c['hidden_size'],
        'layers': c['num_hidden_layers'],
        'heads': c['num_attention_heads'],
        'mlp': c['intermediate_size'],
        'activation': c['hidden_act'],
    }


def config(text: Mapping[str, Any], ends: tuple[int, int, int]) -> dict[str, Any]:
    """The config.json of a transformer of texts of this spec; `ends`: the first token, the last, and what fills up."""
    t = {**{f.name: f.default for f in dataclasses.fields(CLIPText)}, **text}
    return {
        'architectures': ['CLIPTextModel'],
        'model_type': 'clip_text_model',
        'vocab_size': t['vocabulary'],
        'hidden_size': t['width'],
        'intermediate_size': t['mlp'],
        'num_hidden_layers': t['layers'],
        'num_attention_heads': t['heads'],
        'max_position_embeddings': t['length'],
        'hidden_act': t['activation'],
        'layer_norm_eps': 1e-5,
        **dict(zip(('bos_token_id', 'eos_token_id', 'pad_token_id'), ends, strict=True)),
    }


def rows(shapes: Tree) -> list[Row]:
    """The rows of a transformer of texts whose parameters have these shapes."""
    return [_row(path) for path in flat(shapes)]


def _row(path: tuple[str, ...]) -> Row:
    if path in _ONCE:
        return Row(_ONCE[path], (path,), AS_IT_IS)
    layer, last = path
    of, _, i = layer.rpartition('_')
    name = f'encoder.layers.{i}.{_LAYERS[of]}.{"bias" if last == "bias" else "weight"}'
    return Row(name, (path,), kernel() if last == 'kernel' else AS_IT_IS)


def named(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other way round, as files of transformers 4 and 5 have it."""
    return {_MODEL + name: w for name, w in weights.items()}


def bare(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights under the names of `rows`, without the numbers of places, which older files hold."""
    return {name.removeprefix(_MODEL): w for name, w in weights.items() if not name.endswith('.position_ids')}
