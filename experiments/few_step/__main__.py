r"""Every few-step method on one data set: the same network, number of steps and batch; distances beside the teacher's.

    python -m experiments.few_step --workdir=runs/mnist_few_step --data=mnist --data_dir=DIR --num=1000

trains configs/DATA_edm.py (unless --teacher names its run) and configs/DATA_METHOD.py for every method, and writes
WORKDIR/table.md and samples.png, the same noises under every method. Running it again goes on where it stopped.
"""

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from diffusion_jax import builders, cli
from diffusion_jax.data import show
from diffusion_jax.devices import cores
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure, report
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.workdir import paths
from experiments.few_step.methods import TEACHER, Sampling, all_methods, trained
from experiments.running.measurements import drawing
from experiments.running.tables import markdown

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs and of the table.', required=True)
_DATA = flags.DEFINE_string('data', 'mnist', 'Prefix of the configs: mnist or digits.')
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of tensorflow-datasets.')
_TEACHER = flags.DEFINE_string('teacher', None, 'A finished run of DATA_edm. Default: WORKDIR/EDM, trained here.')
_METHODS = flags.DEFINE_list('methods', None, 'What to train and measure. Default: all that have a config.')
_NUM = flags.DEFINE_integer('num', 1000, 'Samples per row.', lower_bound=100)
_SHOWN = 12


def config_of(method: str, teacher: Path | None) -> dict[str, Any]:
    """The config of a method on the data set."""
    config = importlib.import_module(f'configs.{_DATA.value}_{method.lower()}').get_config()
    if _DATA_DIR.value:
        config.data.dir = _DATA_DIR.value
    if teacher:
        config.init_from = str(teacher)
    return builders.resolve(config)


def has_config(method: str) -> bool:
    """Whether there is a config of the method on the data set."""
    return importlib.util.find_spec(f'configs.{_DATA.value}_{method.lower()}') is not None


def rows_of(
    name: str, workdir: Path, samplings: tuple[Sampling, ...], reference: measure.Reference
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measured cells and the first samples of a finished run, by `name, sampler, evaluations`; each measured once."""
    path = workdir / f'few_step_{_NUM.value}'
    if path.with_suffix('.json').exists():
        return json.loads(path.with_suffix('.json').read_text()), dict(np.load(path.with_suffix('.npz')))
    run = runs.load(workdir)
    key, cells, shown = jax.random.key(0), {}, {}
    for sampling in samplings:
        draw = drawing(run, {'sampler': sampling.sampler, 'times': sampling.times})
        draw(run.config['eval']['batch_size'], key)  # compiles
        start = time.perf_counter()
        x = draw(_NUM.value, key)
        seconds = (time.perf_counter() - start) / _NUM.value
        result = measure.measure(x, reference, seeds=(0,))
        label = f'{name}, {sampling.sampler["name"]}, {sampling.evaluations}'
        cells[label] = {**json.loads(report.to_json(result)), 'ms a sample': 1e3 * seconds, 'step': run.step}
        shown[label] = x[:_SHOWN]
        print(f'{label}: {next(iter(result.values.items()))}', flush=True)
    np.savez(path.with_suffix('.npz'), **shown)
    path.with_suffix('.json').write_text(json.dumps(cells, indent=2) + '\n')
    return cells, shown


def table(cells: dict[str, Any], seconds: dict[str, float], floor: report.Result) -> str:
    """All rows as markdown, and the protocol."""
    name = next(iter(floor.values))
    names = [*floor.values, 'ms a sample']
    lines = []
    for label, cell in cells.items():
        values = {**cell['values'], 'ms a sample': cell['ms a sample']}
        minutes = seconds[label.split(',')[0]] / 60
        lines.append([label, *(f'{values[n]:.4g}' for n in names), f'{minutes:.1f}'])
    protocol = ', '.join(f'{k} = {v}' for k, v in next(iter(cells.values()))['protocol'].items())
    text = f'Floor: {name} of {floor.protocol.n} held-out samples, {floor.values[name]:.4g}.'
    made = markdown(['method, sampler, evaluations', *names, 'training, CPU min'], lines)
    return f'{made}\n{text}\n\nProtocol: {protocol}.\n'


def main() -> None:
    """The entry point."""
    workdir = paths.local(_WORKDIR.value)
    workdir.mkdir(parents=True, exist_ok=True)
    teacher = paths.local(_TEACHER.value) if _TEACHER.value else workdir / 'EDM'
    config = config_of('EDM', None)
    cores.take(config['train']['batch_size'])
    methods = all_methods(config['train']['steps'])
    chosen = _METHODS.value or [method.name for method in methods if has_config(method.name)]
    for name in chosen:
        if not has_config(name):
            raise UserError(f'--methods: there is no configs/{_DATA.value}_{name.lower()}.py')
    seconds = {'EDM': trained(config, teacher) if not _TEACHER.value else float('nan')}
    source = builders.build_source(config['data'], config['eval']['reference'])
    held_out = builders.build_source(config['data'], config['eval']['held_out'])
    features = builders.build_features(config['eval']['features'], Values(source))
    reference = measure.make_reference(source, features, held_out)
    real = Values(held_out)[: _NUM.value]
    floor = measure.measure(real, reference, seeds=())
    cells, shown = rows_of('EDM', teacher, TEACHER, reference)
    for method in methods:
        mine = workdir / method.name
        if method.name not in chosen and not (mine / f'few_step_{_NUM.value}.json').exists():
            continue
        seconds[method.name] = trained(config_of(method.name, teacher if method.needs_teacher else None), mine)
        more = rows_of(method.name, mine, method.samplings, reference)
        cells, shown = {**cells, **more[0]}, {**shown, **more[1]}
        (workdir / 'table.md').write_text(table(cells, seconds, floor))
        show.named_rows(workdir / 'samples.png', {**shown, 'data': real[:_SHOWN]})
    print(table(cells, seconds, floor))


if __name__ == '__main__':
    cli.run(main)
