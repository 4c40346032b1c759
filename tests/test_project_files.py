"""What stands around the code is well formed, and tells what is there."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORMS = [path for path in sorted((ROOT / '.github' / 'ISSUE_TEMPLATE').glob('*.yml')) if path.stem != 'config']


def test_the_citation_has_what_its_format_asks_for():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['cff-version'] == '1.2.0'
    assert {'message', 'title', 'authors'} <= {*citation}
    assert citation['license'] == 'Apache-2.0'
    assert 'version' not in citation  # the tag has it


@pytest.mark.parametrize('path', FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_its_format_asks_for(path):
    form = yaml.safe_load(path.read_text())
    assert {'name', 'description', 'body'} <= {*form}
    assert all({'type', 'id', 'attributes'} <= {*part} and part['attributes']['label'] for part in form['body'])
    assert len({part['id'] for part in form['body']}) == len(form['body'])


def test_dependencies_are_looked_after():
    (update,) = yaml.safe_load((ROOT / '.github' / 'dependabot.yml').read_text())['updates']
    assert (update['package-ecosystem'], update['directory']) == ('pip', '/')


def test_every_config_is_under_some_terms():
    rows = re.findall(r'^\| (`.*?) \|', (ROOT / 'docs' / 'licences.md').read_text(), re.M)
    starts = [name.rstrip('*') for row in rows for name in re.findall(r'`([a-z0-9_]+\*?)`', row)]
    configs = [p.stem for p in (ROOT / 'configs').glob('*.py') if 'def get_config(' in p.read_text()]
    assert not [name for name in configs if not name.startswith(tuple(starts))]
    assert not [start for start in starts if not any(name.startswith(start) for name in configs)]
