"""Bugs in fields of a known law, and in how they are measured."""

from tests.planted.mutant import Mutant

# fmt: off
LAW, DATA, MEASURE = 'data/gaussian_fields.py', 'data/fields.py', 'evaluation/fields.py'
COMMAND = '../experiments/fields.py'
OF_LAW, OF_MEASURE = 'tests/data/test_gaussian_fields.py::', 'tests/evaluation/test_fields.py::'
DRAWN = OF_LAW + 'test_what_is_drawn_has_the_covariance_of_the_law[advected]'
DENOISER = OF_LAW + 'test_the_denoiser_is_the_conditional_mean[0.3-advected]'
FORECAST = OF_LAW + 'test_the_forecast_is_the_conditional_law'
AS_DATA = OF_LAW + 'test_as_data'
WAVE = OF_MEASURE + 'test_a_wave_has_its_power_in_its_shell'
SCORE = OF_MEASURE + 'test_the_score_is_unbiased_in_the_number_of_members[2]'
EXACT = 'tests/experiments/test_fields.py::test_exact_models_have_the_law_and_its_forecasts[before]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('fields: moves backwards', LAW, 'jnp.exp(-2j * jnp.pi * shift', 'jnp.exp(2j * jnp.pi * shift',
     OF_LAW + 'test_a_state_moves_by_its_shift'),
    ('fields: along one axis alone', LAW, 'shift * (k_y + k_x) / size', 'shift * k_y / size',
     OF_LAW + 'test_a_state_moves_by_its_shift'),
    ('fields: the spectrum itself as a factor', LAW, 'jnp.linalg.cholesky(field.spectrum)', 'field.spectrum', DRAWN),
    ('fields: the power is the sum', LAW, 'std**2 * P / P.mean()', 'std**2 * P / P.sum()', DRAWN),
    ('fields: the filter of sigma', LAW, 'alpha**2 * variance[None] + sigma**2', 'alpha**2 * variance[None] + sigma',
     DENOISER),
    ('fields: of x_t / alpha', LAW, 'gain = alpha * variance', 'gain = variance', DENOISER),
    ('fields: not back along the eigenvectors', LAW, "jnp.einsum('hwij,nhwj->nhwi', U, gain * along)",
     "jnp.einsum('hwji,nhwj->nhwi', U, gain * along)", DENOISER),
    ('fields: the remainder is the whole', LAW, 'remainder = S_bb - gain', 'remainder = S_bb + 0 * gain', FORECAST),
    ('fields: gain of the other way', LAW, 'gain = S_ba @', 'gain = S_ba.conj() @', FORECAST),
    ('fields: a split is the other', DATA, '_SPLITS.index(split)', '0 * _SPLITS.index(split)', AS_DATA),
    ('fields: told what follows', DATA, 'values=x[..., :-1]', 'values=x[..., 1:]', AS_DATA),
    ('fields: told nothing', DATA, 'mask=np.ones(n, bool)', 'mask=np.zeros(n, bool)', AS_DATA),
    ('fields: amplitude for power', MEASURE, "norm='ortho')) ** 2", "norm='ortho')) ** 1", WAVE),
    ('fields: shells cut off below', MEASURE, 'np.rint(k)', 'np.floor(k)',
     OF_MEASURE + 'test_samples_of_a_law_have_its_spectrum_and_structure '
     + OF_MEASURE + 'test_shells_end_at_the_resolved_range'),
    ('fields: corners are a shell', MEASURE, 'min(h, w) // 2, shell, -1)', 'max(h, w), shell, -1)',
     OF_MEASURE + 'test_shells_end_at_the_resolved_range'),
    ('fields: differences in time', MEASURE, 'np.roll(x, -d, axis=2)', 'np.roll(x, -d, axis=0)',
     OF_MEASURE + 'test_samples_of_a_law_have_its_spectrum_and_structure'),
    ('fields: a variance for a difference', MEASURE, 'variance = 2 * (covariance', 'variance = (covariance',
     OF_MEASURE + 'test_samples_of_a_law_have_its_spectrum_and_structure'),
    ('fields: a score with its own members', MEASURE, '/ (m * (m - 1))', '/ m**2', SCORE),
    ('fields: whole spread off the score', MEASURE, '- apart / 2', '- apart', SCORE),
    ('fields: spread of few members', MEASURE, '(1 + 1 / m) * variance', 'variance',
     OF_MEASURE + 'test_spread_over_error_is_one_for_members_like_the_truth[2]'),
    ('fields: forecasts of another state', COMMAND, 'values=states[..., :-1]', 'values=states[::-1, ..., :-1]', EXACT),
    ('fields: members of one noise', COMMAND, 'jax.random.split(jax.random.key(2), _MEMBERS.value)',
     'jnp.stack([jax.random.key(2)] * _MEMBERS.value)', EXACT),
])
