"""An official network as a workdir: config, averaged weights, and where they are from."""

import contextlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from diffusion_jax import builders
from diffusion_jax.errors import UserError
from diffusion_jax.interop import names, weights_file
from diffusion_jax.interop.official import Official, Texts
from diffusion_jax.training import checkpoint
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath


def config_of(official: Official, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The resolved config of a network, on data of this spec, or on none.

    Raises:
        UserError: as `builders.check`.
    """
    (height, width, channels), classes = official.architecture.shape, official.architecture.classes
    absent = {'name': 'absent', 'height': height, 'width': width, 'channels': channels, 'classes': classes}
    if official.texts is not None and data is not None:
        raise UserError(
            '--data: a model of latents under texts is told its images in a config (data.images): leave it out'
        )
    if official.texts is None:
        absent |= {'latents': True} if official.architecture.latents else {}
    else:
        folders = {'autoencoder': str(official.texts.autoencoder), 'tokenizer': str(official.texts.tokenizer)}
        length = official.architecture.net['text']['length']
        absent = {
            'name': 'latents',
            **folders,
            'height': height,
            'width': width,
            'length': length,
            'w': official.texts.w,
        }
    dropped = {'drop_cond': 0.1} if official.architecture.drops else {}
    process = official.process
    config = {
        'seed': 0,
        'data': {**dropped, **(data or absent)},
        'schedule': process.schedule,
        'precond': process.precond,
        'net': official.architecture.net,
        'objective': process.objective,
        'optim': {'name': 'adam', 'lr': 1e-4, 'warmup': 0, 'clip': 1.0, 'anneal': {'name': 'constant'}},
        'ema': {'name': 'constant', 'decay': 0.9999},
        'train': {
            'batch_size': 128,
            'steps': 0,
            'log_every': 100,
            'save_every': 5000,
            'sample_every': 0,
            'keep': 2,
        },
        'mesh': {},
        'sample': {
            'sampler': process.sampler,
            'times': process.times,
            'clip': process.clip,
            'num': 64,
            'batch_size': 64,
            'cond': {'name': 'turn' if classes and not data else 'nothing' if official.texts else 'data'},
            'guidance': _guidance(official.texts),
        },
        'eval': {
            'num': 50_000,
            'batch_size': 500,
            'features': {'name': 'pca', 'dim': 64},
            'reference': 'train' if data else None,
            'held_out': None,
            'variance': 'large',
            'bits_num': 0,
            'bits_terms': None,
        },
    }
    return builders.check(config)


def write(workdir: AnyPath, official: Official, kind: str, data: Mapping[str, Any] | None = None) -> int:
    """Writes a workdir that is sampled, measured, edited and distilled as any other; returns its number of parameters.

    Args:
        workdir: must not hold a run.
        official: the network.
        kind: of its files, for the record.
        data: a spec of the data that it was trained on; None for none.

    Raises:
        UserError: if the workdir holds a run, or cannot be written to; for weights that are not the architecture's.
    """
    if any((workdir / name).exists() for name in ('config.json', 'checkpoints')):
        raise UserError(f'{workdir} holds a run already, and a conversion overwrites none: choose another --workdir')
    config = config_of(official, data)
    experiment = builders.build(config)
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    found = names.take_in(str(official.file), official.what, official.weights, official.rows(shapes), shapes)
    params = jax.tree.map(jnp.asarray, found)
    if official.texts is not None:
        config['data'] = {**config['data'], **_keep(official.texts, workdir)}
    files.check(workdir, config, allow_change=False)
    origin = {'format': kind, 'file': str(official.file), 'sha256': weights_file.sha256(official.file)}
    origin |= {'others': {str(file): weights_file.sha256(file) for file in official.others}} if official.others else {}
    provenance = {**files.provenance(), 'converted': origin}
    with files.lock(workdir), contextlib.closing(checkpoint.open_manager(workdir)) as manager:
        checkpoint.save_weights(manager, 0, params, {'config': config, 'provenance': provenance})
        checkpoint.wait(manager)
        files.record(workdir, config)
        files.write_json(workdir / 'provenance.json', provenance)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _guidance(texts: Texts | None) -> dict[str, Any] | None:
    if texts is None or texts.guidance is None:
        return None
    return {'name': 'classifier_free', 'w': texts.guidance}


def _keep(texts: Texts, workdir: AnyPath) -> dict[str, str]:
    """The two folders, copied into a workdir: what a `data` section says of them then."""
    folders = {'autoencoder': texts.autoencoder, 'tokenizer': texts.tokenizer}
    for name, folder in folders.items():
        shutil.copytree(folder, paths.local(str(workdir / name)))
    return {name: str(paths.absolute(workdir / name)) for name in folders}
