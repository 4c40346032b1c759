"""Bugs in the exponential, multistep and stochastic solvers."""

from tests.planted.mutant import Mutant

# fmt: off
ORDER, SOLVERS = 'tests/samplers/test_orders.py::test_order_of_convergence', 'tests/samplers/test_solvers.py::'
WEAK = SOLVERS + 'test_stochastic_solver_has_the_weak_order_it_declares'
PATH = SOLVERS + 'test_path_noise_has_the_posteriors_variance_and_steps_do_not_share_it'

MUTANTS = tuple(Mutant(*row) for row in [
    ('solver corrects the wrong way', 'samplers/exponential.py', '+ form.gain(schedule, s) * added',
     '- form.gain(schedule, s) * added', ORDER + '[dpm_solver_pp_2-LinearVP]'),
    ('solver silently of first order', 'samplers/exponential.py', 'added += c * p.f[k]', 'added += 0 * c * p.f[k]',
     ORDER + '[dpm_solver_pp_2-LinearVP]'),
    ('solver with r inverted', 'samplers/exponential.py', '(jnp.where(there, points.lam, 0) - lam_t) / h',
     'h / (jnp.where(there, points.lam, 1e3) - lam_t)', ORDER + '[dpm_solver_pp_3-LinearVP]'),
    ('solver history not shifted', 'samplers/exponential.py', 'Points(values[:-1], lams[:-1])',
     'Points(values[1:], lams[1:])', ORDER + '[deis_3-RectifiedFlow]'),
    ('solver history of values alone', 'samplers/exponential.py', 'Points(values[:-1], lams[:-1])',
     'Points(values[:-1].at[1:].set(value), lams[:-1])', ORDER + '[deis_3-RectifiedFlow]'),
    ('solver with the rate of data for eps', 'samplers/exponential.py', '-schedule.sigma(s), 1.0)',
     '-schedule.sigma(s), -1.0)', ORDER + '[deis_3-RectifiedFlow]'),
    ('solver with half of u for half of B', 'samplers/exponential.py', 'B(form, p.h) / 2, c)', 'B(form, p.h), c)',
     ORDER + '[unipc_1_bh2-LinearVP]'),
    ('solver with full order to clean data', 'samplers/exponential.py', ' & (schedule.sigma(s) > 0)', '',
     SOLVERS + 'test_ends_stay_finite_and_so_do_gradients[unipc]'),
    ('solver counts points that are not there', 'samplers/exponential.py', '1 + jnp.sum(there)',
     '1 + jnp.sum(there | True)', SOLVERS + 'test_first_steps_and_both_ends_are_ddim'),
    ('solver with powers for Newton', 'samplers/exponential.py', 'math.prod(u - r_j for r_j in r)',
     'math.prod(u for r_j in r)', SOLVERS + 'test_quadrature_is_the_integral'),
    ('corrector without the new evaluation', 'samplers/unipc.py',
     'past.values.at[0].set(x_0.astype(past.values.dtype))', 'past.values',
     ORDER + '[unipc_1_bh2-LinearVP]'),
    ('corrector from the prediction', 'samplers/unipc.py', 'schedule, state.x_before, past.values[0]',
     'schedule, state.x, past.values[0]', ORDER + '[unipc_1_bh2-LinearVP]'),
    ('correction forgotten', 'samplers/unipc.py', 'points, t, s, B), x, t,', 'points, t, s, B), state.x, t,',
     ORDER + '[unipc_3_bh1-RectifiedFlow]'),
    ('DPM-Solver-3 with other nodes', 'samplers/singlestep.py', 'between(schedule, t, s, 2 / 3)',
     'between(schedule, t, s, 1 / 2)', ORDER + '[dpm_solver_3-RectifiedFlow]'),
    ('singlestep at the old point', 'samplers/singlestep.py', 'point(one(x, x_0, t, u), u), t, s, bh2)',
     'point(x, u), t, s, bh2)', ORDER + '[dpm_solver_pp_single_2-RectifiedFlow]'),
    ('singlestep evaluates clean data', 'samplers/singlestep.py', 'jax.lax.cond(is_finite(schedule, t, s), full,',
     'jax.lax.cond(t > 0, full,', SOLVERS + 'test_number_of_evaluations[make0-14]'),
    ('PNDM history backwards', 'samplers/pndm.py', '37 * past[1] - 9 * past[2]', '37 * past[2] - 9 * past[1]',
     ORDER + '[pndm-RectifiedFlow]'),
    ('PNDM without warm-up', 'samplers/pndm.py', 'jnp.where(warm, 2, 1)', 'jnp.where(warm, 2, 2)',
     SOLVERS + 'test_number_of_evaluations[pndm-15]'),
    ('PNDM evaluates clean data', 'samplers/pndm.py', ' | ~warm & (schedule.sigma(s) == 0)', '',
     SOLVERS + 'test_pndm_on_too_few_steps_stays_finite'),
    ('noise doubled', 'samplers/sde_dpm_solver.py', 'mean + noise(x, t, s)', 'mean + 2 * noise(x, t, s)', WEAK),
    ('SDE solver silently of first order', 'samplers/sde_dpm_solver.py', 'p.f[0] + p.f[1] / 2', 'p.f[0] + 0 * p.f[1]',
     WEAK),
    ('bridge left open', 'samplers/sde_dpm_solver.py', 'at_s - u[1] * at_1', 'at_s', PATH),
    ('path without its clock', 'samplers/sde_dpm_solver.py', 's_2[1] / s_2[0] * (a_2', '(a_2', PATH),
])
