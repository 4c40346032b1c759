"""Bugs in the conversion of Flax checkpoints of score_sde and consistency models, and of DDIM's release."""

from tests.planted.mutant import Mutant

# fmt: off
JCM, DDIM, PROCESS = 'interop/jcm.py', 'interop/ddim_unet.py', 'interop/process.py'
TEST, TORCH = 'tests/conversion/test_jcm.py::', 'tests/conversion/test_ddim.py::'
ALL = 'test_outputs_gradients_and_the_way_back'
SMALL = f'{TEST}{ALL}[DDPM++]'
REFUSED = TEST + 'test_what_is_none_of_them_is_refused'

MUTANTS = tuple(Mutant(*row) for row in [
    ('score_sde: the last weights, not the averaged ones', JCM, "tree.get('params_ema', tree.get('params', tree))",
     "tree.get('params', tree)", SMALL),
    ('score_sde: blocks of a level in another order', JCM,
     "{int(level) * (blocks + 1) + int(i)}", "{int(level) * (blocks + 1) + (int(i) + 1) % blocks}",
     f'{TEST}{ALL}[NCSN++]'),
    ('score_sde: queries for keys', JCM, "'q': 'NIN_0',\n    'k': 'NIN_1'", "'q': 'NIN_1',\n    'k': 'NIN_0'", SMALL),
    ('score_sde: VP for NCSN++', PROCESS, 'if exploding else', 'if not exploding else',
     TEST + 'test_score_sde_is_told_ln_sigma_of_images_from_0_to_1_or_999_t'),
    ('score_sde: told 250 ln sigma', PROCESS, "{'name': 'consistency', 'sigma_data': 0.5, 'sigma_min': 0.002}",
     "{'name': 'consistency', 'sigma_data': 0.5, 'sigma_min': 0.002, 'noise_scale': 250.0}",
     TEST + 'test_a_consistency_model_is_told_a_quarter_of_ln_sigma'),
    ('score_sde: attention anywhere', JCM, 'or attentions != (blocks + 1) * sum(attends) + 1', '', REFUSED),
    ('score_sde: a damaged file', 'interop/flax_file.py', 'except Exception as error', 'except TypeError as error',
     REFUSED),
    ('score_sde: DDIM without its fixed groups', DDIM, "'groups': 32", "'groups': 16", f'{TORCH}{ALL}[two_levels]'),
    ('score_sde: DDIM attends a level on', DDIM, '[size >> level for level, yes', '[size >> level + 1 for level, yes',
     f'{TORCH}{ALL}[two_levels]'),
    ('score_sde: DDIM clips', PROCESS, 'of = of_table(betas, clip=False, ddim_steps=50)',
     'of = of_table(betas, ddim_steps=50)', TORCH + 'test_ten_steps_of_ddim_from_the_command_line'),
])
# fmt: on
