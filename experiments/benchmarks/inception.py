"""Inception features of uint8 images: this package's network and torch-fidelity's, which is pytorch-fid's, on one CPU.

See README.md. Random weights: speed does not depend on them. Needs the `oracle` extra and torchvision.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch_fidelity import feature_extractor_inceptionv3 as theirs  # pyright: ignore[reportMissingImports]

from diffusion_jax.evaluation import resize
from diffusion_jax.nets.inception import SIDE, InceptionV3
from experiments.benchmarks.timing import interleaved, table


class Theirs(theirs.FeatureExtractorInceptionV3):
    """torch-fidelity's module with random weights: it looks for a file, and finds none here."""

    def load_state_dict(self, *_):  # pyright: ignore[reportIncompatibleMethodOverride]
        """Keep the random weights."""


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--side', type=int, default=32, help='of the images before they are resized')
    parser.add_argument('--threads', type=int, default=2, help='of torch; pin the process for JAX, see README.md')
    parser.add_argument('--reps', type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    theirs.load_state_dict_from_url = lambda *_, **__: {}
    module = Theirs('inception-v3-compat', ['2048', 'logits_unbiased'])
    images = np.random.default_rng(0).integers(0, 256, (args.batch, args.side, args.side, 3), np.uint8)

    net, way = InceptionV3(), resize.tensorflow(SIDE)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: jnp.asarray(0.02 * rng.normal(size=a.shape), jnp.float32), shapes)
    run = jax.jit(lambda params, x: net.apply(params, way.apply(x.astype(jnp.float32))))

    def beside(what, layout):
        module.to(memory_format=layout)
        for_torch = torch.tensor(images.transpose(0, 3, 1, 2)).to(memory_format=layout)

        def theirs_run():
            with torch.inference_mode():
                return module(for_torch)

        def ours():
            return jax.block_until_ready(run(params, images))

        return interleaved(f'{args.batch} images of {args.side} pixels, {what}', theirs_run, ours, args.reps)

    rows = [beside('as published', torch.contiguous_format), beside('channels_last', torch.channels_last)]
    print('Resize, pool and logits; ours: and the spatial features.')
    print(table(rows, 'eager', 'torch-fidelity'))


if __name__ == '__main__':
    main()
