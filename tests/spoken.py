"""A set of recordings as tensorflow-datasets would give it, of tones: `sources.examples` of tests."""

from types import SimpleNamespace

import numpy as np

DIGITS, SPEAKERS = 10, ['ann', 'bob']


def declared(rate=None, classes=DIGITS, dtype=np.int16):
    """The features of the set; with a rate, which the others do not say."""
    import tensorflow_datasets as tfds

    audio = tfds.features.Tensor(shape=(None,), dtype=dtype)
    if rate:
        audio = SimpleNamespace(shape=(None,), np_dtype=np.int16, sample_rate=rate)
    return {
        'audio': audio,
        'label': tfds.features.ClassLabel(num_classes=classes),
        'speaker': tfds.features.ClassLabel(names=SPEAKERS),
        'take': tfds.features.Tensor(shape=(), dtype=np.int64),
    }


def examples(name, dir, split, keep):
    """Twenty tones, one of each digit by each speaker."""
    rows = []
    for i in range(2 * DIGITS):
        n = 300 + 10 * i
        tone = np.sin(np.arange(n) * (0.1 + 0.2 * (i % DIGITS)))
        row = {'audio': (9000 * tone).astype(np.int16), 'label': i % DIGITS, 'speaker': i // DIGITS, 'take': i}
        rows.append({key: row[key] for key in keep})
    return declared(), f'{name}/1.0.0/{split}', rows
