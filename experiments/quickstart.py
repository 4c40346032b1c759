r"""The main job in one command: trains DDPM, distils it into a consistency model, samples both, and reports.

    python -m experiments.quickstart --workdir=runs/quickstart

writes WORKDIR/report.html (report.md with its pictures), samples.png (the same noises under every setting) and
tradeoff.png (quality against network evaluations); the distilled run is WORKDIR/consistency. Running it again resumes.

Another data set: --config=configs/mnist_ddpm.py --config.data.dir=DIR --config.precond.name=v
--config.objective.weight.name=v. The consistency model has the data, the schedule, the network and the parameterisation
of --config, and from --distil_config all else. (Of eps and of x_0 a network at t = 0 is no identity.)
"""

import json
import math
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

from diffusion_jax import builders, cli, shipped
from diffusion_jax.data import show
from diffusion_jax.devices import cores
from diffusion_jax.evaluation import coherence, measure, report
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import Drawing, generate
from diffusion_jax.pages import html
from diffusion_jax.training.run import train
from diffusion_jax.types import Draw
from diffusion_jax.workdir import paths
from experiments.running.tables import markdown

_CONFIG = config_flags.DEFINE_config_file('config', shipped.file('configs/quickstart.py'), 'Config to train.')
_DISTIL = config_flags.DEFINE_config_file(
    'distil_config', shipped.file('configs/quickstart_cd.py'), 'Config to distil it with.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs and of the report.', required=True)
_NUM = flags.DEFINE_integer('num', 300, 'Samples per setting.', lower_bound=100)
_STEPS = flags.DEFINE_list('steps', ['10', '20', '50', '250'], 'Step counts of DDPM and DDIM.')
_FEW = flags.DEFINE_list('few_steps', ['1', '2'], 'Step counts of DDIM and the consistency model.')
_SHARED = ('seed', 'data', 'schedule', 'precond', 'net')  # what the consistency model has from its teacher
_EQUAL = {'name': 'uniform'}
_SHOWN = 16
_DATA_ROWS = 1000  # enough for a mean distance


class Method(NamedTuple):
    """A trained model with a sampler, and the step counts to try. Each step is one network evaluation."""

    run: runs.Run
    sampler: dict[str, Any]
    times: dict[str, Any]
    steps: list[int]


class Row(NamedTuple):
    """One sampler at one step count."""

    method: str
    steps: int
    result: report.Result
    x: np.ndarray  # [num, ...]


class Stopwatch:
    """A function that draws samples, compiled before its first call, so that the time is that of sampling."""

    def __init__(self, draw: Draw):
        self.seconds = 0.0
        self._draw = jax.jit(draw)
        self._compiled = None

    def __call__(self, params, keys, cond):
        """Samples, as `draw` does."""
        if self._compiled is None:
            self._compiled = self._draw.lower(params, keys, cond).compile()
        start = time.perf_counter()
        x = jax.block_until_ready(self._compiled(params, keys, cond))
        self.seconds += time.perf_counter() - start
        return x


def distilled(config: dict[str, Any], teacher: dict[str, Any], workdir: Path) -> dict[str, Any]:
    """The config of the distillation, with what it has from its teacher in `workdir`."""
    return builders.check({**config, **{name: teacher[name] for name in _SHARED}, 'init_from': str(workdir)})


def methods(teacher: runs.Run, student: runs.Run, steps: list[int], few: list[int]) -> dict[str, Method]:
    """What is compared."""
    return {
        'DDPM': Method(teacher, {'name': 'ancestral', 'variance': 'small'}, _EQUAL, steps),
        'DDIM': Method(teacher, {'name': 'ddim', 'eta': 0.0}, _EQUAL, sorted({*few, *steps})),
        'CM': Method(student, {'name': 'renoise'}, dict(student.config['sample']['times']), few),
    }


def compare(compared: Mapping[str, Method], reference: measure.Reference, num: int) -> list[Row]:
    """Samples and measures every method at every step count, from the same noises."""
    rows = []
    for name, (run, sampler, times, steps) in compared.items():
        for n in steps:
            spec = {**run.config['sample'], 'sampler': sampler, 'times': {**times, 'n': n}}
            draw = Stopwatch(builders.build_draw(run.experiment, spec))
            drawing = Drawing(draw, run.params, run.mesh, run.config['eval']['batch_size'])
            x = generate(drawing, jax.random.key(0), num)
            result = briefly(x, reference, (0,))
            print(f'{name}, {n} steps: ' + ', '.join(f'{k} {v:.4g}' for k, v in result.values.items()), flush=True)
            values = {'network evaluations': float(n), **result.values, 'ms a sample': 1e3 * draw.seconds / num}
            rows.append(Row(name, n, report.Result(values, result.protocol), x))
    return rows


def briefly(x: np.ndarray, reference: measure.Reference, seeds: tuple[int, ...]) -> report.Result:
    """The Frechet distance, and what tells blur and copies from samples."""
    result = measure.measure(x, reference, seeds)
    values = {
        _frechet(reference): result.values[_frechet(reference)],
        'diversity': coherence.diversity(x, reference.x[:_DATA_ROWS]),
        'nearest-neighbour ratio': result.values['memorisation ratio'],
    }
    return report.Result(values, result.protocol)


def _frechet(reference):
    return report.frechet_name(reference.features)


def drift_table(rows: list[Row]) -> str:
    """Every row against the most steps of its method, and of DDIM: how far pairs from the same noise lie apart."""
    last = {row.method: row for row in rows}  # of each method the one of most steps
    pairs = [(method, last[method]) for method in last] + [('CM', last['DDIM'])]
    columns = sorted({row.steps for row in rows})
    lines = []
    for method, other in pairs:
        drifts = {
            r.steps: coherence.paired_distance(r.x, other.x) for r in rows if r.method == method and r is not other
        }
        cells = [f'{drifts[n]:.3f}' if n in drifts else '' for n in columns]
        lines.append([f'{method}, against {other.method} {other.steps}', *cells])
    return markdown(['', *(f'{n} steps' for n in columns)], lines)


def draw_pictures(workdir: Path, rows: list[Row], reference: measure.Reference, floor: report.Result) -> None:
    """Writes samples.png and tradeoff.png."""
    shown = {f'{r.method} {r.steps}': r.x[:_SHOWN] for r in rows}
    show.named_rows(workdir / 'samples.png', {**shown, 'data': reference.x[:_SHOWN]})
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    name = _frechet(reference)
    for method in dict.fromkeys(r.method for r in rows):
        mine = [r for r in rows if r.method == method]
        axes.loglog([r.steps for r in mine], [r.result.values[name] for r in mine], 'o-', label=method)
    axes.axhline(floor.values[name], color='grey', ls='--', label='held-out data')
    axes.set_xlabel('network evaluations')
    axes.set_ylabel(name)
    axes.legend()
    figure.savefig(workdir / 'tradeoff.png', dpi=110, bbox_inches='tight')


def write_report(
    workdir: Path, rows: list[Row], bits: Mapping[str, Any] | None, floor: report.Result, minutes: Mapping[str, float]
) -> None:
    """Writes report.md."""
    provenance = json.loads((workdir / 'provenance.json').read_text())
    devices = ', '.join(provenance['devices'])
    versions = ', '.join(f'{k} {v}' for k, v in provenance['versions'].items())
    text = f"""# DDPM, DDIM, and a consistency model (CM) distilled from them

![the same noises under every setting](samples.png)

{report.markdown_table({f'{r.method}, {r.steps} steps': r.result for r in rows})}
Floor, of {floor.protocol.n} held-out samples: {', '.join(f'{k} {v:.4g}' for k, v in floor.values.items())}.
The distance has a bias that falls with the number of samples: compare equal numbers only. Diversity is the mean
distance between two samples over that between two rows of the data. The nearest-neighbour ratio is the median distance
to the nearest training sample over that of held-out data: near 0 for copies, above 1 for what lies off the data.

![quality against network evaluations](tradeoff.png)

## Coherence

How far do two samples from the same noise drift apart when the number of steps changes? The mean distance of such pairs
over that of samples from different noises: 0 if they are the same, 1 if unrelated.

{drift_table(rows)}
{_bound(bits)}Time: {', '.join(f'{k} {v:.1f} min' for k, v in minutes.items())}.
Machine: {platform.machine()}, {devices}. Versions: {versions}. Git: {provenance['git']}.
Command: `{' '.join(['python', '-m', 'experiments.quickstart', *provenance['command'][1:]])}`
"""
    (workdir / 'report.md').write_text(text)
    html.beside(workdir / 'report.md')


def _bound(bits):
    if bits is None:
        return ''
    terms = ', '.join(f'{k} {bits[k]:.3f}' for k in ('prior', 'kl', 'decoder'))
    value = f'{bits["bits/dim"]:.3f} +- {bits["standard error"]:.3f}'
    return f'Bits/dim of DDPM on {bits["rows"]} held-out samples: {value} ({terms}), a bound.\n\n'


def main() -> None:
    """The entry point."""
    workdir = paths.local(_WORKDIR.value)
    student_workdir = workdir / 'consistency'
    config = builders.resolve(_CONFIG.value)
    student_config = distilled(builders.resolve(_DISTIL.value), config, workdir)
    cores.take(math.gcd(config['train']['batch_size'], student_config['train']['batch_size']))
    watch = [time.perf_counter()]
    train(config, workdir)
    watch.append(time.perf_counter())
    train(student_config, student_workdir)
    watch.append(time.perf_counter())

    teacher, settings = runs.load(workdir), config['eval']
    source = builders.build_source(config['data'], settings['reference'])
    held_out = builders.build_source(config['data'], settings['held_out'])
    features = builders.build_features(settings['features'], Values(source))
    reference = measure.make_reference(source, features, held_out)
    steps, few = ([int(n) for n in flag.value] for flag in (_STEPS, _FEW))
    rows = compare(methods(teacher, runs.load(student_workdir), steps, few), reference, _NUM.value)
    floor = briefly(Values(held_out)[: _NUM.value], reference, seeds=())
    bits = runs.bits_per_dim(teacher, held_out, settings['bits_num']) if settings['bits_num'] else None
    draw_pictures(workdir, rows, reference, floor)
    watch.append(time.perf_counter())
    parts = ('training', 'distilling', 'sampling and measuring')
    minutes = {part: (b - a) / 60 for part, a, b in zip(parts, watch, watch[1:], strict=False)}
    write_report(workdir, rows, bits, floor, minutes)
    print(f'wrote {workdir}/report.html, report.md, samples.png and tradeoff.png')


if __name__ == '__main__':
    cli.run(main)
