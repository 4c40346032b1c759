"""Samplers that several tables measure."""

import math

from experiments.running.measurements import samples
from experiments.running.measuring import Measurement

T_MAX = math.atan(160)  # the angle of sigma = 80 for sigma_data = 0.5
HEUN = samples({'name': 'heun'}, {'name': 'karras', 'n': 18})  # 35 evaluations
HEUN_79 = samples({'name': 'heun'}, {'name': 'karras', 'n': 40})


def _renoise(*times: float) -> Measurement:
    return samples({'name': 'renoise'}, {'name': 'at', 'times': times})


# Two steps have the second from the noise level that ECT's and sCM's authors take.
ON_VE = {'1': _renoise(80.0), '2': _renoise(80.0, 0.821)}
ON_ANGLES = {'1': _renoise(T_MAX), '2': _renoise(T_MAX, 1.1)}


def jump(n: int) -> Measurement:
    """A flow map in equal steps."""
    return samples({'name': 'jump'}, {'name': 'uniform', 'n': n})


def ddim(n: int, t_max: float = 1.0) -> Measurement:
    """DDIM, eta = 0, in equal steps of the schedule's time."""
    times = {'name': 'uniform', 'n': n} | ({} if t_max == 1 else {'t_max': t_max})
    return samples({'name': 'ddim', 'eta': 0.0}, times)
