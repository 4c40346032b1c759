"""Trains the classifier whose features stand in for Inception's: minutes for MNIST, seconds for digits.

    python -m experiments.classifier --data=digits --out=classifier.npz
    python -m diffusion_jax.evaluate --workdir=runs/digits --features=classifier:path=classifier.npz

prints its accuracy on training and held-out data, and the hash that every number in its features carries.
"""

import jax
from absl import flags

from diffusion_jax import builders, cli
from diffusion_jax.evaluation import classifier
from diffusion_jax.evaluation.rows import Values

_DATA = flags.DEFINE_string('data', 'digits', 'Name of the data set.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of tensorflow-datasets.')
_OUT = flags.DEFINE_string('out', None, 'File to write, .npz.', required=True)
_STEPS = flags.DEFINE_integer('steps', 2000, 'Training steps of 128 images.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the weights.')


def main() -> None:
    """The entry point."""
    data = {'name': _DATA.value, 'dir': _DATA_DIR.value}
    train, held_out = (builders.build_source(data, split) for split in ('train', 'test'))
    classifier.save(_OUT.value, classifier.fit(train, jax.random.key(_SEED.value), _STEPS.value))
    features = classifier.classifier(Values(train).shape[1:], _OUT.value)
    right = [f'{classifier.accuracy(features, source):.4f} on {source.name}' for source in (train, held_out)]
    print(f'{_OUT.value}: {features.name}, hash {features.hash}, accuracy {", ".join(right)}')


if __name__ == '__main__':
    cli.run(main)
