"""Progressive distillation as a chain of runs: to 4 steps, from there to 2, from there to 1."""

from collections.abc import Callable

from experiments.papers.plan import Recipe

Make = Callable[..., Recipe]  # (config, overrides, start)


def to_4_2_1(make: Make, config: str, start: str, each: int, n_0: int) -> dict[str, Recipe]:
    """Runs `pd_4`, `pd_2` and `pd_1`, each from the one before; `each` training steps a stage, the last two twice.

    The released code goes through all stages in one run; as runs they leave a model of every number of steps.
    """
    stages = {'pd_4': (n_0, 4, start), 'pd_2': (2, 2, 'pd_4'), 'pd_1': (1, 1, 'pd_2')}
    return {name: make(config, _stage(each, first, last), before) for name, (first, last, before) in stages.items()}


def _stage(each, n_0, n_1):
    arguments = {'n_0': n_0, 'n_1': n_1}
    fields = ('objective.N', 'frozen.N', 'optim.anneal')
    changes = {f'{field}.{name}': value for field in fields for name, value in arguments.items()}
    stages = (n_0 // n_1).bit_length()
    return changes | {'train.steps': each * (2 if n_1 <= 2 else 1) * stages, 'sample.times.n': n_1}
