"""Bugs in the networks: conditions, axes, patches and positions."""

from tests.planted.mutant import Mutant

# fmt: off
CONDITION, BLOCKS = 'tests/nets/test_condition.py::', 'tests/nets/test_blocks.py::'
AXES, DIT, POSITIONS = 'tests/nets/test_unet_axes.py::', 'tests/nets/test_dit.py::', 'tests/nets/test_positions.py::'
MASKED, TOKENS = (
    CONDITION + 'test_what_is_masked_has_no_influence_on_values_or_gradients',
    CONDITION + 'test_tokens_have_positions_and_their_mean_is_in_the_vector',
)
CLASS = CONDITION + 'test_a_class_is_a_row_of_its_table_and_nothing_is_the_last'
CONVOLUTION = BLOCKS + 'test_convolution_against_scipy'
ATTENTION = BLOCKS + 'test_attention_along_some_axes_is_attention_of_each_slice'
CROSS, SHIFTS = (
    BLOCKS + 'test_cross_attention_against_explicit_softmax',
    AXES + 'test_circular_padding_commutes_with_shifts_by_the_total_stride',
)
NUMPY, NONE = (
    DIT + 'test_against_numpy', DIT + 'test_masked_tokens_have_no_influence_and_none_is_nothing'
)
AT_FIRST = DIT + 'test_the_output_is_zero_and_every_block_the_identity_at_initialisation'

MUTANTS = tuple(Mutant(*row) for row in [
    # conditions
    ('nets: null is the last class', 'nets/condition.py', 'jnp.full((b, *part.shape), part.num)',
     'jnp.full((b, *part.shape), part.num - 1)', CLASS),
    ('nets: no row for the null class', 'nets/condition.py', '(part.num or 0) + 1', '(part.num or 0)', CLASS),
    ('nets: attributes share a table', 'nets/condition.py', "f'{name}_{i}')(row[:, i])", "f'{name}_{i}')(row[:, 0])",
     CONDITION + 'test_attributes_are_the_sum_over_tables_of_their_own'),
    ('nets: masked numbers are seen', 'nets/condition.py', '(values.ndim - row.mask.ndim)), values, 0)',
     '(values.ndim - row.mask.ndim)), values, values)', MASKED),
    ('nets: masked words are seen', 'nets/condition.py', 'jnp.where(row.mask[..., None], tokens, 0)', 'tokens', TOKENS),
    ('nets: mean over absent places too', 'nets/condition.py',
     'jnp.maximum(tokens.mask.sum(1, keepdims=True), 1)', 'tokens.mask.shape[1]', TOKENS),
    ('nets: mean of an empty mask', 'nets/condition.py', 'jnp.maximum(tokens.mask.sum(1, keepdims=True), 1)',
     'tokens.mask.sum(1, keepdims=True)', TOKENS),
    ('nets: position off by one', 'nets/condition.py',
     "self.param(f'{name}_positions', self.row_init, (*part.shape, self.features))[None]",
     "jnp.roll(self.param(f'{name}_positions', self.row_init, (*part.shape, self.features))[None], 1, 1)", TOKENS),
    ('nets: condition of another row', 'nets/condition.py', 'return jax.tree.map(jnp.asarray, row)',
     'return jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), row)', f'{CLASS} {TOKENS}'),
    ('nets: nothing is a vector of zeros', 'nets/condition.py', 'told, nothing[None, :])',
     'told, 0 * nothing[None, :])', CONDITION + 'test_a_vector_goes_through_a_dense_layer_or_is_the_learned_nothing'),
    ('nets: no channel for what is there', 'nets/condition.py', 'there.astype(values.dtype)], axis=-1)',
     'jnp.ones_like(there, values.dtype)], axis=-1)',
     CONDITION + 'test_an_image_is_handed_through_with_its_mask_as_a_channel'),
    ('nets: images of any size', 'nets/condition.py', 'if part.shape[:-1] != spatial:', 'if False:',
     CONDITION + 'test_conditions_that_do_not_fit_are_one_line'),
    # the U-Net over any axes
    ('nets: reflected for circular', 'nets/blocks.py', "mode='wrap'", "mode='reflect'", f'{CONVOLUTION} {SHIFTS}'),
    ('nets: circular from the other side', 'nets/blocks.py', '[(0, 0), *pads, (0, 0)]',
     '[(0, 0), *(p[::-1] for p in pads), (0, 0)]', CONVOLUTION),
    ('nets: the middle of the U-Net padded by zeros', 'nets/unet.py',
     'block(width, self.dropout, self.scale_shift, resample, self.padding,',
     "block(width, self.dropout, self.scale_shift, resample, 'zero',", SHIFTS),
    ('nets: down-sampling by first axes', 'nets/blocks.py', '.mean(tuple(range(2, 2 * len(space) + 1, 2)))',
     '.mean(tuple(range(1, 2 * len(space) + 1, 2)))', BLOCKS + 'test_downsampling_by_hand'),
    ('nets: frames mixed', 'nets/blocks.py', '[a + 1 for a in axes], last)\n        rows',
     'list(axes), last)\n        rows', ATTENTION),
    ('nets: attention put back elsewhere', 'nets/blocks.py', 'jnp.moveaxis(y, last, [a + 1 for a in axes])',
     'y.swapaxes(1, 2).reshape(x.shape)', ATTENTION),
    ('nets: frames for height', 'nets/unet.py', 'h.shape[2] if h.ndim == 5 else h.shape[1]', 'h.shape[1]',
     AXES + 'test_attention_is_at_lengths_of_signals_and_heights_of_frames'),
    ('nets: mask of the tokens ignored', 'nets/blocks.py', ', mask=tokens.mask[:, None, None, :]', '', CROSS),
    ('nets: something of no tokens', 'nets/blocks.py', 'jnp.any(tokens.mask, axis=1, keepdims=True)',
     'jnp.ones((b, 1), bool)', CROSS),
    ('nets: no attention to tokens', 'nets/unet.py', 'if tokens is not None:', 'if tokens is None and x is None:',
     AXES + 'test_tokens_are_attended_to_wherever_there_is_attention'),
    ('nets: strides of the first axis', 'nets/unet.py', 'self.strides or (2,) * (x.ndim - 2)',
     '(self.strides or (2,))[:1] * (x.ndim - 2)', AXES + 'test_strides_say_where_the_resolution_falls'),
    # DiT
    ('nets: gate for shift', 'nets/dit.py', 'shift_1, scale_1, gate_1, shift_2', 'gate_1, scale_1, shift_1, shift_2',
     NUMPY),
    ('nets: scale without its one', 'nets/dit.py', 'x * (1 + scale) + shift', 'x * scale + shift', NUMPY),
    ('nets: gates open at first', 'nets/dit.py', "'modulation', dtype, _zeros", "'modulation', dtype", AT_FIRST),
    ('nets: output not zero at first', 'nets/dit.py', "'out', self.dtype, _zeros)(h)", "'out', self.dtype)(h)",
     AT_FIRST),
    ('nets: attention to tokens at first', 'nets/dit.py', "'to_tokens_out', self.dtype, _zeros",
     "'to_tokens_out', self.dtype", AT_FIRST),
    ('nets: rows before columns', 'nets/positions.py', 'features // (2 * len(grid)))[::-1]',
     'features // (2 * len(grid)))', POSITIONS + 'test_sincos_is_the_official_embedding_of_an_image'),
    ('nets: places from one', 'nets/positions.py', 'k.reshape(math.prod(grid), 1) * w',
     '(k.reshape(math.prod(grid), 1) + 1) * w', POSITIONS + 'test_sincos_is_the_official_embedding_of_an_image'),
    ('nets: keys turned the other way', 'nets/dit.py', 'rotated(q, told.angles), rotated(k, told.angles)',
     'rotated(q, told.angles), rotated(k, -told.angles)', NUMPY),
    ('nets: a turn that is none', 'nets/positions.py', 'a * sin + b * cos', 'a * sin - b * cos',
     POSITIONS + 'test_rotary_turns_pairs_by_the_angle_of_their_place'),
    ('nets: absent tokens in context', 'nets/dit.py', 'None if told.there is None else told.there[:, None, None, :]',
     'None', f'{NUMPY} {NONE}'),
    ('nets: absent tokens across', 'nets/dit.py', ', mask=tokens.mask[:, None, None, :]', '', f'{NUMPY} {NONE}'),
    ('nets: something of no tokens across', 'nets/dit.py', 'jnp.any(tokens.mask, axis=1)[:, None, None], y, 0)',
     'jnp.any(tokens.mask, axis=1)[:, None, None], y, y)', f'{NUMPY} {NONE}'),
    ('nets: patches put back transposed', 'nets/dit.py', 'for i in (axis, axis + n)', 'for i in (axis + n, axis)',
     DIT + 'test_patches_and_back'),
    ('nets: sine before cosine', 'nets/dit.py', '[jnp.cos(phase), jnp.sin(phase)]', '[jnp.sin(phase), jnp.cos(phase)]',
     DIT + 'test_waves_are_the_official_ones_and_float32_for_coarser_times'),
    ('nets: one mask for all blocks', 'nets/dit.py', "'dropout': True", "'dropout': False",
     DIT + 'test_dropout_needs_a_key_and_every_block_has_a_mask_of_its_own'),
    ('nets: one start for all blocks', 'nets/dit.py', "split_rngs={'params': True", "split_rngs={'params': False",
     AT_FIRST),
    ('nets: DiT keeps all', 'nets/dit.py', 'computed_again(Block, self.remat, prevent_cse=False)', 'Block',
     DIT + 'test_blocks_computed_again_keep_less'),
])
# fmt: on
