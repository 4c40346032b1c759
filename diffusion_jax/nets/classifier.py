"""A small convolutional classifier, whose last hidden layer is a feature space for data that have labels."""

from flax import linen as nn
from jaxtyping import Array, Float

WIDTH = 128


class Classifier(nn.Module):
    """`[B, H, W, C]` in [-1, 1] -> (features `[B, 128]`, logits `[B, classes]`)."""

    classes: int

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> tuple[Float[Array, 'b 128'], Float[Array, 'b n']]:
        """(features, logits)."""
        for i, (channels, stride) in enumerate([(32, 1), (64, 2), (WIDTH, 2)]):
            x = nn.relu(nn.Conv(channels, (3, 3), stride, name=f'conv_{i}')(x))
        # Flattened, not averaged: where a stroke lies tells a 6 from a 9.
        features = nn.relu(nn.Dense(WIDTH, name='hidden')(x.reshape(len(x), -1)))
        return features, nn.Dense(self.classes, name='out')(features)
