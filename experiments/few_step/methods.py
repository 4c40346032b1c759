"""What is compared: every method's config and the samplers that it is measured with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from configs import methods
from diffusion_jax.errors import UserError
from experiments.papers.samplers import T_MAX
from experiments.running.training import Training, make


class Sampling(NamedTuple):
    """A sampler on its times, and what it costs."""

    steps: int
    evaluations: int
    sampler: dict[str, Any]
    times: dict[str, Any]


class Method(NamedTuple):
    """A method: its change to the config of an EDM run, and how its model is sampled."""

    name: str
    change: Callable[[Any], Any]  # EDM's config -> the method's
    needs_teacher: bool
    samplings: tuple[Sampling, ...]


def _renoise(*times):
    return tuple(Sampling(len(t), len(t), {'name': 'renoise'}, {'name': 'at', 'times': t}) for t in times)


# One step, and two with the second from the noise level that ECT's and sCM's authors take.
VE = _renoise((80.0,), (80.0, 0.821))
ANGLES = _renoise((T_MAX,), (T_MAX, 1.1))
FLOW = tuple(Sampling(n, n, {'name': 'jump'}, {'name': 'uniform', 'n': n}) for n in (1, 2))
L2 = {'name': 'l2'}
LAGRANGIAN = {'name': 'lagrangian'}
TEACHER = (
    Sampling(18, 35, {'name': 'heun'}, {'name': 'karras', 'n': 18}),
    *(Sampling(n, n, {'name': 'ddim', 'eta': 0.0}, {'name': 'multistep', 'n': n}) for n in (1, 2, 5, 10, 50)),
)


def all_methods(steps: int) -> tuple[Method, ...]:
    """Every method, for a training of that many steps."""
    return (
        Method('CD', lambda c: methods.cd(c, L2, mu=0.95), True, VE),
        Method('DMD', methods.dmd, True, VE[:1]),  # it learns one step
        Method('CT', lambda c: methods.ct(c, L2), False, VE),
        Method('iCT', methods.ict, False, VE),
        Method('ECT', methods.ect, True, VE),
        Method('sCT', lambda c: methods.sct(c, warmup=steps // 5), True, ANGLES),
        Method('sCD', lambda c: methods.scd(c, warmup=steps // 5), True, ANGLES),
        *(
            Method(
                f'MSCM-{K}',
                lambda c, K=K: methods.mscm(c, K),
                True,
                (Sampling(K, K, {'name': 'ddim', 'eta': 0.0}, {'name': 'uniform', 'n': K, 't_max': T_MAX}),),
            )
            for K in (1, 2, 4)
        ),
        Method('MeanFlow', methods.mean_flow, False, FLOW),
        Method('Shortcut', lambda c: methods.shortcut(c, mu=0.99), False, FLOW),
        Method('iMF', methods.improved_mean_flow, False, FLOW),
        Method('AlphaFlow', methods.alpha_flow, False, FLOW),
        Method('TVM', lambda c: methods.terminal_velocity(c, mu=0.99), False, FLOW),
        Method('LSD', lambda c: methods.self_distillation(c, LAGRANGIAN), False, FLOW),
        Method('LMD', lambda c: methods.flow_map_matching(c, LAGRANGIAN), True, FLOW),
        Method('AYF', lambda c: methods.align_your_flow(c, warmup=steps // 5), True, FLOW),
        Method('FreeFlow', methods.data_free, True, FLOW[:1]),
        Method(
            'PD',  # its 2-step model was an earlier stage of the same run
            lambda c: methods.pd(c, n_0=16),
            True,
            (Sampling(1, 1, {'name': 'ddim', 'eta': 0.0}, {'name': 'uniform', 'n': 1, 't_max': T_MAX}),),
        ),
    )


def by_the_batch(steps: int) -> tuple[Method, ...]:
    """The methods that learn from the data's own paths, with the posterior mean of a batch in their place."""
    changes = {
        'CT': {'ode_step': {'name': 'batch'}},
        'iCT': {'ode_step': {'name': 'batch'}},
        'sCT': {'velocity': {'name': 'of_the_batch'}},
        'MeanFlow': {'velocity': {'name': 'of_the_batch'}},
    }
    plain = {method.name: method for method in all_methods(steps)}

    def changed(name, arguments):
        def change(config):
            plain[name].change(config).objective.update(arguments)
            return config

        return plain[name]._replace(name=f'{name}-batch', change=change)

    return tuple(changed(name, arguments) for name, arguments in changes.items())


def trained(config: dict[str, Any], workdir: Path) -> float:
    """Trains a run unless that is done; CPU seconds of all its starts.

    Raises:
        UserError: if it cannot be trained, or diverges.
    """
    state = make(Training(workdir.name, config, workdir))
    if state.diverged is not None:
        raise UserError(f'{workdir}: {state.diverged}')
    return state.seconds
