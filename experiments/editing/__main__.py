r"""How often a restored MNIST digit is the digit that it was, by a classifier: projection with several samplers.

    python -m experiments.editing --workdir=runs/editing --ddpm=runs/mnist --edm=runs/mnist_edm --cd=runs/mnist_cd \
        --num=200

writes WORKDIR/table.md and a picture per task. What is restored already lies in WORKDIR and is not run again.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from diffusion_jax import builders, cli, editing
from diffusion_jax.builders import specs
from diffusion_jax.data import show
from diffusion_jax.data.quantise import rounded, to_uint8
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import generate
from diffusion_jax.workdir import paths

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder for the results.', required=True)
_RUNS = {
    'ddpm': flags.DEFINE_string('ddpm', None, 'Folder of the DDPM run.', required=True),
    'edm': flags.DEFINE_string('edm', None, 'Folder of the EDM run.', required=True),
    'cd': flags.DEFINE_string('cd', None, 'Folder of the CD run.', required=True),
}
_NUM = flags.DEFINE_integer('num', 200, 'Held-out digits, one restoration each.', lower_bound=10)
_BATCH = flags.DEFINE_integer('batch_size', 50, 'Digits at once.', lower_bound=1)

_FIT = 20_000  # training digits of the classifiers
_SHOWN = 12
_TASKS = {
    'lower half hidden': ('inpaint', editing.inpaint(jnp.arange(28)[:, None, None] < 14)),
    '2x': ('super_resolve:factor=2', editing.super_resolve(2)),
    '4x': ('super_resolve:factor=4', editing.super_resolve(4)),
}


class Row(NamedTuple):
    """One way to restore."""

    name: str  # method, steps, and how often every stretch of the grid is run
    run: str
    sampler: str
    grid: str
    evaluations: int
    repeats: int = 1
    length: int = 1


_CHEAP = [
    Row('CD 1', 'cd', 'renoise', 'multistep:n=1', 1),
    Row('CD 2', 'cd', 'renoise', 'multistep:n=2', 2),
    Row('CD 5', 'cd', 'renoise', 'multistep:n=5', 5),
    Row('CD 18', 'cd', 'renoise', 'multistep:n=18', 18),
    Row('Heun 18', 'edm', 'heun', 'karras:n=18', 35),
    Row('DDIM 50', 'ddpm', 'ddim', 'uniform:n=50', 50),
]
_ROWS = {
    'lower half hidden': [
        *_CHEAP,
        Row('CD 18 x 5', 'cd', 'renoise', 'multistep:n=18', 90, 5),
        Row('Heun 18 x 5', 'edm', 'heun', 'karras:n=18', 175, 5),
        Row('DDPM 250', 'ddpm', 'ancestral', 'uniform:n=250', 250),
        Row('DDPM 50 x 5', 'ddpm', 'ancestral', 'uniform:n=50', 250, 5),
        Row('DDPM 50', 'ddpm', 'ancestral', 'uniform:n=50', 50),
    ],
    '2x': _CHEAP,
    '4x': _CHEAP,
}


def main() -> None:
    """The entry point."""
    workdir = paths.local(_WORKDIR.value)
    workdir.mkdir(parents=True, exist_ok=True)
    opened = {name: runs.load(paths.parse(flag.value)) for name, flag in _RUNS.items()}
    data = {**opened['ddpm'].config['data'], 'condition': 'label'}  # for the judge
    train, test = (builders.build_source(data, split) for split in ('train', 'test'))
    x_train, y_train = Values(train)[:], train.cond[np.arange(_FIT)]
    x, labels = Values(test)[:], test.cond[np.arange(len(test.x))]
    judge = _classifier(x_train[:_FIT], y_train)
    accuracy = judge.score(_flat(x), labels)
    x, labels = x[: _NUM.value], labels[: _NUM.value]
    lines = [
        f'classifier: {accuracy:.4f} on all {len(test.x)} test digits, {judge.score(_flat(x), labels):.3f} on these'
    ]
    mean = jnp.asarray(x_train.mean(0, keepdims=True))
    for task, (edit, operator) in _TASKS.items():
        known = _flat(np.asarray(operator.A(jnp.asarray(x_train[:_FIT]))))
        ceiling = _classifier(known, y_train).score(_flat(np.asarray(operator.A(jnp.asarray(x)))), labels)
        filled = np.asarray(editing.consistent(operator, operator.A(jnp.asarray(x)))(jnp.repeat(mean, len(x), 0)))
        lines += ['', f'| {task} | evaluations | agrees | error of the values |', '|---|---|---|---|']
        lines += [f'| filled with the mean digit | 0 | {_agreement(judge, filled, labels)} | {_error(filled, x):.3f} |']
        lines += [f'| classifier trained on what is known | | {_percent(ceiling, len(x))} | |']
        shown = {'original': x[:_SHOWN], 'known': np.asarray(operator.pinv(operator.A(jnp.asarray(x[:_SHOWN]))))}
        for row in _ROWS[task]:
            out = _restored(workdir, opened[row.run], task, edit, operator, row, x)
            lines.append(
                f'| {row.name} | {row.evaluations} | {_agreement(judge, out, labels)} | {_error(out, x):.3f} |'
            )
            print(task, lines[-1], flush=True)
            shown[row.name] = out[:_SHOWN]
        show.named_rows(workdir / f'{edit.replace(":", "_")}.png', shown)
    (workdir / 'table.md').write_text('\n'.join(lines) + '\n')
    print('\n'.join(lines))


def _restored(workdir, run, task, edit, operator, row, x):
    """The restorations `[n, 28, 28, 1]`, from their file if they are there."""
    file = workdir / f'{task}_{row.name}_{len(x)}.npz'.replace(' ', '_').replace(',', '')
    if not file.exists():
        spec = runs.sample_spec(run.config['sample'], runs.Choices(row.sampler, times=row.grid))
        mask = np.broadcast_to(np.arange(28)[:, None, None] >= 14, (28, 28, 1))
        images = builders.Images(image=x, mask=mask)
        asked = {**specs.parse_spec(edit), 'repeats': row.repeats, 'length': row.length}
        found = runs.editing(run, spec, asked, images, 1)
        drawing = found.sampling.drawing._replace(batch_size=_BATCH.value)
        out = generate(drawing, jax.random.key(0), found.num)
        np.savez_compressed(file, out=out)
    out = np.load(file)['out']
    if task == 'lower half hidden':
        np.testing.assert_array_equal(out[:, :14], x[:, :14])
        np.testing.assert_array_equal(to_uint8(np.asarray(out))[:, :14], to_uint8(x)[:, :14])
    else:
        np.testing.assert_allclose(operator.A(jnp.asarray(out)), operator.A(jnp.asarray(x)), atol=1e-5)
    return out


def _classifier(x, labels):
    """Support vectors on 50 principal components."""
    return make_pipeline(PCA(min(50, _flat(x).shape[1]), random_state=0), SVC(C=10)).fit(_flat(x), labels)


def _flat(x):
    return x.reshape(len(x), -1)


def _agreement(judge, x, labels):
    """Of pictures as they are stored."""
    return _percent(judge.score(_flat(rounded(x, 256)), labels), len(x))


def _percent(p, n):
    return f'{100 * p:.1f} ± {100 * np.sqrt(p * (1 - p) / n):.1f}%'


def _error(out, x):
    """Root mean square over all values, in [0, 1]."""
    return np.sqrt(np.mean((out - x) ** 2)) / 2


if __name__ == '__main__':
    cli.run(main)
