r"""What a training step communicates, what its state takes, and what the host does beside it.

    python -m experiments.benchmarks.scaling collectives --dir=DIR     # compiles the step for eight fake CPU devices
    python -m experiments.benchmarks.scaling host --dir=DIR            # input and checkpoints, timed

The first counts the collectives in the program that XLA has optimised; nothing is run, and a fake device's time would
mean nothing. See docs/results/scaling.md.
"""

import argparse
import contextlib
import importlib
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh

from diffusion_jax import builders
from diffusion_jax.data import pipeline
from diffusion_jax.devices import sharding
from diffusion_jax.training import checkpoint, throughput
from diffusion_jax.training.assemble import assemble
from diffusion_jax.training.state import init_state
from experiments.launch.collectives import Collective, among

MESHES = {'DP (data=8)': (8, 1), 'FSDP (fsdp=8)': (1, 8), 'data=2, fsdp=4': (2, 4)}
# Cloud TPU's own figures for v5e (docs.cloud.google.com/tpu/docs/v5e): bf16 FLOP/s a chip, and the 400 GB/s of a chip's
# four links in both directions, so half of it out of the chip.
CHIPS, PEAK, EGRESS = 256, 197e12, 200e9
FSDP = 8  # chips of a row of the 16 x 16 torus
_ITEM = {'f64': 8, 's64': 8, 'u64': 8, 'f32': 4, 's32': 4, 'u32': 4, 'bf16': 2, 'f16': 2, 's16': 2, 'u16': 2}
_COLLECTIVE = re.compile(
    r'^.* = (?P<type>.*?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)\(.*$', re.M
)


def collectives(hlo: str, devices: int) -> Iterator[Collective]:
    """Those of an optimised HLO module, one for each time that they stand in its text: it must have no loops."""
    for match in _COLLECTIVE.finditer(hlo):
        size = sum(
            math.prod(int(d) for d in shape.split(',') if d) * _ITEM.get(dtype, 1)
            for dtype, shape in re.findall(r'([a-z]+\d+|pred)\[([\d,]*)\]', match['type'])
        )
        n = among(match[0], devices)
        yield Collective(match['kind'], n, size * (n if match['kind'] == 'reduce-scatter' else 1))


class Compiled(NamedTuple):
    """The train step of a config on one mesh."""

    found: list[Collective]
    flops: float  # on all devices
    state_bytes: int  # on one device
    temp_bytes: int
    seconds: float


def compile_on(config: dict[str, Any], experiment: builders.Experiment, data: int, fsdp: int) -> Compiled:
    """Lowers and compiles it from shapes alone."""
    mesh, size = sharding.make_mesh(data, fsdp), config['train']['batch_size']
    _, state, step = assemble(config, experiment, mesh)
    batch = sharding.put_batch(mesh, pipeline.batch_at(experiment.source, 0, size)(0))
    compiled, cost = throughput.compile_step(step, state, jax.random.key(0), batch, devices=mesh.size)
    found = [c for c in collectives(compiled.as_text(), mesh.size) if c.among > 1]
    temp = compiled.memory_analysis().temp_size_in_bytes
    size = bytes_on_one(state, sharding.of_state(mesh, state))
    return Compiled(found, cost.flops or math.nan, size, temp, cost.compile_seconds)


def table(results: dict[str, Compiled]) -> str:
    """Markdown: a line for every kind of collective and size of group."""
    lines = ['| mesh | collective | among | how many | payload, MB | sent by a device, MB |', '|' + 6 * '---|']
    for name, result in results.items():
        for kind, n in sorted({(c.kind, c.among) for c in result.found}):
            some = [c for c in result.found if (c.kind, c.among) == (kind, n)]
            payload, sent = (sum(x) / 1e6 for x in ([c.payload for c in some], [c.sent for c in some]))
            lines.append(f'| {name} | {kind} | {n} | {len(some)} | {payload:.1f} | {sent:.1f} |')
    lines += ['', '| mesh | state on a device, MB | step, TFLOP | compiled in, s |', '|---|---|---|---|']
    lines += [
        f'| {name} | {r.state_bytes / 1e6:.1f} | {r.flops / 1e12:.3f} | {r.seconds:.0f} |'
        for name, r in results.items()
    ]
    return '\n'.join(lines)


def estimate(flops_per_image: float, num_params: int, per_chip: tuple[int, ...] = (1, 8, 32, 128)) -> str:
    """Markdown: time of a step on 256 chips by counting alone, as 4-byte gradients are reduced and parameters gathered.

    Data parallel sends every gradient twice (all-reduce) over all four links of a chip. With fsdp = 8, a row of chips
    and so two of the links, parameters are gathered for the forward and for the backward pass and gradients scattered
    among 8, and an eighth of the gradients is reduced over the 32 groups.
    """
    size, among, groups = 4 * num_params, FSDP, CHIPS // FSDP
    dp = 2 * size * (CHIPS - 1) / CHIPS / EGRESS
    scattered = 3 * size * (among - 1) / among
    fsdp = (scattered + 2 * size / among * (groups - 1) / groups) / (EGRESS / 2)
    lines = [
        '| images a chip | global batch | compute at peak, ms | at 40% of it, ms | DP sends, ms | fsdp=8 sends, ms |',
        '|---|---|---|---|---|---|',
    ]
    for n in per_chip:
        compute = n * flops_per_image / PEAK * 1e3
        row = f'| {n} | {n * CHIPS} | {compute:.2f} | {compute / 0.4:.2f} | {dp * 1e3:.2f} | {fsdp * 1e3:.2f} |'
        lines.append(row)
    return '\n'.join(lines)


def state_table(shapes: Any, chips: int = CHIPS) -> str:
    """Markdown: bytes of the state on one of `chips` devices, by the size of the axis fsdp."""
    lines = ['| fsdp | state on a device, MB |', '|---|---|']
    for fsdp in (2**i for i in range(chips.bit_length())):
        mesh = AbstractMesh((chips // fsdp, fsdp), ('data', 'fsdp'))
        lines.append(f'| {fsdp} | {bytes_on_one(shapes, sharding.of_state(mesh, shapes)) / 1e6:.1f} |')
    return '\n'.join(lines)


def bytes_on_one(shapes: Any, shardings: Any) -> int:
    """Bytes of arrays on one device."""
    pairs = zip(jax.tree.leaves(shapes), jax.tree.leaves(shardings), strict=True)
    return sum(math.prod(s.shard_shape(a.shape)) * a.dtype.itemsize for a, s in pairs)


def images_per_second(experiment: builders.Experiment, batch_size: int, batches: int = 400) -> float:
    """What the thread that makes batches makes of shuffled rows in a second of a core's time, whatever else runs."""
    at = pipeline.batch_at(experiment.source, 0, batch_size)
    at(0)
    start = time.thread_time()
    for k in range(batches):
        at(k)
    return batches * batch_size / (time.thread_time() - start)


def checkpoint_seconds(experiment: builders.Experiment, folder: Path, rounds: int = 6) -> str:
    """Seconds per GB (1e9 bytes) of a state of random numbers, and seconds of cores, which other jobs leave alone.

    The first round, which compiles its digests, is apart.
    """
    rng, mesh = np.random.default_rng(0), sharding.make_mesh(1)
    fresh = init_state(experiment.init, experiment.tx, experiment.targets)
    shapes = jax.eval_shape(fresh, jax.random.key(0))
    shapes = sharding.with_shardings(shapes, sharding.of_state(mesh, shapes))
    state = jax.tree.map(lambda a: jax.device_put(rng.standard_normal(a.shape).astype(a.dtype), a.sharding), shapes)
    size, found = sum(a.nbytes for a in jax.tree.leaves(state)) / 1e9, []
    with contextlib.closing(checkpoint.open_manager(folder)) as manager:
        for k in range(1, rounds + 1):
            times = [(time.perf_counter(), time.process_time())]
            for do in (
                lambda: checkpoint.save(manager, state._replace(step=jnp.int32(k))),  # noqa: B023
                lambda: checkpoint.wait(manager),
                lambda: checkpoint.restore(manager, shapes),
            ):
                do()
                times.append((time.perf_counter(), time.process_time()))
            found.append(np.diff(times, axis=0) / size)
    lines = ['| s/GB | the first time | then: median (range) | of cores |', '|---|---|---|---|']
    what = ('until the run goes on', 'behind it', 'to restore')
    for name, first, *later in zip(what, *found, strict=True):
        wall, cores = np.array(later).T
        median = f'{np.median(wall):.1f} ({min(wall):.1f} to {max(wall):.1f})'
        lines.append(f'| {name} | {first[0]:.1f} | {median} | {np.median(cores):.1f} |')
    return '\n'.join([f'{size:.3f} GB', *lines])


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=['collectives', 'host'])
    parser.add_argument('--config', default='cifar10_ddpm')
    parser.add_argument('--dir', help='of prepared data sets')
    parser.add_argument('--name', help='of the data set, if not that of the config')
    parser.add_argument('--channels', type=int, help='of the network, if not those of the config')
    parser.add_argument('--only', help='the mesh whose name contains this')
    args = parser.parse_args()
    config = importlib.import_module(f'configs.{args.config}').get_config()
    config.data.update(dir=args.dir, name=args.name or config.data.name)
    config.net.channels = args.channels or config.net.channels
    config = builders.resolve(config)
    if args.what == 'collectives':
        jax.config.update('jax_num_cpu_devices', max(a * b for a, b in MESHES.values()))
    start = time.process_time()
    experiment = builders.build(config)
    opened = time.process_time() - start
    size = config['train']['batch_size']
    if args.what == 'host':
        n = len(experiment.source.x)
        print(f'{experiment.source.name}: {n / opened:.0f} images a second of a core decoded, once, on opening')
        made = [images_per_second(experiment, size) for _ in range(5)]
        print(
            f'{np.median(made):.0f} ({min(made):.0f} to {max(made):.0f}) images a second of a core in batches of {size}'
        )
        with tempfile.TemporaryDirectory() as folder:
            print(checkpoint_seconds(experiment, Path(folder)))
        print(f'load {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores at the end')
        return
    results = {}
    for name, (data, fsdp) in MESHES.items():
        if (args.only or name) in name:
            results[name] = compile_on(config, experiment, data, fsdp)
            print(table({name: results[name]}), flush=True)  # each takes minutes
    print(table(results))
    params = jax.tree.leaves(jax.eval_shape(experiment.init, jax.random.key(0)))
    fresh = init_state(experiment.init, experiment.tx, experiment.targets)
    print(state_table(jax.eval_shape(fresh, jax.random.key(0))))
    print(estimate(min(r.flops for r in results.values()) / size, sum(a.size for a in params)))


if __name__ == '__main__':
    main()
