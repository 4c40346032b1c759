"""Bugs in latent diffusion and its distillation."""

from tests.planted.mutant import Mutant

# fmt: off
LCM, OBJECTIVE = 'objectives/latent_consistency.py', 'tests/objectives/test_latent_consistency.py::'
TEXT_UNET, UNET = 'nets/text_unet.py', 'tests/nets/test_text_unet.py::'
AUTOENCODER, HALVES = 'nets/autoencoder.py', 'tests/nets/test_autoencoder.py::'
CACHE, ONCE = 'data/latent_cache.py', 'tests/data/test_latent_cache.py::'
LATENTS = 'tests/conversion/test_latents.py::'
GUIDED = OBJECTIVE + 'test_a_guided_step_is_the_papers'
VANISH = OBJECTIVE + 'test_loss_and_gradient_vanish_at_the_exact_guided_map'
TOLD = OBJECTIVE + 'test_the_drawn_weight_is_told_to_the_student_alone'
BOUNDARY = OBJECTIVE + 'test_boundary_coefficients_are_the_identity_at_the_first_point_of_the_table'
SCALED = HALVES + 'test_latents_are_shifted_and_scaled_on_the_way_out_and_back_on_the_way_in'
PIXELS = UNET + 'test_a_spatial_transformer_knows_no_places_and_no_tokens_that_are_not_there'
ANEW = ONCE + 'test_what_differs_is_encoded_anew'
SAID = LATENTS + 'test_the_run_is_what_the_folder_says'
TOKENS = LATENTS + 'test_texts_are_read_between_the_first_and_the_last_token'
OUT, PROCESS, TILING = 'tests/conversion/test_latents_out.py::', 'interop/latent_process.py', 'nets/tiling.py'
BACK = OUT + 'test_out_again_bit_by_bit'
DISTILLED = OUT + 'test_a_consistency_model_goes_out_with_its_scheduler_and_what_it_is_told'
MOVED = OUT + 'test_a_run_that_is_moved_is_sampled'
LINE = 'tests/nets/test_tiling.py::test_along_a_line_one_tile_goes_over_linearly_into_the_next'
FROZEN = 'tests/optim/test_frozen_parts.py::test_the_rest_is_trained_as_if_it_were_all'

MUTANTS = tuple(Mutant(*row) for row in [
    ('lcm: the teacher is told the weight', LCM, '(_untold(cond) for cond in (batch.cond, repeat_row(null, n)))',
     '(batch.cond, repeat_row(null, n))', GUIDED),
    ('lcm: text and nothing change places', LCM, 'cond, nothing, w)', 'nothing, cond, w)', GUIDED),
    ('lcm: omega instead of w', LCM, "w = len(batch.x), batch.cond['w'].values[:, 0]",
     "w = len(batch.x), batch.cond['w'].values[:, 0] - 1", VANISH),
    ('lcm: the student is not told', LCM, 'jnp.ones(len(w), bool)', 'jnp.zeros(len(w), bool)', TOLD),
    ('lcm: one key for two draws', LCM, 'minval=w_min, maxval=w_max', 'minval=w_min, maxval=w_min', TOLD),
    ('lcm: the boundary is at clean data', 'precond.py', 'index = _table_index(T, float(T))',
     'index = lambda t: T * t', BOUNDARY),
    ('lcm: the boundary without its scaling', 'precond.py', 'return sigma_data**2 / ((scaling * index(t)) ** 2',
     'return sigma_data**2 / (index(t) ** 2', BOUNDARY),
    ('latents: not shifted back', AUTOENCODER, 'z = z / self.scaling + self.shift', 'z = z / self.scaling', SCALED),
    ('latents: the shift is scaled too', AUTOENCODER, 'self.scaling * (mean - self.shift)',
     'self.scaling * mean - self.shift', SCALED),
    ('latents: the deviation is not scaled', AUTOENCODER, 'self.scaling * std)', 'std)', SCALED),
    ('texts: they are trained', TEXT_UNET, 'jax.lax.stop_gradient(self.text(tokens.values))',
     'self.text(tokens.values)', UNET + 'test_the_text_is_frozen'),
    ('texts: a weight that is not told is heard', TEXT_UNET, 'jnp.where(w.mask[:, None], guidance, 0)', 'guidance',
     UNET + 'test_it_hears_the_text_and_the_weight_where_it_is_told'),
    ('texts: the weight is heard from the start', TEXT_UNET, 'zeros = nn.initializers.zeros',
     'zeros = nn.initializers.ones', UNET + 'test_at_first_the_weight_changes_nothing'),
    ('texts: places see what is behind them', 'nets/clip_text.py', 'is_causal=True', 'is_causal=False',
     UNET + 'test_a_place_of_a_text_sees_none_behind_it'),
    ('texts: tokens that are not there are seen', 'nets/spatial_transformer.py',
     'None if mask is None else mask[:, None, None, :]', 'None', PIXELS),
    ('latents: the encoder is not in the name', CACHE, '[_FORMAT, encoder, images.name', '[_FORMAT, images.name',
     ANEW),
    ('latents: the content is not in the name', CACHE, 'images.kind.shape, content]', 'images.kind.shape]', ANEW),
    ('sd: the first token is left out', 'interop/clip_tokenizer.py',
     'found[: len(inner) + 2] = [first, *inner, last]', 'found[: len(inner) + 1] = [*inner, last]', TOKENS),
    ('sd: linear betas', 'interop/latent_process.py', "'scaled_linear': 'scaled_linear_betas'",
     "'scaled_linear': 'linear_betas'", SAID),
    ('sd: the grid ends at clean data', 'interop/latent_process.py', "{} if c['set_alpha_to_one'] else {'last': 1}",
     '{}', SAID),
    ('sd: the grid of another offset', 'times/grids.py', 'np.append(offset + k[::-1], last)',
     'np.append(k[::-1], last)', 'tests/times/test_grids.py::test_paper_values'),
    ('sd out: what was not told goes out', 'interop/conditional_unet.py', '    if not told:', '    if told:', BACK),
    ('sd out: dense layers for convolutions', 'interop/conditional_unet.py',
     "return bool(net.get('head_channels'))", 'return True', BACK),
    ('sd out: the grid ends at clean data', PROCESS, "'set_alpha_to_one': last == 0", "'set_alpha_to_one': True",
     BACK),
    ('sd out: all predict eps', PROCESS, "'prediction_type': _OURS[of['name']]", "'prediction_type': 'epsilon'",
     DISTILLED),
    ('sd out: the points of an LCM are always 50', PROCESS, "sample['times'].get('among') or 50", '50', DISTILLED),
    ('sd out: the first and last token change places', 'interop/clip_text.py',
     "('bos_token_id', 'eos_token_id', 'pad_token_id')", "('eos_token_id', 'bos_token_id', 'pad_token_id')", BACK),
    ('sd: a path stays where it was', 'workdir/files.py', "_replaced(config, f'{paths.absolute(workdir)}/', _INSIDE)",
     'config', MOVED),
    ('sd: tiles that nobody asked for', 'sample.py', 'changes=tile', 'changes={}', MOVED),
    ('tiles: the first place counts already', TILING, 'np.arange(extent, dtype=tile.dtype) /',
     'np.arange(1, extent + 1, dtype=tile.dtype) /', LINE),
    ('tiles: rows are blended along columns', TILING, '_blend(above[n], tile, blended, axis=1)',
     '_blend(above[n], tile, blended, axis=2)', LINE),
    ('tiles: one within the one before', TILING, 'max(length - of.overlap, 1)', 'length',
     'tests/nets/test_tiling.py::test_one_tile_is_the_whole_to_the_last_bit'),
    ('latents: tiles are not in the name', 'builders/latents.py', "encoder += f' {[*cut]}'", "encoder += ''",
     OUT + 'test_what_is_encoded_in_tiles_is_another_set'),
    ('latents: every tenth image is looked at', CACHE, 'min(start + _HASHED_AT_ONCE, n))',
     'min(start + _HASHED_AT_ONCE, n), 10)', ANEW),
    ('latents: the time of a file does not count', 'data/columns.py', 'return stat.st_size, stat.st_mtime_ns',
     'return stat.st_size, 0', ONCE + 'test_a_prepared_set_on_disk_is_known_by_its_files'),
    ('latents: the choice of rows does not count', 'data/folder.py',
     'self._file.encode() + np.asarray(self._rows, np.int64).tobytes()', 'self._file.encode()',
     ONCE + 'test_a_folder_on_disk_is_known_by_its_files'),
    ('texts: the optimiser keeps them', 'optim/frozen_parts.py', 'yes=name not in parts', 'yes=True', FROZEN),
    ('texts: the optimiser is told of none', 'builders/experiment.py', 'where), frozen)', 'where), ())',
     OUT + 'test_the_text_is_not_in_the_state_of_the_optimiser'),
    ('lcm: the grid is rounded down', 'times/grids.py', '-(-left * parts // n)', 'left * parts // n',
     'tests/times/test_grids.py::test_paper_values'),
])  # fmt: skip
