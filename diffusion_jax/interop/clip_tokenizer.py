"""CLIP's tokenizer from its files: byte pairs of words in lower case, between a first and a last token."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_jax.errors import UserError, one_line
from diffusion_jax.home import expanded
from diffusion_jax.interop import weights_file

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_FIRST, _LAST = '<|startoftext|>', '<|endoftext|>'

Encode = Callable[[str], np.ndarray]  # a text -> numbers [L], cut to L and filled up to it


def read(folder: str | Path, length: int) -> tuple[Encode, int]:
    """What makes `length` numbers of a text, and how many different ones there are.

    The folder has tokenizer.json, or vocab.json and merges.txt; tokenizer_config.json says what fills a text up, by
    default the last token.

    Raises:
        UserError: if a file is missing or damaged; if the library `tokenizers` is not installed.
    """
    tokenizer, tokens = _opened(folder)
    return functools.partial(_encode, tokenizer, length, *tokens), tokenizer.get_vocab_size()


def ends(folder: str | Path) -> tuple[int, int, int]:
    """The numbers of the first and the last token, and of what fills a text up; raises as `read`."""
    return _opened(folder)[1]


def _opened(folder: str | Path) -> tuple[Any, tuple[int, int, int]]:
    inside = expanded(folder)
    tokenizer = _tokenizer(inside)
    config = inside / 'tokenizer_config.json'
    said = weights_file.read_json(config) if config.exists() else {}
    pad = said.get('pad_token') or _LAST
    pad = pad['content'] if isinstance(pad, dict) else pad
    first, last, fill = (tokenizer.token_to_id(token) for token in (_FIRST, _LAST, pad))
    if None in (first, last, fill):
        missing = (_FIRST, _LAST, pad)[(first, last, fill).index(None)]
        raise UserError(f'{inside}: its vocabulary has no {missing}')
    return tokenizer, (first, last, fill)


def _encode(tokenizer: Any, length: int, first: int, last: int, pad: int, text: str) -> np.ndarray:
    inner = tokenizer.encode(text, add_special_tokens=False).ids[: length - 2]
    found = np.full(length, pad, np.int32)
    found[: len(inner) + 2] = [first, *inner, last]
    return found


def _tokenizer(inside: Path) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UserError('texts need the library tokenizers: pip install "diffusion_jax[text]"') from error
    whole, vocabulary, merges = (inside / name for name in ('tokenizer.json', 'vocab.json', 'merges.txt'))
    if not whole.exists() and not (vocabulary.exists() and merges.exists()):
        raise UserError(f'{inside} has no tokenizer: tokenizer.json, or vocab.json and merges.txt')
    try:
        return tokenizers.Tokenizer.from_file(str(whole)) if whole.exists() else _of_pairs(vocabulary, merges)
    # Its errors are bare exceptions.
    except Exception as error:
        raise UserError(f'{inside} is no tokenizer that can be read: {one_line(error)}') from error


def _of_pairs(vocabulary: Path, merges: Path) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    # As transformers makes CLIP's of these files.
    words, pairs = models.BPE.read_file(str(vocabulary), str(merges))
    model = models.BPE(words, pairs, continuing_subword_prefix='', end_of_word_suffix='</w>', unk_token=_LAST)
    found = Tokenizer(model)
    found.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r'\s+'), ' '), normalizers.Lowercase()]
    )
    split = pre_tokenizers.Split(Regex(_WORDS), behavior='removed', invert=True)
    found.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    found.add_special_tokens([AddedToken(token, normalized=False) for token in (_FIRST, _LAST)])
    return found
