import pytest

from tests import mutants


def test_every_bug_can_be_planted():
    assert not mutants.misplaced()
    assert len({m.name for m in mutants.MUTANTS}) == len(mutants.MUTANTS)
    assert all(m.old != m.new for m in mutants.MUTANTS)
    assert all(test.startswith('tests/') for m in mutants.MUTANTS for test in m.tests.split())


@pytest.mark.slow
def test_every_bug_is_caught():
    assert not mutants.run(list(mutants.MUTANTS), jobs=2)
