"""Digests of arrays: what changes them, and what does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from diffusion_jax.devices import sharding
from diffusion_jax.workdir.digest import digests

X = np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)


def of(a):
    return digests({'a': jnp.asarray(a)})["['a']"]


def mix(x):
    """MurmurHash3's finaliser in Python's integers."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) % 2**32
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) % 2**32
    return x ^ (x >> 16)


def test_values():
    assert mix(1) == 0x514E28B7
    words = X.view(np.uint32).ravel().tolist()
    assert of(X) == sum(mix((w + i * 0x9E3779B9) % 2**32) for i, w in enumerate(words)) % 2**32


def test_every_change_of_one_bit_is_seen_and_so_are_swaps_and_pairs_of_signs():
    seen = {of(X)}
    for bit in range(32):
        changed = X.copy()
        changed.view(np.uint32)[5, 1] ^= np.uint32(1 << bit)
        seen.add(of(changed))
    swapped, signs = X.copy(), X.copy()
    swapped[[2, 3]] = swapped[[3, 2]]
    signs[4:6] *= -1
    seen |= {of(swapped), of(signs)}
    assert len(seen) == 35


@pytest.mark.parametrize('dtype', ['bool', 'uint8', 'bfloat16', 'float16', 'int32'])
def test_types(dtype):
    a = jnp.asarray(X > 0, dtype)
    assert of(a) != of(a.at[7, 1].set(1 - a[7, 1] if dtype != 'bool' else ~a[7, 1]))


def test_the_same_for_every_sharding():
    mesh = sharding.make_mesh(2, 4)
    for spec in (PartitionSpec(), PartitionSpec('fsdp'), PartitionSpec(('data', 'fsdp'))):
        assert of(jax.device_put(X, NamedSharding(mesh, spec))) == of(X)


def test_of_as_many_split_arrays_as_a_network_has():
    """All in flight at once they starved the threads of eight CPU devices, and the process was aborted."""
    split = NamedSharding(sharding.make_mesh(1, 8), PartitionSpec('fsdp'))
    found = digests([jax.device_put(X, split)] * 200)
    assert {*found.values()} == {of(X)}
    assert len(found) == 200
