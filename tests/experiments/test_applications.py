"""All applications by one command: what the page says is what lies on the disk, and nothing is done twice."""

import base64
import importlib
import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
import time
from html import unescape
from pathlib import Path

import pytest
from absl import flags

from configs import moving_digits
from diffusion_jax import cli, shipped
from diffusion_jax.builders import resolve
from diffusion_jax.commands import ALL
from diffusion_jax.workdir import files
from experiments.applications import jobs, page, readings, records
from experiments.applications.application import Application, Asked, Run, in_workdir, measured, of_models, rows_of
from experiments.running import child, tables, user_files
from tests import tiny
from tests.experiments import stub_program

STUB = 'tests.experiments.stub_program'
COMMAND = 'experiments.applications.__main__'
KIND = {'clips': Run('a model', 'moving_digits'), 'clips_cd': Run('another', 'moving_digits_cd', teacher='clips')}


def job(name, out, **more):
    given = {'kind': name.replace(' ', '_'), 'out': str(out), **more}
    return jobs.Job(name, STUB, [f'--{k}={v}' for k, v in given.items()])


def stub(name, **more):
    """An application of one run, which is trained and measured by programs of milliseconds."""
    runs = {name: Run(f'the model of {name}', 'moving_digits')}

    def do(asked):
        train = [] if asked.given else [job('train', asked.workdir(name))]
        return [*train, job('measure', asked.measured(name), of=asked.workdir(name), **more)]

    def read(out, model):
        return readings.of_table(out / 'table.md', model, 'clips', 'real', ['by the law, %'])

    media = measured(runs, 'more.png', '*.gif', '*.wav', '*.txt')
    return Application(
        name, f'Moving {name}!', 'data', 'By a law.', runs, do, rows_of(runs, read), measured(runs, 'table.md'), media
    )


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Calls the command with these applications in the place of the real ones."""
    monkeypatch.setattr(jobs.pool, 'POLL', 0.01)

    def call(applications, *arguments):
        monkeypatch.setattr(records, 'APPLICATIONS', applications)
        return tiny.call(COMMAND, f'--workdir={tmp_path / "all"}', *arguments)

    call.folder = tmp_path / 'all'
    return call


def starts(folder):
    return {str(p.parent.relative_to(folder)): p.read_text().split() for p in sorted(folder.rglob('starts'))}


def cells(html):
    """Rows of the tables of a page as texts."""
    rows = re.findall(r'<tr>(.*?)</tr>', html, re.S)
    rows = [row.replace('\xa0', ' ') for row in rows]
    return [[unescape(re.sub('<.*?>', '', c)) for c in re.findall(r'<t[hd].*?>(.*?)</t[hd]>', r, re.S)] for r in rows]


def held(html, kind):
    """The contents of what a page holds of a kind."""
    return [base64.b64decode(text) for text in re.findall(rf'src="data:{kind};base64,([^"]*)"', html)]


# The page


def test_the_page_holds_what_lies_on_the_disk(made):
    assert made([stub('a'), stub('b', cpu=0.3)]) == 0
    html, out = (made.folder / 'applications.html').read_text(), made.folder / 'b' / 'measured' / 'b'
    shown = cells(html)
    for name in ('a', 'b'):
        row = [name, 'data', 'by the law, %', '99.5 ± 0.5', f'the model of {name}, ddim-50', '50']
        (found,) = (r for r in shown if r[:1] == row[:1])
        assert found[:-1] == [*row, '61.0 ± 3.0']
        assert f'<h2 id="moving-{name}">' in html
        assert f'href="#moving-{name}"' in html
    assert shown.count(['ddim-50', '50', '61.0 ± 3.0']) == 2
    assert 0.3 / 60 <= float(found[-1]) < 3 / 60  # and two starts of Python
    for kind, name in (('image/gif', 'clip.gif'), ('audio/x-wav', 'seven.wav')):
        assert held(html, kind) == 2 * [(out / name).read_bytes()]
    assert held(html, 'image/png') == 2 * [(out / name).read_bytes() for name in ('more.png', 'own.png')]
    assert html.count('<audio controls src="data:') == 2
    assert 'to be &lt;b&gt;or&lt;/b&gt; not' in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert f'python -m {STUB} --kind=measure --out={out}' in html
    assert '**A try**' not in (made.folder / 'applications.md').read_text()


def test_one_that_fails_is_named_and_the_others_go_on(made, capsys):
    assert made([stub('a'), stub('b', fail='yes'), stub('c')]) == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == ['error: 1 of 3 applications failed, see the page: b']
    assert '[2/3] b | this is measure' in said.out.splitlines()
    text, html = ((made.folder / f'applications.{s}').read_text() for s in ('md', 'html'))
    assert '- **b**: measure: there is no such thing\n' in text
    assert [r[4] for r in cells(html)[1:4]] == ['the model of a, ddim-50', 'failed', 'the model of c, ddim-50']
    assert made([stub('a'), stub('b'), stub('c')]) == 0  # mended
    assert 'failed' not in (made.folder / 'applications.md').read_text().lower()
    assert starts(made.folder) == {
        **{f'{name}/{name}': ['train'] for name in 'abc'},
        **{f'{name}/measured/{name}': ['measure'] * n for name, n in zip('abc', (1, 2, 1), strict=True)},
    }


def test_tables_that_cannot_be_read_are_a_failure_of_one(made):
    assert made([stub('a'), stub('b')]) == 0
    (made.folder / 'a' / 'measured' / 'a' / 'table.md').write_text('| clips | n |\n|---|---|\n| x | 1 |\n')
    assert made([stub('a'), stub('b')]) == 2
    text = (made.folder / 'applications.md').read_text()
    assert '- **a**: its tables cannot be read (KeyError: ' in text
    assert '| the model of b, ddim-50 |' in text


def test_a_try_says_so_and_what_waits_has_a_row(made):
    assert made([stub('a'), stub('b', stop='yes')], '--share=0.02') == 143
    text = (made.folder / 'applications.md').read_text()
    assert "**A try**: 0.02 of every training's length" in text
    assert '| [b](#moving-b) | data |  |  | nothing measured yet |' in text


# Nothing twice


def test_what_was_stopped_goes_on_and_nothing_is_done_twice(made):
    applications = [stub('a'), stub('b', stop='yes', cpu=0.4)]
    begun = time.monotonic()
    assert made(applications) == 143
    assert time.monotonic() - begun < stub_program.WAIT
    state = jobs.states(made.folder / 'b')
    assert [(name, s.done, s.error) for name, s in state.items()] == [('train', True, None), ('measure', False, None)]
    assert made(applications) == 0
    once = starts(made.folder)
    assert once['b/measured/b'] == ['measure'] * 2
    assert (once['a/a'], once['b/b'], once['a/measured/a']) == (['train'], ['train'], ['measure'])
    assert 0.4 <= state['measure'].seconds < 0.75 < jobs.states(made.folder / 'b')['measure'].seconds  # both starts
    assert made(applications) == 0
    assert starts(made.folder) == once


def test_another_command_is_done_anew_with_all_that_follows(tmp_path):
    def do(*cpu):
        found = [job(f'job {i}', tmp_path / str(i), cpu=c) for i, c in enumerate(cpu)]
        assert jobs.do(tmp_path, found, lambda line: None) is None
        return [len(names) for names in starts(tmp_path).values()]

    assert do(0, 0, 0) == [1, 1, 1]
    assert do(0, 0.01, 0) == [1, 2, 2]
    assert do(0, 0.01, 0) == [1, 2, 2]


def test_what_is_in_use_is_left_alone(tmp_path, monkeypatch, made):
    monkeypatch.setattr(jobs.locks, 'PATIENCE', 0.2)
    (made.folder / 'a').mkdir(parents=True)
    with jobs._claimed(made.folder / 'a'):
        assert made([stub('a'), stub('b')]) == 2
    assert list(starts(made.folder)) == ['b/b', 'b/measured/b']
    assert f'{made.folder / "a"} is in use by another process' in (made.folder / 'applications.md').read_text()


def test_a_program_ends_with_the_process_that_started_it(tmp_path):
    command = child.command(STUB, ['--kind=x', f'--out={tmp_path}', '--cpu=60'])
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=shipped.root())
    assert started.stdout is not None
    assert started.stdin is not None
    assert started.stdout.readline() == b'this is x\n'
    started.stdin.close()  # as the system does for one that is killed
    assert started.wait(20) == -15
    started.stdout.close()


# Finished runs


def test_a_finished_run_is_measured_and_shown_instead_of_trained(made, tmp_path):
    finished = tmp_path / 'elsewhere'
    finished.mkdir()
    shutil.copy(config_file(tmp_path), finished / 'config.json')
    assert made([stub('a'), stub('b')], f'--run=b={finished}') == 0
    assert list(starts(made.folder)) == ['a/a', 'a/measured/a', 'b/measured/b']
    assert f'--of={finished}' in (made.folder / 'b' / 'jobs.json').read_text()
    assert f'Trained elsewhere (b = {finished})' in (made.folder / 'applications.md').read_text()


def config_file(folder):
    path = folder / 'a config.json'
    path.write_text(json.dumps({'format': 2, **resolve(moving_digits.get_config())}))
    return path


def test_the_folder_of_a_finished_program_is_shown(made, tmp_path):
    runs = {'one': Run('both', 'quickstart')}
    program = Application(
        'one',
        'One',
        'data',
        'By a law.',
        runs,
        lambda asked: [] if asked.given else [job('all', asked.workdir('one'))],
        lambda asked: readings.of_table(asked.workdir('one') / 'table.md', 'm', 'clips', 'real', ['by the law, %']),
        in_workdir('one', 'table.md'),
        in_workdir('one', 'clip.gif'),
        program=True,
    )
    finished = tmp_path / 'elsewhere'
    finished.mkdir()
    assert made([program], f'--run=one={finished}') == 2  # it holds nothing
    stub_program.write(finished)
    assert made([program], f'--run=one={finished}') == 0
    assert held((made.folder / 'applications.html').read_text(), 'image/png') == [(finished / 'own.png').read_bytes()]
    assert starts(tmp_path) == {}


# Commands of the real applications


def taken(j):
    """The configs of a program that takes these arguments, by flag: as `tiny.call`, but that nothing is run."""
    found = importlib.util.find_spec(j.module)
    path = f'{j.module}.__main__' if found is not None and found.submodule_search_locations else j.module
    defined, before = {*flags.FLAGS}, sys.argv
    sys.argv = [path, *j.arguments]
    sys.modules.pop(path, None)
    try:
        importlib.import_module(path)
        cli._parse(sys.argv)
        return {
            name: resolve(flags.FLAGS[name].value)
            for name in ('config', 'distil_config')
            if any(argument.startswith(f'--{name}=') for argument in j.arguments)
        }
    finally:
        sys.argv = before
        for flag in {*flags.FLAGS} - defined:
            delattr(flags.FLAGS, flag)
        flags.FLAGS.unparse_flags()


@pytest.mark.parametrize('application', records.APPLICATIONS, ids=lambda a: a.name)
def test_programs_take_the_commands_of_an_application(application, tmp_path):
    whole, part = (application.jobs(Asked(tmp_path, share, data_dir='DIR')) for share in (1.0, 0.01))
    assert len({j.name for j in whole}) == len(whole)
    assert [j.name for j in whole] == [j.name for j in part]
    assert {j.module for j in whole} <= {command.module for command in ALL.values()}
    for long, short in zip(*([j for j in jobs_ if 'rain' in j.name] for jobs_ in (whole, part)), strict=True):
        configs = {'config': taken(long), 'of a try': taken(short)}
        for name, config in configs['config'].items():
            steps, little = config['train']['steps'], configs['of a try'][name]['train']
            assert little['steps'] == max(1, round(steps / 100))
            assert max(little[f'{k}_every'] for k in ('log', 'save', 'sample')) <= little['steps']
            (file,) = (a.partition('=')[2] for a in long.arguments if a.startswith(f'--{name}='))
            own = resolve(user_files.load_config(file))
            changed = {line.partition(':')[0] for line in files.differences(own, config)}
            if application.name not in (
                'anomaly',
                'augmentation',
            ):  # whose trainings are shorter than those of its configs
                assert changed <= {'init_from', 'data.dir', 'data.condition'}
    for j in (j for j in part if 'rain' not in j.name):
        assert taken(j) == {}
    assert application.rows(Asked(tmp_path)) == application.tables(Asked(tmp_path)) == []


def test_a_share_is_of_steps_and_of_samples(tmp_path):
    (video,) = (a for a in records.APPLICATIONS if a.name == 'video')
    whole, part = ([set(j.arguments) for j in video.jobs(Asked(tmp_path, s))] for s in (1.0, 0.1))
    (config,) = (moving_digits.get_config(),)
    assert not [argument for argument in whole[0] if '.train.' in argument]
    assert f'--config.train.steps={config.train.steps // 10}' in part[0]
    assert f'--config.optim.warmup={config.optim.warmup // 10}' in part[0]
    assert {'--num=200', '--reference=4000', '--judge_steps=300'} < whole[1]
    assert {'--num=20', '--reference=400', '--judge_steps=30'} < part[1]
    assert {'--num=10', '--reference=100', '--judge_steps=1'} < set(video.jobs(Asked(tmp_path, 0.001))[1].arguments)
    assert f'--config.init_from={tmp_path / "video"}' in whole[2]


def test_of_runs_that_are_given_these_alone_are_measured(tmp_path):
    do = of_models(KIND, lambda asked, run: [jobs.Job(f'measure {run}', 'x', [str(asked.workdir(run))])])
    assert [j.name for j in do(Asked(tmp_path))] == [f'{w} {r}' for r in KIND for w in ('train', 'measure')]
    assert do(Asked(tmp_path, given={'clips_cd': Path('/there')})) == [jobs.Job('measure clips_cd', 'x', ['/there'])]


def test_what_needs_a_data_set_is_left_out_with_a_sentence(made, tmp_path):
    needy = stub('b')._replace(needs='fsdd')
    assert made([stub('a'), needy]) == 0
    text = (made.folder / 'applications.md').read_text()
    assert '- **b**: it needs the data set fsdd: set --data_dir' in text
    assert 'Moving b' not in text
    assert made([stub('a'), needy], f'--data_dir={tmp_path}') == 0
    assert 'Moving b' in (made.folder / 'applications.md').read_text()


def test_what_does_not_fit_is_one_line_and_nothing_is_begun(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, 'do', lambda *_: pytest.fail('it was begun'))
    folder = f'--workdir={tmp_path / "all"}'
    for arguments, said in (
        (['--only=vidoe'], "--only: there is no application 'vidoe'; did you mean video?"),
        (['--only='], '--only= names no application: leave it out for all'),
        (['--only=sound'], '--only=sound: it needs the data set fsdd: set --data_dir'),
        (['--share=0'], '--share=0.0 must be in (0, 1]'),
        (['--share=nan'], '--share=nan must be in (0, 1]'),
        (['--share=1.5'], '--share=1.5 must be in (0, 1]'),
        (['--run=video'], '--run=video: the form is NAME=WORKDIR'),
        (['--run=vidoe=x'], "--run=vidoe=x: no application that is made has a run 'vidoe'; did you mean video"),
        (['--only=fields', '--run=video=x'], "--run=video=x: no application that is made has a run 'video'"),
        ([f'--run=video={tmp_path}'], f'{tmp_path} holds no run'),
        ([f'--run=anomaly={tmp_path}'], f'--run=anomaly={tmp_path}: there is no table of a finished run'),
        ([f'--data_dir={tmp_path / "none"}'], f'--data_dir={tmp_path / "none"} is no folder'),
    ):
        assert tiny.refusal(capsys, COMMAND, folder, *arguments).startswith(said), arguments
    (tmp_path / 'config.json').write_text(config_file(tmp_path).read_text())
    twice = [f'--run=video={tmp_path}'] * 2
    assert tiny.refusal(capsys, COMMAND, folder, *twice) == '--run=video is given twice'
    assert not (tmp_path / 'all').exists()


# Tables


def test_tables_are_read_as_they_are_written():
    rows = [['a', '', '1.5 ± 0.5'], ['b', '7', '']]
    text = f'Text.\n\n{tables.markdown(["", "n", "x, %"], rows)}\nMore | text.\n\n| lonely\n\n| k |\n|---|\n| v |\n'
    first, second = tables.read(text)
    assert first == [dict(zip(['', 'n', 'x, %'], row, strict=True)) for row in rows]
    assert second == [{'k': 'v'}]
    assert tables.read('nothing') == []


def test_rows_are_beside_real_data_of_their_own_group(tmp_path):
    (tmp_path / 'table.md').write_text(
        '| pictures | pairs | n | all | network evaluations |\n|---|---|---|---|---|\n'
        '| real | seen | 9 | 100.0 | |\n| real | held out | 9 | 98.0 | |\n| noise | seen | 9 | 3.0 | |\n'
        '| DDIM | seen | 9 | 61.0 | 20 |\n| DDIM | held out | 9 | 52.0 | 20 |\n'
    )
    assert readings.of_table(tmp_path / 'table.md', 'EDM', 'pictures', 'real', ['all'], 'pairs') == [
        ('all, seen', '100.0', 'EDM, DDIM', '20', '61.0'),
        ('all, held out', '98.0', 'EDM, DDIM', '20', '52.0'),
    ]


def test_the_tables_of_other_programs(tmp_path):
    file = tmp_path / 'report.md'
    file.write_text(
        '| | network evaluations | Frechet distance (pixels-64) | diversity |\n| --- | --- | --- | --- |\n'
        '| CM, 1 steps | 1 | 0.8 | 0.9 |\n| CM, 2 steps | 2 | 0.8499 | 0.9849 |\n\nProtocol.\n\n'
        'Floor, of 297 held-out samples: Frechet distance (pixels-64) 0.464, diversity 1.008.\n'
    )
    judge = 'Frechet distance (pixels-64)'
    assert readings.of_quickstart(file, ['2']) == [(judge, '0.464', 'CM, 2 steps', '2', '0.8499')]
    file.write_text(
        '## a class left out\n\n| method | AUROC | halves |\n|---|---|---|\n| PCA | 0.8 | 0.51 |\n| x | 0.7 | 0.5 |\n\n'
        '| AUROC | 0 |\n|---|---|\n| PCA | 0.7 |\n\n## against tiles\n\n| method | AUROC | halves |\n|---|---|---|\n'
        '| PCA | 0.4 | 0.49 |\n'
    )
    assert readings.of_anomaly(file, ['PCA']) == [
        ('AUROC, a class left out', '0.51', 'PCA', '', '0.8'),
        ('AUROC, against tiles', '0.49', 'PCA', '', '0.4'),
    ]
    file.write_text(
        '| trained on | n = 50 | n = 100 | n = 200 |\n|---|---|---|---|\n| real alone | 0.7 | 0.8 | 0.9 |\n'
        '| real, shifted | 0.71 | 0.81 | 0.91 |\n\n| gain | n = 50 |\n|---|---|\n| real, shifted | +1 |\n'
    )
    assert readings.of_augmentation(file, ['real, shifted']) == [
        ('accuracy of a classifier, n = 50', '0.7', 'real, shifted', '', '0.71'),
        ('accuracy of a classifier, n = 200', '0.9', 'real, shifted', '', '0.91'),
    ]
    head = '| sampler | steps | spectrum, largest error | structure function, largest error | CRPS / exact |'
    file.write_text(f'{head}\n|---|---|---|---|---|\n| data |  | 0.01 | 0 | 1.02 |\n| heun | 18 | 0.2 | 0 | 1.1 |\n')
    assert [r[1:] for r in readings.of_fields(file, 'm')] == [
        ('0.01', 'm, heun', '35', '0.2'),
        ('1.02', 'm, heun', '35', '1.1'),
    ]


def test_bits_are_beside_the_entropy_of_the_chain(tmp_path):
    by_chance = 0.1 / 4  # of any letter, beside staying or the next one
    step = -sum(p * math.log2(p) for p in (0.9 * 0.3 + by_chance, 0.9 * 0.7 + by_chance, by_chance, by_chance))
    assert records._entropy() == f'{(2 + 15 * step) / 16:.4f}' == '1.2364'
    file = tmp_path / 'metrics.json'
    file.write_text(
        '{"unmask, 9 samples": {"values": {"FD": 1.0}}, '
        '"bits/dim on chain/n=9,k=2/test, step 3": {"bits/dim": 1.26531, "standard error": 0.0081}}'
    )
    assert readings.of_bits(file, 'm', '1.2364') == [
        ('bits/dim of held-out data, a bound', '1.2364', 'm', '', '1.265 ± 0.0081')
    ]


def test_a_report_becomes_a_part_of_another():
    text = '# A\n\n![x](a.png) [b](c.wav) [site](https://x.org/y) [here](#a)\n## B\n'
    assert page.placed(text, '../my run') == (
        '### A\n\n![x](../my%20run/a.png) [b](../my%20run/c.wav) [site](https://x.org/y) [here](#a)\n#### B\n'
    )


@pytest.mark.slow
def test_a_real_application_trains_is_measured_and_shown(tmp_path, capsys):
    arguments = f'--workdir={tmp_path}', '--only=letters', '--share=0.004'
    assert tiny.call(COMMAND, *arguments) == 0
    text = (tmp_path / 'applications.md').read_text()
    assert re.search(r'\| 1\.2364 \| masked diffusion \|  \| [123]\.\d+ ± 0\.\d+ \| \d', text)
    assert re.search(r'^    [A-D]{16}$', text, re.M)
    files = [*tmp_path.rglob('metrics.json*')]
    stamps = [path.stat().st_mtime_ns for path in files]
    assert tiny.call(COMMAND, *arguments) == 0
    assert [path.stat().st_mtime_ns for path in files] == stamps
    shutil.rmtree(tmp_path / 'letters' / 'measured')
    (tmp_path / 'letters' / 'jobs.json').unlink()  # as of a run that was trained by hand
    assert tiny.call(COMMAND, *arguments) == 0
    assert (tmp_path / 'letters' / 'letters' / 'metrics.jsonl').stat().st_mtime_ns in stamps
    assert 'there is nothing left to train' in capsys.readouterr().out
