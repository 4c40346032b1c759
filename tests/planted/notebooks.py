"""Bugs that a notebook's own claims notice."""

from tests.planted.mutant import Mutant

# fmt: off
CLAIMS = 'tests/test_notebooks.py::test_what_a_notebook_claims'

MUTANTS = tuple(Mutant(*row) for row in [
    ('notebook: DDIM with its whole direction under noise', 'samplers/ancestral.py',
     'jnp.sqrt(jnp.maximum(1 - eta**2 + kept**2, 0))', '1.0', CLAIMS + '[ddim_and_the_ode]'),
    ('notebook: a Heun step that is Euler\'s', 'samplers/edm.py',
     'eps_from_x_0(schedule, euler, x_0_new, u)) / 2', 'eps_from_x_0(schedule, x, x_0, t)) / 2', CLAIMS + '[orders]'),
    ('notebook: guidance by w + 1', 'guidance.py', 'w * x_0 + (1 - w) * other, x_0, rescale)',
     '(w + 1) * x_0 - w * other, x_0, rescale)', CLAIMS + '[guidance]'),
    ('notebook: guidance outside of its interval', 'guidance.py', 'inside = (low < level) & (level <= high)',
     'inside = ~((low < level) & (level <= high))', CLAIMS + '[guidance]'),
    ('notebook: time travel without noise', 'editing/travel.py', 'jnp.sqrt(var_ts) * noise(key, x_s))',
     '0 * noise(key, x_s))', CLAIMS + '[editing]'),
    ('notebook: the spherical path turned round', 'editing/interpolate.py',
     'per_sample(a, x_T) * x_T + per_sample(b, x_T) * y_T', 'per_sample(b, x_T) * x_T + per_sample(a, x_T) * y_T',
     CLAIMS + '[editing]'),
    ('notebook: the divergence with the other sign', 'likelihood/ode.py',
     'OdeTerms(prior + d * path.change, prior,', 'OdeTerms(prior - d * path.change, prior,', CLAIMS + '[likelihood]'),
    ('notebook: a student told the same point twice', 'objectives/consistency.py',
     'x_s = ode_step.step(frozen, batch)(x_t, t, s)', 'x_s = x_t', CLAIMS + '[distil_to_one_step]'),
    ('notebook: the loop gives every step the first times', 'samplers/loop.py',
     'after = sampler.step(fold_in(key, i), state, t, s)', 'after = sampler.step(fold_in(key, i), state, times[0], s)',
     CLAIMS + '[your_own_sampler]'),
])
