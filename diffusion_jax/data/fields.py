"""Physical fields with a known law, as data: x is `[N, H, W, C]`, float32."""

import jax
import numpy as np

from diffusion_jax.data import conditions, gaussian_fields, kinds
from diffusion_jax.data.errors import DataError
from diffusion_jax.data.sources import Source
from diffusion_jax.ranges import whole

_SPLITS = ('train', 'test')


def gaussian(
    law: gaussian_fields.GaussianField, n: int, seed: int, split: str = 'train', condition: str | None = None
) -> Source:
    """`n` fields drawn once from a Gaussian law.

    Args:
        law: of one or several channels.
        n: in [1, 2^31).
        seed: in [0, 2^32).
        split: 'train' or 'test', which share nothing but the law.
        condition: 'before': x is the last channel, and those before it are told; None: x is all of them.

    Raises:
        DataError: another split or condition, or nothing before the last channel.
        ValueError: another argument outside of its range.
    """
    whole('[1, 2147483648)', n=n)
    whole('[0, 4294967296)', seed=seed)
    h, w, c, _ = law.spectrum.shape
    name = f'gaussian_fields/{h}x{w}x{c},n={n},seed={seed}/{split}'
    if split not in _SPLITS:
        raise DataError(f"gaussian_fields has no split '{split}'; it has {', '.join(_SPLITS)}")
    key = jax.random.fold_in(jax.random.key(seed), _SPLITS.index(split))
    x = np.asarray(gaussian_fields.sample(law, key, n), np.float32)
    if condition is None:
        return Source(x, None, kinds.field((h, w, c)), None, name)
    if condition != 'before' or c == 1:
        raise DataError(f"{name} can tell what was 'before' the last of several channels; got condition={condition!r}")
    told = conditions.of(conditions.image((h, w, c - 1)))
    rows = told.null._replace(values=x[..., :-1], mask=np.ones(n, bool))
    return Source(x[..., -1:], rows, kinds.field((h, w, 1)), told, name)
