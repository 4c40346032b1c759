"""What the doctor finds is what is there, and nothing optional ends it."""

import os
from importlib import metadata

import jax
import pytest

from diffusion_jax import doctor


def lines(check):
    return {line.name: line for line in check()}


def test_every_line_is_one_line_and_nothing_is_broken_here(capsys):
    assert doctor.main() == 0
    shown = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in shown} <= {'ok', 'slow', 'missing'}
    for name in ('python', 'packages', 'libtpu', 'devices', 'compile cache', 'data', 'cores', 'memory', 'disk', 'git'):
        assert any(line[9:].startswith(name) for line in shown), name


def test_nothing_optional_ends_it(monkeypatch, capsys):
    def weights():
        yield doctor.Line('ok', 'weights', 'one')
        raise PermissionError(13, 'Permission denied:\nx')

    def devices():
        raise RuntimeError('no backend')
        yield

    found = [*doctor.findings((weights, doctor.python))]
    assert [line.status for line in found] == ['ok', 'missing', 'ok']
    assert 'PermissionError: [Errno 13] Permission denied: x' in found[1].what
    assert [line.status for line in doctor.findings((devices,))] == ['broken']
    monkeypatch.setattr(doctor, 'findings', lambda: iter(found))
    assert doctor.main() == 0
    monkeypatch.setattr(doctor, 'findings', lambda: doctor_findings((devices, weights)))
    assert doctor.main() == 1
    assert 'weights' in capsys.readouterr().out


doctor_findings = doctor.findings


def test_a_package_that_is_not_there_is_broken_or_missing(monkeypatch):
    known = metadata.version

    def version(name):
        if name in ('flax', 'optuna'):
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, 'version', version)
    assert lines(doctor.versions)['flax'].status == 'broken'
    assert f'jax {jax.__version__}' in lines(doctor.versions)['packages'].what
    tune = lines(doctor.extras)['optuna']
    assert tune.status == 'missing'
    assert tune.what == "for diffusion-jax tune: pip install 'diffusion_jax[tune]'"


def test_devices_are_those_of_jax(monkeypatch, tmp_path):
    found = lines(doctor.devices)
    assert found['devices'].what == f'{len(jax.devices())} x cpu (cpu)'
    assert found['accelerator'] == ('slow', 'accelerator', 'not looked for: JAX_PLATFORMS=cpu')
    assert 0.1 < float(found['speed'].what.split()[0]) < 1e6
    monkeypatch.delenv('JAX_PLATFORMS')
    (tmp_path / 'nvidia-smi').touch(0o755)
    monkeypatch.setenv('PATH', str(tmp_path))
    assert "pip install 'diffusion_jax[cuda]'" in lines(doctor.devices)['accelerator'].what


def test_data_sets_are_found_with_their_form(monkeypatch, tmp_path):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'none'))
    assert lines(doctor.data)['data sets'].status == 'missing'
    for name, file in (('mnist/3.0.1', 'mnist-train.array_record-00000-of-00001'), ('old/1.0.0', 'x.tfrecord-0')):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / 'dataset_info.json').touch()
        (folder / file).touch()
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    _, ready, old = doctor.data()
    assert ready == ('ok', 'data set', f'mnist/3.0.1 in {tmp_path}')
    assert old == (
        'missing',
        'data set',
        f'old/1.0.0 is no array_record: diffusion-jax convert-data {tmp_path}/old/1.0.0',
    )


def test_weights_are_found_where_torch_hub_puts_them(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    assert lines(doctor.weights)['weights'].status == 'missing'
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    # The SHA-256 of the empty file is e3b0c442...
    for name in ('pt_inception-2015-12-05-e3b0c442', 'vgg16-397923af', 'dinov2_vits14_pretrain', 'other'):
        (folder / f'{name}.pth').touch()
    assert sorted(line[::2] for line in doctor.weights()) == [
        ('missing', f'{folder}/vgg16-397923af.pth: its SHA-256 begins with e3b0c442, so download it again'),
        ('ok', f'{folder}/dinov2_vits14_pretrain.pth, whose name says no hash'),
        ('ok', f'{folder}/pt_inception-2015-12-05-e3b0c442.pth, of the SHA-256 that its name says'),
    ]


def test_the_compile_cache_is_the_one_that_commands_use(monkeypatch, tmp_path):
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path / 'cache'))
    assert lines(doctor.caches)['compile cache'].status == 'slow'
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / 'program').write_bytes(bytes(2**29))
    assert lines(doctor.caches)['compile cache'] == ('ok', 'compile cache', f'0.50 GB in {tmp_path / "cache"}')


def test_a_busy_or_full_machine_is_called_slow(monkeypatch):
    num = len(os.sched_getaffinity(0))
    for load, status in ((0.0, 'ok'), (num + 2.0, 'slow')):
        monkeypatch.setattr(os, 'getloadavg', lambda load=load: (load, 0.0, 0.0))
        assert lines(doctor.cores)['cores'][:2] == (status, 'cores')
    for free, status in ((2**33, 'ok'), (2**30, 'slow')):
        monkeypatch.setattr(doctor, '_memory', lambda free=free: (2**34, free))
        assert lines(doctor.memory)['memory'] == (status, 'memory', f'{free / 2**30:.1f} of 16.0 GB free')
        monkeypatch.setattr(
            doctor.shutil, 'disk_usage', lambda _, free=free: doctor.shutil._ntuple_diskusage(2**40, 0, free)
        )
        assert {line.status for line in doctor.disk()} == {status}


def test_memory_is_what_the_system_says():
    total, free = doctor._memory()
    assert 0 < free <= total <= os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.parametrize('there', [True, False])
def test_git_is_looked_for(there, monkeypatch):
    if not there:
        monkeypatch.setenv('PATH', '')
    assert lines(doctor.git)['git'].status == ('ok' if there else 'missing')
