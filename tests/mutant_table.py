"""The bugs that `tests.mutants` plants: what, where, and the tests that should notice."""

from typing import NamedTuple


class Mutant(NamedTuple):
    name: str
    file: str
    old: str  # occurs exactly once in the file
    new: str
    tests: str  # node ids, separated by spaces


# fmt: off
SCHEDULES, PRECOND, TIMES = 'tests/test_schedules.py::', 'tests/test_precond.py::', 'tests/test_times.py::'
REVERSE, ANCESTRAL, LOOP = 'tests/test_reverse.py::', 'tests/samplers/test_ancestral.py::', 'tests/samplers/test_loop.py::'
LIKELIHOOD, DENOISING, VLB = (
    'tests/test_likelihood.py::', 'tests/objectives/test_denoising.py::', 'tests/objectives/test_vlb.py::'
)
DISTANCES, PIPELINE = 'tests/evaluation/test_distances.py::', 'tests/data/test_pipeline.py::'
MOMENTS = ANCESTRAL + 'test_every_step_and_its_moments_are_exact[0.5-LinearVP]'
TARGETS = PRECOND + 'test_exact_target_gives_x_0_and_weights_give_its_error'

MUTANTS = tuple(Mutant(name, 'diffusion_jax/' + file, old, new, tests) for name, file, old, new, tests in [
    # schedules
    ('table one step late', 'schedules.py', 'jnp.floor(u).astype(jnp.int32), 0,', 'jnp.floor(u).astype(jnp.int32) + 1, 0,',
     SCHEDULES + 'test_known_values_of_the_linear_table'),
    ('table alpha for sigma', 'schedules.py', 'self._interpolate(self.one_minus_alpha_bar, t)',
     'self._interpolate(self.alpha_bar, t)', SCHEDULES + 'test_variance_is_preserved_and_snr_falls[linear]'),
    ('table not snapped', 'schedules.py', '2 * jnp.finfo(t.dtype).eps * u, off, 0)', '-1.0, off, 0)',
     SCHEDULES + 'test_table_is_exact_at_its_points_in_float32'),
    ('cosine clipped elsewhere', 'schedules.py', 'max_beta: float = 0.999', 'max_beta: float = 0.99',
     SCHEDULES + 'test_betas_are_the_papers'),
    ('cosine offset lost', 'schedules.py', '(np.arange(T + 1) / T + s) / (1 + s)', '(np.arange(T + 1) / T)',
     SCHEDULES + 'test_betas_are_the_papers'),
    ('LinearVP integral', 'schedules.py', '* t**2 / 4 +', '* t**2 / 2 +',
     SCHEDULES + 'test_continuous_schedules_against_their_definitions'),
    ('log-SNR without its 2', 'schedules.py', 'return 2 * (jnp.log(schedule.alpha(t))', 'return (jnp.log(schedule.alpha(t))',
     SCHEDULES + 'test_continuous_schedules_against_their_definitions'),
    ('q_sample swaps its scales', 'schedules.py',
     'per_sample(schedule.alpha(t), x_0) * x_0 + per_sample(schedule.sigma(t), x_0) * eps',
     'per_sample(schedule.sigma(t), x_0) * x_0 + per_sample(schedule.alpha(t), x_0) * eps',
     SCHEDULES + 'test_q_sample_and_its_inverse'),
    ('posterior with alpha_t', 'schedules.py', 'schedule.alpha(s) * var_ts / var_t', 'schedule.alpha(t) * var_ts / var_t',
     SCHEDULES + 'test_posterior_is_bayes_rule[linear]'),
    ('posterior variance unsquared', 'schedules.py', '* (schedule.sigma(s) / schedule.sigma(t)) ** 2',
     '* (schedule.sigma(s) / schedule.sigma(t))', SCHEDULES + 'test_posterior_is_bayes_rule[linear]'),
    ('transition without alpha', 'schedules.py', '(alpha_ts * schedule.sigma(s)) ** 2', 'schedule.sigma(s) ** 2',
     SCHEDULES + 'test_posterior_is_ddpms_equation_7'),
    # precond, weights, times, drift
    ('eps sign', 'precond.py', 'c_out=lambda t: -schedule.sigma(t) / schedule.alpha(t)',
     'c_out=lambda t: schedule.sigma(t) / schedule.alpha(t)', TARGETS + '[eps]'),
    ('v sign', 'precond.py', 'c_out=lambda t: -schedule.sigma(t) / norm2(t)',
     'c_out=lambda t: schedule.sigma(t) / norm2(t)', TARGETS + '[v]'),
    ('edm skips the noise', 'precond.py', 'c_skip=lambda t: sigma_data**2 / (t**2 +', 'c_skip=lambda t: t**2 / (t**2 +',
     TARGETS + '[edm]'),
    ('flow with alpha', 'precond.py', 'c_out=lambda t: -schedule.sigma(t) / (schedule',
     'c_out=lambda t: -schedule.alpha(t) / (schedule', TARGETS + '[flow]'),
    ('mu one step late', 'precond.py', 't < 1.5 / T', 't < 2.5 / T', TARGETS + '[mu]'),
    ('network index from one', 'precond.py', 'lambda t: 1000 * t - 1000 / T', 'lambda t: 1000 * t',
     PRECOND + 'test_the_network_sees_ddpms_index'),
    ('SNR upside down', 'weights.py', 'return lambda t: schedules.snr(schedule, t)', 'return lambda t: 1 / schedules.snr(schedule, t)',
     TARGETS + '[eps]'),
    ('min-SNR takes the maximum', 'weights.py', 'jnp.minimum(schedules.snr', 'jnp.maximum(schedules.snr',
     'tests/test_weights.py::test_values'),
    ('edm weight product', 'weights.py', '/ (t * sigma_data) ** 2', '/ (t + sigma_data) ** 2', TARGETS + '[edm]'),
    ('leading from index 0', 'times.py', '_to_zero(1 + np.arange', '_to_zero(np.arange', TIMES + 'test_paper_values'),
    ('quadratic is linear', 'times.py', 'np.linspace(0, np.sqrt(t_max * T), n) ** 2', 'np.linspace(0, t_max * T, n)',
     TIMES + 'test_paper_values'),
    ('training times from 0', 'times.py', 'randint(key, shape, 1, T + 1)', 'randint(key, shape, 0, T)',
     TIMES + 'test_training_times_follow_their_distributions'),
    ('karras reversed', 'times.py', '(sigma_max ** (1 / rho) + i *', '(sigma_min ** (1 / rho) - i *',
     TIMES + 'test_karras_and_uniform_values'),
    ('velocity sign', 'drift.py', '* x_0 + per_sample(d_sigma, x)', '* x_0 - per_sample(d_sigma, x)',
     'tests/test_drift.py::test_velocity_is_the_derivative_of_the_exact_ode_map[LinearVP]'),
    ('score sign', 'drift.py', 'return -eps_from_x_0', 'return eps_from_x_0', 'tests/test_drift.py::test_score_and_sde[LinearVP]'),
    # reverse process and samplers
    ('learned variance upside down', 'reverse.py', 'v * log_beta + (1 - v) *', '(1 - v) * log_beta + v *',
     REVERSE + 'test_learned_variance_interpolates_between_small_and_large'),
    ('learned variance from 0', 'reverse.py', 'v = (logits + 1) / 2', 'v = logits',
     REVERSE + 'test_learned_variance_interpolates_between_small_and_large'),
    ('no value for log 0', 'reverse.py', 'jnp.where(s == 0, 2 * t, t)', 'jnp.where(s == 0, t, t)',
     REVERSE + 'test_fixed_variances_are_the_released_ones'),
    ('large at the first step', 'reverse.py', 'return jnp.where(s == 0, small(schedule, t, s), ', 'return jnp.where(s < 0, small(schedule, t, s), ',
     REVERSE + 'test_fixed_variances_are_the_released_ones'),
    ('noise in the last step', 'samplers/ancestral.py', 'jnp.where(s == 0, 0.0, jnp.exp(log_variance / 2))', 'jnp.exp(log_variance / 2)',
     ANCESTRAL + 'test_ancestral_large_is_the_sigma_hat_row[LinearVP]'),
    ('variance for std', 'samplers/ancestral.py', 'jnp.exp(log_variance / 2)', 'jnp.exp(log_variance)',
     ANCESTRAL + 'test_ancestral_small_is_ddim_with_eta_1[LinearVP]'),
    ('direction keeps all its variance', 'samplers/ancestral.py', '1 - eta**2 + kept**2, 0', '1 + 0 * kept**2, 0', MOMENTS),
    ('eta squared', 'samplers/ancestral.py', 'std = eta * jnp.sqrt', 'std = eta**2 * jnp.sqrt', MOMENTS),
    ('ddim with alpha_t', 'samplers/ancestral.py', 'schedule.alpha(s) * x_0 + schedule.sigma(s) * eps',
     'schedule.alpha(t) * x_0 + schedule.sigma(s) * eps', ANCESTRAL + 'test_every_step_and_its_moments_are_exact[0.0-LinearVP]'),
    ('small and large swapped', 'samplers/ancestral.py', "'small': reverse.small, 'large': reverse.large",
     "'small': reverse.large, 'large': reverse.small", ANCESTRAL + 'test_ancestral_small_is_ddim_with_eta_1[LinearVP]'),
    ('one key for all steps', 'samplers/loop.py', 'sampler.step(fold_in(key, i), state', 'sampler.step(key, state',
     ANCESTRAL + 'test_whole_run_has_the_moments_of_the_recursion'),
    ('step given s and t', 'samplers/loop.py', 'times[:-1], times[1:])', 'times[1:], times[:-1])',
     LOOP + 'test_sample_is_a_loop_over_steps_with_a_fresh_key_each'),
    ('prior of unit scale', 'samplers/loop.py', 'return schedule.sigma(jnp.float32(t_max)) * noise', 'return noise',
     LOOP + 'test_prior_is_scaled_noise'),
    ('first sample\'s key for all', 'samplers/loop.py', 'jax.random.normal(k, x.shape[1:], x.dtype))(key)',
     'jax.random.normal(key[0], x.shape[1:], x.dtype))(key)', LOOP + 'test_noise_with_one_key_and_with_many'),
    # objectives and the bound
    ('time and noise share a key', 'objectives/denoising.py', 'eps = jax.random.normal(key_eps', 'eps = jax.random.normal(key_t',
     DENOISING + 'test_time_noise_and_dropout_have_their_own_keys'),
    ('dropout and noise share a key', 'objectives/denoising.py', 'batch.cond, key_dropout)', 'batch.cond, key_eps)',
     DENOISING + 'test_time_noise_and_dropout_have_their_own_keys'),
    ('mean over the batch first', 'objectives/denoising.py', 'axis=tuple(range(1, x.ndim))', 'axis=tuple(range(x.ndim - 1))',
     DENOISING + 'test_mean_square_is_per_sample'),
    ('bound moves the mean', 'objectives/vlb.py', '(jax.lax.stop_gradient(x_0), logits)', '(x_0, logits)',
     VLB + 'test_hybrids_mean_learns_from_the_simple_loss_alone'),
    ('frozen logits', 'objectives/vlb.py', '(jax.lax.stop_gradient(x_0), logits)', '(jax.lax.stop_gradient(x_0), jax.lax.stop_gradient(logits))',
     VLB + 'test_hybrids_mean_learns_from_the_simple_loss_alone'),
    ('previous by floor', 'objectives/vlb.py', 'jnp.round(t * T) - 1', 'jnp.floor(t * T) - 1', VLB + 'test_previous_is_the_point_of_the_table_before'),
    ('bound of one step', 'objectives/vlb.py', 'value = T * jnp.mean', 'value = jnp.mean', VLB + 'test_loss_is_the_bound_without_its_prior[small]'),
    ('bins of half width', 'likelihood.py', 'half = 1 / (levels - 1)', 'half = 0.5 / (levels - 1)',
     LIKELIHOOD + 'test_decoder_masses[0.0-1.0-8]'),
    ('closed edges', 'likelihood.py', 'return -jnp.where(x_0 < -1 + half, log_cdf(upper), jnp.where(x_0 > 1 - half, log_sf(lower), inside))',
     'return -inside', LIKELIHOOD + 'test_decoder_masses[0.0-1.0-8]'),
    ('nats for bits', 'likelihood.py', '/ np.log(2)', '/ 1', LIKELIHOOD + 'test_bits_per_dim'),
    ('KL backwards', 'likelihood.py', 'jnp.exp(log_variance_1 - log_variance_2)', 'jnp.exp(log_variance_2 - log_variance_1)',
     LIKELIHOOD + 'test_kl_by_quadrature'),
    ('one term too many', 'likelihood.py', 'jnp.sum(kl, 1) * ((T - 1) / m)', 'jnp.sum(kl, 1) * (T / m)',
     LIKELIHOOD + 'test_vlb_estimates_the_expected_bound'),
    ('strata from 1', 'likelihood.py', 'k = 2 + jnp.floor', 'k = 1 + jnp.floor', LIKELIHOOD + 'test_vlb_estimates_the_expected_bound'),
    ('prior with std for variance', 'likelihood.py', '2 * jnp.log(schedule.sigma(one))', 'jnp.log(schedule.sigma(one))',
     LIKELIHOOD + 'test_prior_by_quadrature'),
    ('clip to [0, 1]', 'guidance.py', 'low: float = -1.0', 'low: float = 0.0', 'tests/test_guidance.py'),
    ('slerp to the wrong end', 'editing.py', 'jnp.sin((1 - w) * theta)', 'jnp.sin(w * theta)', 'tests/test_editing.py'),
    ('library in the wrong place', 'guidance.py', 'import jax.numpy as jnp', 'import absl.flags\nimport jax.numpy as jnp',
     'tests/test_imports.py'),
    # training
    ('decay for 1 - decay', 'ema.py', '(1 - decay) * (p - e)', 'decay * (p - e)', 'tests/test_ema.py'),
    ('warm-up takes the maximum', 'ema.py', 'jnp.minimum(decay,', 'jnp.maximum(decay,', 'tests/test_ema.py'),
    ('EMA of the old parameters', 'step.py', 'ema(state.ema, params, state.step)', 'ema(state.ema, state.params, state.step)',
     'tests/test_step.py'),
    ('EMA over itself', 'step.py', 'ema(state.ema, params, state.step)', 'ema(params, params, state.step)', 'tests/test_step.py'),
    ('one key for the whole training', 'step.py', 'key = jax.random.fold_in(key, state.step)', 'key = jax.random.fold_in(key, 0)',
     'tests/test_step.py'),
    ('norm after clipping', 'step.py', 'optax.tree.norm(grads)', 'optax.tree.norm(updates)', 'tests/test_step.py'),
    # data and evaluation
    ('upside-down flip', 'data/pipeline.py', 'x[:, :, ::-1]', 'x[:, ::-1]', PIPELINE + 'test_flip_mirrors_columns_of_about_half_of_the_images'),
    ('truncated pixels', 'data/pipeline.py', 'jnp.round(127.5 * jnp.asarray(x, jnp.float32) + 127.5)',
     '127.5 * jnp.asarray(x, jnp.float32) + 127.5', 'tests/data/test_pipeline.py'),
    ('labels of other rows', 'data/pipeline.py', 'source.label[index])', 'source.label[place])', PIPELINE + 'test_seeds_differ_and_labels_follow'),
    ('every epoch alike', 'data/pipeline.py', 'default_rng([seed, epoch])', 'default_rng([seed, 0])',
     PIPELINE + 'test_every_epoch_is_another_permutation'),
    ('every host alike', 'data/pipeline.py', '+ process_index * rows', '+ 0 * process_index', PIPELINE + 'test_hosts_share_the_batch_of_one_host'),
    ('mixture posterior without alpha', 'data/mixture.py', 'means + noised.alpha * stds**2', 'means + stds**2',
     'tests/data/test_mixture.py::test_one_dimension_against_quadrature'),
    ('Frechet cross term once', 'evaluation/frechet.py', '- 2 * cross', '- cross', DISTANCES + 'test_frechet_of_commuting_gaussians'),
    ('Frechet cross term added', 'evaluation/frechet.py', '- 2 * cross', '+ 2 * cross', DISTANCES + 'test_frechet_of_commuting_gaussians'),
    ('covariance over n', 'evaluation/frechet.py', 'scatter / (n - 1)', 'scatter / n', DISTANCES + 'test_moments_stream'),
    ('biased kernel distance', 'evaluation/kid.py', '(gram.sum() - np.trace(gram)) / (len(f) * (len(f) - 1))', 'gram.mean()',
     DISTANCES + 'test_squared_mmd_is_the_double_loop'),
    # networks
    ('cosine before sine', 'nets/blocks.py', '[jnp.sin(phase), jnp.cos(phase)]', '[jnp.cos(phase), jnp.sin(phase)]',
     'tests/nets/test_blocks.py::test_sinusoid_is_the_closed_formula'),
    ('group norm adds its mean', 'nets/blocks.py', '(bias - mean * gain)', '(bias + mean * gain)',
     'tests/nets/test_blocks.py::test_group_norm_against_flax'),
    ('up-sampling swaps axes', 'nets/blocks.py', '(b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)',
     '(b, h, 2, w, 2, c)).swapaxes(1, 3).reshape(b, 2 * h, 2 * w, c)', 'tests/nets/test_blocks.py::test_double_repeats_and_halve_averages'),
])
