"""Bugs in sCT and sCD, their angles and their adaptive weight."""

from tests.planted.mutant import Mutant

# fmt: off
FILE, TESTS = 'objectives/continuous.py', 'tests/objectives/test_continuous.py::'
VANISHES = TESTS + 'test_distillation_vanishes_at_the_exact_function_and_only_there'
GRADIENT = TESTS + 'test_gradient_in_closed_form'
ALGORITHM = TESTS + 'test_tangent_is_the_algorithms_with_a_finite_difference_for_dF_dt'
WEIGHT = TESTS + 'test_the_adaptive_weight_and_its_optimum'
INFINITE = TESTS + 'test_a_tangent_that_is_not_finite_shows_in_its_metric'
LOG_WEIGHT, DISTRIBUTIONS = 'tests/nets/test_log_weight.py::', 'tests/times/test_distributions.py::'

MUTANTS = tuple(Mutant(*row) for row in [
    ('sCM tangent uphill', FILE, 'stop_gradient(F) - g)', 'stop_gradient(F) + g)', GRADIENT + '[0.8-False]'),
    ('sCM tangent learns', FILE, 'sigma_F / schedule.sigma_data, jax.lax.stop_gradient(g)',
     'sigma_F / schedule.sigma_data, g', ALGORITHM + '[0-0.0-True] ' + GRADIENT + '[0.8-False]'),
    ('sCM target learns', FILE, 'F - jax.lax.stop_gradient(F) - g', 'F - F - g', GRADIENT + '[0.8-False]'),
    ('sCT velocity backwards', FILE, '* z - per_sample(jnp.sin(t), z) * batch.x',
     '* -z + per_sample(jnp.sin(t), z) * batch.x', ALGORITHM + '[100-1.0-False] ' + GRADIENT + '[0.8-False]'),
    ('sCT velocity with x_0 for z', FILE, '* z - per_sample(jnp.sin(t), z) * batch.x',
     '* batch.x - per_sample(jnp.sin(t), z) * z', GRADIENT + '[0.2-False]'),
    ('sCT velocity with sine for cosine', FILE, 'path = per_sample(jnp.cos(t), z) * z -',
     'path = per_sample(jnp.sin(t), z) * z -', GRADIENT + '[0.2-False]'),
    ('sCM another path', FILE, 'x_t = per_sample(jnp.cos(t), z) * batch.x + per_sample(jnp.sin(t), z)',
     'x_t = per_sample(jnp.sin(t), z) * batch.x + per_sample(jnp.cos(t), z)', ALGORITHM + '[100-1.0-False]'),
    ('sCM noise of variance 1', FILE, 'z = schedule.sigma_data * jax', 'z = jax',
     TESTS + 'test_the_noise_is_of_the_datas_scale'),
    ('sCM tangent along x alone', FILE, 'cos * dx_dt, jnp.cos(t))', 'cos * dx_dt, 0 * t)', VANISHES),
    ('sCM tangent along t alone', FILE, 'cos * dx_dt, jnp.cos(t))', '0 * x, jnp.cos(t))', VANISHES),
    ('sCM tangent twice along t', FILE, 'cos * dx_dt, jnp.cos(t))', 'cos * dx_dt, jnp.ones_like(t))', VANISHES),
    ('sCM tangent without the prior weight', FILE, 'cos * dx_dt, jnp.cos(t))', 'dx_dt, jnp.ones_like(t))',
     GRADIENT + '[0.8-True]'),
    ('sCM tangent with sine for cosine', FILE, 'sigma_F = (cos * x - f_t) / sin', 'sigma_F = (cos * x - f_t) / cos',
     GRADIENT + '[0.2-True]'),
    ('sCM warm-up downwards', FILE, 'r * cos_df_dt - (1 - r) *', '(1 - r) * cos_df_dt - r *', ALGORITHM
     + '[0-0.0-True]'),
    ('sCM warm-up of the wrong part', FILE, '(1 - r) * cos**2', '(1 - r) * cos * sin', ALGORITHM + '[50-0.5-True]'),
    ('sCM warm-up of another sign', FILE, 'r * cos_df_dt - (1 - r)', 'r * cos_df_dt + (1 - r)', ALGORITHM
     + '[50-0.5-True]'),
    ('sCM warm-up without end', FILE, 'jnp.where(step < warmup, step / max(warmup, 1), 1.0)',
     'step / max(warmup, 1)', ALGORITHM + '[200-1.0-True]'),
    ('sCM warm-up of 0 is none', FILE, 'jnp.where(step < warmup, step / max(warmup, 1), 1.0)',
     'jnp.minimum(step / warmup, 1.0)', TESTS + 'test_without_a_warmup_it_is_over_at_step_0'),
    ('sCM normalised without c', FILE, 'per_sample(norm + c, g)', 'per_sample(norm, g)', VANISHES),
    ('sCM normalised over the batch', FILE, 'axis=tuple(range(1, g.ndim)))', ').repeat(len(t))', ALGORITHM
     + '[100-1.0-True]'),
    ('sCM normalised by the root mean square', FILE, 'jnp.sqrt(jnp.sum(g**2', 'jnp.sqrt(jnp.mean(g**2', ALGORITHM
     + '[100-1.0-True]'),
    ('sCM norm after normalisation', FILE, "'tangent_norm': jnp.mean(norm)",
     "'tangent_norm': jnp.mean(norm / (norm + c))", ALGORITHM + '[100-1.0-True]'),
    ('sCM infinite tangents left out', FILE, "'tangent_norm': jnp.mean(norm)",
     "'tangent_norm': jnp.mean(norm, where=jnp.isfinite(norm))", INFINITE),
    ('sCM F of data scale', FILE, 'F, g = sigma_F / schedule.sigma_data,', 'F, g = sigma_F,', GRADIENT + '[0.8-True]'),
    ('sCD teacher is the student', 'objectives/velocities.py', 'teacher(frozen.teacher, batch.cond, None)',
     'teacher(path.mean(), batch.cond, None)', VANISHES),
    ('sCD teacher with dropout', 'objectives/velocities.py', 'teacher(frozen.teacher, batch.cond, None)',
     'teacher(frozen.teacher, batch.cond, jax.random.key(0))',
     TESTS + 'test_dropout_is_the_students_alone_and_one_evaluation_gives_output_and_tangent'),
    ('sCD teacher without a class', 'objectives/velocities.py', 'teacher(frozen.teacher, batch.cond, None)',
     'teacher(frozen.teacher, None, None)',
     TESTS + 'test_dropout_is_the_students_alone_and_one_evaluation_gives_output_and_tangent'),
    ('sCM weight upside down', FILE, 'jnp.exp(w) *', 'jnp.exp(-w) *', WEIGHT),
    ('sCM weight rewarded', FILE, '- g) - w)', '- g) + w)', WEIGHT),
    ('sCM weight sees the angle', FILE, 'jnp.log(jnp.abs(jnp.tan(t)))', 't', WEIGHT),
    ('sCM weight of another noise level', FILE, 'jnp.abs(jnp.tan(t))', 'jnp.sin(t)', WEIGHT),
    ('sCM weight of NaN at pi/2', FILE, 'jnp.abs(jnp.tan(t))', 'jnp.tan(t)',
     TESTS + 'test_finite_at_both_ends'),
    ('sCM angles without sigma_data', 'times/distributions.py', '(key, shape) / sigma_data)', '(key, shape))',
     DISTRIBUTIONS + 'test_angles_are_scms'),
    ('sCM angles by another mean', 'times/distributions.py', 'def arctan_log_normal(P_mean: float = -1.0',
     'def arctan_log_normal(P_mean: float = 1.0', DISTRIBUTIONS + 'test_angles_are_scms'),
    ('TrigFlow weight without sigma_data', 'objectives/weights.py', '1 / schedule.sigma(t) ** 2',
     '1 / schedule.alpha(t) ** 2', 'tests/objectives/test_weights.py::test_values'),
    ('log-weight not zero at first', 'nets/log_weight.py', 'kernel_init=nn.initializers.zeros, ', '',
     LOG_WEIGHT + 'test_zero_at_initialisation_with_a_gradient_everywhere'),
    ('log-weight too smooth', 'nets/log_weight.py', 'max_period=100.0', 'max_period=1e9',
     LOG_WEIGHT + 'test_it_learns_the_log_of_an_error_that_depends_on_the_noise_level'),
])
