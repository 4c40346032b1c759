"""Bugs in masked diffusion."""

from tests.planted.mutant import Mutant

# fmt: off
BOUND, PROCESS, UNMASKING = 'likelihood/masked.py', 'process.py', 'samplers/unmasking.py'
LIKELIHOOD, SAMPLERS = 'tests/likelihood/test_masked.py::', 'tests/samplers/test_unmasking.py::'
TIGHT = LIKELIHOOD + 'test_the_bound_of_the_exact_denoiser_is_the_likelihood[cosine]'
ENDS = LIKELIHOOD + 'test_the_ends_are_finite'
OBJECTIVE = LIKELIHOOD + 'test_the_objective_is_the_same_bound_of_values'
BAYES = 'tests/test_process.py::test_the_posterior_is_bayes_rule'
MARGINALS = 'tests/test_process.py::test_the_marginals_are_the_same_for_every_eta'
TOKENS = 'tests/test_process.py::test_tokens_and_values_are_those_of_files'
COUNTS = SAMPLERS + 'test_confidence_unmasks_the_promised_numbers_the_likeliest_first'
MASKED = SAMPLERS + 'test_so_many_are_masked_as_the_process_masks[0.5]'
NUCLEUS = SAMPLERS + 'test_the_nucleus_is_the_smallest_set_of_that_mass'
GIVEN = SAMPLERS + 'test_given_tokens_are_kept[remask]'
BATCH = SAMPLERS + 'test_samples_do_not_depend_on_their_batch[unmask]'
BROKEN = SAMPLERS + 'test_what_a_model_does_not_know_is_no_sample[unmask]'
MARKOV = 'tests/data/test_markov.py::test_the_posterior_is_that_of_all_sequences'

MUTANTS = tuple(Mutant(*row) for row in [
    ('masked: weight by alpha', BOUND, 'jnp.where(sigma == 0, 1, sigma))',
     'jnp.where(sigma == 0, 1, 1 - sigma))', TIGHT),
    ('masked: tokens that are there cost too', BOUND, 'jnp.where(x_t == logits.shape[-1], -log_p, 0)',
     '-log_p', TIGHT),
    ('masked: logits not normalised', BOUND, 'jax.nn.log_softmax(logits)', 'logits', ENDS),
    ('masked: infinite weight at clean data', BOUND,
     'jnp.where(sigma == 0, 0, rates(schedule, t)[1] / jnp.where(sigma == 0, 1, sigma))',
     'rates(schedule, t)[1] / sigma', ENDS),
    ('masked: masks at other times', 'objectives/masked.py', 'corrupt(key_mask, x_0, t)',
     'corrupt(key_mask, x_0, t**2)', OBJECTIVE),
    ('masked: times of the next batch element', 'times/distributions.py', 'jnp.arange(n) / n) % 1',
     'jnp.arange(n) / (n + 1)) % 1',
     'tests/test_process.py::test_low_discrepancy_times_are_evenly_apart_and_uniform'),
    ('masked: masks what should be there', PROCESS, 'u < per_sample(schedule.sigma(t), x_0)',
     'u < per_sample(schedule.alpha(t), x_0)',
     'tests/test_process.py::test_tokens_are_there_with_probability_alpha'),
    ('masked: masks stay by alpha', PROCESS, '_share(schedule.sigma(s) - forget, schedule.sigma(t))',
     '_share(schedule.alpha(t) - forget, schedule.alpha(s))', BAYES),
    ('masked: what is masked again is not taken from the masks', PROCESS, 'schedule.sigma(s) - forget,',
     'schedule.sigma(s),', MARGINALS),
    ('masked: masks again more than there is', PROCESS, 'jnp.minimum(schedule.alpha(t), schedule.sigma(s))',
     'schedule.sigma(s)', MARGINALS),
    ('masked: values cut instead of rounded', PROCESS, 'jnp.round(half * x + half)',
     'jnp.floor(half * x + half)', TOKENS),
    ('masked: a mask is the last token', PROCESS, 'jnp.where(tokens == levels, jnp.nan, values)', 'values', BROKEN),
    ('masked: tokens drawn again where they are', UNMASKING, 'jnp.where((x == levels) & ~stays, token, x)',
     'jnp.where(~stays, token, x)',
     MASKED),
    ('masked: masks again what was drawn in this step', UNMASKING,
     'jnp.where((x != levels) & forgotten, levels, after)',
     'jnp.where(forgotten, levels, after)', MASKED),
    ('masked: the least confident first', UNMASKING, 'jnp.argsort(-x.reshape', 'jnp.argsort(x.reshape', COUNTS),
    ('masked: rank is an order', UNMASKING, 'jnp.argsort(order, axis=1)', 'order', COUNTS),
    ('masked: share of all places', UNMASKING, 'm = jnp.sum(masked, axis=event_axes(x))',
     'm = jnp.sum(masked | True, axis=event_axes(x))',
     COUNTS),
    ('masked: nucleus without the token that fills it', UNMASKING, '- descending\n', '\n', NUCLEUS),
    ('masked: one key for all samples', UNMASKING, 'jax.vmap(one)(key, logits) if key.ndim',
     'one(key[0], logits) if key.ndim', BATCH),
    ('masked: given tokens drawn again', 'editing/infill.py',
     'jnp.where(known[None, ..., None], certain, logits)', 'logits', GIVEN),
    ('masked: infilling begins without them', 'editing/infill.py', 'jnp.where(known[None], x_0, levels)',
     'jnp.where(known[None] & False, x_0, levels)',
     SAMPLERS + 'test_infilling_one_token_at_a_time_is_the_conditional_law'),
    ('masked: chain read backwards', 'data/markov.py', '_normal((after * seen) @ T.T)',
     '_normal((after * seen) @ T)', MARKOV),
    ('masked: logits of the wrong channels', 'precond.py', 'out.reshape(*x.shape, levels)',
     'out.reshape(*x.shape[:-1], levels, -1).swapaxes(-1, -2)',
     'tests/test_precond.py::test_logits_are_channels_of_each_place'),
    ('masked: windows overlap by one', 'data/sequences.py', 'sliding_window_view(coded, length)[::stride, :, None]',
     'sliding_window_view(coded, length)[:: stride - 1, :, None]',
     'tests/data/test_sequences.py::test_windows_are_the_text'),
])
# fmt: on
