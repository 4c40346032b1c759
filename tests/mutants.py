"""Plants realistic bugs one at a time and runs the tests that should notice: `python -m tests.mutants [--only NAME]`.

A test that passes with the bug it is there for is worth nothing; this measures it. A new component adds its rows here.
"""

import argparse
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.forks import PACKAGE, SKIPPED, TIMEOUT
from tests.planted import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
TREE = (PACKAGE, 'configs', 'experiments', 'notebooks', 'tests', 'pyproject.toml')


def misplaced(root: Path = ROOT) -> list[str]:
    """The mutants whose old text does not occur exactly once, with the number of times that it does."""
    counts = [(m, (root / PACKAGE / m.file).read_text().count(m.old)) for m in MUTANTS]
    return [f'{m.name}: {m.old!r} occurs {n} times in {m.file}' for m, n in counts if n != 1]


def copy_tree(to: Path) -> Path:
    to.mkdir()
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, to / name)
    return to


class Judge:
    """A copy of the tree, and a process in it that runs tests."""

    def __init__(self, tree: Path):
        self.tree = copy_tree(tree)
        # Byte code is trusted by size and second of change: a planted bug may share both with the original.
        env = os.environ | {'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONPATH': str(tree)}
        command = [sys.executable, '-m', 'tests.forks']
        self._forks = subprocess.Popen(
            command, cwd=tree, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        self._forks.communicate()

    def test(self, tests: list[str], timeout: float) -> tuple[int, str]:
        """Exit status and output of the tests."""
        assert self._forks.stdin is not None
        assert self._forks.stdout is not None
        self._forks.stdin.write(json.dumps([timeout, *tests]) + '\n')
        self._forks.stdin.flush()
        status, output = json.loads(self._forks.stdout.readline())
        return status, output

    def verdict(self, mutant: Mutant) -> str:
        """'caught', 'MISSED', 'skipped' (no test of it runs here), or what else went wrong, which is not caught."""
        file = self.tree / PACKAGE / mutant.file
        original = file.read_text()
        file.write_text(original.replace(mutant.old, mutant.new))
        try:
            status, output = self.test(mutant.tests.split(), timeout=300)
        finally:
            file.write_text(original)
        known = {0: 'MISSED', 1: 'caught', SKIPPED: 'skipped', TIMEOUT: 'BROKEN (no answer in 300 s)'}
        last = output.strip().splitlines()[-1] if output.strip() else ''
        return known.get(status, f'BROKEN (pytest exit {status}): {last}')


def run(mutants: list[Mutant], jobs: int) -> list[str]:
    """Judges all, printing each; returns the names of those not caught.

    Those whose tests are all skipped for want of a library (the extra `oracle`) are counted apart.
    """
    start = time.time()
    verdicts: dict[str, str] = {}
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(jobs) as pool:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        judges: queue.Queue[Judge] = queue.Queue()
        for i in range(jobs):
            judges.put(stack.enter_context(contextlib.closing(Judge(folder / f'tree_{i}'))))

        def with_judge(use):
            judge = judges.get()
            try:
                return use(judge)
            finally:
                judges.put(judge)

        nodes = sorted({test for m in mutants for test in m.tests.split()})
        shares = [nodes[i::jobs] for i in range(jobs) if nodes[i::jobs]]
        for status, output in pool.map(lambda tests: with_judge(lambda judge: judge.test(tests, 1800)), shares):
            if status not in (0, SKIPPED):
                print(output)
                return ['the tests fail without any bug']
        print(f'{len(nodes)} tests pass without any bug ({time.time() - start:.0f} s)', flush=True)

        def one(mutant):
            begin = time.time()
            verdicts[mutant.name] = with_judge(lambda judge: judge.verdict(mutant))
            print(f'{verdicts[mutant.name]:8} {time.time() - begin:5.1f} s  {mutant.name}', flush=True)

        list(pool.map(one, mutants))
    caught = sum(v == 'caught' for v in verdicts.values())
    skipped = sum(v == 'skipped' for v in verdicts.values())
    print(f'{caught} of {len(mutants)} caught, {skipped} without a library ({time.time() - start:.0f} s)')
    return [name for name, verdict in verdicts.items() if verdict not in ('caught', 'skipped')]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', help='run the mutants whose name contains this')
    parser.add_argument('--jobs', type=int, default=2, help='mutants at a time')
    args = parser.parse_args(argv)
    if errors := misplaced():
        print('\n'.join(errors))
        return 2
    mutants = [m for m in MUTANTS if not args.only or args.only in m.name]
    if not mutants:
        print(f'no mutant is called {args.only!r}')
        return 2
    return 1 if run(mutants, args.jobs) else 0


if __name__ == '__main__':
    sys.exit(main())
