r"""Anomaly detection: scores of diffusion and consistency models beside PCA, isolation forest and nearest neighbours.

    python -m experiments.anomaly --workdir=runs/anomaly --config=digits_edm --config.train.steps=300

For each class and each seed a diffusion model (--config) and a consistency model (--distil_config, which starts from
it) learn all other classes; the class left out is the anomaly. Then one model of all classes against --against, another
set brought to the same size. AUROC and average precision of every score on the same rows are in WORKDIR/table.md and
anomaly.png; two columns control the judge. Running it again goes on where it stopped. MNIST: --config=mnist_edm
--distil_config=mnist_ect --config.data.dir=DIR.
"""

import json
import math
import time
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags

from diffusion_jax import builders, cli, shipped
from diffusion_jax.builders import specs
from diffusion_jax.data.conditions import is_class
from diffusion_jax.devices import cores
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import anomaly
from diffusion_jax.inference import runs
from diffusion_jax.workdir import files, paths
from diffusion_jax.workdir.paths import AnyPath
from experiments.anomaly import baselines, splits, table
from experiments.anomaly.methods import Depths, Method, Weights, methods, parts_of_the_grid, scored
from experiments.running import measuring, training

_CONFIG = config_flags.DEFINE_config_file('config', shipped.file('configs/digits_edm.py'), 'Config of the diffusion.')
_DISTIL = config_flags.DEFINE_config_file(
    'distil_config', shipped.file('configs/digits_ect.py'), 'Config of the consistency model.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs and of the table.', required=True)
_CLASSES = flags.DEFINE_list('classes', None, 'Classes to leave out, one after the other. Default: all.')
_AGAINST = flags.DEFINE_list('against', ['tiles'], 'Sets against all classes, such as tiles or cifar10:dir=DIR.')
_SEEDS = flags.DEFINE_multi_integer('seed', [0, 1, 2], 'Of training, rows and noise, once for each.')
_NUM = flags.DEFINE_integer('num', 150, 'Rows of each set.', lower_bound=4)
_DEPTHS = flags.DEFINE_multi_float('depth', [0.2, 0.5, 1.0, 2.0], 'Times to which rows are noised.')
_LATENT = flags.DEFINE_multi_float('latent_depth', [0.5, 2.0, 80.0], 'Times to which DDIM encodes.')
_DRAWS = flags.DEFINE_integer('draws', 2, 'Of noise, for each row and depth.', lower_bound=1)
_TOLERANCE = flags.DEFINE_float('tolerance', 1e-2, "Of the likelihood's solver.", lower_bound=0)
_BATCH = 200
_SHARED = ('seed', 'data', 'net')  # what the consistency model has from its teacher


def configs(label: int | None, seed: int, teacher: AnyPath) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of a diffusion model without a class, None for of all, and of the consistency model that starts from it."""
    config, distil = builders.resolve(_CONFIG.value), builders.resolve(_DISTIL.value)
    data = {**config['data'], 'condition': None, 'drop_cond': None, 'without': label}
    config = builders.check({**config, 'seed': seed, 'data': data})
    return config, builders.check({**distil, **{k: config[k] for k in _SHARED}, 'init_from': str(teacher)})


def trained(label: int | None, seed: int, folder: AnyPath) -> tuple[runs.Run, runs.Run, float]:
    """Both models, trained, gone on with or opened, and the CPU seconds of their training."""
    seconds, opened = 0.0, []
    for name, config in zip(('diffusion', 'consistency'), configs(label, seed, folder / 'diffusion'), strict=True):
        state = training.make(training.Training(name, config, folder / name))
        if state.diverged:
            raise UserError(f'{folder / name}: {state.diverged}')
        seconds += state.seconds
        opened.append(runs.load(folder / name))
    return opened[0], opened[1], seconds


def settings() -> dict[str, Any]:
    """All that a result depends on beside the runs."""
    return {
        'num': _NUM.value,
        'depths': _DEPTHS.value,
        'latent_depths': _LATENT.value,
        'draws': _DRAWS.value,
        'tolerance': _TOLERANCE.value,
    }


def compared(
    folder: AnyPath, label: int | None, seed: int, other: str | None, shared: dict[str, Method]
) -> measuring.Measured:
    """One comparison, measured or read: of the class left out, or of another set, against the rest.

    `shared` holds the compiled methods, which do not depend on the class.
    """
    kind = 'class' if other is None else other.partition(':')[0].replace('/', '_')
    path = folder / f'against_{kind}.json'
    # Fields of both configs too, but for where the teacher lies, so that a workdir may be moved.
    of = [{k: v for k, v in config.items() if k != 'init_from'} for config in configs(label, seed, folder)]
    made_of = json.loads(json.dumps({**settings(), 'against': other, 'configs': of}))
    kept = files.read_json(path, {})
    if kept and kept.get('settings') != made_of:
        raise UserError(f'{path} was measured with other settings: use another --workdir, or delete it')

    def measure():
        diffusion, consistency, seconds = trained(label, seed, folder)
        split = _split(diffusion.config, label, seed, other)
        if not shared:
            shared.update(methods(diffusion, consistency, _depths(), _DRAWS.value, _TOLERANCE.value))
        weights = Weights(diffusion.params, consistency.params)
        scores = scored(shared, weights, split.sets, jax.random.key(seed), _BATCH, diffusion.mesh)
        for name, score in baselines.fitted(split.train[:], seed).items():
            scores[name] = {of: score(x) for of, x in split.sets.items()}
        rows = {name: len(x) for name, x in split.sets.items()}
        protocol = {'rows': rows, 'training rows': len(split.train), 'training, CPU s': seconds}
        return measuring.Measured(table.verdicts(scores, split.anomalies), protocol)

    return measuring.kept(path, measure, {'settings': made_of})


def _depths():
    return Depths(_LATENT.value, _DEPTHS.value)


def _split(config, label, seed, other):
    data, held_out = config['data'], config['eval']['held_out']
    if other is None:
        return splits.without_class({**data, 'without': None}, label, held_out, _NUM.value, seed)
    return splits.against(data, specs.parse_spec(other), held_out, _NUM.value, seed)


def _classes():
    if _CLASSES.value == []:
        return []
    data = {**builders.resolve(_CONFIG.value)['data'], 'condition': 'label', 'drop_cond': None}
    condition = builders.build_source(builders.undecoded(data)).condition
    parts = [] if condition is None else jax.tree.leaves(condition.parts)
    if len(parts) != 1 or not is_class(parts[0]):
        raise UserError(f"{data['name']}: its 'label' is no class that could be left out: set --classes=")
    num = parts[0].num
    if _CLASSES.value is None:
        return list(range(num))
    wrong = [text for text in _CLASSES.value if not (text.isdigit() and int(text) < num)]
    if wrong:
        raise UserError(f'--classes={wrong[0]}: the classes are 0 to {num - 1}')
    return [int(text) for text in _CLASSES.value]


def report(workdir: AnyPath, results: dict[str, dict[str, dict[int, measuring.Measured]]]) -> str:
    """Writes table.md and anomaly.png of what is measured so far, and returns the table."""
    of = {
        group: {name: {seed: m.values for seed, m in seeds.items()} for name, seeds in named.items()}
        for group, named in results.items()
    }
    parts = []
    for group, named in of.items():
        parts += [f'## {group}\n', table.main_table(named)]
        if len(named) > 1:
            parts.append(table.by_comparison(named))
        rows = next(iter(next(iter(results[group].values())).values())).protocol['rows']
        n = rows[splits.NORMAL]
        m = next(v for k, v in rows.items() if k not in (splits.NORMAL, splits.SCRAMBLED, splits.TRAINING))
        parts.append(
            f'{n} normal rows and {m} anomalies; by chance the AUROC of one comparison is 0.5 ± '
            f'{anomaly.chance_error(n, m):.3f}.\n'
        )
    seconds = sum(m.seconds for named in results.values() for seeds in named.values() for m in seeds.values())
    parts.append(f'Settings: {json.dumps(settings())}. {seconds:.0f} CPU s in all.\n')
    text = '\n'.join(parts)
    files.write_text(workdir / 'table.md', text)
    table.draw(workdir / 'anomaly.png', of)
    return text


def main() -> None:
    """The entry point."""
    workdir = paths.parse(_WORKDIR.value)
    batches = [builders.resolve(flag.value)['train']['batch_size'] for flag in (_CONFIG, _DISTIL)]
    cores.take(math.gcd(*batches))
    classes, others = _classes(), _AGAINST.value
    if not classes and not others:
        raise UserError('--classes and --against are both empty: there is nothing to compare')
    config, _ = configs(None, 0, workdir)
    parts_of_the_grid(builders.build(config), config, _depths())  # what does not fit is told before anything is trained
    results: dict[str, dict[str, dict[int, measuring.Measured]]] = {}
    shared: dict[str, Method] = {}
    begun = time.process_time()
    for seed in _SEEDS.value:
        jobs = [('a class left out', str(label), label, None) for label in classes]
        jobs += [(f'against {other}', other, None, other) for other in others]
        for group, name, label, other in jobs:
            folder = workdir / ('all' if label is None else f'without_{label}') / f'seed_{seed}'
            found = compared(folder, label, seed, other, shared)
            results.setdefault(group, {}).setdefault(name, {})[seed] = found
            best = max((v, k) for k, v in found.values.items() if k.endswith(f': {table.AUROC}'))
            print(f'{group}, {name}, seed {seed}: {best[1]} {best[0]:.3f}, {found.seconds:.0f} CPU s', flush=True)
            text = report(workdir, results)
    print(f'\n{text}\n{time.process_time() - begun:.0f} CPU s in this call')


if __name__ == '__main__':
    cli.run(main)
