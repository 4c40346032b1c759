"""Bugs in the conversion of official networks, and in the layouts of our blocks that it needs."""

from tests.planted.mutant import Mutant

# fmt: off
NAMES, UNET, BLOCKS = 'interop/names.py', 'interop/unet.py', 'nets/blocks.py'
CONVERT = 'tests/conversion/test_convert.py::'
LAYOUT = 'tests/nets/test_layout.py::'
OPENAI, EDM = 'tests/conversion/test_openai.py::', 'tests/conversion/test_edm.py::'
PLACES = CONVERT + 'test_weights_are_where_they_belong'
BACK = CONVERT + 'test_out_again_bit_by_bit'
CLASSES = CONVERT + 'test_classes_come_without_a_null_class_and_leave_without_it'
FITS = CONVERT + 'test_names_that_do_not_fit_are_listed_on_both_sides'
ORIGIN = CONVERT + 'test_the_workdir_says_where_its_weights_are_from'
ALL = 'test_outputs_gradients_and_the_way_back'

MUTANTS = tuple(Mutant(*row) for row in [
    ('networks: kernels mirrored', NAMES, 'return (w.transpose(*range(2, w.ndim), 1, 0),)',
     'return (w.transpose(*range(2, w.ndim), 1, 0)[::-1],)', PLACES),
    ('networks: kernels go out as they are', NAMES, 'w.transpose(w.ndim - 1, w.ndim - 2, *range(w.ndim - 2))',
     'w.transpose(w.ndim - 1, w.ndim - 2, *range(w.ndim - 2))[..., ::-1]', BACK),
    ('networks: no class is the first', NAMES, 'np.concatenate([w, np.zeros_like(w[:1])])',
     'np.concatenate([w, w[:1]])', CLASSES),
    ('networks: the class that tells nothing goes out too', NAMES, 'else parts[0][:-1]', 'else parts[0]', CLASSES),
    ('networks: what is left over is left', NAMES, 'if missing or left:', 'if missing:', FITS),
    ('networks: queries and keys change places', UNET, "'qkv'.find(path[-2])", "'kqv'.find(path[-2])",
     OPENAI + ALL + '[adm]'),
    ('networks: half precision stays', 'interop/weights_file.py',
     'w.astype(np.float32) if jnp.issubdtype(w.dtype, jnp.floating) else w', 'w',
     CONVERT + 'test_attention_under_its_old_names_and_half_precision'),
    ('networks: the lesser variance', 'interop/process.py', "'fixed_large': 'large'", "'fixed_large': 'small'", ORIGIN),
    ('networks: a run is overwritten', 'conversion/incoming.py', "for name in ('config.json', 'checkpoints')",
     "for name in ('config', 'checkpoint')", CONVERT + 'test_nothing_is_overwritten'),
    ('networks: eps of another layout goes out', 'interop/diffusers_config.py', "'norm_eps': layout.eps",
     "'norm_eps': 1e-5", BACK),
    ('networks: sinusoids in the other order', BLOCKS, 'waves[::-1] if cosines_first else waves',
     'waves if cosines_first else waves[::-1]', LAYOUT + 'test_sinusoids[True-1]'),
    ('networks: the last sinusoid is slower', BLOCKS, '/ (half - shift))', '/ (half - 1))',
     LAYOUT + 'test_sinusoids[False-0]'),
    ('networks: padded behind only', BLOCKS, "[(1, 1)] * len(window) if self.layout.symmetric else 'SAME'", "'SAME'",
     LAYOUT + 'test_a_strided_convolution_is_every_other_of_a_plain_one[True-zero]'),
    ('networks: one eps for all', BLOCKS, 'variance + self.layout.eps', 'variance + 1e-6',
     LAYOUT + 'test_groups_and_eps_of_a_norm[3]'),
    ('networks: heads last of all', 'interop/adm_unet.py', "'heads_first': 'heads three dim'",
     "'heads_first': 'three heads dim'", OPENAI + ALL + '[adm]'),
    ('networks: attention is not scaled', BLOCKS, 'return scaled(x + y, self.layout)', 'return x + y',
     EDM + ALL + '[DDPM++]'),
    ('networks: no dense layer beside the change of resolution', BLOCKS,
     'or (self.layout.projects and self.resample is not None)', '',
     LAYOUT + 'test_the_residual_sum_is_scaled_and_its_shortcut_a_layer'),
    ('networks: attention after every block upwards', 'nets/unet.py', "and of[:2] == 'up' and i < self.blocks",
     "and of[:2] == 'up' and i < self.blocks - 1",
     LAYOUT + 'test_upwards_only_the_last_block_of_a_level_attends'),
    ('networks: ln sigma told as by EDM', 'interop/process.py',
     "'sigma_min': sigma_min, 'noise_scale': 250.0", "'sigma_min': sigma_min, 'noise_scale': 0.25",
     OPENAI + 'test_a_consistency_model_is_told_250_ln_sigma'),
    ('networks: the first step is 1', 'precond.py', 'scale * t - scale / T', 'scale * t - 1',
     OPENAI + 'test_iddpm_is_told_its_4000_steps_as_1000_or_as_they_are[1000]'),
])
# fmt: on
