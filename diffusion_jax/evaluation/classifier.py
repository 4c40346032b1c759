"""A classifier trained here, on the labels of a data set, as a feature space: an honest stand-in where no file of
weights is at hand. Its numbers compare runs on that data set under that file, and are called neither FID nor KID.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from diffusion_jax.data.pipeline import batch_at
from diffusion_jax.data.sources import Source
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.evaluation.features import Features, Outputs
from diffusion_jax.evaluation.pretrained import file_hash, in_batches
from diffusion_jax.home import expanded
from diffusion_jax.nets.classifier import WIDTH, Classifier
from diffusion_jax.types import Key, Part


def fit(source: Source, key: Key, steps: int = 2000, batch_size: int = 128, lr: float = 1e-3) -> Any:
    """Parameters of a `Classifier` of the source's labels: Adam on the cross-entropy, its rate falling as a cosine.

    Pictures are augmented as the source's kind has it. Sources of equal size see equal rows in equal order.

    Raises:
        UserError: for data that are no labelled pictures.
    """
    classes = num_classes(source)
    at = batch_at(source, 0, batch_size)
    params = jax.jit(Classifier(classes).init)(key, _scaled(source, at(0).x))
    optimiser, step = _learner(classes, steps, lr, source.kind.augment)
    state = optimiser.init(params)
    for i in range(steps):
        batch = at(i)
        params, state = step(params, state, jax.random.fold_in(key, i), _scaled(source, batch.x), batch.cond)
    return params


@functools.cache  # compiled once for all sources of a kind
def _learner(classes, steps, lr, augment):
    net: Any = Classifier(classes)
    optimiser = optax.adam(optax.cosine_decay_schedule(lr, steps))

    @jax.jit
    def step(params, state, key, x, label):
        augmented = augment(key, x)

        def loss(params):
            return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, augmented)[1], label).mean()

        updates, state = optimiser.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    return optimiser, step


def num_classes(source: Source) -> int:
    """How many classes the labels of quantised pictures have.

    Raises:
        UserError: for anything else.
    """
    parts = None if source.condition is None else source.condition.parts
    if not isinstance(parts, Part) or parts.num is None or parts.shape or len(source.kind.shape) != 3:
        raise UserError(f'a classifier needs pictures with one label, and {source.name} has none: set its condition')
    if source.kind.levels is None:
        raise UserError(f'a classifier needs quantised pictures, and {source.name} is continuous')
    return parts.num


def save(path: str | Path, params: Any) -> None:
    """Writes the parameters as an .npz file; equal parameters make equal files."""
    arrays: Any = {'/'.join(name): np.asarray(v) for name, v in _flat(params)}
    np.savez(Path(path), **arrays)


def classifier(shape: tuple[int, ...], path: str | None = None, batch_size: int = 256) -> Features:
    """The last hidden layer of a classifier that `save` wrote; its logits give the Inception Score's formula.

    Args:
        shape: of an image, (h, w, c).
        path: of the file.
        batch_size: images at once, over all devices.

    Raises:
        UserError: if there is no such file, or one for other images.
    """
    if path is None:
        raise UserError(
            "config.eval.features: 'classifier' needs path=FILE.npz of a trained one; "
            'python -m experiments.classifier --data=NAME --out=FILE.npz makes one'
        )
    return of_params(_load(path, shape), batch_size, file_hash(path))


def of_params(params: Any, batch_size: int = 256, hash: str = '') -> Features:
    """The same of parameters at hand, as `fit` returns them."""
    run = _outputs(params['params']['out']['bias'].shape[0])
    return Features(f'classifier-{WIDTH}', in_batches(run, params, batch_size), hash)


@functools.cache
def _outputs(classes):
    net: Any = Classifier(classes)

    def run(params: Any, x: Array) -> Outputs:
        features, logits = net.apply(params, x / 127.5 - 1)
        return Outputs(features, None, logits)

    return run


def accuracy(features: Features, source: Source, batch: int = 1000) -> float:
    """The share of a source's rows whose largest logit is that of their label."""
    labels: Any = source.cond
    right = 0
    for first in range(0, len(source.x), batch):
        index = np.arange(first, min(first + batch, len(source.x)))
        logits: Any = features.outputs(_scaled(source, source.x[index])).logits
        right += int((np.argmax(logits, axis=1) == labels[index]).sum())
    return right / len(source.x)


def _load(path: str, shape: tuple[int, ...]) -> Any:
    try:
        # np.load leaves a damaged file open.
        with expanded(path).open('rb') as opened, np.load(opened) as file:
            flat = {name: jnp.asarray(file[name]) for name in file.files}
    except Exception as error:  # a damaged archive raises many types
        raise UserError(f'cannot read {path} as a classifier: {one_line(error)}') from error
    bias = flat.get('params/out/bias')
    if bias is not None and bias.ndim == 1 and bias.size:
        image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        wanted = jax.eval_shape(Classifier(bias.size).init, jax.random.key(0), image)
        if {'/'.join(n): v.shape for n, v in _flat(wanted)} == {n: v.shape for n, v in flat.items()}:
            return _nested(flat)
    raise UserError(f'{path} is no classifier of images of shape {shape}')


def _nested(flat):
    params: dict[str, Any] = {}
    for name, value in flat.items():
        *path_to, last = name.split('/')
        node = params
        for part in path_to:
            node = node.setdefault(part, {})
        node[last] = value
    return params


def _flat(tree, path=()):
    for name, value in tree.items():
        yield from _flat(value, (*path, name)) if isinstance(value, dict) else [((*path, name), value)]


def _scaled(source, x):
    return jnp.asarray(x, jnp.float32) / ((source.kind.levels - 1) / 2) - 1
