"""What is installed, found, missing or slow here, and why: one line each.

    diffusion-jax doctor                    # or: python -m diffusion_jax.doctor

Every line begins with `ok`, `slow` (works, and could be faster), `missing` (optional, and what it would be for) or
`broken`. Exit code: 0, or 1 where something is broken.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from diffusion_jax import shipped
from diffusion_jax.errors import one_line
from diffusion_jax.home import compile_cache, data_sets

_GB = 2**30
_REQUIRED = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'tensorflow-datasets', 'numpy')
_OPTIONAL = {  # package: (extra, what it is for)
    'libtpu': ('tpu', 'Cloud TPU, and diffusion-jax check'),
    'safetensors': ('convert', 'diffusion-jax convert'),
    'plotly': ('report', 'diffusion-jax report and watch'),
    'optuna': ('tune', 'diffusion-jax tune'),
    'gcsfs': ('gcs', '--workdir=gs://...'),
    'tensorflow-cpu': ('prepare', 'preparing sets by tensorflow-datasets'),
}
_DOWNLOADS = ('pt_inception*.pth', 'weights-inception*.pth', 'dinov2*.pth', 'vgg16*.pth')  # as torch.hub names them
_LITTLE_DISK, _LITTLE_MEMORY = 2 * _GB, 2 * _GB


class Line(NamedTuple):
    """One finding."""

    status: str
    name: str
    what: str


def python() -> Iterator[Line]:
    """The interpreter."""
    yield Line('ok', 'python', f'{platform.python_version()} on {platform.system()} {platform.machine()}')


def versions() -> Iterator[Line]:
    """The packages that all commands need."""
    yield Line('ok', 'diffusion_jax', f'{_version("diffusion_jax") or "not installed"}, {Path(__file__).parent}')
    yield Line('ok', 'configs', f'{len(shipped.config_names())} in {shipped.root()}')
    found = {name: _version(name) for name in _REQUIRED}
    for name in (name for name in _REQUIRED if found[name] is None):
        yield Line('broken', name, "pip install 'diffusion_jax'")
    yield Line('ok', 'packages', ', '.join(f'{name} {version}' for name, version in found.items() if version))


def extras() -> Iterator[Line]:
    """The packages that some commands need."""
    for name, (extra, purpose) in _OPTIONAL.items():
        version = _version(name)
        status = 'missing' if version is None else 'ok'
        yield Line(status, name, version or f"for {purpose}: pip install 'diffusion_jax[{extra}]'")


def devices() -> Iterator[Line]:
    """What JAX computes on, and how fast."""
    import jax
    import jax.numpy as jnp

    found = jax.devices()
    kinds = sorted({d.device_kind for d in found})
    yield Line('ok', 'devices', f'{len(found)} x {", ".join(kinds)} ({jax.default_backend()})')
    if jax.default_backend() == 'cpu':
        yield _why_cpu()
    n, product = 1024, jax.jit(lambda a: a @ a)
    a = jax.block_until_ready(product(jnp.ones((n, n))))
    begin = time.perf_counter()
    jax.block_until_ready(product(a))
    yield Line('ok', 'speed', f'{2 * n**3 / (time.perf_counter() - begin) / 1e9:.0f} GFLOP/s in a float32 product')


def _why_cpu():
    asked = os.environ.get('JAX_PLATFORMS')
    gpu = shutil.which('nvidia-smi') is not None or Path('/dev/nvidia0').exists()
    tpu = any(Path('/dev').glob('accel[0-9]*'))
    if asked:
        return Line('slow', 'accelerator', f'not looked for: JAX_PLATFORMS={asked}')
    if gpu or tpu:
        wanted = f"'diffusion_jax[{'cuda' if gpu else 'tpu'}]'"
        return Line('slow', 'accelerator', f'there is one, and JAX lacks its part: pip install {wanted}')
    return Line('slow', 'accelerator', 'none: digits and MNIST take minutes to hours, CIFAR-10 days')


def caches() -> Iterator[Line]:
    """What is kept in the home folder."""
    cache = compile_cache()
    size, num = _size(cache)
    parent = next(p for p in (cache, *cache.parents) if p.exists())
    if not os.access(parent, os.W_OK):
        yield Line('slow', 'compile cache', f'{cache} cannot be written to: every command compiles anew')
    elif not num:
        yield Line('slow', 'compile cache', f'{cache} is empty: what a command runs first is compiled once')
    else:
        yield Line('ok', 'compile cache', f'{size / _GB:.2f} GB in {cache}')
    for path in sorted((Path.home() / '.cache').glob('diffusion_jax_*')):
        yield Line('ok', path.name.removeprefix('diffusion_jax_'), f'{_size(path)[0] / _GB:.2f} GB kept in {path}')


def data() -> Iterator[Line]:
    """Data sets that tensorflow-datasets prepared."""
    yield Line('ok', 'data', 'digits, scenes, fields, chain and 2-D mixtures need no files')
    folder = data_sets()
    infos = sorted(folder.glob('**/dataset_info.json')) if folder.is_dir() else []
    if not infos:
        yield Line('missing', 'data sets', f'none prepared in {folder}: set TFDS_DATA_DIR, or --config.data.dir=DIR')
    for info in infos:
        name = info.parent.relative_to(folder)
        if any(info.parent.glob('*.array_record*')):
            yield Line('ok', 'data set', f'{name} in {folder}')
        else:
            yield Line('missing', 'data set', f'{name} is no array_record: diffusion-jax convert-data {info.parent}')


def weights() -> Iterator[Line]:
    """Published networks for FID and LPIPS."""
    folder = Path(os.environ.get('TORCH_HOME') or Path.home() / '.cache' / 'torch') / 'hub' / 'checkpoints'
    found = sorted(path for pattern in _DOWNLOADS for path in folder.glob(pattern))
    for path in found:
        yield _checked(path)
    if not found:
        yield Line('missing', 'weights', f'none in {folder}: FID needs --features=inception:path=FILE')


def _checked(path):
    """torch.hub's files end in -HASH.pth, of eight or more digits of their SHA-256."""
    said = re.search(r'-([0-9a-f]{8,})\.pth$', path.name)
    if said is None:
        return Line('ok', 'weights', f'{path}, whose name says no hash')
    with path.open('rb') as file:
        found = hashlib.file_digest(file, 'sha256').hexdigest()[: len(said[1])]
    if found != said[1]:
        return Line('missing', 'weights', f'{path}: its SHA-256 begins with {found}, so download it again')
    return Line('ok', 'weights', f'{path}, of the SHA-256 that its name says')


def cores() -> Iterator[Line]:
    """Cores that this process may use, and whether others use them."""
    num = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    load = os.getloadavg()[0]
    busy = load > num + 0.5
    yield Line('slow' if busy else 'ok', 'cores', f'{num}, load {load:.1f}{": other programs run" if busy else ""}')


def memory() -> Iterator[Line]:
    """What is free, a container's limit counted."""
    total, free = _memory()
    status = 'slow' if free < _LITTLE_MEMORY else 'ok'
    yield Line(status, 'memory', f'{free / _GB:.1f} of {total / _GB:.1f} GB free')


def disk() -> Iterator[Line]:
    """What is free where a command runs, and where its caches are."""
    for place in dict.fromkeys([Path.cwd(), Path.home()]):
        usage = shutil.disk_usage(place)
        little = usage.free < _LITTLE_DISK
        yield Line('slow' if little else 'ok', 'disk', f'{usage.free / _GB:.1f} GB free at {place}')


def git() -> Iterator[Line]:
    """What tells a run's provenance the commit."""
    if shutil.which('git') is None:
        yield Line('missing', 'git', 'provenance.json will name no commit')
        return
    said = subprocess.run(['git', '--version'], capture_output=True, text=True, check=True).stdout.split()
    yield Line('ok', 'git', said[2])


CHECKS: tuple[Callable[[], Iterator[Line]], ...] = (
    *(python, versions, extras, devices, caches, data, weights, cores, memory, disk, git),
)
_MUST = {'python', 'versions', 'devices'}


def findings(checks: tuple[Callable[[], Iterator[Line]], ...] = CHECKS) -> Iterator[Line]:
    """All lines; a check that fails is one of them."""
    for check in checks:
        try:
            yield from check()
        except Exception as error:
            status = 'broken' if check.__name__ in _MUST else 'missing'
            yield Line(status, check.__name__, f'could not be looked at: {type(error).__name__}: {one_line(error)}')


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _size(folder):
    files = [path for path in folder.rglob('*') if path.is_file()] if folder.is_dir() else []
    return sum(path.stat().st_size for path in files), len(files)


def _memory():
    """Bytes in all and free."""
    lines = dict(line.split(':') for line in Path('/proc/meminfo').read_text().splitlines())
    total, free = (int(lines[key].split()[0]) * 1024 for key in ('MemTotal', 'MemAvailable'))
    limit, used = Path('/sys/fs/cgroup/memory.max'), Path('/sys/fs/cgroup/memory.current')
    if limit.exists() and (most := limit.read_text().strip()).isdigit():
        total, free = min(total, int(most)), min(free, int(most) - int(used.read_text()))
    return total, free


def main() -> int:
    """Prints all lines."""
    broken = False
    for status, name, what in findings():
        broken |= status == 'broken'
        print(f'{status:8} {name:18} {what}', flush=True)
    return int(broken)


if __name__ == '__main__':
    sys.exit(main())
