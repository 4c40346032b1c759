r"""Every few-step method on the 2-D ring of Gaussians: how far is its map from the exact one?

    python -m experiments.few_step.toy --workdir=runs/toy_few_step

trains an EDM teacher and every method for each seed, draws from the same noises, and writes WORKDIR/table.md: the mean
distance to the exact end point of the probability-flow ODE, and the sliced Wasserstein distance to the data. Running it
again goes on where it stopped.
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from configs import common, methods, toy2d
from diffusion_jax import builders, cli, samplers, times
from diffusion_jax.data import mixture
from diffusion_jax.evaluation.sliced_wasserstein import sliced_wasserstein
from diffusion_jax.inference import runs
from diffusion_jax.workdir import paths
from experiments.few_step.methods import TEACHER, Sampling, all_methods, trained
from experiments.running.measurements import drawing
from experiments.running.tables import markdown

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs and of the table.', required=True)
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds of data, initial weights and training.')
_STEPS = flags.DEFINE_integer('steps', 4000, 'Training steps of every method; the teacher has as many.', lower_bound=40)
_NUM = 4096
_DENSE = {'VE': ('karras', 400), 'TrigFlow': ('uniform', 1000), 'RectifiedFlow': ('uniform', 1000)}


def config_of(change: Any, seed: int, steps: int, teacher: Path | None) -> dict[str, Any]:
    """The config of a method on the ring."""
    config = methods.briefly(common.on_data_of(common.edm(), toy2d.get_config()), steps)
    config.seed = config.data.seed = seed
    config = change(config)
    config.sample.clip = False
    if config.objective.name in ('mean_flow', 'improved_mean_flow', 'alpha_flow'):
        config.objective.p = 0.0  # in few dimensions the adaptive weight biases the mean
    if config.objective.name == 'distribution_matching':
        config.objective.gradient_weight = {'name': 'uniform'}  # that of eq. 8 has heavy tails in few dimensions
    config.train.update(save_every=steps, sample_every=0, log_every=max(steps // 10, 1))
    if teacher:
        config.init_from = str(teacher)
    return builders.resolve(config)


def exact_map(run: runs.Run, ring: mixture.GaussianMixture, key: jax.Array, sampling: Sampling) -> np.ndarray:
    """End points of the exact ODE from the noises that `generate` starts a sampler from, in float64."""
    schedule = run.experiment.schedule
    t_max = run.experiment.context.make(times, sampling.times, 'times')[0]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(_NUM))
    start = np.asarray(samplers.prior(samplers.fold_in(keys, 0), schedule, (_NUM, 2), t_max))
    name, n = _DENSE[type(schedule).__name__]
    dense = times.karras(n) if name == 'karras' else times.uniform(n, t_max)
    with jax.enable_x64(True):
        exact = samplers.heun(mixture.denoiser(jax.tree.map(jnp.float64, ring), schedule), schedule)
        return np.asarray(jax.jit(lambda x: samplers.sample(exact, key, x, dense))(jnp.asarray(start, jnp.float64)))


def measure(workdir: Path, samplings: tuple[Sampling, ...], seconds: float) -> dict[str, dict[str, float]]:
    """Both distances for every sampling of a finished run."""
    run = runs.load(workdir)
    ring = mixture.ring(**{k: v for k, v in run.config['data']['components'].items() if k != 'name'})
    data = np.asarray(mixture.sample(ring, jax.random.key(1234), _NUM))
    key, cells = jax.random.key(99), {}
    for sampling in samplings:
        x = drawing(run, {'sampler': sampling.sampler, 'times': sampling.times})(_NUM, key)
        cell = {
            'sliced Wasserstein': sliced_wasserstein(x, data, jax.random.key(5)),
            'seconds': seconds,
        }
        if sampling.sampler['name'] != 'renoise' or sampling.steps == 1:  # new noise ends elsewhere
            exact = exact_map(run, ring, key, sampling)
            cell['map error'] = float(np.linalg.norm(x - exact, axis=1).mean())
        cells[f'{sampling.sampler["name"]}, {sampling.evaluations}'] = cell
    return cells


def table(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Rows of method and sampler, mean and spread over seeds."""
    lines = []
    for method, cells in results.items():
        for sampling, values in cells.items():
            shown = [
                _mean_and_spread([v[name] for v in values if name in v], digits)
                for name, digits in (('map error', 4), ('sliced Wasserstein', 4), ('seconds', 0))
            ]
            lines.append([method, sampling, *shown])
    head = ['method', 'sampler, evaluations', 'map error', 'sliced Wasserstein', 'training, CPU s']
    return markdown(head, lines)


def _mean_and_spread(values, digits):
    return f'{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}' if values else ''


def main() -> None:
    """The entry point."""
    workdir, steps = paths.local(_WORKDIR.value), _STEPS.value
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for seed in (int(s) for s in _SEEDS.value):
        teacher = workdir / f'seed_{seed}' / 'EDM'
        todo = [('EDM', lambda c: c, False, TEACHER), *all_methods(steps)]
        for name, change, needs_teacher, samplings in todo:
            mine = workdir / f'seed_{seed}' / name
            seconds = trained(config_of(change, seed, steps, teacher if needs_teacher else None), mine)
            for sampling, values in measure(mine, samplings, seconds).items():
                results.setdefault(name, {}).setdefault(sampling, []).append(values)
                print(f'seed {seed}, {name}, {sampling}: {values}', flush=True)
            (workdir / 'table.json').write_text(json.dumps(results, indent=2))
            (workdir / 'table.md').write_text(table(results))
    print(table(results))


if __name__ == '__main__':
    cli.run(main)
