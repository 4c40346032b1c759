"""The applications: one list of records. Another application is a record more."""

import math
from collections.abc import Callable

from diffusion_jax.data import markov
from experiments.applications import readings
from experiments.applications.application import (
    Application,
    Asked,
    Run,
    in_workdir,
    measured,
    of_models,
    rows_of,
    shorter,
)
from experiments.applications.jobs import Job
from experiments.running import user_files

# Images: the comparison of the title.

EVALUATIONS = ('1', '2', '10', '250')  # in the overview
IMAGES = {'images': Run('DDPM, and a consistency model of it', 'quickstart')}


def _images(asked: Asked) -> list[Job]:
    if asked.given:
        return []
    less = [*shorter(asked, 'quickstart'), *shorter(asked, 'quickstart_cd', 'distil_config')]
    less += [f'--config.eval.bits_num={asked.num(297, 8)}'] if asked.share < 1 else []
    configs = ['--config=quickstart', '--distil_config=quickstart_cd']
    arguments = [f'--workdir={asked.workdir("images")}', *configs, f'--num={asked.num(300, 100)}', *less]
    return [Job('train and measure', 'experiments.quickstart', arguments)]


# Images from text.

SCENES = {
    'scenes': Run('EDM', 'scenes_text'),
    'scenes_cd': Run('its consistency distillation', 'scenes_text_cd', teacher='scenes'),
}


def _scenes(asked: Asked, run: str) -> list[Job]:
    arguments = [f'--workdir={asked.workdir(run)}', f'--out={asked.measured(run)}']
    arguments += [f'--num={asked.num(200, 4)}', f'--real={asked.num(1000, 20)}']
    return [Job(f'measure {run}', 'experiments.scenes', arguments)]


# Video and sound.

SAMPLINGS = [f'--sampling={s}' for s in ('ancestral:variance=small@50', 'ddim@50', 'ddim@10')]
VIDEO = {
    'video': Run('EDM', 'moving_digits'),
    'video_cd': Run('its consistency distillation', 'moving_digits_cd', teacher='video'),
}
SOUND = {
    'sound': Run('EDM', 'fsdd_sound'),
    'sound_cd': Run('its consistency distillation', 'fsdd_sound_cd', teacher='sound'),
}


def _video(asked: Asked, run: str) -> list[Job]:
    arguments = [f'--workdir={asked.workdir(run)}', f'--out={asked.measured(run)}', *SAMPLINGS]
    arguments += [f'--judge={asked.folder / "measured" / "label.npz"}', f'--judge_steps={asked.steps(300)}']
    arguments += [f'--num={asked.num(200, 10)}', f'--reference={asked.num(4000, 100)}']
    return [Job(f'measure {run}', 'experiments.video', arguments)]


def _sound(asked: Asked, run: str) -> list[Job]:
    arguments = [f'--workdir={asked.workdir(run)}', f'--out={asked.measured(run)}', *SAMPLINGS]
    arguments += [f'--judges={asked.folder / "measured"}', f'--judge_steps={asked.steps(200)}']
    return [Job(f'measure {run}', 'experiments.sound', [*arguments, f'--num={asked.num(200, 10)}'])]


# Text.

LETTERS = {'letters': Run('masked diffusion', 'chain_masked')}
TEXT = {'text': Run('masked diffusion', 'shakespeare_masked')}


def _text(own: int) -> Callable[[Asked, str], list[Job]]:
    """Bits of `own` held-out rows, and samples to read."""

    def jobs(asked: Asked, run: str) -> list[Job]:
        workdir, out = f'--workdir={asked.workdir(run)}', asked.measured(run)
        num = asked.num(own, 16)
        bits = [workdir, f'--results={out / "metrics.json"}', f'--num={num}', f'--bits_num={num}']
        return [
            Job(f'measure {run}', 'diffusion_jax.evaluate', bits),
            Job(f'sample {run}', 'diffusion_jax.sample', [workdir, '--num=8', f'--out={out / "samples"}']),
        ]

    return jobs


def _entropy() -> str:
    """Of the chain of `configs/chain_masked.py`, in bits a letter."""
    config = user_files.load_config('chain_masked').data
    chain = markov.cyclic(config.chain.k, config.chain.stay, config.chain.jump)
    return f'{float(markov.entropy(chain, config.length)) / config.length / math.log(2):.4f}'


# Fields.

FIELDS = {
    'forecast': Run('told the state', 'fields_gaussian', ('--config.data.condition=before',)),
    'fields': Run('both states learnt at once', 'fields_gaussian'),
}


def _fields(asked: Asked, run: str) -> list[Job]:
    workdir, out = f'--workdir={asked.workdir(run)}', asked.measured(run)
    numbers = [f'--num={asked.num(4000, 100)}', f'--states={asked.num(32, 2)}', f'--members={asked.num(32, 2)}']
    return [
        Job(f'measure {run}', 'experiments.fields', [workdir, f'--out={out}', *numbers]),
        Job(f'sample {run}', 'diffusion_jax.sample', [workdir, '--num=8', f'--out={out / "samples"}']),
    ]


# Anomalies.

ANOMALY = {'anomaly': Run('EDM, and a consistency model of it', 'digits_edm')}
SCORES = (  # in the overview; the page has the table of all of them
    'DDIM latent, t = 0.5',
    'one denoising, mean over t',
    'consistency model, one step, mean over t',
    'ODE likelihood',
    '5 nearest neighbours, pixels',
)


def _anomaly(asked: Asked) -> list[Job]:
    if asked.given:
        return []
    configs = ['--config=digits_edm', '--distil_config=digits_ect']
    brief = ['--config.net.channels=16', '--config.train.batch_size=64', '--distil_config.train.batch_size=64']
    brief += [*shorter(asked, 'digits_edm', own=300), *shorter(asked, 'digits_ect', 'distil_config', own=150)]
    brief += ['--config.train.sample_every=0', '--distil_config.train.sample_every=0', f'--num={asked.num(150, 20)}']
    many = [f'--classes={",".join(map(str, range(asked.num(10, 1))))}']
    many += [f'--seed={seed}' for seed in range(asked.num(3, 1))]
    arguments = [f'--workdir={asked.workdir("anomaly")}', *configs, *brief, *many]
    return [Job('train and measure', 'experiments.anomaly', arguments)]


# Augmentation.

AUGMENTATION = {'augmentation': Run('EDM, and a consistency model of it', 'digits_edm')}
ADDED = ('real, shifted', 'real and EDM, Heun-18', 'real and CM, 1 step', 'real, shifted and EDM, Heun-18')


def _augmentation(asked: Asked) -> list[Job]:
    if asked.given:
        return []
    configs = ['--config=digits_edm', '--distil_config=digits_ect']
    brief = ['--config.net.channels=16', '--config.train.batch_size=64', '--distil_config.train.batch_size=64']
    brief += [*shorter(asked, 'digits_edm', own=600), *shorter(asked, 'digits_ect', 'distil_config', own=300)]
    brief += ['--config.train.sample_every=0', '--distil_config.train.sample_every=0']
    many = [f'--n={n}' for n in ((50, 100, 200, 500, 1000) if asked.share == 1 else (50, 100))]
    many += [f'--seed={seed}' for seed in range(asked.num(3, 1))]
    many += [f'--generated={asked.num(2000, 100)}', f'--classifier_steps={asked.steps(250)}', '--ddim_steps=5']
    arguments = [f'--workdir={asked.workdir("augmentation")}', *configs, *brief, *many]
    return [Job('train and measure', 'experiments.augmentation', arguments)]


APPLICATIONS = [
    Application(
        'images',
        'Images: DDPM, DDIM and a consistency model',
        'digits, 8x8',
        'One network trained as DDPM, and distilled; the same noises in every row. Frechet distance of pixels to the '
        'training data: smaller is better.',
        IMAGES,
        _images,
        lambda asked: readings.of_quickstart(asked.workdir('images') / 'report.md', EVALUATIONS),
        in_workdir('images', 'report.md'),
        lambda asked: [],
        program=True,
    ),
    Application(
        'scenes',
        'Images from text',
        'scenes and captions, 32x32',
        'A parser without a network reads the pictures: which share of what the caption says do they show, in percent? '
        'Held out are pairs of colour and shape that no training picture has.',
        SCENES,
        of_models(SCENES, _scenes),
        rows_of(
            SCENES,
            lambda out, model: readings.of_table(
                out / 'table.md', model, 'pictures', 'real', ('attributes', 'all'), 'pairs'
            ),
        ),
        measured(SCENES, 'table.md'),
        measured(SCENES, '*.png'),
    ),
    Application(
        'video',
        'Video',
        'moving digits, 8 x 16x16',
        'Centres of mass against the law of constant speed between walls, and a digit classifier on every frame; '
        'continuations of given first frames.',
        VIDEO,
        of_models(VIDEO, _video),
        rows_of(
            VIDEO,
            lambda out, model: readings.of_table(
                out / 'table.md', model, 'clips', 'as they are', ('by the law, %', 'one digit, %', 'speed error, px')
            ),
        ),
        measured(VIDEO, 'table.md'),
        measured(VIDEO, '*.gif', '*.png'),
    ),
    Application(
        'sound',
        'Sound',
        'spoken digits (FSDD), 8 kHz',
        'Classifiers trained on real recordings hear the digit that was asked for.',
        SOUND,
        of_models(SOUND, _sound, needs_dir=True),
        rows_of(
            SOUND,
            lambda out, model: readings.of_table(
                out / 'table.md', model, 'sounds', 'as recorded', ('digit heard, %', 'Frechet distance')
            ),
        ),
        measured(SOUND, 'table.md'),
        measured(SOUND, '*.png', '*.wav'),
        needs='fsdd',
    ),
    Application(
        'letters',
        'Text: a Markov chain of letters',
        'a chain of four letters',
        "Bits a letter of held-out sequences; beside them the chain's entropy, which no model can be below.",
        LETTERS,
        of_models(LETTERS, _text(1024)),
        rows_of(LETTERS, lambda out, model: readings.of_bits(out / 'metrics.json', model, _entropy())),
        lambda asked: [],
        measured(LETTERS, '*.txt'),
    ),
    Application(
        'text',
        'Text: Shakespeare',
        'tiny_shakespeare, 128 characters',
        'Bits a character of held-out text. What a perfect model would have is not known.',
        TEXT,
        of_models(TEXT, _text(1000), needs_dir=True),
        rows_of(TEXT, lambda out, model: readings.of_bits(out / 'metrics.json', model, '')),
        lambda asked: [],
        measured(TEXT, '*.txt'),
        needs='tiny_shakespeare',
    ),
    Application(
        'fields',
        'Fields of a complex system',
        'Gaussian fields, 16x16',
        'States of an advection-diffusion equation and what follows them. Largest deviation from the spectrum of the '
        "law (0 is best), and the CRPS of forecasts over the exact posterior's "
        '(1 is best); real data are samples of the law itself.',
        FIELDS,
        of_models(FIELDS, _fields),
        rows_of(FIELDS, lambda out, model: readings.of_fields(out / 'fields.md', model)),
        measured(FIELDS, 'fields.md'),
        measured(FIELDS, '*.png'),
    ),
    Application(
        'anomaly',
        'Anomaly detection',
        'digits, 8x8; tiles',
        'A class left out, and digits against tiles: AUROC of scores, beside detectors without a network; of real '
        'held-out data it is that of one half against the other, 0.5 of an honest judge.',
        ANOMALY,
        _anomaly,
        lambda asked: readings.of_anomaly(asked.workdir('anomaly') / 'table.md', SCORES),
        in_workdir('anomaly', 'table.md'),
        in_workdir('anomaly', 'anomaly.png'),
        program=True,
    ),
    Application(
        'augmentation',
        'Augmentation',
        'digits, 8x8',
        'A classifier of a few real rows, and of these with rows of a model that has seen no others: accuracy on '
        'held-out data. Real data are the few rows alone.',
        AUGMENTATION,
        _augmentation,
        lambda asked: readings.of_augmentation(asked.workdir('augmentation') / 'table.md', ADDED),
        in_workdir('augmentation', 'table.md'),
        in_workdir('augmentation', 'augmentation.png', 'samples.png'),
        program=True,
    ),
]
