"""The site's pages: their code runs, their commands exist, and every module is on a page."""

import contextlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from diffusion_jax import completion, shipped
from diffusion_jax.commands import ALL
from tests import tiny

ROOT = Path(__file__).parents[1]
DOCS = ROOT / 'docs'
PAGES = sorted(DOCS.rglob('*.md'))
OF_MODULES = {command.module: command for command in ALL.values()}
# extending.md is run by its own test; what these pages name are files of the user's.
WITH_CODE = [p for p in PAGES if '```python' in p.read_text() and p.name not in ('extending.md', 'networks.md')]
SLOW = ('first_model', 'samplers')
OF_ABSL = {'help', 'coordinator', 'num_processes', 'process_id', 'heartbeat'}


def blocks(path, language):
    return re.findall(rf'^```{language}\n(.*?)^```', path.read_text(), re.M | re.S)


def commands(path):
    """The command lines of a page as words, continued lines joined."""
    for line in '\n'.join(blocks(path, 'sh')).replace('\\\n', ' ').splitlines():
        with contextlib.suppress(ValueError):  # quotes over several lines
            for part in re.split(r'&&|;', line):
                yield shlex.split(part, comments=True)


def run(path, capsys):
    """Runs the code blocks of a page; returns its variables and what it printed."""
    names: dict = {}
    for code in blocks(path, 'python'):
        exec(code, names)
    return names, capsys.readouterr().out.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize('path', [p for p in WITH_CODE if p.stem not in SLOW], ids=lambda path: path.stem)
def test_the_code_of_a_page_runs(path, capsys):
    names, _ = run(path, capsys)
    if path.stem == 'index':  # one noise, two numbers of steps: the same points
        assert abs(names['few'] - names['many']).mean() < 0.02


@pytest.mark.slow
def test_the_orders_that_the_page_shows(capsys):
    """With twice the steps a quarter of the error; of DDIM half."""
    _, shown = run(DOCS / 'concepts' / 'samplers.md', capsys)
    for line, least, most in zip(shown, (1.7, 3.0, 3.0), (2.5, 6.0, 6.0), strict=True):
        errors = [float(e) for e in re.findall(r'\d+\.\d+', line)]
        assert least < errors[0] / errors[1] < most, line


@pytest.mark.slow
def test_the_first_model(tmp_path, monkeypatch, capsys):
    """Its commands and its code, with a shorter training."""
    monkeypatch.chdir(tmp_path)
    path = DOCS / 'first_model.md'
    for name, given in filter(None, map(named, commands(path))):
        if name == 'train':
            given += ['--config.train.steps=20', '--config.train.sample_every=0']
        if name != 'quickstart':
            assert tiny.call(name, *given) == 0, name
    _, shown = run(path, capsys)
    assert shown[-1].startswith('(64, 2) ')


def named(words):
    """The command, and its flags, of the words of a line; None for other programs."""
    if words[:1] == ['diffusion-jax'] and len(words) > 1 and not words[1].startswith('-'):
        return words[1], words[2:]
    if words[:2] == ['python', '-m'] and words[2].split('.')[0] in ('diffusion_jax', 'experiments'):
        command = OF_MODULES.get(words[2])
        return (command.name, words[3:]) if command else None
    return None


@pytest.mark.parametrize('path', [ROOT / 'README.md', *PAGES], ids=lambda path: path.stem)
def test_the_commands_of_a_page_exist_with_their_flags_and_configs(path):
    for name, words in filter(None, map(named, commands(path))):
        assert name in ALL, (name, words)
        known = {flag.strip('-=') for flag in completion.flags(ALL[name].module)} | OF_ABSL
        for word in (w for w in words if w.startswith('--')):
            flag, _, value = word[2:].partition('=')
            if '.' in flag:
                continue  # a field of a config
            assert flag in known or flag.removeprefix('no') in known, (name, word)
            if (
                flag == 'config'
                and value.partition(':')[0].isidentifier()
                and value.partition(':')[0] not in ('NAME', 'FILE')
            ):
                assert shipped.config(value) != value


def test_every_module_is_on_one_page():
    listed = re.findall(
        r'^::: diffusion_jax\.(\w+)$', '\n'.join(p.read_text() for p in (DOCS / 'api').glob('*.md')), re.M
    )
    parts = {
        path.stem
        for path in (ROOT / 'diffusion_jax').iterdir()
        if path.suffix == '.py' or (path / '__init__.py').exists()
    }
    assert sorted(listed) == sorted(parts - {'__init__'})


def test_every_page_is_in_the_navigation():
    def leaves(node):
        if isinstance(node, str):
            yield node
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from leaves(child)

    nav = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())['nav']
    assert sorted(leaves(nav)) == sorted(str(p.relative_to(DOCS)) for p in PAGES)


def test_the_site_is_built_strictly(tmp_path):
    """Broken links, missing anchors and pages, names that are not there."""
    build = pytest.importorskip('mkdocs.commands.build')
    pytest.importorskip('mkdocstrings')
    from mkdocs.config import load_config

    build.build(load_config(str(ROOT / 'mkdocs.yml'), strict=True, site_dir=str(tmp_path)))
    source = (tmp_path / 'source' / 'tests' / 'test_schedules.py.source' / 'index.html').read_text()
    assert 'test_posterior_is_bayes_rule' in source
    heard = re.findall(r'<audio [^>]*src="([^"]*)"', (tmp_path / 'gallery' / 'index.html').read_text())
    assert len(heard) == 10
    assert all((tmp_path / 'gallery' / address).is_file() for address in heard)
    assert 'source/tests/test_schedules.py.source' in (tmp_path / 'concepts' / 'schedules' / 'index.html').read_text()
