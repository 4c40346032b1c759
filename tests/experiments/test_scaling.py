"""Collectives counted in the text of a program, by hand and from XLA."""

import jax
import jax.numpy as jnp
import pytest

from diffusion_jax import sharding
from experiments.benchmarks.scaling import Collective, collectives, estimate

TEXT = """
  %all-reduce.5 = (f32[128]{0}, bf16[3,3,4,8]{3,2,1,0}, /*index=5*/f32[]) all-reduce(%a, %b, %c), channel_id=1, replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %all-gather.1 = f32[8,16]{1,0} all-gather(%p), channel_id=2, replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
  %reduce-scatter.3 = f32[2]{0} reduce-scatter(%x), channel_id=3, replica_groups={{0,1},{2,3}}, dimensions={0}
  %get-tuple-element.7 = f32[128]{0} get-tuple-element(%all-reduce.5), index=0
"""  # noqa: E501


def test_by_hand():
    reduced, gathered, scattered = collectives(TEXT, 8)
    assert reduced == Collective('all-reduce', 4, 4 * 128 + 2 * 3 * 3 * 4 * 8 + 4)
    assert gathered == Collective('all-gather', 4, 4 * 8 * 16)
    assert scattered == Collective('reduce-scatter', 2, 4 * 2 * 2)
    assert [c.sent for c in (reduced, gathered, scattered)] == [2 * 1092 * 3 / 4, 512 * 3 / 4, 16 / 2]


def test_of_a_sum_over_devices():
    mesh = sharding.make_mesh(8)
    x = jax.ShapeDtypeStruct((8, 100), jnp.float32, sharding=sharding.over_batch(mesh))
    total = jax.jit(lambda x: x.sum(0), out_shardings=sharding.replicated(mesh))
    assert [*collectives(total.lower(x).compile().as_text(), 8)] == [Collective('all-reduce', 8, 400)]


def test_the_estimate_by_hand():
    """8 x 24.625 GFLOP at 197 TFLOP/s are 1 ms; twice 100 MB at 200 GB/s another, but for the chip's own 256th."""
    row = [float(cell) for cell in estimate(24.625e9, 25_000_000, (8,)).splitlines()[-1].strip('|').split('|')]
    assert row == pytest.approx([8, 2048, 1.0, 2.5, 255 / 256, 1.5 * 255 / 256], abs=0.005)
