"""The one entry point: every program is a command of it, and it costs no more than the program itself."""

import ast
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from configs import toy2d
from diffusion_jax import __main__ as entry
from diffusion_jax import builders, cli, completion, shipped
from diffusion_jax.commands import ALL, GROUPS
from diffusion_jax.training import run
from tests import tiny

ROOT = Path(__file__).parents[1]
NO_COMMANDS = {'diffusion_jax', 'experiments.benchmarks'}  # the entry point itself; for who works on this package


def programs():
    """The modules that run when they are given to `python -m`."""
    for path in (*(ROOT / 'diffusion_jax').rglob('*.py'), *(ROOT / 'experiments').rglob('*.py')):
        if "if __name__ == '__main__':" in path.read_text():
            yield '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__main__')


def test_every_program_is_a_command_and_every_command_a_program():
    found = {p for p in programs() if not any(p == n or p.startswith(f'{n}.') for n in NO_COMMANDS - {'diffusion_jax'})}
    assert {command.module for command in ALL.values()} == found - NO_COMMANDS
    assert sum(map(len, GROUPS.values())) == len(ALL)


@pytest.mark.parametrize('name', ALL)
def test_a_command_says_what_it_is_for(name):
    doc = ast.get_docstring(ast.parse(completion.source(ALL[name].module).read_text()))
    assert doc
    assert f'-m {ALL[name].module} ' in doc or f'diffusion-jax {name}' in doc or f'-m {ALL[name].module}`' in doc


def test_the_help_names_every_command_on_one_screen(capsys):
    entry.main(['--help'])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) <= 50
    assert max(map(len, shown)) <= 80
    assert {line.split()[0] for line in shown if line.startswith('  ')} == {*ALL}
    entry.main([])
    assert capsys.readouterr().out.splitlines() == shown


@pytest.mark.parametrize(
    'arguments', [['--help'], ['--version'], ['completion', '--line=diffusion-jax sample --'], ['x']]
)
def test_what_runs_nothing_imports_no_jax(arguments):
    code = f"""import atexit, sys
atexit.register(lambda: print('imported', *({{'jax', 'numpy', 'absl'}} & {{*sys.modules}}), file=sys.stderr))
from diffusion_jax.__main__ import main
main({arguments})"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == 'imported'


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        ('trian', "error: 'trian' is no command; did you mean train? See diffusion-jax --help."),
        ('search', "error: 'search' is no command; did you mean search-ema or search-grid or search-times? See"),
        ('--workdir=x', "error: '--workdir=x' is no command; known: anomaly, augmentation,"),
    ],
)
def test_an_unknown_command_is_one_line_with_the_nearest(given, said, capsys):
    with pytest.raises(SystemExit, match='2'):
        entry.main([given])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)


@pytest.mark.parametrize('name', ['search-grid', 'search_grid'])
def test_a_command_is_run_as_python_m_runs_its_module(name, monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(runpy, 'run_module', lambda *args, **kwargs: ran.append((args, kwargs, sys.argv[1:], sys.path)))
    monkeypatch.setattr(sys, 'argv', ['diffusion-jax', name])
    monkeypatch.setattr(sys, 'path', ['/elsewhere'])
    monkeypatch.chdir(tmp_path)
    entry.main([name, '--workdir=runs/x', '--steps=8'])
    ((args, kwargs, argv, path),) = ran
    assert args == ('experiments.search_grid',)
    assert kwargs == {'run_name': '__main__', 'alter_sys': True}
    assert argv == ['--workdir=runs/x', '--steps=8']
    assert path == [str(ROOT), str(tmp_path), '/elsewhere']  # ours first: a folder `experiments` here hides nothing


def test_it_is_installed_and_ends_as_its_program_does(tmp_path):
    script = Path(sys.executable).with_name('diffusion-jax')
    for command in ([script], [sys.executable, '-m', 'diffusion_jax']):
        done = subprocess.run(
            [*command, 'completion', 'bas'], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 2
        assert done.stderr == "error: no completion for 'bas'; did you mean bash?\n"


# Configs by name


@pytest.fixture
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures('_elsewhere')
def test_a_config_is_found_by_name_and_by_path_from_any_folder():
    file = str(ROOT / 'configs' / 'toy2d.py')
    assert shipped.config('toy2d') == file
    assert shipped.config('toy2d:runlocal') == f'{file}:runlocal'
    assert shipped.config('configs/toy2d.py:') == f'{file}:'
    assert shipped.config(file) == file
    assert shipped.file('runs/toy2d.py') == 'runs/toy2d.py'
    assert {'toy2d', 'digits_edm'} < {*shipped.config_names()}
    assert not {'common', 'methods', '__init__'} & {*shipped.config_names()}


@pytest.mark.usefixtures('_elsewhere')
def test_a_file_of_ones_own_comes_first():
    Path('configs').mkdir()
    for name in ('configs/toy2d.py', 'toy2d'):
        Path(name).touch()
        assert shipped.config(name) == name
        assert shipped.file(name) == name


@pytest.mark.usefixtures('_elsewhere')
@pytest.mark.parametrize('flag', [['--config=toy2d:runlocal'], ['--config', 'toy2d:runlocal']])
def test_a_named_config_is_that_of_the_run(flag, monkeypatch):
    monkeypatch.setattr(run, 'train', lambda config, *_: trained.append(config))
    trained = []
    assert tiny.call('train', *flag, '--config.optim.lr=0.5', '--config.net=DiT:depth=6', '--workdir=run') == 0
    expected = toy2d.get_config('runlocal')
    expected.optim.lr, expected.net = 0.5, {'name': 'DiT', 'depth': 6}
    assert trained == [builders.resolve(expected)]


@pytest.mark.usefixtures('_elsewhere')
def test_an_unknown_config_is_one_line_with_the_nearest(capsys):
    said = tiny.refusal(capsys, 'train', '--config=digits_dme', '--workdir=run')
    assert said.startswith('there is no config file digits_dme; did you mean digits_')
    for path in ('configs/nope.py', './nope'):
        assert tiny.refusal(capsys, 'train', f'--config={path}') == f'there is no config file {path}. See --help.'
    assert 'no config file nope' in tiny.refusal(capsys, 'experiments.quickstart', '--distil_config=nope:x')


def test_other_folders_of_the_name_are_parts_of_the_same_package(tmp_path):
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / '__init__.py').touch()
    (tmp_path / 'configs' / 'mine.py').write_text('from configs import toy2d\nget_config = toy2d.get_config\n')
    code = """from diffusion_jax import shipped
shipped.reachable()
from configs import mine, quickstart
print(mine.get_config().data.name, quickstart.__file__)"""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ['mixture', str(ROOT / 'configs' / 'quickstart.py')], done.stderr


# Completion


@pytest.mark.parametrize(
    ('line', 'known'),
    [
        ('diffusion-jax tr', ['train']),
        ('diffusion-jax search', ['search-grid', 'search-times', 'search-ema']),
        ('diffusion-jax train --work', ['--workdir=']),
        ('diffusion-jax search_grid --mod', ['--model_times']),
        ('diffusion-jax train --config=digits_e', ['--config=digits_ect', '--config=digits_edm']),
        (
            'diffusion-jax quickstart --distil_config=quick',
            ['--distil_config=quickstart', '--distil_config=quickstart_cd'],
        ),
        ('diffusion-jax papers edm', ['edm_table2']),
        ('diffusion-jax completion ', ['bash', 'zsh', 'fish']),
        ('diffusion-jax train --workdir=ru', []),
        ('diffusion-jax nothing ', []),
    ],
)
def test_what_a_line_may_become(line, known):
    assert completion.candidates(line) == known


@pytest.mark.parametrize('name', ['sample', 'evaluate', 'convert', 'papers', 'quickstart'])
def test_the_flags_are_those_that_absl_knows(name, monkeypatch):
    module = ALL[name].module + ('.__main__' if name == 'papers' else '')
    found = []

    def look(argv):
        found.extend(flags.FLAGS.flags_by_module_dict()[module])
        raise SystemExit(0)

    monkeypatch.setattr(cli, '_parse', look)
    assert tiny.call(module) == 0
    assert completion.flags(ALL[name].module) == sorted(f'--{f.name}' + '=' * (not f.boolean) for f in found)


@pytest.fixture
def path_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.setenv('HOME', str(tmp_path))


@pytest.mark.usefixtures('path_with_it')
@pytest.mark.parametrize(
    ('line', 'words', 'replies'),
    [
        ('diffusion-jax swee', 'diffusion-jax swee', ['sweep']),
        ('diffusion-jax train --config=digits_ed', 'diffusion-jax train --config = digits_ed', ['digits_edm']),
        (
            'diffusion-jax train --config=digits_edm --work',
            'diffusion-jax train --config = digits_edm --work',
            ['--workdir='],
        ),
    ],
    ids=['command', 'value', 'flag'],
)
def test_bash_completes(line, words, replies):
    code = f"""eval "$(diffusion-jax completion bash)"
COMP_LINE='{line}'; COMP_POINT={len(line)}
COMP_WORDS=({words}); COMP_CWORD={len(words.split()) - 1}
compopt() {{ :; }}
_diffusion_jax; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(['bash', '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == replies, done.stderr


def test_completion_of_another_shell(capsys):
    assert completion.main(['fsh']) == 2
    assert capsys.readouterr().err == "error: no completion for 'fsh'; did you mean fish or zsh or bash?\n"
