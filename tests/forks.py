"""Runs tests over and over in the tree it is started in, each time in a fork that has the libraries imported already.

`python -m tests.forks` reads a JSON list `[timeout in seconds, node id, ..]` a line and answers each with a line
`[exit status, output]`. Importing the libraries takes longer than most tests.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import time
import warnings

import pytest

PACKAGE = 'diffusion_jax'
SKIPPED = 77  # nothing failed, but nothing passed either
TIMEOUT = -1
# -W: the plugins were imported before, which their asserts do not mind.
OPTIONS = ('-x', '-q', '-p', 'no:cacheprovider', '-n', '0', '-m', '', '-W', 'ignore::pytest.PytestAssertRewriteWarning')


def main() -> None:
    """Answers until the input ends."""
    _import_libraries()
    warnings.filterwarnings('ignore', message='os.fork', category=RuntimeWarning)  # no backend is up before the fork
    for line in sys.stdin:
        timeout, *tests = json.loads(line)
        print(json.dumps(_in_fork(tests, timeout)), flush=True)


def _import_libraries():
    """What the package and its tests import, but neither of them: their files are about to change."""
    modules = ('tests.conftest', 'diffusion_jax.training.run', 'diffusion_jax.inference.runs')
    for name in (*modules, 'scipy.stats', 'scipy.integrate', 'sklearn.datasets', 'sklearn.neighbors', 'beartype'):
        importlib.import_module(name)
    for name in [n for n in sys.modules if n.split('.')[0] in (PACKAGE, 'tests')]:
        del sys.modules[name]


def _in_fork(tests, timeout):
    with tempfile.TemporaryFile('w+') as output:
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            passed = _Passed()
            status = int(pytest.main([*OPTIONS, *tests], plugins=[passed]))
            sys.stdout.flush()
            os._exit(SKIPPED if status == 0 and not passed.count else status)
        status = _wait(pid, timeout)
        output.seek(0)
        return status, output.read()[-20_000:]


def _wait(pid, timeout):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return TIMEOUT


class _Passed:
    count = 0

    def pytest_runtest_logreport(self, report):
        self.count += report.when == 'call' and report.passed


if __name__ == '__main__':
    main()
