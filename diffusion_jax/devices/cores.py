"""The cores of a CPU as devices: with a batch as a whole XLA leaves much of them idle (docs/results/speed.md)."""

import os

import jax

_FLAG = '--xla_force_host_platform_device_count'


def take(batch_size: int = 0, parts: int = 1) -> None:
    """Has JAX see the cores of this machine's CPU as devices, before anything else is asked of it.

    Data parallelism over them keeps them busy, and changes a sum's rounding alone. Who says how many devices there are
    (`XLA_FLAGS`, `JAX_NUM_CPU_DEVICES`) is obeyed; one process of several, and a program that uses JAX already, keep
    what they have. Accelerators are as they were.

    Args:
        batch_size: what has to divide over them, 0 where nothing has;
        parts: in as many parts, one after another.
    """
    said = _FLAG in os.environ.get('XLA_FLAGS', '') or 'JAX_NUM_CPU_DEVICES' in os.environ
    if said or jax.distributed.is_initialized():
        return
    from joblib import cpu_count  # a quarter of a second to import

    try:
        jax.config.update('jax_num_cpu_devices', count(cpu_count(), batch_size // parts))
    except RuntimeError:  # JAX has its devices already
        return


def count(cores: int, batch_size: int = 0) -> int:
    """The largest power of two that is at most `cores` and divides the batch, 0 for none."""
    most = 2 ** (cores.bit_length() - 1)
    return min(most, batch_size & -batch_size) if batch_size else most
