r"""DDIM's Table 1 for any trained run: Frechet distance over S and eta, with the sigma-hat row.

    python -m experiments.ddim_table1 --workdir=runs/mnist --num=500 --steps=10,20,50,100

writes WORKDIR/ddim_table1.md and keeps each finished cell in WORKDIR/ddim_table1.json: run it again to go on.
"""

import json
from pathlib import Path

import jax
from absl import flags

from diffusion_jax import build, cli, pictures, runs, specs
from diffusion_jax.evaluation import measure, report
from diffusion_jax.generate import generate

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run.', required=True)
_NUM = flags.DEFINE_integer('num', 500, 'Samples per cell.', lower_bound=100)
_STEPS = flags.DEFINE_list('steps', ['10', '20', '50', '100'], 'Values of S.')
_GRID = flags.DEFINE_string(
    'grid', 'uniform', 'Sub-sequence: uniform or quadratic (the paper: quadratic for CIFAR-10).'
)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noise, the same in every cell.')

# Row names of the paper; sigma-hat keeps eta = 1's mean and takes the larger noise.
SAMPLERS = {
    **{f'eta = {eta}': {'name': 'ddim', 'eta': eta} for eta in (0.0, 0.2, 0.5, 1.0)},
    'sigma-hat': {'name': 'ancestral', 'variance': 'large'},
}


def main() -> None:
    """The entry point."""
    folder = Path(_WORKDIR.value)
    run = runs.load(folder)
    train = build.build_source(run.config['data'], run.config['eval']['reference'])
    features = build.build_features(run.config['eval']['features'], measure.values_of(train))
    reference = measure.make_reference(train, features)
    path = folder / 'ddim_table1.json'
    cells = json.loads(path.read_text()) if path.exists() else {}
    steps = [int(s) for s in _STEPS.value]
    shown = {}
    for s in steps:
        for name, sampler in SAMPLERS.items():
            cell = f'{name}, S = {s}, {_GRID.value}, {_NUM.value} samples, seed {_SEED.value}, step {run.step}'
            if cell not in cells:
                spec = {**run.config['sample'], 'sampler': sampler, 'times': {**specs.parse_spec(_GRID.value), 'n': s}}
                draw = jax.jit(build.build_draw(run.experiment, spec))
                size = run.config['eval']['batch_size']
                key = jax.random.key(_SEED.value)
                x = generate(draw, run.params, key, _NUM.value, size, run.mesh, run.experiment.num_classes)
                result = measure.measure(x, reference, (_SEED.value,))
                cells[cell] = json.loads(report.to_json(result))
                path.write_text(json.dumps(cells, indent=2) + '\n')
                shown[f'{name}, S={s}'] = x[:12]
                print(f'{cell}: {_first(result.values):.3f}', flush=True)
    suffix = f', {_GRID.value}, {_NUM.value} samples, seed {_SEED.value}, step {run.step}'
    (folder / 'ddim_table1.md').write_text(_table(cells, steps, suffix))
    if shown:
        pictures.save_rows(folder / 'ddim_table1.png', shown)
    print(f'wrote {folder}/ddim_table1.md')


def _first(values):
    return next(iter(values.values()))


def _table(cells, steps, suffix):
    some = cells[f'{next(iter(SAMPLERS))}, S = {steps[0]}{suffix}']
    lines = [f'| {next(iter(some["values"]))} | ' + ' | '.join(f'S = {s}' for s in steps) + ' |']
    lines.append('|---' * (len(steps) + 1) + '|')
    for name in SAMPLERS:
        row = [_first(cells[f'{name}, S = {s}{suffix}']['values']) for s in steps]
        lines.append(f'| {name} | ' + ' | '.join(f'{v:.3f}' for v in row) + ' |')
    protocol = ', '.join(f'{k} = {v}' for k, v in some['protocol'].items())
    return '\n'.join([*lines, '', f'Protocol: {protocol}{suffix}.', ''])


if __name__ == '__main__':
    cli.run(main)
