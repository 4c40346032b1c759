"""Weights of which only the direction counts, brought back to unit magnitude after every update (EDM2)."""

import jax
import optax

from diffusion_jax.nets.magnitude import DIRECTION, unit_directions
from diffusion_jax.types import Params


def forced_norm(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimiser after whose updates every weight vector of `nets.magnitude.MPLayer` has unit magnitude.

    So that an update of a given size turns a weight by the same angle at the end of a run as at its beginning, and a
    learning rate means what it says. The state is the optimiser's own, and other weights are what it makes of them; it
    needs the parameters, if there are such weights among them.

    Source: forced weight normalisation, equation 66 of arXiv 2312.02696 as its released code counts (NVlabs/edm2,
    training/networks_edm2.py). There the weights are normalised before every forward pass instead of after every
    update: their sequence is the same, but what is averaged there has not been normalised yet.
    """

    def update(updates: optax.Updates, state: optax.OptState, params: Params | None = None):
        updates, state = tx.update(updates, state, params)
        if not any(_is_direction(path) for path, _ in jax.tree_util.tree_leaves_with_path(updates)):
            return updates, state
        if params is None:
            raise ValueError('forced_norm needs the parameters')
        return jax.tree_util.tree_map_with_path(_to_unit, updates, params), state

    return optax.GradientTransformation(tx.init, update)


def _is_direction(path) -> bool:
    return bool(path) and getattr(path[-1], 'key', None) == DIRECTION


def _to_unit(path, update, w):
    return unit_directions(w + update) - w if _is_direction(path) else update
