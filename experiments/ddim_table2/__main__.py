r"""DDIM's Table 2 for any trained run: reconstruction error per dimension of held-out data over S.

    python -m experiments.ddim_table2 --workdir=runs/mnist --num=100 --steps=10,20,50,100,200

prints the table. As in the paper the error is the mean square per dimension on data scaled to [0, 1].
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from diffusion_jax import build, cli, runs, samplers, times
from diffusion_jax.evaluation import measure

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run.', required=True)
_NUM = flags.DEFINE_integer('num', 100, 'Held-out rows.', lower_bound=1)
_STEPS = flags.DEFINE_list('steps', ['10', '20', '50', '100', '200'], 'Values of S.')

PAPER = {10: 0.014, 20: 0.0065, 50: 0.0023, 100: 0.0009, 200: 0.0004, 500: 0.0001, 1000: 0.0001}


def main() -> None:
    """The entry point."""
    run = runs.load(Path(_WORKDIR.value))
    source = build.build_source(run.config['data'], run.config['eval']['held_out'])
    x = jnp.asarray(measure.values_of(source)[: _NUM.value])
    denoise = run.experiment.models['model'](run.params, None, None)
    schedule = run.experiment.schedule
    unused = jax.random.key(0)  # neither direction draws noise

    def reconstruct(x, grid):
        latent = samplers.sample(samplers.ddim_encode(denoise, schedule), unused, x, grid[::-1])
        return samplers.sample(samplers.ddim(denoise, schedule), unused, latent, grid)

    print(f'{len(x)} rows of {source.name}, uniform sub-sequence, step {run.step}')
    print('| S | error per dimension | paper, CIFAR-10 |\n|---|---|---|')
    for s in (int(s) for s in _STEPS.value):
        y = jax.jit(reconstruct)(x, times.uniform(s))
        error = float(np.mean((np.asarray(y) - np.asarray(x)) ** 2)) / 4
        print(f'| {s} | {error:.5f} | {PAPER.get(s, "")} |', flush=True)


if __name__ == '__main__':
    cli.run(main)
