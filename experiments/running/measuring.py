"""What a measurement is, what it measures against, and where its values are kept."""

import functools
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from diffusion_jax.data.sources import Source
from diffusion_jax.devices import processes
from diffusion_jax.errors import Diverged
from diffusion_jax.evaluation.measure import Reference
from diffusion_jax.inference import runs
from diffusion_jax.workdir import files, saved_grids
from diffusion_jax.workdir.paths import AnyPath


class Bench(NamedTuple):
    """What a run is measured against. Opening the data takes its time, and not every measurement needs it."""

    reference: Callable[[], Reference]
    held_out: Callable[[], Source | None]
    features: str  # the spec of the feature space, fit for a file name
    num: int  # of samples
    seed: int  # of the samples


class Measured(NamedTuple):
    """Named values, the one that matters most first, and all that they depend on beside the run."""

    values: Mapping[str, float]
    protocol: Mapping[str, Any]  # JSON; equal protocols make values comparable
    names: Mapping[str, str] = {}  # the metrics behind the values, where these are called otherwise
    errors: Mapping[str, float] = {}  # standard errors of values, of the samples that were drawn alone
    shown: np.ndarray = np.zeros(0)  # a few samples `[n, ...]` for a picture; empty for none
    seconds: float = 0.0  # of CPU
    diverged: str | None = None  # why there are no values


Measure = Callable[[runs.Run, Bench], Measured]


class Measurement(NamedTuple):
    """What is measured of a run: equal labels are the same."""

    label: str
    measure: Measure
    sample: Mapping[str, Any] = {}  # what it changes in the run's `sample` section


def opened(workdir: AnyPath) -> runs.Run:
    """A trained run, its own saved grid put in.

    Raises:
        UserError: if the folder holds no run.
    """
    run = runs.load(workdir)
    return run._replace(config={**run.config, 'sample': saved_grids.resolved(workdir, run.config['sample'])})


def benches(num: int | None = None, features: Mapping[str, Any] | None = None) -> Callable[[runs.Run, int], Bench]:
    """(run, seed) -> its bench; runs of the same data share a reference, which is read once.

    Args:
        num: samples to draw; by default each run's `eval.num`.
        features: a spec; by default each run's `eval.features`.
    """
    made: dict[str, tuple[Callable[[], Reference], Callable[[], Source | None]]] = {}

    def bench_of(run, seed):
        settings = run.config['eval']
        spec = features or settings['features']
        key = json.dumps([run.config['data'], spec, settings['reference'], settings['held_out']], sort_keys=True)
        if key not in made:
            reference = functools.cache(lambda: runs.reference(run, None, spec))
            made[key] = reference, functools.cache(lambda: runs.held_out(run))
        reference, held_out = made[key]
        return Bench(reference, held_out, runs.name_of(spec), num or settings['num'], seed)

    return bench_of


def of_workdir(workdir: AnyPath, measure: Measure) -> Measured:
    """Measures the run in a workdir, as its own `eval` section has it."""
    run = opened(workdir)
    return measure(run, benches()(run, 0))


def read(path: AnyPath) -> Measured | None:
    """What a file holds, None if nothing was measured."""
    content = files.read_json(path, {})
    if 'values' not in content:
        return None
    found = Measured(**{name: content[name] for name in Measured._fields if name in content})
    shown = path.with_suffix('.npy')
    return found._replace(shown=np.load(shown)) if shown.exists() else found


def kept(path: AnyPath, measure: Callable[[], Measured], about: Mapping[str, Any] = {}) -> Measured:
    """What a file holds, measured and written beside `about` if there is none. That samples diverge is kept as well."""
    found = read(path)
    if found is not None:
        return found
    begun = time.process_time()
    try:
        found = measure()
    except Diverged as error:
        found = Measured({}, {}, diverged=str(error))
    found = found._replace(seconds=time.process_time() - begun)
    if processes.is_first():
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(found.shown):
            with path.with_suffix('.npy').open('wb') as file:
                np.save(file, found.shown)
        plain = {name: value for name, value in found._asdict().items() if name != 'shown'}
        files.write_json(path, {**about, **plain})
    return found
