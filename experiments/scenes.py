r"""Text to image measured on scenes: what of a caption a model's pictures keep, by a judge without a network.

    python -m experiments.scenes --workdir=runs/scenes_text --out=runs/scenes_text/scenes
    python -m experiments.scenes --workdir=runs/scenes_text_cd --out=runs/scenes_text_cd/scenes

asks a run for the same captions under each of its samplers: the first `--num` of the split 'test', whose pairs of
colour and shape it has seen, and as many of 'held_out'. A diffusion model draws by DDPM and DDIM, guided and not; a
consistency model in one step and in two. Beside them the judge's own figures on real pictures, spoilt pictures and
wrong captions. Every row is a JSON file in `--out`, which a second call reads; the table is table.md there, and
scenes.png shows samples of the first row.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from diffusion_jax import cli
from diffusion_jax.data import scenes
from diffusion_jax.data.scene_grammar import Said, caption
from diffusion_jax.devices import cores
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import scenes as judge
from diffusion_jax.inference import runs
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath
from experiments.running import measuring
from experiments.running.measurements import drawing
from experiments.running.tables import markdown
from experiments.scene_sheet import sheet

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run of scenes under their captions.', required=True)
_OUT = flags.DEFINE_string('out', None, 'Folder of the results.', required=True)
_NUM = flags.DEFINE_integer('num', 200, 'Captions of each split.', lower_bound=2)
_REAL = flags.DEFINE_integer('real', 1000, "Real pictures of each split, for the judge's own figures.", lower_bound=2)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noises.')

SPLITS = {'test': 'seen', 'held_out': 'held out'}
SHOWN = 12  # of each split
FIELDS = (*judge.Kept._fields[:-1], 'attributes', 'all')  # attributes: the mean of those before it that are said


class Setting(NamedTuple):
    """How a row is drawn, and how often the network is evaluated for it."""

    name: str
    choices: runs.Choices
    evaluations: int  # of the network, for each picture


def of_diffusion(weights: Sequence[int] = (2, 1, 4)) -> list[Setting]:
    """DDIM with 50 and 10 steps and DDPM with 50, under each weight of guidance."""
    samplers = (('DDIM-50', 'ddim', 50), ('DDIM-10', 'ddim', 10), ('DDPM-50', 'ancestral:variance=small', 50))
    guidance = {w: 'none' if w == 1 else f'classifier_free:w={w:.1f}' for w in weights}
    return [
        Setting(f'{name}, w = {w}', runs.Choices(sampler, steps, guidance=guidance[w]), steps if w == 1 else 2 * steps)
        for w in weights
        for name, sampler, steps in samplers
    ]


def of_consistency() -> list[Setting]:
    """One step, and two."""
    return [Setting(f'consistency, {n} step{"s"[: n - 1]}', runs.Choices(steps=n), n) for n in (2, 1)]


def figures(x: np.ndarray, said: Sequence[Said]) -> dict[str, np.ndarray]:
    """What pictures `[n, 32, 32, 3]` keep of their captions, `[n]` for each of `FIELDS`; NaN where nothing is said."""
    rows = np.array([judge.kept(s, judge.read(image)) for s, image in zip(said, x, strict=True)])
    of_all = np.nanmean(rows[:, :-1], axis=1)
    return dict(zip(FIELDS, (*rows.T[:-1], of_all, rows[:, -1]), strict=True))


def measured(x: np.ndarray, said: Mapping[str, Sequence[Said]]) -> measuring.Measured:
    """Means and standard errors over the pictures of each split, which follow one another in x."""
    values, errors, start = {}, {}, 0
    for split, texts in said.items():
        for field, found in figures(x[start : start + len(texts)], texts).items():
            there = found[~np.isnan(found)]
            if len(there) > 1:  # else too few captions say it
                values[f'{split}: {field}'] = float(there.mean())
                errors[f'{split}: {field}'] = float(there.std(ddof=1) / np.sqrt(len(there)))
        start += len(texts)
    return measuring.Measured(values, {split: len(texts) for split, texts in said.items()}, errors=errors)


def corruptions(seed: int = 0) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Ways to spoil real pictures `[n, 32, 32, 3]` in [-1, 1], by what the table calls them."""
    from scipy.ndimage import gaussian_filter  # half a second to import

    def noisy(std):
        return lambda x: np.clip(x + std * np.random.default_rng(seed).standard_normal(x.shape), -1, 1)

    def blurred(pixels):
        return lambda x: gaussian_filter(x, (0, pixels, pixels, 0))

    noise = {f'noise of {std}': noisy(std) for std in (0.2, 0.4, 0.8)}
    return {'real': lambda x: x, **noise, **{f'blur of {pixels} px': blurred(pixels) for pixels in (0.5, 1, 2)}}


def validation(out: AnyPath, seed: int, num: int) -> dict[str, measuring.Measured]:
    """The judge on real pictures of both splits, on spoilt ones, and on real ones under the caption of another."""
    drawn = {split: [scenes.draw(seed, i, split) for i in range(num)] for split in SPLITS}
    x = np.stack([scenes.render(s.placed) for rows in drawn.values() for s in rows]) / np.float32(127.5) - 1
    said = {split: [s.said for s in rows] for split, rows in drawn.items()}
    wrong = {split: [*rows[1:], rows[0]] for split, rows in said.items()}

    def row(name, measure):
        return measuring.kept(out / f'judge_{name.replace(" ", "_")}_n={num}.json', measure)

    found = {name: row(name, lambda f=f: measured(f(x), said)) for name, f in corruptions().items()}
    return {**found, 'wrong captions': row('wrong captions', lambda: measured(x, wrong))}


def samples(
    run: runs.Run, out: AnyPath, said: Mapping[str, Sequence[Said]], setting: Setting, seed: int
) -> measuring.Measured:
    """A run's pictures of these captions under a setting, measured or read."""
    prompts = out / f'captions_n={len(said["test"])}.txt'
    texts = [caption(s) for rows in said.values() for s in rows]
    files.write_text(prompts, '\n'.join(texts) + '\n')
    spec = runs.sample_spec(run.config['sample'], setting.choices)
    spec['cond'] = {'name': 'prompts', 'file': str(prompts)}

    def measure():
        x = drawing(run, spec)(len(texts), jax.random.key(seed))
        first = len(said['test'])
        return measured(x, said)._replace(shown=np.concatenate([x[: min(SHOWN, first)], x[first : first + SHOWN]]))

    name = setting.name.replace(', ', '_').replace(' ', '')
    about = {'step': run.step, 'sample': {k: spec[k] for k in ('sampler', 'times', 'guidance', 'clip')}}
    return measuring.kept(out / f'{name}_step={run.step}_n={len(said["test"])}_seed={seed}.json', measure, about)


def table(rows: Mapping[str, measuring.Measured], evaluations: Mapping[str, int] = {}) -> str:
    """A row for each sampler and split, `value +- standard error` in percent, and its evaluations of the network."""

    def cell(row, key):
        return f'{100 * row.values[key]:.1f} ± {100 * row.errors[key]:.1f}' if key in row.values else ''

    cells = [
        [
            *(name, shown, str(row.protocol[split])),
            *(cell(row, f'{split}: {field}') for field in FIELDS),
            str(evaluations.get(name, '')),
        ]
        for name, row in rows.items()
        for split, shown in SPLITS.items()
        if row.values
    ]
    return markdown(['pictures', 'pairs', 'n', *FIELDS, 'network evaluations'], cells)


def _opened(workdir: AnyPath) -> runs.Run:
    run = measuring.opened(workdir)
    data: Mapping[str, Any] = run.config['data']
    if data['name'] != 'scenes' or data.get('condition') != 'caption':
        raise UserError(f'{workdir} is no run of scenes under their captions: train configs/scenes_text.py')
    return run


def main() -> None:
    """The entry point."""
    cores.take()
    run, out = _opened(paths.parse(_WORKDIR.value)), paths.parse(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    seed = run.config['data'].get('seed', 0)
    said = {split: [scenes.draw(seed, i, split).said for i in range(_NUM.value)] for split in SPLITS}
    rows = validation(out, seed, _REAL.value)
    settings = of_consistency() if run.experiment.models.denoise is None else of_diffusion()
    for setting in settings:
        rows[setting.name] = samples(run, out, said, setting, _SEED.value)
        print(setting.name, rows[setting.name].values, flush=True)
        text = table(rows, {s.name: s.evaluations for s in settings})
        files.write_text(out / 'table.md', text)
    shown, texts = rows[settings[0].name].shown, [s for of_split in said.values() for s in of_split[:SHOWN]]
    right = list(figures(shown, texts)['all'] == 1)
    sheet(out / 'scenes.png', shown, [caption(s) for s in texts], right)
    print('\n' + text)
    print(f'step {run.step}, seed {_SEED.value}; {settings[0].name} in {out / "scenes.png"}')


if __name__ == '__main__':
    cli.run(main)
