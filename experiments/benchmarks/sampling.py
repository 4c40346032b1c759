"""What drawing 1,000 images costs beside the network evaluations: DDIM by a small U-Net, saved as the command does."""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from configs import quickstart
from diffusion_jax import builders
from diffusion_jax.devices import sharding
from diffusion_jax.inference.generate import Drawing, batches
from diffusion_jax.inference.sample_file import fill
from diffusion_jax.nets import UNet, functional


def main():
    """Print seconds of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--reps', type=int, default=5)
    parser.add_argument('--num', type=int, default=1000)
    parser.add_argument('--batch_size', type=int, default=250)
    parser.add_argument('--steps', type=int, default=50)
    args = parser.parse_args()
    config = builders.resolve(quickstart.get_config())
    experiment, mesh = builders.build(config), sharding.make_mesh()
    params = jax.jit(experiment.init)(jax.random.key(0))
    spec = {**config['sample'], 'sampler': {'name': 'ddim'}, 'times': {'name': 'uniform', 'n': args.steps}}
    draw = jax.jit(builders.build_draw(experiment, spec))
    net: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config['net'].items() if k != 'name'}
    _, apply = functional(UNet(**net, out_channels=experiment.shape[-1]))
    evaluate = jax.jit(lambda p, x, c_noise: apply(p, x, c_noise, None, None))

    def whole(folder):
        def draw_from(first):
            return batches(Drawing(draw, params, mesh, args.batch_size), jax.random.key(0), args.num, first)

        fill(Path(folder) / 'samples.npz', {}, args.num, draw_from, experiment.source.kind.store)

    def bare():
        for start in range(0, args.num, args.batch_size):
            size = min(args.batch_size, args.num - start)
            x, c_noise = jnp.zeros((size, *experiment.shape)), jnp.zeros(size)
            for _ in range(args.steps):
                x = evaluate(params, x, c_noise)
            x.block_until_ready()

    pairs = []
    for i in range(args.reps + 1):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            whole(folder)
            middle = time.perf_counter()
        bare()
        if i:  # the first compiles
            pairs.append((middle - start, time.perf_counter() - middle))
            print(f'{pairs[-1][0]:.2f} s to draw and save, {pairs[-1][1]:.2f} s of bare evaluations', flush=True)
    ratio = statistics.median(a / b for a, b in pairs)
    print(f'{args.num} images, {args.steps} steps, batch {args.batch_size}: median ratio {ratio:.3f}')


if __name__ == '__main__':
    main()
