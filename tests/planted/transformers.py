"""Bugs in the conversion of DiT and SiT."""

from tests.planted.mutant import Mutant

# fmt: off
DIT, TEST = 'interop/dit.py', 'tests/conversion/test_dit.py::'
ALL = TEST + 'test_outputs_gradients_and_the_way_back'
STEPS, SIT = TEST + 'test_ten_steps_of_ddim_from_the_command_line', TEST + 'test_sit_goes_from_noise_to_data'
REFUSED = TEST + 'test_what_it_does_not_say_or_cannot_be_is_refused'

MUTANTS = tuple(Mutant(*row) for row in [
    ('transformers: patches column by column', DIT, 'w.transpose(2, 3, 1, 0).reshape(-1, w.shape[0])',
     'w.transpose(3, 2, 1, 0).reshape(-1, w.shape[0])', f'{ALL}[learned_variance]'),
    ('transformers: all blocks are the first', DIT, "Row(f'blocks.{i}.{name}', (path,), form, i)",
     "Row(f'blocks.{i}.{name}', (path,), form, 0)", f'{ALL}[learned_variance]'),
    ('transformers: a class more', DIT, "len(weights['y_embedder.embedding_table.weight']) - 1",
     "len(weights['y_embedder.embedding_table.weight'])", f'{ALL}[learned_variance]'),
    ('transformers: always the usual MLP', DIT, "'mlp_ratio': ratio", "'mlp_ratio': 4",
     f'{ALL}[patches_of_4]'),
    ('transformers: any positions', DIT, 'np.abs(positions[0] - fixed).max() > 1e-5',
     'np.abs(positions[0] - fixed).max() > 1e5', REFUSED),
    ('transformers: latents are pictures', DIT, 'latents=channels == 4', 'latents=channels == 3', STEPS),
    ('transformers: from the wrong end of the table', 'interop/process.py', "times={'name': 'linspace'",
     "times={'name': 'leading'", STEPS),
    ('transformers: SiT answers its variance', DIT, 'pixels[:, :channels]', 'pixels[:, channels:]', SIT),
    ('transformers: SiT is told the time from data', 'precond.py', 'c_noise=lambda t: 1 - t', 'c_noise=lambda t: t',
     SIT),
    ('transformers: SiT answers the velocity to noise', 'precond.py', '-to_noise.c_out(t)', 'to_noise.c_out(t)', SIT),
])
# fmt: on
