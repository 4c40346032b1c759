"""One process of a study: takes trials until there are no more."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
from optuna.trial import Trial, TrialState

from diffusion_jax import builders
from diffusion_jax.errors import Diverged, Interrupted, UserError, one_line
from diffusion_jax.inference import runs
from diffusion_jax.training.run import train
from experiments.running import user_files
from experiments.running.measurements import frechet
from experiments.running.measuring import Measure, Measured, benches
from experiments.running.training import build_all
from experiments.tune.study import Shared, claim, workdir_of

Evaluate = Callable[[Trial, dict[str, Any]], float]  # a trial and its overrides -> its value
SEED = 0  # of the samples of every trial: the same noises


def load_space(path: str) -> ModuleType:
    """A space file.

    Raises:
        UserError: if there is none, or it has no `space`.
    """
    module = user_files.load(path)
    if not hasattr(module, 'space'):
        raise UserError(f'{path} has no function space(trial)')
    return module


def measure_of(space: ModuleType) -> Measure:
    """What the file measures, or else the Frechet distance."""
    return getattr(space, 'measure', frechet)


def check_space(space: ModuleType, check: Callable[[dict[str, Any]], Any], with_defaults: bool) -> None:
    """Draws once from the space, for no study, so that what no trial can do is told before any is made.

    Raises:
        UserError: if `check` refuses what is drawn, or one of the space's DEFAULTS.
    """
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    for name, overrides in {'space()': space.space(trial), **(defaults_of(space) if with_defaults else {})}.items():
        try:
            check(dict(overrides))
        except UserError as error:
            raise UserError(f'{name} of {space.__file__}: {error}') from error


def defaults_of(space: ModuleType) -> dict[str, dict[str, Any]]:
    """The overrides that the best trial is compared with, by their names."""
    return getattr(space, 'DEFAULTS', {'default': {}})


def work(shared: Shared, trials: int, space: ModuleType, evaluate: Evaluate) -> None:
    """Evaluates trials, one after another; one that cannot be built or diverges has failed, and the next one follows.

    Raises:
        Interrupted: if it was told to stop; the trial is left to whoever comes next.
    """
    while True:
        with claim(shared, trials) as trial:
            if trial is None:
                return
            try:
                overrides = dict(space.space(trial))
                trial.set_user_attr('overrides', json.loads(json.dumps(overrides)))
                shared.study.tell(trial.number, _finite(evaluate(trial, overrides)))
            except optuna.TrialPruned:
                shared.study.tell(trial.number, state=TrialState.PRUNED)
            except Interrupted:
                raise
            except UserError as error:
                trial.set_user_attr('error', one_line(error))
                shared.study.tell(trial.number, state=TrialState.FAIL)


def _finite(value):
    if not np.isfinite(value):
        raise Diverged(f'it measures {value}')
    return value


def _value(measured: Measured) -> float:
    return next(iter(measured.values.values()))


def of_training(config: Mapping[str, Any], workdir: Path, measure: Measure) -> Evaluate:
    """Trains a run with the overrides, measured every `train.sample_every` steps; what is worse than others ends."""
    bench_of = benches()  # of all trials: most have the same reference

    def evaluate(trial, overrides):
        changed = changed_by(config, overrides)
        reported = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values

        def value(run):
            return _value(measure(run, bench_of(run, SEED)))

        def watch(run):
            if run.step == changed['train']['steps'] or run.step in reported:
                return
            trial.report(value(run), run.step)
            if trial.should_prune():
                raise optuna.TrialPruned

        mine = workdir_of(workdir, trial.number)
        train(changed, mine, watch=watch)
        return value(runs.load(mine))

    return evaluate


def changed_by(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a trial.

    Raises:
        UserError: for an unknown field.
    """
    return builders.check(builders.override(config, overrides))


def check_training(config: Mapping[str, Any], workdir: Path) -> Callable[[Mapping[str, Any]], None]:
    """Refuses overrides with which nothing can be built."""
    return lambda overrides: build_all(changed_by(config, overrides), workdir)


def check_sampling(run: runs.Run) -> Callable[[Mapping[str, Any]], None]:
    """Refuses overrides with which a finished run cannot be sampled."""

    def check(overrides):
        builders.build_draw(run.experiment, sampled(run, overrides).config['sample'])

    return check


def of_sampling(run: runs.Run, measure: Measure) -> Callable[[Mapping[str, Any], int], float]:
    """(overrides of `sample`, seed) -> what is measured of a finished run with them."""
    bench_of = benches()

    def evaluate(overrides, seed):
        return _value(measure(sampled(run, overrides), bench_of(run, seed)))

    return evaluate


def sampled(run: runs.Run, overrides: Mapping[str, Any]) -> runs.Run:
    """A run whose own sampler is another.

    Raises:
        UserError: for an override of what was trained, or an unknown one.
    """
    for field in overrides:
        if not field.startswith('sample.'):
            raise UserError(f'{field} is of the training; of a finished run sample.* can be tuned')
    return run._replace(config=changed_by(run.config, overrides))
