"""The page of deviations: every row has a size, how it is known, and a place that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in (ROOT / 'docs/deviations.md').read_text().splitlines()
    if re.match(r'\| (?!what |---)', line)
]


@pytest.mark.parametrize('row', ROWS, ids=[row[0] for row in ROWS])
def test_every_row_has_a_size_and_a_place(row):
    what, theirs, ours, size, place = row
    assert all((what, theirs, ours))
    assert '(d' in size or '(m' in size
    file, name = place.strip('`').split('::')
    assert re.search(rf'^(def|class) {name}\b', (ROOT / 'diffusion_jax' / file).read_text(), re.M), place
    for test in re.findall(r'\bm, (test_\w+)\)', size):
        assert [*(ROOT / 'tests').rglob(f'{test}.py')], test


def test_what_docstrings_call_different_is_on_the_page():
    """Files whose docstrings tell of a released code's other choice, beside those that only quote one."""
    telling = re.compile(
        r'(where|unlike|there) [^.]*(released|diffusers)|in diffusers|The norms are|There the first', re.I
    )
    files = {
        str(f.relative_to(ROOT / 'diffusion_jax'))
        for part in ('samplers', 'times', 'editing')
        for f in (ROOT / 'diffusion_jax' / part).glob('*.py')
        if telling.search(f.read_text())
    }
    assert files <= {row[-1].strip('`').split('::')[0] for row in ROWS}
