"""Programs read from their text: by hand, and as XLA compiles them for eight CPU devices."""

import jax
import jax.numpy as jnp
import pytest

from diffusion_jax.devices import sharding
from experiments.launch import collectives, hlo, program
from experiments.launch.collectives import Collective, Row

# Two passes of a loop that counts by two to four; what it calls is a fusion with a product of bfloat16 numbers.
LOOP = """HloModule m, is_scheduled=true, input_output_alias={ {0}: (0, {}, may-alias), {1}: (3, {}, must-alias) }, entry_computation_layout={()->()}

%fused (p: bf16[8,16], q: bf16[16,4]) -> f32[8,4] {
  %p = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  %q = bf16[16,4]{1,0:T(8,128)(2,1)} parameter(1)
  ROOT %d = f32[8,4]{1,0:T(8,128)} dot(%p, %q), lhs_contracting_dims={1}, rhs_contracting_dims={0}, metadata={op_name="net/dense"}
}

%body (s: (s32[], bf16[8,16], bf16[16,4])) -> (s32[], bf16[8,16], bf16[16,4]) {
  %s = (s32[], bf16[8,16]{1,0:T(8,128)(2,1)}, bf16[16,4]{1,0:T(8,128)(2,1)S(1)}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %one = s32[] constant(1)
  %j = s32[] add(%i, %one)
  %k = s32[] add(%one, %j)
  %a = bf16[8,16]{1,0:T(8,128)(2,1)} get-tuple-element(%s), index=1
  %b = bf16[16,4]{1,0:T(8,128)(2,1)S(1)} get-tuple-element(%s), index=2
  %f = f32[8,4]{1,0:T(8,128)} fusion(%a, %b), kind=kOutput, calls=%fused
  ROOT %t = (s32[], bf16[8,16]{1,0:T(8,128)(2,1)}, bf16[16,4]{1,0:T(8,128)(2,1)S(1)}) tuple(%k, %a, %b)
}

%condition (s: (s32[], bf16[8,16], bf16[16,4])) -> pred[] {
  %n = s32[] constant(4)
  %s.1 = (s32[], bf16[8,16]{1,0}, bf16[16,4]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%s.1), index=0
  ROOT %lt = pred[] compare(%i.1, %n), direction=LT
}

ENTRY %main (x: bf16[8,16], y: bf16[16,4]) -> s32[] {
  %x = bf16[8,16]{1,0:T(8,128)(2,1)} parameter(0)
  %y = bf16[16,4]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  %zero = s32[] constant(0)
  %c = s32[] copy(%zero)
  %init = (s32[], bf16[8,16]{1,0:T(8,128)(2,1)}, /*index=2*/bf16[16,4]{1,0:T(8,128)(2,1)S(1)}) tuple(%c, %x, %y)
  %w = (s32[], bf16[8,16]{1,0:T(8,128)(2,1)}, bf16[16,4]{1,0:T(8,128)(2,1)S(1)}) while(%init), condition=%condition, body=%body
  ROOT %r = s32[] get-tuple-element(%w), index=0
}
"""  # noqa: E501


def compiled(function, *shapes, **options):
    shapes = [s if isinstance(s, jax.ShapeDtypeStruct) else jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
    done = jax.jit(function, **options).lower(*shapes).compile()
    return done, hlo.parse(done.as_text())


def test_a_loop_by_hand():
    """2 passes of 2 x 8 x 4 x 16; in HBM they read 8 x 16 numbers, filled up to 8 x 128, and write 8 x 4 floats."""
    module = hlo.parse(LOOP)
    found = program.figures(module)
    assert module.aliased == 2
    assert found.flops == 2 * 2 * 8 * 4 * 16
    assert found.filled == 2 * 2 * 8 * 128 * 128
    additions = 2 * (2 * 12)  # each pass adds to the counter twice: three numbers of four bytes
    assert found.traffic == 2 * (8 * 128 * 2 + 8 * 128 * 4) + additions + 8
    assert found.unpadded == 2 * (8 * 16 * 2 + 8 * 4 * 4) + additions + 8
    assert found.unlike == program.Unlike(0, 1, 0.0, '')
    assert found.unknown_loops == 0


def test_a_loop_that_is_called():
    """As XLA has small ones on a CPU from jaxlib 0.12 on."""
    state = '(s32[], bf16[8,16]{1,0:T(8,128)(2,1)}, bf16[16,4]{1,0:T(8,128)(2,1)S(1)})'
    loop = f'{state} while(%init), condition=%condition, body=%body'
    assert loop in LOOP
    called = '%called (p: (s32[], bf16[8,16], bf16[16,4])) -> (s32[], bf16[8,16], bf16[16,4]) {\n'
    called += f'  %p.1 = {state} parameter(0)\n  ROOT %w.1 = {loop.replace("%init", "%p.1")}, '
    called += 'backend_config={"known_trip_count":{"n":"2"}}\n}\n\n'
    text = LOOP.replace(loop, f'{state} call(%init), to_apply=%called').replace('ENTRY', f'{called}ENTRY')
    assert program.figures(hlo.parse(text)) == program.figures(hlo.parse(LOOP))


def test_a_loop_of_unknown_length_counts_once_and_is_told():
    found = program.figures(hlo.parse(LOOP.replace('direction=LT', 'direction=NE')))
    assert (found.flops, found.unknown_loops) == (2 * 8 * 4 * 16, 1)


def test_what_xla_says_of_a_loop_comes_first():
    text = LOOP.replace('body=%body', 'body=%body, backend_config={"known_trip_count":{"n":"5"}}')
    assert program.figures(hlo.parse(text)).flops == 5 * 2 * 8 * 4 * 16


def test_products_of_floats_are_found():
    found = program.figures(hlo.parse(LOOP.replace('%p = bf16', '%p = f32')))
    assert found.unlike == program.Unlike(1, 1, 1.0, 'net/dense: f32[8,16] by bf16[16,4]')


def test_arrays_are_filled_up_along_the_axes_that_lie_closest():
    (shape,) = hlo.shapes('bf16[3,5,100]{1,2,0:T(8,128)(2,1)S(1)}')
    assert (shape.space, shape.bytes, shape.padded) == (1, 2 * 1500, 2 * 3 * 128 * 104)
    (vector,) = hlo.shapes('f32[5]{0:T(128)}')
    assert (vector.bytes, vector.padded, vector.space) == (20, 512, 0)
    assert [s.bytes for s in hlo.shapes('(pred[7], /*x*/s4[6], f8e4m3fn[2], f32[])')] == [7, 3, 2, 4]


def test_a_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match='ENTRY'):
        hlo.parse('HloModule nothing')


def test_a_product_of_matrices():
    done, module = compiled(jnp.matmul, (30, 50), (50, 70))
    assert program.figures(module).flops == 2 * 30 * 50 * 70
    assert done.cost_analysis()['flops'] == pytest.approx(2 * 30 * 50 * 70)


def test_products_in_a_batch_and_their_filling():
    """Four products of 10 x 20 and 20 x 30: rows to 16, channels to 128."""
    _, module = compiled(lambda a, b: jnp.einsum('bij,bjk->bik', a, b), (4, 10, 20), (4, 20, 30))
    found = program.figures(module)
    assert found.flops == 4 * 2 * 10 * 20 * 30
    assert found.filled == pytest.approx(4 * 2 * 16 * 128 * 128)


def test_a_scan_multiplies():
    _, module = compiled(lambda x, ws: jax.lax.scan(lambda x, w: (x @ w, None), x, ws)[0], (8, 16), (7, 16, 16))
    assert program.figures(module).flops == 7 * 2 * 8 * 16 * 16


@pytest.mark.parametrize(
    'options',
    [
        {'padding': 'SAME'},
        {'padding': 'VALID', 'window_strides': (2, 3)},
        {'padding': [(2, 1), (0, 4)], 'rhs_dilation': (2, 1)},
        {'padding': [(1, 1), (1, 2)], 'lhs_dilation': (2, 3)},
        {'padding': 'SAME', 'feature_group_count': 3},
    ],
    ids=str,
)
def test_convolutions_as_xla_counts_them(options):
    given = {'window_strides': (1, 1), 'dimension_numbers': ('NHWC', 'HWIO', 'NHWC'), **options}
    channels = 6 // given.get('feature_group_count', 1)
    done = jax.jit(lambda x, w: jax.lax.conv_general_dilated(x, w, **given))
    lowered = done.lower(*(jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 9, 8, 6), (3, 3, channels, 12))))
    xla = lowered.cost_analysis()['flops']
    assert program.figures(hlo.parse(lowered.as_text('hlo'))).flops == xla


def test_a_donated_argument_is_counted():
    add = lambda x, y: x + y  # noqa: E731
    assert compiled(add, (100,), (100,), donate_argnums=0)[1].aliased == 1
    assert compiled(add, (100,), (100,))[1].aliased == 0


def test_traffic_of_a_sum():
    """Read once, written once."""
    _, module = compiled(lambda x: jnp.sin(x) + 1, (1000, 500))
    assert program.figures(module).traffic == 2 * 4 * 500_000


def test_a_scan_reads_its_rows_once():
    """Not the whole array in every pass: 20 rows of 4000 bytes, with 8000 more for the sum so far."""
    _, module = compiled(lambda xs: jax.lax.scan(lambda s, x: (jnp.sin(s) + x, None), xs[0], xs)[0], (20, 1000))
    traffic = program.figures(module).traffic
    assert 20 * 12_000 <= traffic < 20 * 12_000 + 20_000 + 20 * 60


@pytest.fixture
def split():
    mesh = sharding.make_mesh(8)
    return lambda n: jax.ShapeDtypeStruct((8, n), jnp.float32, sharding=sharding.over_batch(mesh)), mesh


def test_one_sum_over_devices(split):
    shape, mesh = split
    _, module = compiled(lambda x: x.sum(0), shape(100), out_shardings=sharding.replicated(mesh))
    assert collectives.rows(collectives.scheduled(module, 8)) == [Row('all-reduce', 8, 1, 0, 400, 2 * 400 * 7 / 8)]


def test_sums_in_a_loop_count_as_often_as_it_runs(split):
    shape, mesh = split

    def sums(x):
        def once(s, _):
            return jax.lax.with_sharding_constraint((x * s[None]).sum(0), sharding.replicated(mesh)), None

        return jax.lax.scan(once, jnp.ones(100), length=5)[0]

    _, module = compiled(sums, shape(100))
    (row,) = collectives.rows(collectives.scheduled(module, 8))
    assert (row.kind, row.count, row.payload) == ('all-reduce', 5, 5 * 400)


ASYNC = """HloModule m, is_scheduled=true

%async_collective_fusion.1 (p: bf16[1,64]) -> bf16[2,64] {
  %p = bf16[1,64]{1,0} parameter(0)
  ROOT %g.1 = bf16[2,64]{1,0} all-gather(%p), channel_id=7, replica_groups={{0,1},{2,3}}, dimensions={0}
}

%async_collective_fusion.2 (p.1: bf16[1,64]) -> bf16[2,64] {
  %p.1 = bf16[1,64]{1,0} parameter(0)
  ROOT %g.2 = bf16[2,64]{1,0} all-gather(%p.1), channel_id=7, replica_groups={{0,1},{2,3}}, dimensions={0}
}

%all-reduce-scatter.3 (p.2: f32[4,64]) -> f32[2,64] {
  %p.2 = f32[4,64]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %r = f32[4,64]{1,0} all-reduce(%p.2), channel_id=8, replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %s = f32[2,64]{1,0} dynamic-slice(%r, %zero, %zero), dynamic_slice_sizes={2,64}
}

ENTRY %main (x: bf16[1,64], y: f32[4,64]) -> f32[2,64] {
  %x = bf16[1,64]{1,0} parameter(0)
  %y = f32[4,64]{1,0} parameter(1)
  %a = bf16[2,64]{1,0} fusion(%x), kind=kCustom, calls=%async_collective_fusion.1
  %b = bf16[2,64]{1,0} fusion(%x), kind=kCustom, calls=%async_collective_fusion.2
  %c = (bf16[1,64]{1,0}, bf16[4,64]{1,0}) all-gather-start(%x), channel_id=9, replica_groups=[1,4]<=[4], dimensions={0}
  %d = bf16[4,64]{1,0} all-gather-done(%c)
  %e = bf16[1,64]{1,0} collective-permute(%x), channel_id=10, source_target_pairs={{0,1},{1,2},{2,3},{3,0}}
  ROOT %f = f32[2,64]{1,0} fusion(%y), kind=kCustom, calls=%all-reduce-scatter.3
}
"""


def test_collectives_that_overlap_count_once():
    assert collectives.rows(collectives.scheduled(hlo.parse(ASYNC), 4)) == [
        Row('all-gather', 2, 1, 1, 256, 128),
        Row('all-gather', 4, 1, 1, 512, 384),
        Row('collective-permute', 4, 1, 0, 128, 128),
        Row('reduce-scatter', 2, 1, 0, 1024, 512),
    ]


def test_what_a_device_sends():
    assert [Collective(kind, 4, 400).sent for kind in collectives.KINDS] == [600, 300, 300, 300, 400]
