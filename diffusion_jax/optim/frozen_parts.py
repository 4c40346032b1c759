"""Parts of a network that are not trained: an optimiser keeps nothing of them, and leaves them as they are."""

from collections.abc import Sequence

import jax
import optax

from diffusion_jax.types import Params


def without(tx: optax.GradientTransformation, parts: Sequence[str]) -> optax.GradientTransformation:
    """The optimiser of all parameters but these parts, which lie at the top of the tree and have no gradient.

    Without any part it is the optimiser itself, whose state stays what it is. What lies elsewhere under one of these
    names is trained.
    """
    if not parts:
        return tx

    def trained(params: Params) -> Params:
        return {name: jax.tree.map(lambda _, yes=name not in parts: yes, below) for name, below in params.items()}

    return optax.masked(tx, trained)
