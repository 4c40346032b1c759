"""A fingerprint of arrays, to tell on reading them back that they are those that were saved, to the last bit."""

from typing import Any

import jax
import jax.numpy as jnp

from diffusion_jax.types import Array


def digests(tree: Any) -> dict[str, int]:
    """32 bits of every array of a pytree, by its path: the same on any devices, and for any sharding.

    One word of an array that differs changes them for certain; more than one, but for one chance in 2^32. Each device
    reads its own part of an array, and nothing but the sum leaves it.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    # One after the other: hundreds of programs in flight, each of which communicates, can starve several CPU devices
    # of threads, and then none ends. One program of them all takes five times as long to compile.
    return {jax.tree_util.keystr(path): int(_digest(a)) for path, a in leaves}


@jax.jit
def _digest(a: Array) -> Array:
    words = _words(a)
    # A sum modulo 2^32 does not depend on the order of its terms, so each says where it stands.
    index = jnp.zeros(words.shape, jnp.uint32)
    for axis, n in enumerate(words.shape):
        index = index * jnp.uint32(n) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return jnp.sum(_mix(words + index * jnp.uint32(0x9E3779B9)), dtype=jnp.uint32)


def _words(a):
    if a.dtype == jnp.bool_:
        return a.astype(jnp.uint32)
    words = jnp.uint32 if a.dtype.itemsize >= 4 else jnp.dtype(f'uint{8 * a.dtype.itemsize}')
    return jax.lax.bitcast_convert_type(a, words).astype(jnp.uint32)


def _mix(x):
    """The finaliser of MurmurHash3 (32 bits), which is one to one."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
