r"""The main job in one command: trains DDPM, samples it with DDPM and DDIM at several step counts, and reports.

    python -m experiments.quickstart --workdir=runs/quickstart

writes WORKDIR/report.md, samples.png (the same noises under every setting) and tradeoff.png (quality against steps).
Another config works as well: --config=configs/mnist_ddpm.py --config.data.dir=DIR. Running it again resumes.
"""

import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from matplotlib.figure import Figure
from ml_collections import config_flags

from diffusion_jax import build, cli, pictures, runs
from diffusion_jax.evaluation import measure, report
from diffusion_jax.generate import generate
from diffusion_jax.training import train

_CONFIG = config_flags.DEFINE_config_file('config', 'configs/quickstart.py', 'Config to train.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run and of the report.', required=True)
_NUM = flags.DEFINE_integer('num', 300, 'Samples per setting.', lower_bound=100)
_STEPS = flags.DEFINE_list('steps', ['10', '20', '50', '250'], 'Step counts.')
_METHODS: dict[str, dict[str, Any]] = {
    'DDPM': {'name': 'ancestral', 'variance': 'small'},
    'DDIM': {'name': 'ddim', 'eta': 0.0},
}
_SHOWN = 16


class Row(NamedTuple):
    """One sampler at one step count."""

    method: str
    steps: int
    result: report.Result
    seconds_per_sample: float
    shown: np.ndarray


def compare(run: runs.Run, reference: measure.Reference, steps: list[int], num: int) -> list[Row]:
    """Samples and measures every method at every step count, from the same noises."""
    key = jax.random.key(0)
    size = run.config['eval']['batch_size']
    rows = []
    for method, sampler in _METHODS.items():
        for n in steps:
            spec = {**run.config['sample'], 'sampler': sampler, 'times': {'name': 'uniform', 'n': n}}
            # Compiled ahead, so that the time is that of sampling.
            draw = jax.jit(build.build_draw(run.experiment, spec))
            generate(draw, run.params, key, min(size, num), size, run.mesh, run.experiment.num_classes)
            start = time.perf_counter()
            x = generate(draw, run.params, key, num, size, run.mesh, run.experiment.num_classes)
            seconds = (time.perf_counter() - start) / num
            result = measure.measure(x, reference, seeds=(0,))
            print(f'{method}, {n} steps: {next(iter(result.values.values())):.3f}, {1e3 * seconds:.2f} ms a sample')
            rows.append(Row(method, n, result, seconds, x[:_SHOWN]))
    return rows


def draw_pictures(folder: Path, rows: list[Row], real: np.ndarray, floor: float) -> None:
    """Writes samples.png and tradeoff.png."""
    pictures.save_rows(
        folder / 'samples.png',
        {**{f'{r.method} {r.steps}': r.shown for r in rows}, 'data': real[:_SHOWN]},
    )
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    name = next(iter(rows[0].result.values))
    for method in _METHODS:
        mine = [r for r in rows if r.method == method]
        axes.loglog([r.steps for r in mine], [r.result.values[name] for r in mine], 'o-', label=method)
    axes.axhline(floor, color='grey', ls='--', label='held-out data')
    axes.set_xlabel('steps = network evaluations')
    axes.set_ylabel(name)
    axes.legend()
    figure.savefig(folder / 'tradeoff.png', dpi=110, bbox_inches='tight')


def write_report(
    folder: Path, rows: list[Row], bits: Mapping[str, Any], floor: report.Result, minutes: dict[str, float]
) -> None:
    """Writes report.md."""
    provenance = json.loads((folder / 'provenance.json').read_text())
    timed = {
        f'{r.method}, {r.steps} steps': report.Result(
            {**r.result.values, 'ms a sample': 1e3 * r.seconds_per_sample}, r.result.protocol
        )
        for r in rows
    }
    terms = ', '.join(f'{k} {bits[k]:.3f}' for k in ('prior', 'kl', 'decoder'))
    name, value = next(iter(floor.values.items()))
    devices = ', '.join(provenance['devices'])
    versions = ', '.join(f'{k} {v}' for k, v in provenance['versions'].items())
    text = f"""# DDPM and DDIM from one network

![the same noises under every setting](samples.png)

{report.markdown_table(timed)}
Floor: {name} of {floor.protocol.n} held-out samples, {value:.4g}. The distance has a bias
that falls with the number of samples: compare equal numbers only.

Bits/dim on {bits['rows']} held-out samples: {bits['bits/dim']:.3f} +- {bits['standard error']:.3f} ({terms}), a bound.

![quality against steps](tradeoff.png)

Time: {', '.join(f'{k} {v:.1f} min' for k, v in minutes.items())}. Machine: {platform.machine()}, {devices}.
Versions: {versions}. Git: {provenance['git']}.
Command: `{' '.join(['python', '-m', 'experiments.quickstart', *provenance['command'][1:]])}`
"""
    (folder / 'report.md').write_text(text)


def main() -> None:
    """The entry point."""
    folder = Path(_WORKDIR.value)
    config = build.resolve(_CONFIG.value)
    start = time.perf_counter()
    train(config, folder)
    trained = time.perf_counter()

    run = runs.load(folder)
    settings = config['eval']
    source = build.build_source(config['data'], settings['reference'])
    held_out = build.build_source(config['data'], settings['held_out'])
    values = measure.values_of(source)
    reference = measure.make_reference(source, build.build_features(settings['features'], values), held_out)
    rows = compare(run, reference, [int(n) for n in _STEPS.value], _NUM.value)
    floor = measure.measure(measure.values_of(held_out)[: _NUM.value], reference, seeds=())
    bits = runs.bits_per_dim(run, held_out, settings['bits_num'])
    draw_pictures(folder, rows, values, next(iter(floor.values.values())))
    minutes = {'training': (trained - start) / 60, 'sampling and measuring': (time.perf_counter() - trained) / 60}
    write_report(folder, rows, bits, floor, minutes)
    print(f'wrote {folder}/report.md, samples.png and tradeoff.png')


if __name__ == '__main__':
    cli.run(main)
