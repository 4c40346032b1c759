"""Feature spaces for distances between distributions: a name with the dimension, a pure function, and a hash."""

import hashlib
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion_jax.evaluation.rows import Values

_BLOCK = 4096  # rows


class Outputs(NamedTuple):
    """What a feature network says of n samples."""

    rows: Array | np.ndarray  # [n, d] float32, what Frechet, kernel and neighbour metrics compare
    spatial: Array | np.ndarray | None = None  # [n, s]: values that still know where, for sFID
    logits: Array | np.ndarray | None = None  # [n, classes], for the Inception Score


class Features(NamedTuple):
    """What a sample is compared by. Two distances are comparable only if name, hash and resize agree."""

    name: str  # with the dimension, such as 'pixels-64'
    outputs: Callable[[Array | np.ndarray], Outputs]  # [n, ...] in [-1, 1] -> Outputs
    hash: str  # of whatever determines `outputs` beyond its name: for a network, SHA-256 of its file of weights
    resize: str = 'none'  # how images come to the size that the network takes
    inception: bool = False  # the published weights: a Frechet distance may be called FID

    def apply(self, x: Array | np.ndarray) -> Array | np.ndarray:
        """The rows alone, `[n, d]`."""
        return self.outputs(x).rows


def pixels(shape: tuple[int, ...]) -> Features:
    """The values themselves, flattened: d is the product of `shape` = (h, w, c)."""
    d = math.prod(shape)

    def outputs(x: Float[Array | np.ndarray, 'n ...']) -> Outputs:
        return Outputs(jnp.asarray(x, jnp.float32).reshape(len(x), d))

    return Features(f'pixels-{d}', outputs, hashlib.sha256(repr(tuple(shape)).encode()).hexdigest()[:16])


def pca(reference: np.ndarray | Values, dim: int) -> Features:
    """The `dim` leading principal components of a reference set [N, ...] in [-1, 1], not whitened, centred on its mean.

    The hash is that of the reference set to four decimals, and of `dim`: the last bits of the components themselves
    depend on the machine.

    Raises:
        ValueError: if the reference set cannot have `dim` components.
    """
    n, d = len(reference), math.prod(reference.shape[1:])
    most = min(n - 1, d)
    if not 1 <= dim <= most:
        raise ValueError(f'pca of {n} samples of {d} values has 1..{most} components, not {dim}')

    def blocks():  # a large set in float64 would not fit in memory
        return (reference[i : i + _BLOCK].reshape(-1, d).astype(np.float64) for i in range(0, n, _BLOCK))

    mean = sum(block.sum(axis=0) for block in blocks()) / n
    scatter, digest = np.zeros((d, d)), hashlib.sha256(repr((reference.shape, dim)).encode())
    for block in blocks():
        digest.update(np.round(block * 1e4).astype(np.int32).tobytes())
        scatter += (block - mean).T @ (block - mean)
    # The eigenvectors of the covariance are the right singular vectors of the data, at [D, D] instead of [n, D].
    _, vectors = np.linalg.eigh(scatter)
    components = vectors[:, ::-1][:, :dim]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=0)[None], axis=0)
    projection = jnp.asarray(components * np.sign(largest), jnp.float32)
    centre = jnp.asarray(mean, jnp.float32)

    def outputs(x: Float[Array | np.ndarray, 'n ...']) -> Outputs:
        flat = jnp.asarray(x, jnp.float32).reshape(len(x), -1)
        return Outputs(jnp.matmul(flat - centre[None], projection, precision=jax.lax.Precision.HIGHEST))

    return Features(f'pca-{dim}', outputs, digest.hexdigest()[:16])
