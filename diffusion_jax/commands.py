"""What can be run: the subcommands of `diffusion-jax`, each a module that `python -m` runs as well."""

from typing import NamedTuple


class Command(NamedTuple):
    """A subcommand."""

    name: str
    module: str
    what: str  # it does, in a few words


def _of(package: str, *rows: tuple[str, str, str]) -> list[Command]:
    return [Command(name, f'{package}.{module}', what) for name, module, what in rows]


GROUPS: dict[str, list[Command]] = {
    'A model': _of(
        'diffusion_jax',
        ('train', 'train', 'train a config, or go on with its run'),
        ('sample', 'sample', 'draw from a run, or edit a picture with it'),
        ('evaluate', 'evaluate', 'FID and its like, bits/dim; of any images, too'),
        ('convert', 'convert', 'official checkpoints in, runs out'),
        ('report', 'report', 'runs side by side as one page'),
        ('watch', 'watch', 'a run as it goes, in a browser'),
    ),
    'Start here': [
        *_of('experiments', ('quickstart', 'quickstart', 'DDPM, DDIM and a consistency model in minutes')),
        *_of('diffusion_jax', ('doctor', 'doctor', 'what is found, missing or slow here, and why')),
    ],
    'Many runs': _of(
        'experiments',
        ('sweep', 'sweep', 'train and measure a grid of configs'),
        ('tune', 'tune', 'search config fields with Optuna'),
        ('launch', 'launch', 'on SLURM, Cloud TPU, GKE, or here'),
        ('check', 'launch.check', 'compile a run for a TPU slice without a TPU'),
    ),
    'Searches in a run': _of(
        'experiments',
        ('search-grid', 'search_grid', 'the best few steps of a solver'),
        ('search-times', 'search_times', 'the best times of a consistency model'),
        ('search-ema', 'search_ema', 'the best length of the average'),
        ('by-time', 'by_time', 'loss and gradient noise over time'),
    ),
    'Studies': _of(
        'experiments',
        ('papers', 'papers', "a paper's table, its claims judged"),
        ('applications', 'applications', 'images, video, sound, text, .. on one page'),
        ('few-step', 'few_step', 'every few-step method on one data set'),
        ('few-step-toy', 'few_step.toy', 'the same where the exact map is known'),
        ('guidance', 'guidance', 'do guided samples belong to their class?'),
        ('editing', 'editing', 'are restored digits the ones they were?'),
        ('editing-gaussian', 'editing.gaussian', 'the same where the posterior is known'),
        ('fields', 'fields', 'spectra and forecasts against their law'),
        ('scenes', 'scenes', 'what of a caption pictures keep'),
        ('sound', 'sound', 'what judges hear in sounds'),
        ('video', 'video', 'do moving digits move by their law?'),
        ('anomaly', 'anomaly', 'is a class that was left out noticed?'),
        ('augmentation', 'augmentation', 'do generated images help a classifier?'),
        ('solvers', 'solvers', "error against evaluations, beside others' solvers"),
        ('solvers-report', 'solvers.report', 'table and plot of the same'),
    ),
    'Tools': [
        *_of('experiments', ('classifier', 'classifier', "train features that stand in for Inception's")),
        *_of(
            'diffusion_jax',
            ('convert-data', 'data.convert', 'TFRECORD to array_record, without TensorFlow'),
            ('completion', 'completion', 'a script for bash, zsh or fish'),
        ),
    ],
}
ALL = {command.name: command for group in GROUPS.values() for command in group}
