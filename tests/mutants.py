"""Plants realistic bugs one at a time and runs the tests that should notice: `python -m tests.mutants [--only NAME]`.

A test that passes with the bug it is there for is worth nothing; this measures it. A new component adds its rows here.
"""

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.planted import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
PACKAGE = 'diffusion_jax'
TREE = (PACKAGE, 'configs', 'experiments', 'tests', 'pyproject.toml')


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


def pytest(tree: Path, tests: list[str], timeout: float) -> tuple[int, str]:
    """Exit status and output of the tests in a tree."""
    # Byte code is trusted by size and second of change: a planted bug may share both with the original.
    env = os.environ | {'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONPATH': str(tree)}
    command = [sys.executable, '-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider', '-n', '0', '-m', '', *tests]
    try:
        run = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return -1, f'no answer in {timeout:.0f} s'
    return run.returncode, run.stdout + run.stderr


def judge(tree: Path, mutant: Mutant) -> str:
    """'caught', 'MISSED', or what else went wrong (a bug that no test gets to run is not caught)."""
    file = tree / PACKAGE / mutant.file
    original = file.read_text()
    file.write_text(original.replace(mutant.old, mutant.new))
    try:
        status, output = pytest(tree, mutant.tests.split(), timeout=300)
    finally:
        file.write_text(original)
    if status in (0, 1):
        return 'MISSED' if status == 0 else 'caught'
    return f'BROKEN (pytest exit {status}): {output.strip().splitlines()[-1] if output.strip() else ""}'


def run(mutants: list[Mutant], jobs: int) -> list[str]:
    """Judges all, printing each; returns the names of those not caught."""
    trees: queue.Queue[Path] = queue.Queue()
    failures = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        for i in range(jobs):
            trees.put(copy_tree(Path(folder) / f'tree_{i}'))
        start = time.time()
        nodes = sorted({test for m in mutants for test in m.tests.split()})
        share = [nodes[i::jobs] for i in range(jobs) if nodes[i::jobs]]
        for status, output in pool.map(lambda tests: with_tree(trees, lambda t: pytest(t, tests, 900)), share):
            if status:
                print(output)
                return ['the tests fail without any bug']
        print(f'{len(nodes)} tests pass without any bug ({time.time() - start:.0f} s)', flush=True)

        def one(mutant):
            begin = time.time()
            verdict = with_tree(trees, lambda tree: judge(tree, mutant))
            return mutant, verdict, time.time() - begin

        for mutant, verdict, seconds in pool.map(one, mutants):
            print(f'{verdict:8} {seconds:5.1f} s  {mutant.name}', flush=True)
            if verdict != 'caught':
                failures.append(mutant.name)
        print(f'{len(mutants) - len(failures)} of {len(mutants)} caught ({time.time() - start:.0f} s)')
    return failures


def with_tree(trees, use):
    tree = trees.get()
    try:
        return use(tree)
    finally:
        trees.put(tree)


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
