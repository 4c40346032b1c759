"""Collectives counted in the text of a program, by hand and from XLA."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from diffusion_jax.devices import sharding
from experiments.benchmarks.scaling import Collective, collectives, estimate, state_table

TEXT = """
  %all-reduce.5 = (f32[128]{0}, bf16[3,3,4,8]{3,2,1,0}, /*index=5*/f32[]) all-reduce(%a, %b, %c), channel_id=1, replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %all-gather.1 = f32[8,16]{1,0} all-gather(%p), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
  %all-gather.2 = f32[4,2]{1,0} all-gather(%q), channel_id=4, replica_groups=mesh['axis_0'=1,'axis_1'=4,'axis_2'=2], device_ids=([2,4]T(1,0)) {'axis_1'}, dimensions={0}
  %all-gather.3 = f32[4,2]{1,0} all-gather(%r), channel_id=5, replica_groups=mesh['a'=8,'b'=2] {'a':(1)4,'b'}, dimensions={0}
  %reduce-scatter.3 = f32[2]{0} reduce-scatter(%x), channel_id=3, replica_groups={{0,1},{2,3}}, dimensions={0}
  %get-tuple-element.7 = f32[128]{0} get-tuple-element(%all-reduce.5), index=0
"""  # noqa: E501


def test_by_hand():
    reduced, gathered, by_axis, by_part, scattered = collectives(TEXT, 16)
    assert reduced == Collective('all-reduce', 4, 4 * 128 + 2 * 3 * 3 * 4 * 8 + 4)
    assert gathered == Collective('all-gather', 4, 4 * 8 * 16)
    assert (by_axis, by_part) == (Collective('all-gather', 4, 32), Collective('all-gather', 8, 32))
    assert scattered == Collective('reduce-scatter', 2, 4 * 2 * 2)
    assert [c.sent for c in (reduced, gathered, scattered)] == [2 * 1092 * 3 / 4, 512 * 3 / 4, 16 / 2]


def test_groups_that_are_not_understood_are_not_taken_for_all():
    with pytest.raises(ValueError, match='unknown kind of groups'):
        [*collectives(TEXT.replace('mesh[', 'torus['), 16)]


def test_of_a_sum_over_devices():
    mesh = sharding.make_mesh(8)
    x = jax.ShapeDtypeStruct((8, 100), jnp.float32, sharding=sharding.over_batch(mesh))
    total = jax.jit(lambda x: x.sum(0), out_shardings=sharding.replicated(mesh))
    assert [*collectives(total.lower(x).compile().as_text(), 8)] == [Collective('all-reduce', 8, 400)]


def test_of_a_gathered_matrix():
    """Each row of a mesh of 2 x 4 devices gathers it by itself."""
    mesh = sharding.make_mesh(2, 4)
    x = jax.ShapeDtypeStruct((8, 100), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec('fsdp')))
    whole = jax.jit(lambda x: x + 1, out_shardings=sharding.replicated(mesh))
    assert [*collectives(whole.lower(x).compile().as_text(), 8)] == [Collective('all-gather', 4, 3200)]


def test_the_estimate_by_hand():
    """8 x 24.625 GFLOP at 197 TFLOP/s are 1 ms; twice 100 MB at 200 GB/s another, but for the chip's own 256th.

    By two links: 2 x 7/8 gathered, 7/8 scattered, 1/8 reduced over 32, of 100 MB at 100 GB/s.
    """
    row = [float(cell) for cell in estimate(24.625e9, 25_000_000, (8,)).splitlines()[-1].strip('|').split('|')]
    assert row == pytest.approx([8, 2048, 1.0, 2.5, 255 / 256, 3 * 7 / 8 + 2 / 8 * 31 / 32], abs=0.005)


def test_what_cannot_be_split_stays_whole_on_every_device():
    """256 x 128 floats among 1, 2, .., 256 devices, and 128 x 128, which 256 does not divide."""
    shapes = [jax.ShapeDtypeStruct((n, 128), jnp.float32) for n in (256, 128)]
    found = [float(line.split('|')[2]) * 1e6 for line in state_table(shapes).splitlines()[2:]]
    whole = 4 * 128 * 128
    assert found == pytest.approx([3 * whole / 2**i for i in range(8)] + [2 * whole / 256 + whole], abs=5e4)
