"""Muon: momentum whose matrices are orthogonalised, for every dense layer and convolution."""

import jax
import optax
from optax.contrib import MuonDimensionNumbers

from diffusion_jax.ranges import within
from diffusion_jax.types import Params


def muon(
    learning_rate: optax.ScalarOrSchedule,
    beta: float = 0.95,
    b1: float = 0.9,
    b2: float = 0.999,
    rms: float = 0.2,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Muon as in optax, with one learning rate for all parameters.

    The last two axes of every `kernel` are a matrix: those of stacked blocks, and those of each place of a
    convolution's window, by themselves. What is no matrix (biases, norms, tables of embeddings) is Adam's.

    Args:
        learning_rate: a number in (0, inf), or a schedule: of a size that suits Adam, thanks to `rms`.
        beta: of the momentum, with Nesterov's step, in [0, 1).
        b1: Adam's, in [0, 1).
        b2: Adam's, in [0, 1).
        rms: root mean square of an update of a matrix for a learning rate of 1, in (0, inf). 0.2 is about Adam's.
        weight_decay: of the matrices alone, times the learning rate, in [0, inf).
    """
    within('[0, 1)', beta=beta, b1=b1, b2=b2)
    within('(0, inf)', rms=rms)
    within('[0, inf)', weight_decay=weight_decay)
    return optax.contrib.muon(
        learning_rate,
        beta=beta,
        adam_b1=b1,
        adam_b2=b2,
        weight_decay=weight_decay,
        consistent_rms=rms,
        muon_weight_dimension_numbers=_matrices,
    )


def _matrices(params: Params):
    """Which axes are a matrix's, None for the leaves that are none."""

    def of(path, leaf):
        return MuonDimensionNumbers(-2, -1) if path[-1].key == 'kernel' and leaf.ndim > 1 else None

    return jax.tree_util.tree_map_with_path(of, params)
