"""Pages that are whole in one file, and say what the folders say."""

import base64
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.pages import comparison, folder, html
from tests import tiny
from tests.pages.test_folder import lines, run


class Page(HTMLParser):
    """Addresses, texts and the data of a page."""

    def __init__(self, text):
        super().__init__()
        self.addresses, self.cells, self.data, self.tags, self._in = [], [], None, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.addresses += [attrs[name] for name in ('src', 'href') if name in attrs]
        self._in = 'data' if attrs.get('type') == 'application/json' else tag

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in == 'data':
            self.data = json.loads(data, parse_constant=lambda name: pytest.fail(f'{name} is no JSON'))
        elif self._in in ('td', 'th', 'dd'):
            self.cells.append(data)


def picture(path, value):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)
    return path.read_bytes()


def measured(n, value):
    return {'values': {'FD': value}, 'protocol': {'n': n}}


@pytest.fixture
def runs(tmp_path):
    """Two runs; the name and a field of the first try to be more than text."""
    log = lines(*({'step': s, 'loss': s / 2, 'grad_norm': 1.0} for s in (1, 2)))
    a = run(tmp_path / '<b>&"', log=log, seed='</script><script>alert(1)</script>')
    b = run(tmp_path / 'b', log=['{"step": 1, "loss": NaN}', '{"step": 2, "loss": 4}'], seed=1)
    (a / 'metrics.json').write_text(json.dumps({'ddim': measured(10, 2.5), 'ddpm': measured(20, 1.0)}))
    (b / 'metrics.json').write_text(json.dumps({'ddim': measured(10, 3.5), 'bits': {'bits/dim': 3.25, 'rows': 7}}))
    return a, b


def test_a_page_needs_no_other_file(runs):
    content = [picture(path / 'samples' / 'x.png', value) for path, value in zip(runs, (0, 255), strict=True)]
    page = Page(comparison.page(folder.read_all(runs), 'both'))
    assert all(address.startswith('data:') for address in page.addresses)
    shown = [base64.b64decode(a.partition('base64,')[2]) for a in page.addresses if a.startswith('data:image/png')]
    assert shown == content


def test_no_text_becomes_part_of_the_page(runs):
    text = comparison.page(folder.read_all(runs), '<i>title')
    page = Page(text)
    assert not {'i', 'b'} & set(page.tags)
    assert 'alert(1)' not in ''.join(re.findall(r'<script>(.*?)</script>', text, re.DOTALL)[-1:])
    assert '</script><script>alert' not in text
    assert '</script><script>alert(1)</script>' in page.cells


def test_curves_are_those_of_the_logs(runs):
    page = Page(comparison.page(folder.read_all(runs), 'both'))
    loss, norm = page.data
    assert (loss['metric'], norm['metric']) == ('loss', 'grad_norm')
    assert [(line['x'], line['y']) for line in loss['runs']] == [([1, 2], [0.5, 1.0]), ([1, 2], [None, 4.0])]
    assert len(norm['runs']) == 1


def test_results_of_different_protocols_are_in_different_tables(runs):
    tables = comparison.measured(folder.read_all(runs))
    assert [(table.protocol, [row[1:] for row in table.rows]) for table in tables] == [
        ({'n': 10}, [('ddim', [2.5]), ('ddim', [3.5])]),
        ({'n': 20}, [('ddpm', [1.0])]),
        ({}, [('bits', [3.25, 7])]),
    ]


def test_pictures_of_one_name_stand_side_by_side(runs):
    for path, names in zip(runs, (('both', 'mine'), ('both', 'other')), strict=True):
        for name in names:
            picture(path / 'samples' / f'{name}.png', 0)
    seen = folder.read_all(runs)
    assert {name: len(media) for name, media in comparison.sheets(seen).items()} == {'both.png': 2}
    assert {*comparison.sheets(seen[:1])} == {'both.png', 'mine.png'}
    (runs[1] / 'samples' / 'both.png').unlink()
    ((name, media),) = comparison.sheets(folder.read_all(runs)).items()
    assert (name, [m.run for m in media]) == ('The newest of each', [s.name for s in seen])


@pytest.mark.parametrize('n', [1, 2000, 2001, 12345])
def test_a_long_curve_is_thinned_and_keeps_its_end(n):
    steps, values = comparison.thinned(folder.Curve([*range(n)], [float(i) for i in range(n)]))
    assert steps[-1] == n - 1
    assert values == [float(s) for s in steps]
    assert n / 7 <= len(steps) <= 2000
    assert len(set(np.diff(steps))) <= 1


def test_a_report_becomes_a_page_with_its_pictures_and_tables(tmp_path):
    content = picture(tmp_path / 'a b.png', 7)
    report = tmp_path / 'report.md'
    report.write_text('# Digits\n\n![all](a%20b.png)\n\n| n | FD |\n|---|---|\n| 1 | 2.5 |\n\n```sh\ntrain <x>\n```\n')
    out = html.beside(report)
    page = Page(out.read_text())
    assert out.name == 'report.html'
    assert [base64.b64decode(a.partition(',')[2]) for a in page.addresses if 'image/png' in a] == [content]
    assert page.cells[-2:] == ['1', '2.5']
    assert '<title>Digits</title>' in out.read_text()
    assert '&lt;x&gt;' in out.read_text()


def test_sounds_and_films_that_a_report_links_to_are_players(tmp_path):
    contents = {name: name.encode() * 9 for name in ('a b.wav', 'c.mp4', 'd.gif')}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    report = tmp_path / 'report.md'
    report.write_text(
        '[one](a%20b.wav), [two](c.mp4) ![moving](d.gif)\n\n[lost](none.wav) [site](https://x.org) [h](#x)\n'
    )
    text = html.of_markdown(report)
    held = [
        base64.b64decode(a.partition(',')[2]) for a in Page(text).addresses if a.startswith('data:') and a != 'data:,'
    ]
    assert held == [*contents.values()]
    assert '<span class="player">one <audio controls src="data:audio/' in text
    assert '<span class="player">two <video controls src="data:video/mp4' in text
    for link in ('<a href="none.wav">lost</a>', '<a href="https://x.org">site</a>', '<a href="#x">h</a>'):
        assert link in text


def test_texts_are_folded_and_stay_texts(tmp_path):
    (tmp_path / 'report.md').write_text('# T\n')
    page = Page(html.of_markdown(tmp_path / 'report.md', folded={'config <1>': '{"a": "<b>"}'}))
    assert page.tags.count('details') == page.tags.count('pre') == 1
    assert 'b' not in page.tags


def test_pictures_that_a_report_does_not_name(tmp_path):
    content = picture(tmp_path / 'more.png', 9)
    (tmp_path / 'report.md').write_text('no title')
    page = Page(html.of_markdown(tmp_path / 'report.md', ['more.png', 'absent.png']))
    assert [base64.b64decode(a.partition(',')[2]) for a in page.addresses if 'image/png' in a] == [content]
    assert len(page.addresses) == 2


def test_the_command_writes_a_page(runs, tmp_path):
    out = tmp_path / 'page.html'
    assert tiny.call('report', *(f'--workdir={path}' for path in runs), f'--out={out}', '--title=T') == 0
    assert Page(out.read_text()).data
    assert tiny.call('report', f'--workdir={runs[1]}') == 0
    assert (runs[1] / 'report.html').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'set --workdir, once for each run, or --markdown'),
        (['--workdir={0}', '--markdown=x'], 'set --workdir, once for each run, or --markdown'),
        (['--workdir={0}', '--workdir={1}'], 'of several runs: set --out, the page to write'),
        (['--workdir={1}', '--workdir={1}', '--out=x'], '{1} is given twice'),
        (['--workdir=nowhere'], 'nowhere holds no run'),
        (['--markdown=nowhere.md'], '--markdown=nowhere.md is no file'),
    ],
)
def test_what_cannot_be_shown(arguments, message, runs, capsys):
    given = [text.format(*runs) for text in arguments]
    assert tiny.refusal(capsys, 'report', *given).startswith(message.format(*runs))


def test_a_report_does_not_replace_itself(tmp_path, capsys):
    (tmp_path / 'r.md').write_text('# r')
    said = tiny.refusal(capsys, 'report', f'--markdown={tmp_path}/r.md', f'--out={tmp_path}/r.md')
    assert 'is the report itself: choose another name' in said


def test_without_plotly_it_says_what_to_install(runs, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'plotly.offline', None)
    said = tiny.refusal(capsys, 'report', f'--workdir={runs[1]}')
    assert said == 'curves need plotly: pip install "diffusion_jax[report]"'
