r"""Clips of moving digits measured: do a model's digits move by the law, and stay what they are?

    python -m experiments.video --workdir=runs/moving_digits
    python -m experiments.video --workdir=runs/moving_digits_cd

A diffusion run draws by DDPM, DDIM and Heun, a consistency model in one step and in two. Places are tracked by the
centre of mass and compared with the law of constant speed between walls that fits best; a digit classifier, trained
here on single frames of the training clips, says whether a digit stays the same and is the one asked for; Frechet
distances are of single frames and of changes from frame to frame, in the principal components of the training clips.
Beside them the judges' own figures on held-out clips, real and spoilt. Then the same samplers go on from the first
`--given` frames of held-out clips, by editing: these frames are kept, and what follows is compared with the clips' law.
Every row is a JSON file in `--out`, which a second call reads; there are table.md, video.gif and video.png.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from diffusion_jax import builders, cli, editing
from diffusion_jax.data.moving_digits import Clips
from diffusion_jax.data.quantise import rounded
from diffusion_jax.data.sources import Source
from diffusion_jax.devices import cores
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import classifier, clips, features, frechet
from diffusion_jax.evaluation.features import Features
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import Drawing, generate
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath
from experiments import clip_sheet
from experiments.running import measuring
from experiments.running.measurements import drawing
from experiments.running.tables import markdown

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run on moving_digits.', required=True)
_OUT = flags.DEFINE_string('out', None, 'Folder of the results; by default video/ of the workdir.')
_JUDGE = flags.DEFINE_string('judge', None, 'File of the classifier, to share it; by default label.npz of the results.')
_NUM = flags.DEFINE_integer('num', 200, 'Samples, and held-out clips, of each row.', lower_bound=10)
_REFERENCE = flags.DEFINE_integer('reference', 4000, 'Training clips for judge and distances.', lower_bound=100)
_JUDGE_STEPS = flags.DEFINE_integer('judge_steps', 300, "Of the classifier's training, 128 frames each.", lower_bound=1)
_GIVEN = flags.DEFINE_integer('given', 3, 'First frames that a continuation has.', lower_bound=1)
_REPEATS = flags.DEFINE_integer('repeats', 1, 'Passes through every step of a continuation.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the judge and of the noises.')
_SAMPLING = flags.DEFINE_multi_string(
    'sampling',
    ['heun@18', 'ancestral:variance=small@50', 'ddim@50', 'ddim@20', 'ddim@10', 'ddim@5'],
    'SAMPLER@STEPS of a diffusion model, once for each row.',
)
_WEIGHTS = flags.DEFINE_multi_float('weight', [1.0], 'Weights of guidance; 1 is none.')

SHOWN, DIM = 8, 32  # clips in a row of the sheets; principal components
# What a table calls each figure, and by what it is multiplied there.
COLUMNS = {
    'lawful': ('by the law, %', 100),
    'position': ('position error, px', 1),
    'speed': ('speed error, px', 1),
    'shape': ('shape change', 1),
    'one class': ('one digit, %', 100),
    'label': ('the digit asked for, %', 100),
    'frames': ('Frechet distance, frames', 1),
    'motion': ('Frechet distance, motion', 1),
}
OF_CONTINUATIONS = {
    'kept': ('change of given frames', 1),
    'position': ('position error, px', 1),
    'speed': ('speed error, px', 1),
    'one class': ('one digit, %', 100),
}


class Space(NamedTuple):
    """What clips are compared in: of x the rows that features see, and the training clips' moments."""

    rows: Callable[[np.ndarray], np.ndarray]
    features: Features
    reference: frechet.Moments


class Judges(NamedTuple):
    """All that measures a clip."""

    law: Clips  # its walls and speeds
    digit: Features
    spaces: Mapping[str, Space]


class Setting(NamedTuple):
    """How a row is drawn, and how often the network is evaluated for it."""

    name: str
    choices: runs.Choices
    evaluations: int


def labelled(run: runs.Run, split: str | None = None) -> Source:
    """The run's clips with their classes, whether or not the model is told them."""
    data = run.config['data']
    return builders.build_source({**data, 'images': {**data['images'], 'condition': 'label'}}, split)


def judges(source: Source, path: AnyPath, n: int, steps: int, seed: int) -> Judges:
    """Made of n training clips; the classifier is trained and written if there is none in the file."""
    if not path.exists():
        classifier.save(str(path), classifier.fit(clips.in_one_frame(source, n), jax.random.key(seed), steps))
    shape, x = source.kind.shape[1:], Values(source)[:n]

    def space(rows):
        found = features.pca(rows(x), min(DIM, n - 1, int(np.prod(shape))))
        return Space(rows, found, frechet.moments(found, [rows(x)]))

    spaces = {'frames': space(clips.single_frames), 'motion': space(clips.single_steps)}
    return Judges(cast(Clips, source.x), classifier.classifier(shape, str(path)), spaces)


def settings(run: runs.Run) -> list[Setting]:
    """Those of the flags, of a diffusion model; two steps and one of a consistency model."""
    if run.experiment.models.denoise is None:
        return [Setting(f'consistency, {n} step{"s"[: n - 1]}', runs.Choices(steps=n), n) for n in (2, 1)]
    found = []
    for w in _WEIGHTS.value if run.experiment.drops_cond else [1.0]:
        for text in _SAMPLING.value:
            sampler, at, steps = text.rpartition('@')
            if not at or not steps.isdigit() or steps == '0':
                raise UserError(f'--sampling={text}: the form is SAMPLER@STEPS, such as ddim@50')
            once = 2 * int(steps) - 1 if sampler.startswith('heun') else int(steps)
            guidance = 'none' if w == 1 else f'classifier_free:w={w}'
            name = f'{sampler.partition(":")[0]}-{steps}' + ('' if w == 1 else f', w = {w:g}')
            choices = runs.Choices(sampler, int(steps), guidance=guidance)
            found.append(Setting(name, choices, once if w == 1 else 2 * once))
    return found


def measured(x: np.ndarray, labels: np.ndarray | None, by: Judges) -> measuring.Measured:
    """Means over clips `[n, T, H, W, 1]` and their standard errors, and Frechet distances."""
    slowest, fastest = by.law.speeds
    motion = clips.fit(clips.track(x), by.law.walls, 1.5 * fastest)
    classes = clips.said(by.digit, x)
    rows = {
        'lawful': clips.lawful(motion, slowest, fastest),
        'position': motion.position_error,
        'speed': motion.speed_error,
        'shape': clips.shape_change(x),
        'one class': clips.one_class(classes),
    }
    if labels is not None:
        rows['label'] = clips.most_said(classes) == labels
    found = _means(rows)
    values, errors = dict(found.values), dict(found.errors)
    for name, space in by.spaces.items():
        seen = np.asarray(space.features.apply(space.rows(x)))
        ours, theirs = frechet.finish(frechet.running(seen), space.features.name), space.reference
        values[name] = frechet.frechet_distance(ours.mean, ours.cov, theirs.mean, theirs.cov)
        errors[name] = frechet.jackknife(seen, theirs)
    return measuring.Measured(values, {'n': len(x)}, errors=errors, shown=x[:SHOWN])


def _means(rows: Mapping[str, np.ndarray]) -> measuring.Measured:
    n = len(next(iter(rows.values())))
    means = {name: float(np.mean(a)) for name, a in rows.items()}
    return measuring.Measured(means, {'n': n}, errors={k: float(np.std(a, ddof=1) / n**0.5) for k, a in rows.items()})


def continuation(y: np.ndarray, x: np.ndarray, given: int, by: Judges) -> measuring.Measured:
    """Of clips y that go on from the first frames of x: against the clips x themselves, which obey the law."""
    position, speed = clips.continued(clips.track(y), clips.track(x), given)
    kept = np.abs(y[:, :given] - x[:, :given]).max((1, 2, 3, 4))
    rows = {'kept': kept, 'position': position, 'speed': speed, 'one class': clips.one_class(clips.said(by.digit, y))}
    return _means(rows)._replace(shown=y[:SHOWN])


def baselines(x: np.ndarray, given: int, by: Judges) -> dict[str, measuring.Measured]:
    """Continuations without a model: the clips themselves, the last given frame held, the law of the given frames."""
    held = np.concatenate([x[:, :given], np.repeat(x[:, given - 1 : given], x.shape[1] - given, axis=1)], axis=1)
    places = clips.track(x)
    law = clips.extrapolated(places, given, by.law.walls, by.law.speeds[1])
    position, speed = clips.continued(law, places, given)
    return {
        'the clips themselves': continuation(x, x, given, by),
        'the last given frame held': continuation(held, x, given, by),
        'the law that fits the given frames': _means({'position': position, 'speed': speed}),
    }


def going_on(run: runs.Run, spec: Mapping[str, Any], source: Source, num: int, given: int) -> np.ndarray:
    """The run's continuations `[num, ...]` of the first clips of a source, each told the class of its clip."""
    found = runs.guided(run, spec)
    schedule, told = found.experiment.schedule, found.experiment.source.condition is not None
    grid, make_sampler = builders.build_sampling(found.experiment, spec, found.other)
    path = editing.travels(grid, repeats=_REPEATS.value)
    known = jnp.arange(run.experiment.shape[0]) < given
    operator = editing.inpaint(known[:, None, None, None])
    x, labels = jnp.asarray(Values(source)[:num]), jnp.asarray(source.cond[np.arange(num)])

    def draw(params, keys, index):
        y = operator.A(x[index % num])  # the last batch may be longer than what is left
        cond = labels[index % num] if told else None
        edit = lambda denoise: editing.project(denoise, operator, y)  # noqa: E731
        sampler = editing.time_travel(make_sampler(params, keys, cond, edit=edit), schedule)
        return editing.restore(sampler, schedule, operator, keys, y, path)

    drawn = Drawing(jax.jit(draw), found.params, run.mesh, run.config['eval']['batch_size'])
    return generate(drawn, jax.random.key(_SEED.value), num)


def table(rows: Mapping[str, measuring.Measured], columns: Mapping[str, Any], evaluations: Mapping[str, int]) -> str:
    """A row for each kind of clip, `value ± standard error`."""

    def cell(row, key):
        scale = columns[key][1]
        digits = 1 if scale == 100 else 3
        both = (f'{scale * a[key]:.{digits}f}' for a in (row.values, row.errors))
        return ' ± '.join(both) if key in row.values else ''

    head = ['clips', 'network evaluations', 'n', *(title for title, _ in columns.values())]
    cells = [
        [name, str(evaluations.get(name, '')), str(row.protocol.get('n', '')), *(cell(row, key) for key in columns)]
        for name, row in rows.items()
    ]
    return markdown(head, cells)


def _opened(workdir: AnyPath) -> runs.Run:
    run = measuring.opened(workdir)
    if run.config['data']['name'] != 'moving_digits':
        raise UserError(f'{workdir} is no run on moving_digits: train configs/moving_digits.py')
    frames = run.experiment.shape[0]
    if not _GIVEN.value < frames:
        raise UserError(f'--given={_GIVEN.value}: clips of this run have {frames} frames, and one must be left to draw')
    return run


def _rows(run, setting, out, test, by) -> tuple[measuring.Measured, measuring.Measured]:
    """A run's samples and continuations under a setting, measured or read."""
    num, seed, given = _NUM.value, _SEED.value, _GIVEN.value
    spec = runs.sample_spec(run.config['sample'], setting.choices)
    told, levels = run.experiment.source.condition is not None, run.experiment.source.kind.levels

    def samples():
        labels = np.asarray(builders.build_asked(run.experiment, spec['cond'])(jnp.arange(num))) if told else None
        return measured(rounded(drawing(run, spec)(num, jax.random.key(seed)), levels), labels, by)

    def continuations():
        y = rounded(going_on(run, spec, test, num, given), levels)
        return continuation(y, Values(test)[:num], given, by)

    about = {'step': run.step, 'sample': {k: spec[k] for k in ('sampler', 'times', 'guidance', 'clip')}}
    name = f'{setting.name.replace(", ", "_").replace(" ", "")}_step={run.step}_n={num}_seed={seed}'
    further = f'{name}_given={given}_repeats={_REPEATS.value}'
    return (
        measuring.kept(out / f'{name}.json', samples, about),
        measuring.kept(out / f'{further}.json', continuations, about),
    )


def main() -> None:
    """The entry point."""
    cores.take()
    workdir = paths.parse(_WORKDIR.value)
    run = _opened(workdir)
    drawn, num, given = settings(run), _NUM.value, _GIVEN.value
    out = paths.parse(_OUT.value) if _OUT.value else workdir / 'video'
    out.mkdir(parents=True, exist_ok=True)
    path = paths.parse(_JUDGE.value) if _JUDGE.value else out / 'label.npz'
    test = labelled(run, 'test')
    by = judges(labelled(run), path, _REFERENCE.value, _JUDGE_STEPS.value, _SEED.value)
    x, label = Values(test)[:num], np.asarray(test.cond[np.arange(num)])
    real = {name: measured(spoil(x), label, by) for name, spoil in clips.corruptions(_SEED.value).items()}
    going = baselines(x, given, by)
    evaluations = {s.name: s.evaluations for s in drawn}
    again = {name: _REPEATS.value * count for name, count in evaluations.items()}
    print(table(real, COLUMNS, {}), flush=True)
    for setting in drawn:
        real[setting.name], going[setting.name] = _rows(run, setting, out, test, by)
        text = f'{table(real, COLUMNS, evaluations)}\n{table(going, OF_CONTINUATIONS, again)}'
        files.write_text(out / 'table.md', text)
        print(setting.name, real[setting.name].values, going[setting.name].values, flush=True)
    shown = {name: row.shown for name, row in real.items()}
    shown |= {f'{s.name}, {given} given': going[s.name].shown for s in drawn}
    shown = {name: a for name, a in shown.items() if len(a)}
    clip_sheet.animate(out / 'video.gif', shown)
    clip_sheet.strips(out / 'video.png', shown)
    print(f'\n{text}\nstep {run.step}, seed {_SEED.value}')


if __name__ == '__main__':
    cli.run(main)
