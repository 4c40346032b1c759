r"""Every few-step method on Gaussian mixtures: how far is its map from the exact one, and how fast does it get there?

    python -m experiments.few_step.toy --workdir=runs/toy_few_step
    python -m experiments.few_step.toy --workdir=runs/cloud --data=cloud --steps=250 --steps=1000 --steps=4000

trains an EDM teacher and every method for each budget and seed, draws from the same noises, and writes
WORKDIR/table.md: the mean distance to the exact end point of the probability-flow ODE, and the sliced Wasserstein
distance to the data; of several budgets also WORKDIR/rates.png. Running it again goes on where it stopped.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from configs import common, methods, toy2d
from diffusion_jax import builders, cli, samplers, times
from diffusion_jax.data import mixture
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation.sliced_wasserstein import sliced_wasserstein
from diffusion_jax.inference import runs
from diffusion_jax.types import Schedule
from diffusion_jax.workdir import files, paths
from experiments.few_step import rates
from experiments.few_step.methods import TEACHER, Method, Sampling, all_methods, by_the_batch, trained
from experiments.running.measurements import drawing

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs and of the table.', required=True)
_DATA = flags.DEFINE_enum(
    'data', 'ring', ['ring', 'cloud'], 'Eight Gaussians on a circle, or sixteen in 64 dimensions.'
)
_SEEDS = flags.DEFINE_multi_integer('seed', [0, 1, 2], 'Seed of data, initial weights and training, once for each.')
_STEPS = flags.DEFINE_multi_integer(
    'steps', [4000], 'Training steps of every method and of its teacher, once for each budget.', lower_bound=40
)
_METHODS = flags.DEFINE_list(
    'methods', None, 'What to train and measure, CT-batch and the like too. Default: all others.'
)
_NUM = 4096
_DENSE = {'VE': ('karras', 400), 'TrigFlow': ('uniform', 1000), 'RectifiedFlow': ('uniform', 1000)}
_ON = {
    'ring': ({'name': 'ring', 'k': 8, 'radius': 0.8, 'std': 0.05}, 128),  # components, and the network's width
    'cloud': ({'name': 'cloud', 'k': 16, 'd': 64, 'scale': 0.5, 'seed': 0}, 256),
}
# Weights that adapt to the size of the error: in few dimensions that of MeanFlow biases the mean, and that of eq. 8 of
# DMD has heavy tails.
_UNWEIGHTED = ('mean_flow', 'improved_mean_flow', 'alpha_flow')


def config_of(data: str, change: Any, seed: int, steps: int, teacher: Path | None) -> dict[str, Any]:
    """The config of a method on a mixture."""
    config = methods.briefly(common.on_data_of(common.edm(), toy2d.get_config()), steps)
    config.seed = config.data.seed = seed
    config.data.components, config.net.width = _ON[data]
    config = change(config)
    config.sample.clip = False
    if config.objective.name in _UNWEIGHTED:
        config.objective.p = 0.0
    if config.objective.name == 'distribution_matching':
        config.objective.gradient_weight = {'name': 'uniform'}
    config.train.update(save_every=steps, sample_every=0, log_every=max(steps // 10, 1))
    if teacher:
        config.init_from = str(teacher)
    return builders.resolve(config)


def exact_map(components: mixture.GaussianMixture, schedule: Schedule, t_max: float, key: jax.Array) -> np.ndarray:
    """End points of the exact ODE from the noises that `generate` starts a sampler from, in float64."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(_NUM))
    start = samplers.prior(samplers.fold_in(keys, 0), schedule, (_NUM, components.means.shape[1]), t_max)
    name, n = _DENSE[type(schedule).__name__]
    dense = times.karras(n) if name == 'karras' else times.uniform(n, t_max)
    with jax.enable_x64(True):
        exact = samplers.heun(mixture.denoiser(jax.tree.map(jnp.float64, components), schedule), schedule)
        start = jnp.asarray(np.asarray(start), jnp.float64)
        return np.asarray(jax.jit(lambda x: samplers.sample(exact, key, x, dense))(start))


def measuring(data: str) -> Callable[[Path, tuple[Sampling, ...], float], dict[str, dict[str, float]]]:
    """(workdir, samplings, seconds) -> both distances for every sampling of a finished run."""
    spec, _ = _ON[data]
    components = getattr(mixture, spec['name'])(**{k: v for k, v in spec.items() if k != 'name'})
    held_out = np.asarray(mixture.sample(components, jax.random.key(1234), _NUM))
    key, ends = jax.random.key(99), {}

    def end(run, sampling):
        schedule = run.experiment.schedule
        t_max = float(run.experiment.context.make(times, sampling.times, 'times')[0])
        at = type(schedule).__name__, t_max
        if at not in ends:  # the same for all methods, budgets and seeds
            ends[at] = exact_map(components, schedule, t_max, key)
        return ends[at]

    def measure(workdir, samplings, seconds):
        run, cells = runs.load(workdir), {}
        for sampling in samplings:
            x = drawing(run, {'sampler': sampling.sampler, 'times': sampling.times})(_NUM, key)
            cell = {'sliced Wasserstein': sliced_wasserstein(x, held_out, jax.random.key(5)), 'seconds': seconds}
            if sampling.sampler['name'] != 'renoise' or sampling.steps == 1:  # new noise ends elsewhere
                cell['map error'] = float(np.linalg.norm(x - end(run, sampling), axis=1).mean())
            cells[f'{sampling.sampler["name"]}, {sampling.evaluations}'] = cell
        return cells

    return measure


def chosen(steps: int) -> list[Method]:
    """The methods asked for, EDM before them.

    Raises:
        UserError: for a method that there is not.
    """
    usual = all_methods(steps)
    every = usual + by_the_batch(steps)
    names = [method.name for method in every]
    for name in _METHODS.value or ():
        if name not in names:
            raise UserError(f'--methods: {name} is none of {", ".join(names)}')
    asked = _METHODS.value or [method.name for method in usual]
    return [Method('EDM', lambda c: c, False, TEACHER)] + [m for m in every if m.name in asked]


def _once(path, measured):
    if not path.exists():
        files.write_json(path, measured())
    return files.read_json(path, {})


def main() -> None:
    """The entry point."""
    workdir, measure = paths.local(_WORKDIR.value), measuring(_DATA.value)
    results: rates.Results = {}
    for steps in sorted(_STEPS.value):
        for seed in _SEEDS.value:
            folder = workdir / f'steps_{steps}' / f'seed_{seed}'
            for method in chosen(steps):
                teacher = folder / 'EDM' if method.needs_teacher else None
                mine = folder / method.name
                seconds = trained(config_of(_DATA.value, method.change, seed, steps, teacher), mine)
                cells = _once(mine / 'toy.json', lambda: measure(mine, method.samplings, seconds))  # noqa: B023
                for sampling, values in cells.items():
                    results.setdefault((method.name, sampling), {}).setdefault(steps, []).append(values)
                    print(f'{steps} steps, seed {seed}, {method.name}, {sampling}: {values}', flush=True)
                (workdir / 'table.md').write_text(rates.table(results))
    if len(_STEPS.value) > 1:
        rates.draw(workdir / 'rates.png', results)
    print(rates.table(results))


if __name__ == '__main__':
    cli.run(main)
