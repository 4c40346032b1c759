"""The page of published claims: its links are there, its counts are its rows, its verdicts those of the pages."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / 'docs/results/claims.md'
TEXT = PAGE.read_text()
PAPERS = sorted(path.parent.name for path in ROOT.glob('experiments/papers/*/paper.py'))
VERDICTS = ('holds', 'holds in part', 'does not hold', 'open')


def cells(line):
    return [cell.strip() for cell in line.strip('|').split(' | ')]


# The heading that a row stands under, and its cells: claim, verdict, on what, why, see.
ROWS = [
    (section.partition('\n')[0], cells(line))
    for section in TEXT.split('\n## ')[1:]
    for line in section.splitlines()
    if re.match(r'\| (?!claim )', line)
]


@pytest.mark.parametrize(('heading', 'row'), ROWS, ids=[row[0][:60] for _, row in ROWS])
def test_every_row_has_a_source_a_verdict_and_a_place(heading, row):
    claim, verdict, on, why, see = row
    assert verdict in VERDICTS
    assert re.search(r' \([^()]+\)$', claim), 'where the paper has it'
    assert re.search(r'\d{4}\.\d{5}', heading + claim), 'which paper'
    assert all((on, why))
    assert re.search(r'\[[^]]+\]\([^)]+\)', see)


def test_counts_are_those_of_the_rows():
    (said,) = re.findall(r'\*\*(\d+) claims: (\d+) hold, (\d+) hold in part, (\d+) do not hold, (\d+) are open', TEXT)
    assert [*map(int, said)] == [len(ROWS), *(sum(row[1] == v for _, row in ROWS) for v in VERDICTS)]


def test_every_link_is_there():
    """Files, and in files of tests the function that is named."""
    for name, target in re.findall(r'\[([^]]+)\]\(([^)]+)\)', TEXT):
        path = PAGE.parent / target
        assert path.is_file(), target
        if name.startswith('test_'):
            assert re.search(rf'^def {name}\(', path.read_text(), re.M), (name, target)


def test_every_page_of_results_is_referred_to():
    pages = {path.name for path in PAGE.parent.glob('*.md')} - {PAGE.name}
    assert pages <= set(re.findall(r'\]\((\w+\.md)\)', TEXT))


def judged(name):
    """What a table's page says of its claims: text -> verdicts, one for each sub-sequence where it has two."""
    page = PAGE.parent / f'{name}.md'
    text = page.read_text() if page.exists() else ''
    lines = text.partition('## Does what the paper claims hold here?')[2].splitlines()
    said = {row[0]: row[2] for row in map(cells, lines) if len(row) == 4}
    found: dict[str, list[str]] = {}
    for claim in importlib.import_module(f'experiments.papers.{name}.paper').TABLE.claims:
        text = re.sub('^(quadratic|linear): ', '', claim.text)
        found.setdefault(text, []).append(said.get(claim.text, 'not measured'))
    return found


def joined(verdicts):
    """One verdict for several cases."""
    kinds = {'open' if verdict == 'not measured' else verdict for verdict in verdicts}
    if len(kinds) == 1:
        return kinds.pop()
    return 'holds in part' if 'holds' in kinds else 'does not hold'


@pytest.mark.parametrize('name', PAPERS)
def test_claims_of_tables_are_judged_as_on_their_pages(name):
    """Other data may take a part of it back, and a page may call its runs too short."""
    for text, verdicts in judged(name).items():
        (row,) = [row for _, row in ROWS if row[0].rpartition(' (')[0] == text and name in row[4]]
        _, verdict, _, why, _ = row
        on_page = joined(verdicts)
        elsewhere = verdict == 'holds in part' and on_page == 'holds' and row[4].count('](') > 1
        assert verdict == on_page or elsewhere or (verdict == 'open' and 'too short' in why), (text, verdicts)
