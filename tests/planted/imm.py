"""Bugs in inductive moment matching."""

from tests.planted.mutant import Mutant

# fmt: off
FILE, KERNELS, TEST = 'objectives/imm.py', 'objectives/kernels.py', 'tests/objectives/test_imm.py::'
GROUPS = TEST + 'test_groups_share_their_times_and_the_interpolant_their_noise'
ENERGY = TEST + 'test_the_discrepancy_is_the_energy_distance_of_scipy'
LAPLACE = TEST + 'test_the_laplace_kernel_is_of_euclidean_distances_over_the_dimension[shape0]'
EARLIER = TEST + 'test_earlier_is_the_constant_decrement_of_eta'
ONE = TEST + 'test_one_sample_and_the_squared_distance_are_the_consistency_loss'
EQUAL = TEST + 'test_equal_groups_have_none_and_a_finite_gradient_of_zero'

MUTANTS = tuple(Mutant(*row) for row in [
    ('IMM: cross term once', FILE, '- 2 * kernel(y, z, t, s)', '- kernel(y, z, t, s)', ENERGY),
    ('IMM: no term of the target\'s own', FILE, ' + kernel(z, z, t, s)', '', ENERGY),
    ('IMM: target jumps from t', FILE, 'key_dropout)(x_r, r, s)', 'key_dropout)(x_r, t, s)', GROUPS),
    ('IMM: target from x_t', FILE, 'key_dropout)(x_r, r, s)', 'key_dropout)(x_t, r, s)', GROUPS),
    ('IMM: target learns', FILE, 'jax.lax.stop_gradient(X(target, batch.cond, key_dropout)(x_r, r, s))',
     'X(target, batch.cond, key_dropout)(x_r, r, s)', 'tests/test_contracts.py::test_objectives[IMM]'),
    ('IMM: target asked as the student', FILE, 'z = jax.lax.stop_gradient(X(target,',
     'z = jax.lax.stop_gradient(X(params,', GROUPS),
    ('IMM: groups interleaved', FILE, 'jnp.repeat(v, M)', 'jnp.tile(v, M)', GROUPS),
    ('IMM: times of each sample', FILE, '(B // M,), step', '(B,), step', GROUPS),
    ('IMM: interpolant by other noise', FILE, 'ddim_step(schedule, x_t, batch.x, t, r)',
     'ddim_step(schedule, x_t, x_t, t, r)', GROUPS),
    ('IMM: weight forgotten', FILE, 'weight(t_g) * ', '', ONE),
    ('IMM: decrement of t', FILE, 'schedule.sigma(t) / schedule.alpha(t) - decrement',
     'schedule.sigma(t - decrement) / schedule.alpha(t - decrement)', EARLIER),
    ('IMM: r below s', FILE, 'jnp.maximum(s, jax.lax', 'jnp.minimum(t, jax.lax', EARLIER),
    ('IMM: kernel of squares', KERNELS, 'jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)', 'square', ENERGY),
    ('IMM: kernel not per dimension', KERNELS, ' / np.prod(x.shape[2:])', '', LAPLACE),
    ('IMM: kernel of one width', KERNELS, 'sigma_data * jnp.maximum(t - s, jnp.finfo(t.dtype).eps)',
     'sigma_data * jnp.ones_like(t)', LAPLACE),
    ('IMM: kernel with an infinite derivative', KERNELS,
     'jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)', 'jnp.sqrt(square)', EQUAL),
    ('IMM: weight by the log-SNR\'s own sign', 'objectives/weights.py', 'sigmoid(b - log_snr)', 'sigmoid(log_snr - b)',
     TEST + 'test_the_weight_of_the_paper'),
    ('IMM: weight without its half', 'objectives/weights.py', '(2 * (alpha**2 + sigma**2))', '(alpha**2 + sigma**2)',
     TEST + 'test_the_weight_of_the_paper'),
])
# fmt: on
