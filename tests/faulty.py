"""Training with a fault, as the environment asks for it: `FAULT=KIND:STEP[:SECONDS]`.

KIND is `raise` or `hang`, of the input of the last process at that step; or what a SIGKILL comes into, so many seconds
after it has begun: the first `step` or `save` from that step on, or the first `draw`, as in `FAULT=save:14:0.1`.
`INDICES=FOLDER` records which rows of the data each process reads at each step.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from diffusion_jax import cli, train
from diffusion_jax.data import pipeline
from diffusion_jax.training import checkpoint, run

_batch_at, _save, _generate = pipeline.batch_at, checkpoint.save, run.generate
KIND, STEP, SECONDS = (*os.environ.get('FAULT', 'none:0').split(':'), '0')[:3]


def _kill(kind, step):
    if kind == KIND and step >= int(STEP):
        threading.Timer(float(SECONDS), os.kill, (os.getpid(), signal.SIGKILL)).start()


def _at(source, seed, batch_size, process_index=0, process_count=1):
    whose = (seed, batch_size, process_index, process_count)
    at, index = _batch_at(source, *whose), _batch_at(source._replace(x=np.arange(len(source.x)), cond=None), *whose)

    def faulty(k):
        _kill('step', k)
        if KIND in ('raise', 'hang') and k == int(STEP) and process_index == process_count - 1:
            print(f'fault at {time.time()}', file=sys.stderr, flush=True)
            if KIND == 'raise':
                raise RuntimeError('the disk of this host is gone')
            time.sleep(3600)
        if 'INDICES' in os.environ:
            np.save(Path(os.environ['INDICES']) / f'{k}_{process_index}_{process_count}.npy', index(k).x)
        return at(k)

    return faulty


def _saving(manager, state, *more):
    _save(manager, state, *more)
    _kill('save', int(state.step))  # what is left of it is done beside the next steps


def _drawing(*arguments, **options):
    _kill('draw', int(STEP))
    return _generate(*arguments, **options)


if __name__ == '__main__':
    pipeline.batch_at, checkpoint.save, run.generate = _at, _saving, _drawing
    cli.run(train.main)
