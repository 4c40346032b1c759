import subprocess
from pathlib import Path

import pytest

from tests import mutants

SHARE, PARTS = 48, 4


def test_every_bug_can_be_planted():
    assert not mutants.misplaced()
    assert len({m.name for m in mutants.MUTANTS}) == len(mutants.MUTANTS)
    assert all(m.old != m.new for m in mutants.MUTANTS)
    assert all(test.startswith('tests/') for m in mutants.MUTANTS for test in m.tests.split())


@pytest.mark.slow
@pytest.mark.parametrize('part', range(PARTS))
def test_bugs_are_caught(part):
    """About 48 of them, others with every commit: `python -m tests.mutants`, which judges all, takes hours."""
    shares = round(len(mutants.MUTANTS) / SHARE)
    share = mutants.MUTANTS[_commits() % shares :: shares]
    assert not mutants.run(list(share[part::PARTS]), jobs=1)


def _commits():
    """The number of commits that led to this one; 0 where there is no repository."""
    count = ['git', 'rev-list', '--count', 'HEAD']
    done = subprocess.run(count, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else 0
