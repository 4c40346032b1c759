"""Bugs in stochastic, adaptive and parallel samplers, likelihoods and dequantisation."""

from tests.planted.mutant import Mutant

# fmt: off
SDE, PARALLEL = 'tests/samplers/test_sde.py::', 'tests/samplers/test_parallel.py::'
ADAPTIVE = 'tests/samplers/test_adaptive.py::test_a_whole_run_is_the_exact_map[VE]'
ODE, DEQUANTISE = 'tests/likelihood/test_ode.py::', 'tests/likelihood/test_dequantise.py::'
DENSITY = ODE + 'test_exact_divergence_gives_the_exact_density[RectifiedFlow]'
MARUYAMA = SDE + 'test_euler_maruyama_is_its_formula_and_of_weak_order_1[VE]'
LANGEVIN = SDE + 'test_corrector_is_the_papers[VE]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('sde: half the score, as in the ODE', 'samplers/sde.py', 'f * x - g2 * grad', 'f * x - g2 / 2 * grad', MARUYAMA),
    ('sde: noise of the whole interval', 'samplers/sde.py', 'jnp.sqrt(g2 * (t - s))', 'jnp.sqrt(g2) * (t - s)',
     MARUYAMA),
    ('sde: noise on clean data', 'samplers/sde.py', ' | (schedule.sigma(s) == 0)', '',
     SDE + 'test_the_step_to_clean_data_adds_no_noise'),
    ('sde: infinite start', 'samplers/sde.py', 'jnp.where(start | grows', 'jnp.where(False & start | grows & False',
     SDE + 'test_ends_are_ddpms_steps[RectifiedFlow]'),
    ('sde: norm of the batch', 'samplers/sde.py', 'axis=tuple(range(1, x.ndim)), keepdims', 'keepdims', LANGEVIN),
    ('sde: snr not squared', 'samplers/sde.py', '* (snr * _norm(z) / _norm(g)) ** 2', '* (snr * _norm(z) / _norm(g))',
     LANGEVIN),
    ('sde: one noise for all Langevin steps', 'samplers/sde.py', 'fold_in(key, 1 + i)', 'fold_in(key, 1)', LANGEVIN),
    ('sde: score of the old time', 'samplers/sde.py', 'grad_log_p(x, expand_time(s, x))',
     'grad_log_p(x, expand_time(t, x))', LANGEVIN),
    ('sde: scale of the other step', 'samplers/sde.py', 'transition(schedule, t, s)[0] ** 2',
     'transition(schedule, t, s)[0]', SDE + 'test_corrector_is_the_papers[LinearVP]'),
    ('adaptive: direction for x', 'samplers/adaptive.py', 'lambda z, _: _norm(schedule, s) * z', 'lambda z, _: z',
     ADAPTIVE),
    ('parallel: one noise for all steps', 'samplers/parallel.py', 'fold_in(key, i)', 'key',
     PARALLEL + 'test_without_tolerance_it_is_the_sequential_run'),
    ('parallel: first point not exact', 'samplers/parallel.py', 'still = jnp.all(change <= tolerance * size, 1) |',
     'still = jnp.all(change <= tolerance + size, 1) |', PARALLEL + 'test_without_tolerance_it_is_the_sequential_run'),
    ('parallel: counts all that have settled', 'samplers/parallel.py', 'jnp.sum(jnp.cumprod(still))', 'jnp.sum(still)',
     PARALLEL + 'test_a_later_point_does_not_settle_before_an_earlier_one'),
    ('parallel: one step at a time', 'samplers/parallel.py', 'jnp.sum(jnp.cumprod(still))', 'jnp.sum(offsets <= first)',
     PARALLEL + 'test_to_a_tolerance_in_fewer_evaluations'),
    ('ode: time of another angle', 'ode.py', 'jnp.where(noisier, low, mid)', 'jnp.where(noisier, mid, low)', DENSITY),
    ('ode: the smallest error decides', 'ode.py', 'jnp.max(jnp.stack(', 'jnp.min(jnp.stack(',
     'tests/test_ode.py'),
    ('likelihood: change of volume backwards', 'likelihood/ode.py', 'OdeTerms(prior + d', 'OdeTerms(prior - d',
     DENSITY),
    ('likelihood: prior of unit variance', 'likelihood/ode.py', 'scale=jnp.sin(end)', 'scale=1.1 * jnp.sin(end)',
     DENSITY),
    ('likelihood: too many probes', 'likelihood/ode.py', ') / math.sqrt(n)', ') / n',
     ODE + 'test_hutchinson_is_unbiased'),
    ('likelihood: one probe for the batch', 'likelihood/ode.py', '(n, *x.shape), x.dtype',
     '(n, 1, *x.shape[1:]), x.dtype', ODE + 'test_hutchinson_is_unbiased'),
    ('dequantise: bins of 2 / levels', 'likelihood/dequantise.py', 'return 2 / (levels - 1)', 'return 2 / levels',
     DEQUANTISE + 'test_bits_of_many_dimensions_are_a_mean'),
    ('dequantise: bin starts at the value', 'likelihood/dequantise.py', 'width * (u - 0.5)', 'width * u',
     DEQUANTISE + 'test_uniform_bound_lies_above_the_exact_bits_by_its_divergence'),
    ('dequantise: normal not cut off', 'likelihood/dequantise.py', 'math.log(sigma * math.erf(edge / math.sqrt(2)))',
     'math.log(sigma)', DEQUANTISE + 'test_truncated_normal_is_scipys[0.2]'),
    ('dequantise: slope lost', 'likelihood/dequantise.py', ' - log_scale - jax.scipy.stats.logistic.logpdf(logit)',
     ' - log_scale', DEQUANTISE + 'test_variational_density_integrates_to_one_and_is_that_of_its_draws'),
    ('bits: vlb for all', 'builders/bits.py', "'vlb' if 'T' in experiment.context.given else 'ode'",
     "'vlb'",
     'tests/builders/test_experiment.py::test_bits_are_the_bounds_where_the_schedule_is_a_table_and_the_odes_elsewhere'),
])
