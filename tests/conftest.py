"""Settings that every test shares: eight CPU devices, strict broadcasting, a persistent compilation cache."""

import ctypes
import fcntl
import functools
import gc
import os
import pathlib
import shutil
import tempfile
from importlib import metadata

# Three quarters of the suite's time would be compilation. What LLVM and XLA's newer emitters of fused code make better
# is speed alone, and nothing here runs long; programs that tests start have them. An unknown flag ends a process, so
# other releases of jaxlib go without.
os.environ['XLA_FLAGS'] = os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
if metadata.version('jaxlib').startswith(('0.10.', '0.12.')):
    os.environ['XLA_FLAGS'] += ' --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1'
if metadata.version('jaxlib').startswith('0.10.'):
    os.environ['XLA_FLAGS'] += ' --xla_cpu_use_fusion_emitters=false'
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', os.path.join(tempfile.gettempdir(), 'diffusion_jax_test_cache'))

import jax
import pytest
from jax._src.interpreters import mlir
from xdist.scheduler import LoadFileScheduling

jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)

_new_context = mlir.make_ir_context
_context = functools.cache(_new_context)
# JAX makes a context of MLIR, with all dialects, for every program: a quarter of what a small one costs. Here they
# share one, but for those that are made while another one is.
mlir.make_ir_context = lambda: _context() if mlir.ir.Context.current is None else _new_context()


_STATM = pathlib.Path('/proc/self/statm')  # on Linux; elsewhere what was compiled is forgotten after every module
_MOST_PAGES = 1300 * 2**20 // os.sysconf('SC_PAGE_SIZE')


class _Scheduling(LoadFileScheduling):
    """A file's tests go to one worker, so that its fixtures and what it compiles are made once.

    Planted bugs share nothing: their parts, which stand last, go to whichever worker is free.
    """

    def _split_scope(self, nodeid):
        return nodeid if nodeid.startswith('tests/test_mutants.py') else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)  # without the plugin there are no workers
def pytest_xdist_make_scheduler(config, log):
    return _Scheduling(config, log)


@pytest.fixture(autouse=True, scope='module')
def _forgets_what_it_compiled():
    """A worker that kept every compiled function of the suite would grow to five gigabytes.

    To forget them after every module would cost more: small ones that all modules share are traced again each time.
    """
    yield
    if _STATM.exists() and int(_STATM.read_text().split()[1]) < _MOST_PAGES:
        return
    jax.clear_caches()
    _context.cache_clear()  # it keeps the constants of all programs
    gc.collect()
    # The C library keeps what is freed, a hundred megabytes a module, unless it is told to give it back.
    getattr(ctypes.CDLL(None), 'malloc_trim', lambda _: None)(0)


@pytest.fixture
def x64():
    """Float64 for one test: closed forms and orders of convergence need more digits than float32 has."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope='session')
def digits_run(tmp_path_factory):
    """The folder of a tiny trained run on digits, only to be read."""
    from diffusion_jax.training.run import train
    from tests import tiny

    own = tmp_path_factory.getbasetemp()
    shared = own.parent if 'PYTEST_XDIST_WORKER' in os.environ else own  # by the workers of one session
    folder, done = shared / 'digits_once', shared / 'digits_done'
    with (shared / 'digits_lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            train(tiny.digits(), folder)
            done.touch()
    return shutil.copytree(folder, own / 'digits_run')
