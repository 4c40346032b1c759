"""Bugs in EDM2's network, in the lengths of its weights and in the weight of its loss."""

from tests.planted.mutant import Mutant

# fmt: off
MAGNITUDE, NET, NORM = 'nets/magnitude.py', 'nets/edm2.py', 'optim/forced_norm.py'
UNIT, FORCED = 'tests/nets/test_magnitude.py::', 'tests/optim/test_forced_norm.py::'
TORCH = 'tests/conversion/test_edm2.py::'
ALL = TORCH + 'test_outputs_gradients_and_the_way_back'
CLASSES, LATENTS = f'{ALL}[classes]', f'{ALL}[latents]'
STEPS = TORCH + 'test_training_is_theirs_step_by_step'
SUMS = UNIT + 'test_sums_and_concatenations_keep_the_sum_of_squares[0.3]'
SCIPY = UNIT + 'test_a_convolution_against_scipy[space1]'
REFUSED = TORCH + 'test_what_is_no_network_of_edm2_is_refused'
LEARNS = 'tests/objectives/test_denoising.py::test_a_weight_that_learns_is_told_the_log_of_the_noise_level'

MUTANTS = tuple(Mutant(*row) for row in [
    ('edm2: length instead of magnitude', MAGNITUDE, 'jnp.mean(jnp.square(y), axis', 'jnp.sum(jnp.square(y), axis',
     UNIT + 'test_what_is_normalised_has_magnitude_one_but_for_eps'),
    ('edm2: no slope at zero', MAGNITUDE, 'jnp.sqrt(jnp.maximum(square, jnp.finfo(y.dtype).tiny))', 'jnp.sqrt(square)',
     UNIT + 'test_zeros_stay_and_have_the_slope_of_eps'),
    ('edm2: SiLU as it is', MAGNITUDE, 'nn.silu(x) / 0.596', 'nn.silu(x)',
     UNIT + 'test_silu_keeps_the_magnitude_of_unit_normal_numbers'),
    ('edm2: a sum that shrinks', MAGNITUDE, '/ math.hypot(1 - t, t)\n\n\ndef mp_cat', '\n\n\ndef mp_cat', SUMS),
    ('edm2: the halves of a concatenation change places', MAGNITUDE, 'C * (1 - t) / math.sqrt(n_a) * a, C * t',
     'C * t / math.sqrt(n_a) * a, C * (1 - t)', SUMS),
    ('edm2: channels by their number', MAGNITUDE, 'C * t / math.sqrt(n_b) * b', 'C * t / math.sqrt(n_a) * b', SUMS),
    ('edm2: weights as they are', MAGNITUDE, 'w = unit_directions(w) * (gain', 'w = w * (gain', SCIPY),
    ('edm2: weights normalised over outputs too', MAGNITUDE, 'normalised(w, range(w.ndim - 1))',
     'normalised(w, range(w.ndim))', f'{SCIPY} {FORCED}test_the_step_is_the_optimisers_and_then_the_length'),
    ('edm2: the gain is lost', MAGNITUDE, '* (gain / math.sqrt(math.prod(shape[:-1])))',
     '* (1 / math.sqrt(math.prod(shape[:-1])))', f'{SCIPY} {CLASSES}'),
    ('edm2: waves learn', MAGNITUDE, 'jax.lax.stop_gradient(p).astype', 'p.astype',
     UNIT + 'test_weights_begin_with_magnitude_one_and_keep_that_of_what_goes_through'),
    ('edm2: no channel of ones', NET, 'jnp.ones_like(x[..., :1])', 'jnp.zeros_like(x[..., :1])', CLASSES),
    ('edm2: classes as unit vectors', NET, 'math.sqrt(part.num) * jax.nn', 'jax.nn', CLASSES),
    ('edm2: the embedding is not activated', NET,
     'return mp_silu(mp_sum(emb, _mean(labels), self.label_balance) if labels else emb)',
     'return mp_sum(emb, _mean(labels), self.label_balance) if labels else emb', CLASSES),
    ('edm2: pixels are normalised upwards', NET, 'if not self.decodes:', 'if self.decodes:', CLASSES),
    ('edm2: the embedding is a factor without 1', NET, "name='emb')(emb, gain) + 1", "name='emb')(emb, gain)", CLASSES),
    ('edm2: queries as they are', NET, 'normalised(split_heads(MPLayer(self.channels, name=name)(rows), heads), (-1,))',
     'split_heads(MPLayer(self.channels, name=name)(rows), heads)', CLASSES),
    ('edm2: queries normalised over all heads', NET,
     'normalised(split_heads(MPLayer(self.channels, name=name)(rows), heads), (-1,))',
     'split_heads(normalised(MPLayer(self.channels, name=name)(rows), (-1,)), heads)', CLASSES),
    ('edm2: nothing is clipped', NET, 'return x if self.clip is None else', 'return x if True else', LATENTS),
    ('edm2: no attention in the middle', NET, "'middle_block_0', decodes=True, attends=True)",
     "'middle_block_0', decodes=True)", CLASSES),
    ('edm2: the length is forced on no weights', NORM, "getattr(path[-1], 'key', None) == DIRECTION", 'False',
     f'{FORCED}test_the_step_is_the_optimisers_and_then_the_length {STEPS}'),
    ('edm2: the length is forced on all weights', NORM, 'if _is_direction(path) else update', 'if True else update',
     FORCED + 'test_each_weight_vector_has_unit_magnitude_after_any_number_of_steps[1]'),
    ('edm2: the update alone gets a length', NORM, 'unit_directions(w + update) - w', 'unit_directions(update)',
     f'{FORCED}test_each_weight_vector_has_unit_magnitude_after_any_number_of_steps[20] {STEPS}'),
    ('edm2: lengths are left to the optimiser', 'builders/optimiser.py', 'return forced_norm(tx) if forced else tx',
     'return tx', STEPS),
    ('edm2: u with the other sign', 'nets/log_weight.py', 'return -u[:, 0]', 'return u[:, 0]',
     f'{UNIT}test_u_against_numpy {CLASSES}'),
    ('edm2: u told the log of the noise', 'objectives/adaptive.py', 'c_noise / 4)', 'c_noise)', CLASSES),
    ('edm2: the weight is told the log-SNR', 'objectives/denoising.py', '-log_snr(schedule, t) / 2',
     'log_snr(schedule, t)', f'{LEARNS}[VP]'),
    ('edm2: the weight costs nothing', 'objectives/denoising.py', 'jnp.exp(phi) * error - phi)',
     'jnp.exp(phi) * error)', f'{LEARNS}[VE]'),
    ('edm2: heads one after the other', 'interop/edm2_unet.py', "'heads dim three'", "'three heads dim'", CLASSES),
    ('edm2: another embedding goes unnoticed', 'interop/edm2_unet.py',
     'if multipliers is None or told != (max(widths), channels):', 'if multipliers is None:', REFUSED),
])
# fmt: on
