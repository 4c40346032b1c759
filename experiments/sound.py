r"""Spoken digits measured: what a run's samples say and who says it, by judges trained here on real recordings.

    python -m experiments.sound --workdir=runs/fsdd_sound

trains two classifiers of sound on the recordings of the training split, of the digit and of the speaker, and says how
right they are on the takes of the split 'test', real and spoilt. Then a diffusion run draws by DDPM, DDIM and Heun,
guided and not, and a consistency model in one step and in two; each row has the share of samples in which the digit
that was asked for is heard, and the Frechet distance in the digit's features to the training recordings, beside that of
real held-out ones. Every row is a JSON file in `--out`, which a second call reads; there are table.md, sound.png, which
shows spectrograms of the first row, and its first samples as WAV files.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.figure import Figure
from scipy.io import wavfile

from diffusion_jax import builders, cli
from diffusion_jax.data.sources import Source
from diffusion_jax.devices import cores
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import classifier, frechet, sounds
from diffusion_jax.evaluation.features import Features
from diffusion_jax.inference import runs
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath
from experiments.running import measuring
from experiments.running.measurements import drawing
from experiments.running.tables import markdown

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run on recordings of digits.', required=True)
_OUT = flags.DEFINE_string('out', None, 'Folder of the results; by default sound/ of the workdir.')
_JUDGES = flags.DEFINE_string('judges', None, 'Folder of the judges, to share them; by default that of the results.')
_NUM = flags.DEFINE_integer('num', 200, 'Samples of each row.', lower_bound=10)
_STEPS = flags.DEFINE_integer('judge_steps', 200, 'Training steps of each judge, of 128 pictures.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the judges and of the noises.')
_SAMPLING = flags.DEFINE_multi_string(
    'sampling',
    ['heun@18', 'ancestral:variance=small@50', 'ddim@50', 'ddim@20', 'ddim@10', 'ddim@5'],
    'SAMPLER@STEPS of a diffusion model, once for each row.',
)
_WEIGHTS = flags.DEFINE_multi_float('weight', [2.0, 1.0], 'Weights of guidance; 1 is none.')

LABELS = ('label', 'speaker')
SHOWN = 10


class Real(NamedTuple):
    """Recordings of a split as sounds `[n, L]`, and what they are."""

    y: np.ndarray
    labels: Mapping[str, np.ndarray]
    num: Mapping[str, int]  # of classes
    name: str


class Setting(NamedTuple):
    """How a row is drawn, and how often the network is evaluated for it."""

    name: str
    choices: runs.Choices
    evaluations: int


def real(run: runs.Run, split: str) -> Real:
    """The recordings of a split, as the run hears them."""
    source: Source = builders.build_source({**run.config['data'], 'condition': '+'.join(LABELS)}, split)
    assert source.condition is not None
    num = {label: source.condition.parts[label].num for label in LABELS}
    return Real(sounds.heard(source), source.cond, num, source.name)


def judge(path: AnyPath, recordings: Real, label: str, rate: int, steps: int, seed: int) -> Features:
    """The judge in a file, trained and written if there is none."""
    y, labels, num = recordings.y, recordings.labels[label], recordings.num[label]
    if not path.exists():
        rows = sounds.varied(y, labels, num, rate, 128 * steps, recordings.name)
        classifier.save(str(path), classifier.fit(rows, jax.random.key(seed), steps))
    return classifier.classifier(sounds.picture(y[:1], rate).shape[1:], str(path))


def settings(run: runs.Run) -> list[Setting]:
    """Those of the flags, of a diffusion model; one step and two of a consistency model."""
    if run.experiment.models.denoise is None:
        return [Setting(f'consistency, {n} step{"s"[: n - 1]}', runs.Choices(steps=n), n) for n in (2, 1)]
    guidance = {w: None if w == 1 else f'classifier_free:w={w}' for w in _WEIGHTS.value}
    if not run.experiment.drops_cond:
        guidance = {1.0: None}
    found = []
    for w, spec in guidance.items():
        for text in _SAMPLING.value:
            sampler, at, steps = text.rpartition('@')
            if not at or not steps.isdigit() or steps == '0':
                raise UserError(f'--sampling={text}: the form is SAMPLER@STEPS, such as ddim@50')
            once = 2 * int(steps) - 1 if sampler.startswith('heun') else int(steps)
            evaluations = once if spec is None else 2 * once
            choices = runs.Choices(sampler, int(steps), guidance=spec or 'none')
            found.append(Setting(f'{sampler.partition(":")[0]}-{steps}, w = {w:g}', choices, evaluations))
    return found


def asked(run: runs.Run, spec: Mapping[str, Any], num: int) -> dict[str, np.ndarray]:
    """What the samples of a run are asked to be, of `LABELS` those that it is told."""
    cond = builders.build_asked(run.experiment, spec)(jnp.arange(num))
    told = run.config['data'].get('condition') or ''
    parts = told.split('+')
    by_name = cond if len(parts) > 1 else {told: cond}
    found = {name: np.asarray(by_name[name]) for name in LABELS if name in by_name}
    return found | ({'label': np.asarray(by_name['word'].values[:, 0])} if 'word' in by_name else {})


def measured(
    y: np.ndarray, labels: Mapping[str, np.ndarray], judges: Mapping[str, Features], reference: Any, rate: int
) -> measuring.Measured:
    """How often the judges hear what was asked for, and the Frechet distance of the digits' features."""
    values, errors = {}, {}
    for label, wanted in labels.items():
        right = float((sounds.said(judges[label], y, rate) == wanted).mean())
        values[label], errors[label] = right, float(np.sqrt(right * (1 - right) / len(y)))
    rows = np.asarray(judges['label'].apply(sounds.seen(y, rate)))
    found = frechet.finish(frechet.running(rows), judges['label'].name)
    values['frechet'] = frechet.frechet_distance(found.mean, found.cov, reference.mean, reference.cov)
    errors['frechet'] = frechet.jackknife(rows, reference)
    return measuring.Measured(values, {'n': len(y)}, errors=errors)


def table(rows: Mapping[str, measuring.Measured], evaluations: Mapping[str, int]) -> str:
    """A row for each kind of sound, `value ± standard error`."""

    def cell(row, key, scale):
        return f'{scale * row.values[key]:.1f} ± {scale * row.errors[key]:.1f}' if key in row.values else ''

    keys = (('label', 100), ('speaker', 100), ('frechet', 1))
    cells = [
        [name, str(evaluations.get(name, '')), str(row.protocol['n']), *(cell(row, key, scale) for key, scale in keys)]
        for name, row in rows.items()
    ]
    head = ['sounds', 'network evaluations', 'n', 'digit heard, %', 'speaker heard, %', 'Frechet distance']
    return markdown(head, cells)


def sheet(path: AnyPath, y: Mapping[str, np.ndarray], titles: list[str], rate: int) -> None:
    """A PNG of spectrograms: named rows of sounds `[n, L]`, a title above each column."""
    columns = len(titles)
    figure = Figure(figsize=(1.6 * columns, 1.9 * len(y)), layout='constrained')
    for i, (name, of_row) in enumerate(y.items()):
        for j, sound in enumerate(of_row[:columns]):
            axes = figure.add_subplot(len(y), columns, i * columns + j + 1)
            image = sounds.picture(sound[None], rate)[0, ..., 0].T
            top = len(sound) / rate
            axes.imshow(image, origin='lower', aspect='auto', cmap='magma', vmin=0, vmax=255, extent=(0, top, 0, 32))
            axes.tick_params(labelsize=6)
            if j == 0:
                axes.set_ylabel(f'{name}\nmel band', fontsize=7)
            if i == 0:
                axes.set_title(titles[j], fontsize=8)
            if i == len(y) - 1:
                axes.set_xlabel('seconds', fontsize=7)
    with path.open('wb') as file:
        figure.savefig(file, dpi=110)


def _opened(workdir: AnyPath) -> runs.Run:
    run = measuring.opened(workdir)
    if run.config['data']['name'] != 'recordings':
        raise UserError(f'{workdir} is no run on recordings: train configs/fsdd_sound.py')
    return run


def _asked(run, setting, num) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """How a run is sampled under a setting, and what the samples are asked to be."""
    spec = runs.sample_spec(run.config['sample'], setting.choices)
    return spec, asked(run, spec['cond'], num) if run.experiment.source.condition is not None else {}


def _drawn(run, setting, out, num, judges, reference, rate) -> measuring.Measured:
    """A run's samples under a setting, measured or read."""
    spec, labels = _asked(run, setting, num)

    def measure():
        y = sounds.sounds(run.experiment.source.kind.store(drawing(run, spec)(num, jax.random.key(_SEED.value))))
        return measured(y, labels, judges, reference, rate)._replace(shown=y[_of_each(labels, num)])

    about = {'step': run.step, 'sample': {k: spec[k] for k in ('sampler', 'times', 'guidance', 'clip')}}
    name = setting.name.replace(', ', '_').replace(' ', '')
    return measuring.kept(out / f'{name}_step={run.step}_n={num}_seed={_SEED.value}.json', measure, about)


def _of_each(labels, num):
    """The first sample of each digit; of a run that is told none the first samples."""
    return np.unique(labels['label'], return_index=True)[1] if 'label' in labels else np.arange(min(num, SHOWN))


def main() -> None:
    """The entry point."""
    cores.take()
    workdir = paths.parse(_WORKDIR.value)
    run = _opened(workdir)
    drawn = settings(run)
    out = paths.parse(_OUT.value) if _OUT.value else workdir / 'sound'
    shared = paths.parse(_JUDGES.value) if _JUDGES.value else out
    for folder in (out, shared):
        folder.mkdir(parents=True, exist_ok=True)
    rate, seed = run.config['data'].get('rate', 8000), _SEED.value
    train, test = real(run, run.config['data']['split']), real(run, 'test')
    judges = {label: judge(shared / f'{label}.npz', train, label, rate, _STEPS.value, seed) for label in LABELS}
    features = judges['label'].apply(sounds.seen(train.y, rate))
    reference = frechet.finish(frechet.running(np.asarray(features)), judges['label'].name)
    rows = {
        name: measured(spoil(test.y), test.labels, judges, reference, rate)
        for name, spoil in sounds.corruptions(rate, seed).items()
    }
    print(table(rows, {}), flush=True)
    for setting in drawn:
        rows[setting.name] = _drawn(run, setting, out, _NUM.value, judges, reference, rate)
        print(setting.name, dict(rows[setting.name].values), flush=True)
        files.write_text(out / 'table.md', table(rows, {s.name: s.evaluations for s in drawn}))
    shown = rows[drawn[0].name].shown
    _, labels = _asked(run, drawn[0], _NUM.value)
    what, numbers = ('digit', np.unique(labels['label'])) if 'label' in labels else ('sample', np.arange(len(shown)))
    first = [int(np.argmax(test.labels['label'] == i)) for i in numbers]
    titles = [f'{what} {i}' for i in numbers]
    sheet(out / 'sound.png', {'recorded': test.y[first], drawn[0].name: shown}, titles, rate)
    for i, y in zip(numbers, shown, strict=True):
        with (out / f'{i}.wav').open('wb') as file:
            wavfile.write(file, rate, np.round(y * 2**15).astype(np.int16))
    print(f'\n{table(rows, {s.name: s.evaluations for s in drawn})}\nstep {run.step}, seed {seed}')


if __name__ == '__main__':
    cli.run(main)
