"""What training costs: time per step, waiting for data, FLOPs against the device's peak, memory."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from diffusion_jax.training.flops import left_out

# Dense bfloat16 FLOP/s of one device, by the name that JAX has for it. TPUs: "peak compute per chip (bf16)" of
# docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}. GPUs: NVIDIA's data sheets, whose figures "with sparsity" are halved.
# The V100 is left out: it has no bfloat16 units, and its 125e12 (SXM2) of float16 would be the peak of another program.
PEAK_FLOPS = {
    'TPU v4': 275e12,
    'TPU v5 lite': 197e12,
    'TPU v5e': 197e12,
    'TPU v5': 459e12,
    'TPU v5p': 459e12,
    'TPU v6 lite': 918e12,
    'TPU v6e': 918e12,
    'NVIDIA A100-SXM4-40GB': 312e12,
    'NVIDIA A100-SXM4-80GB': 312e12,
    'NVIDIA A100-PCIE-40GB': 312e12,
    'NVIDIA A100 80GB PCIe': 312e12,
    'NVIDIA H100 80GB HBM3': 989e12,
    'NVIDIA H100 PCIe': 756e12,
    'NVIDIA H200': 989e12,
    'NVIDIA B200': 2250e12,  # of HGX B200 at 1000 W
    'NVIDIA L4': 121e12,
}


class Timing(NamedTuple):
    """What the loop measures between two lines of the log."""

    steps: int
    seconds: float  # of wall time, without what happened beside the steps: saves, pictures
    waited: float  # seconds of these in which the loop waited for the next batch


class Clock:
    """Measures a loop from `step` on."""

    def __init__(self, step: int):
        self._last = (step, time.perf_counter())
        self._waited = self._beside = 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the wait for a batch."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Around what is no part of the steps."""
        start = time.perf_counter()
        yield
        self._beside += time.perf_counter() - start

    def lap(self, step: int) -> Timing:
        """What was measured since the last lap, which ended `step` and begins the next one."""
        now = time.perf_counter()
        timing = Timing(step - self._last[0], now - self._last[1] - self._beside, self._waited)
        self._last, self._waited, self._beside = (step, now), 0.0, 0.0
        return timing


class Cost(NamedTuple):
    """Of one compiled step."""

    compile_seconds: float  # from tracing on; short where the compilation cache has it
    flops: float | None  # on all devices together; None where XLA does not say


def compile_step(step: Any, *arguments: Any, devices: int) -> tuple[Callable[..., Any], Cost]:
    """A jitted step as the executable for these arguments, and its cost by XLA's own analysis of that executable.

    XLA counts the body of a loop once, however often it runs: the products of all other passes, of the parts of a
    batch, the updates of a second learner or the blocks of a transformer, are added (`flops.left_out`). What is
    computed twice (rematerialisation) or on every device is counted as often as it is done.
    """
    start = time.perf_counter()
    traced = step.trace(*arguments)
    compiled = traced.lower().compile()
    seconds = time.perf_counter() - start
    try:
        flops = (compiled.cost_analysis() or {}).get('flops', 0.0)  # of one device's program
    except NotImplementedError:
        flops = 0.0
    return compiled, Cost(seconds, flops * devices + left_out(traced.jaxpr) if flops > 0 else None)


def figures(timing: Timing, cost: Cost, batch_size: int, kind: str, devices: int) -> dict[str, float]:
    """Throughput as the log has it: `mfu` only where the peak of this kind of device is known."""
    step_seconds = timing.seconds / timing.steps
    found = {
        'images_per_second': batch_size / step_seconds,
        'step_seconds': step_seconds,
        'input_wait_share': timing.waited / timing.seconds,
    }
    if cost.flops is None:
        return found
    found['flops_per_second'] = cost.flops / step_seconds
    if kind in PEAK_FLOPS:
        found['mfu'] = found['flops_per_second'] / (PEAK_FLOPS[kind] * devices)
    return found


def once(cost: Cost) -> dict[str, float]:
    """What the first line of a start of the run has beside the figures."""
    return {'compile_seconds': cost.compile_seconds} | ({} if cost.flops is None else {'step_flops': cost.flops})


def memory(stats: Sequence[Mapping[str, int] | None]) -> dict[str, int]:
    """Bytes in use, now and at most so far, on the fullest device, from the `memory_stats()` of each.

    Empty where they do not say (None), as CPUs.
    """
    names = {'memory_bytes': 'bytes_in_use', 'memory_peak_bytes': 'peak_bytes_in_use'}
    known = [s for s in stats if s]
    return {ours: max(s[theirs] for s in known) for ours, theirs in names.items() if known and theirs in known[0]}
