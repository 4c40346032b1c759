"""Bugs in how the cores of a CPU become devices."""

from tests.planted.mutant import Mutant

# fmt: off
CORES, TEST = 'devices/cores.py', 'tests/devices/test_cores.py::'
COUNT, TAKEN = TEST + 'test_a_power_of_two_that_divides_the_batch', TEST + 'test_a_program_takes_its_cores_once'

MUTANTS = tuple(Mutant(*row) for row in [
    ('cores: as many as there are', CORES, '2 ** (cores.bit_length() - 1)', 'cores', COUNT + '[3-0-2]'),
    ('cores: one too few', CORES, 'bit_length() - 1)', 'bit_length() - 2)', COUNT + '[2-0-2]'),
    ('cores: a batch that does not divide', CORES, 'batch_size & -batch_size)', 'batch_size)', COUNT + '[12-20-4]'),
    ('cores: parts forgotten', CORES, 'batch_size // parts', 'batch_size', TAKEN + '[parts]'),
    ('cores: the flag is ignored', CORES, "_FLAG in os.environ.get('XLA_FLAGS', '') or", 'False or', TAKEN + '[flag]'),
    ('cores: the variable is ignored', CORES, "or 'JAX_NUM_CPU_DEVICES' in os.environ", 'or False',
     TAKEN + '[variable]'),
    ('cores: of every process', CORES, 'said or jax.distributed.is_initialized()', 'said', TAKEN + '[processes]'),
])
