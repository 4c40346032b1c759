"""What the backward pass keeps of a network's blocks, and what it computes again."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

# What `remat` of a network can be: 'full' keeps nothing; the others are policies of `jax.checkpoint_policies`.
REMAT = ('full', 'dots_saveable', 'dots_with_no_batch_dims_saveable')


def computed_again(block: Any, remat: str | None, **options: Any) -> Any:
    """The class of a block of which the backward pass keeps its input and what `remat` names; None keeps everything.

    Args:
        block: a Linen module's class.
        remat: None or one of `REMAT`.
        options: further ones of `nn.remat`, such as `static_argnums`.

    Raises:
        ValueError: another `remat`, with those that there are.
    """
    return block if remat is None else nn.remat(block, policy=_policy(remat), **options)


def _policy(name: str) -> Callable[..., bool]:
    if name not in REMAT:
        raise ValueError(f'remat={name!r} is unknown; it is one of {", ".join(REMAT)}')
    return getattr(jax.checkpoint_policies, 'nothing_saveable' if name == 'full' else name)
