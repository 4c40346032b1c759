"""The cores of a CPU as devices."""

import os
import subprocess
import sys

import pytest

from diffusion_jax.devices import cores

PROGRAM = """
import jax, joblib
from diffusion_jax.devices import cores
joblib.cpu_count = lambda: 4
{before}
cores.take({batch})
print(jax.device_count())
"""


@pytest.mark.parametrize(
    ('n', 'batch', 'devices'), [(1, 0, 1), (2, 0, 2), (3, 0, 2), (12, 0, 8), (12, 128, 8), (12, 20, 4), (12, 25, 1)]
)
def test_a_power_of_two_that_divides_the_batch(n, batch, devices):
    assert cores.count(n, batch) == devices


@pytest.mark.slow
@pytest.mark.parametrize(
    ('environment', 'before', 'batch', 'devices'),
    [
        ({}, '', '', 4),
        ({}, '', '6', 2),
        ({}, '', '12, 6', 2),
        ({'XLA_FLAGS': '--xla_force_host_platform_device_count=3'}, '', '', 3),
        ({'JAX_NUM_CPU_DEVICES': '3'}, '', '', 3),
        ({}, 'jax.devices()', '', 1),
        ({}, 'jax.distributed.is_initialized = lambda: True', '', 1),
    ],
    ids=['all', 'batch', 'parts', 'flag', 'variable', 'begun', 'processes'],
)
def test_a_program_takes_its_cores_once(environment, before, batch, devices):
    kept = {k: v for k, v in os.environ.items() if k not in ('XLA_FLAGS', 'JAX_NUM_CPU_DEVICES')}
    program = PROGRAM.format(before=before, batch=batch)
    said = subprocess.run(
        [sys.executable, '-c', program],
        env={**kept, 'JAX_PLATFORMS': 'cpu', **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.split()[-1:] == [str(devices)], said.stderr
