r"""Does generated data help a classifier? Accuracy on held-out images with n real labelled ones, and what is added.

    python -m experiments.augmentation --workdir=runs/augmentation --config=digits_edm --config.train.steps=600

For each n and each seed a class-conditional diffusion model (--config) and a consistency model (--distil_config, which
starts from it) learn from n rows alone, as many of each class. Classifiers of equal first weights and equal steps are
then trained on these rows, on these rows with small shifts, on half real and half generated rows (Heun's method, DDIM
in few steps, the consistency model in one step and in two), and on generated rows alone; one on shuffled labels
controls the judge. Accuracies, paired gains and pictures are in WORKDIR/table.md, augmentation.png and samples.png.
Running it again goes on where it stopped. MNIST: --config=mnist_edm --distil_config=mnist_ect --config.data.dir=DIR.
"""

import functools
import json
import math
import time
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags

from diffusion_jax import builders, cli, shipped
from diffusion_jax.data import show
from diffusion_jax.data.few import few
from diffusion_jax.data.sources import Source
from diffusion_jax.devices import cores
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import classifier
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import Drawing, generate
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath
from experiments.augmentation import mixing, table
from experiments.running import measuring, training

_CONFIG = config_flags.DEFINE_config_file('config', shipped.file('configs/digits_edm.py'), 'Config of the diffusion.')
_DISTIL = config_flags.DEFINE_config_file(
    'distil_config', shipped.file('configs/digits_ect.py'), 'Config of the consistency model.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs and of the table.', required=True)
_N = flags.DEFINE_multi_integer('n', [50, 100, 200, 500, 1000], 'Real rows, once for each.')
_SEEDS = flags.DEFINE_multi_integer('seed', [0, 1, 2], 'Of the rows, the training and the noise, once for each.')
_GENERATED = flags.DEFINE_integer('generated', 2000, 'Rows of each generator, classes in turn.', lower_bound=1)
_STEPS = flags.DEFINE_integer('classifier_steps', 250, 'Of each classifier.', lower_bound=1)
_BATCH = flags.DEFINE_integer('classifier_batch', 64, 'Rows of each of these steps.', lower_bound=1)
_DDIM = flags.DEFINE_multi_integer('ddim_steps', [5, 2], 'Steps of DDIM.', lower_bound=1)
_SHIFT = flags.DEFINE_integer('shift', 1, 'Pixels, of the shifts.', lower_bound=1)
_SHARED = ('seed', 'data', 'net')  # what the consistency model has from its teacher
_SHOWN = 10


class Generator(NamedTuple):
    """How rows are drawn."""

    model: str  # 'diffusion' or 'consistency'
    choices: runs.Choices


class Bench(NamedTuple):
    """What every n and seed is measured with."""

    held_out: Source
    judge: classifier.Features  # of a classifier of all real rows
    judge_accuracy: float
    drawings: dict[str, Drawing]  # compiled; they do not depend on the rows


def generators() -> dict[str, Generator]:
    """By name; the first is the config's own number of steps of Heun's method."""
    n = builders.resolve(_CONFIG.value)['sample']['times'].get('n')
    found = {f'EDM, Heun-{n}': Generator('diffusion', runs.Choices('heun'))}
    found |= {f'EDM, DDIM-{k}': Generator('diffusion', runs.Choices('ddim', k)) for k in _DDIM.value}
    return found | {f'CM, {k} step{"s"[: k - 1]}': Generator('consistency', runs.Choices(steps=k)) for k in (1, 2)}


def configs(n: int, seed: int, teacher: AnyPath) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of a diffusion model of n rows under their classes, and of the consistency model that starts from it."""
    config, distil = builders.resolve(_CONFIG.value), builders.resolve(_DISTIL.value)
    # Without `augment`: a model that saw other views of the rows would have seen more than the rows.
    told = {'condition': 'label', 'drop_cond': None, 'augment': None}
    data = {**config['data'], **told, 'few': n, 'few_seed': seed}
    config = builders.check({**config, 'seed': seed, 'data': data})
    return config, builders.check({**distil, **{k: config[k] for k in _SHARED}, 'init_from': str(teacher)})


def trained(n: int, seed: int, folder: AnyPath) -> tuple[dict[str, runs.Run], float]:
    """Both models, trained, gone on with or opened, and the CPU seconds of their training."""
    seconds, opened = 0.0, {}
    for name, config in zip(('diffusion', 'consistency'), configs(n, seed, folder / 'diffusion'), strict=True):
        state = training.make(training.Training(name, config, folder / name))
        if state.diverged:
            raise UserError(f'{folder / name}: {state.diverged}')
        seconds += state.seconds
        opened[name] = runs.load(folder / name)
    return opened, seconds


def drawn(opened: dict[str, runs.Run], drawings: dict[str, Drawing], real: Source, seed: int) -> dict[str, Source]:
    """Rows of every generator, sample i of class i modulo their number, from the same noises."""
    labels = np.arange(_GENERATED.value) % classifier.num_classes(real)
    found = {}
    for name, (model, choices) in generators().items():
        run = opened[model]
        if name not in drawings:
            spec = {**runs.sample_spec(run.config['sample'], choices), 'cond': {'name': 'turn'}}
            drawings[name] = runs.sampling(run, spec).drawing._replace(batch_size=run.config['eval']['batch_size'])
        drawing = drawings[name]._replace(params=run.params)
        found[name] = mixing.labelled(real, generate(drawing, jax.random.key(seed), len(labels)), labels, name)
    return found


def settings() -> dict[str, Any]:
    """All that a result depends on beside the runs."""
    return {
        'generated': _GENERATED.value,
        'classifier_steps': _STEPS.value,
        'classifier_batch': _BATCH.value,
        'ddim_steps': _DDIM.value,
        'shift': _SHIFT.value,
    }


def measured(n: int, seed: int, folder: AnyPath, bench_of: Any) -> measuring.Measured:
    """Accuracies of all mixes on n rows, measured or read."""
    path = folder / 'accuracy.json'
    # Fields of both configs too, but for where the teacher lies, so that a workdir may be moved.
    of = [{k: v for k, v in config.items() if k != 'init_from'} for config in configs(n, seed, folder)]
    made_of = json.loads(json.dumps({**settings(), 'configs': of}))
    kept = files.read_json(path, {})
    if kept and kept.get('settings') != made_of:
        raise UserError(f'{path} was measured with other settings: use another --workdir, or delete it')

    def measure():
        opened, seconds = trained(n, seed, folder)
        bench, real = bench_of(), opened['diffusion'].experiment.source
        generated = drawn(opened, bench.drawings, real, seed)
        values = {}
        for mix in mixing.mixes([*generated]):
            rows = mixing.rows(mix, real, generated[mix.generator or next(iter(generated))], _SHIFT.value, seed)
            params = classifier.fit(rows, jax.random.key(seed), _STEPS.value, _BATCH.value)
            values[mix.name] = classifier.accuracy(classifier.of_params(params), bench.held_out)
        for name, x in generated.items():
            found = mixing.about(x, real, bench.held_out, bench.judge)
            values |= {f'{name}: {of}': value for of, value in found.items()}
        protocol = {
            'real rows': real.name,
            'of each class': np.bincount(real.cond).tolist(),
            'held-out rows': len(bench.held_out.x),
            'accuracy of a classifier of all real rows': bench.judge_accuracy,
            'training of both models, CPU s': seconds,
        }
        shown = np.concatenate([x.x[:_SHOWN] for x in generated.values()])
        return measuring.Measured(values, protocol, shown=shown)

    return measuring.kept(path, measure, {'settings': made_of})


def checked() -> Source:
    """The held-out rows, if the data are what classifiers are trained on, and every n can be had of them."""
    config = configs(1, 0, paths.parse('unused'))[0]
    source = builders.build_source(builders.undecoded({**config['data'], 'few': None}))
    classes = classifier.num_classes(source)
    for n in _N.value:
        for seed in _SEEDS.value:
            few(source, n, seed)
    if config['eval']['held_out'] is None:
        raise UserError('accuracy is measured on held-out rows: set --config.eval.held_out to a split')
    held_out = builders.build_source(config['data'], config['eval']['held_out'])
    if classifier.num_classes(held_out) != classes:
        raise UserError(f'{source.name} and {held_out.name} have other classes: set --config.eval.held_out')
    return held_out


def bench(held_out: Source) -> Bench:
    """With a classifier of all real rows, of four times the steps."""
    every = builders.build_source({**configs(1, 0, paths.parse('unused'))[0]['data'], 'few': None})
    judge = classifier.of_params(classifier.fit(every, jax.random.key(0), 4 * _STEPS.value, _BATCH.value))
    return Bench(held_out, judge, classifier.accuracy(judge, held_out), {})


def report(workdir: AnyPath, results: dict[int, dict[int, measuring.Measured]], levels: int) -> str:
    """Writes table.md and the pictures of what is measured so far, and returns the table."""
    of = {n: {seed: m.values for seed, m in seeds.items()} for n, seeds in results.items()}
    every = [m for seeds in results.values() for m in seeds.values()]
    text = '\n'.join(
        [
            table.accuracies(of),
            table.gains(of, mixing.REAL),
            table.gains(of, mixing.SHIFTED),
            table.about(of),
            f'± is the standard error over seeds; + and - mark gains whose 95 % interval (Student) excludes 0. '
            f'{every[0].protocol["held-out rows"]} held-out rows. A classifier of all real rows: accuracy '
            f'{every[0].protocol["accuracy of a classifier of all real rows"]:.4f}.\n',
            f'Settings: {json.dumps(settings())}. {sum(m.seconds for m in every):.0f} CPU s in all.\n',
        ]
    )
    files.write_text(workdir / 'table.md', text)
    table.draw(workdir / 'augmentation.png', of)
    first = [next(iter(seeds.values())).shown for seeds in results.values()]
    values = np.concatenate(first).astype(np.float32) / ((levels - 1) / 2) - 1
    show.save_png(workdir / 'samples.png', show.framed_grid(values, columns=_SHOWN))
    return text


def main() -> None:
    """The entry point."""
    workdir = paths.parse(_WORKDIR.value)
    batches = [builders.resolve(flag.value)['train']['batch_size'] for flag in (_CONFIG, _DISTIL)]
    cores.take(math.gcd(*batches))
    held_out = checked()
    bench_of = functools.cache(lambda: bench(held_out))
    results: dict[int, dict[int, measuring.Measured]] = {}
    begun = time.process_time()
    for seed in _SEEDS.value:
        for n in _N.value:
            found = measured(n, seed, workdir / f'n_{n}' / f'seed_{seed}', bench_of)
            results.setdefault(n, {})[seed] = found
            best = max((v, k) for k, v in found.values.items() if ': ' not in k)
            said = f'real alone {found.values[mixing.REAL]:.3f}, best {best[1]} {best[0]:.3f}'
            print(f'n = {n}, seed {seed}: {said}, {found.seconds:.0f} CPU s', flush=True)
            assert held_out.kind.levels is not None
            text = report(workdir, results, held_out.kind.levels)
    print(f'\n{text}\n{time.process_time() - begun:.0f} CPU s in this call')


if __name__ == '__main__':
    cli.run(main)
