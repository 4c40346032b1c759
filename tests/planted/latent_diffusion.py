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
])  # fmt: skip
