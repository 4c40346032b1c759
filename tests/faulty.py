"""Training with a fault in the input of one process: `FAULT=raise:12` or `FAULT=hang:12` at that step."""

import os
import time

from diffusion_jax import cli, train
from diffusion_jax.data import pipeline

_batch_at = pipeline.batch_at


def _faulty(source, seed, batch_size, process_index=0, process_count=1):
    at = _batch_at(source, seed, batch_size, process_index, process_count)
    kind, step = os.environ['FAULT'].split(':')

    def fail(k):
        if k == int(step) and process_index == process_count - 1:
            if kind == 'raise':
                raise RuntimeError('the disk of this host is gone')
            time.sleep(3600)
        return at(k)

    return fail


if __name__ == '__main__':
    pipeline.batch_at = _faulty
    cli.run(train.main)
