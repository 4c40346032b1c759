"""The check of a run on a slice: with libtpu's own compiler where it is installed, else on CPU devices in its stead."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import mnist_dit
from diffusion_jax import builders
from diffusion_jax.data import pipeline
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.training.assemble import assemble
from diffusion_jax.training.step import make_train_step
from experiments.launch import collectives, compiling, hlo, program, report, slices, stand_in
from tests import tiny

CHECK = 'experiments.launch.check'
TOY = ('--config=configs/toy2d.py', '--config.net.width=16', '--config.net.depth=1', '--config.train.batch_size=64')
G = 2**30


@pytest.fixture
def on_cpus(monkeypatch):
    """Four CPU devices instead of the chips of whatever slice."""
    monkeypatch.setattr(compiling, 'devices_of', lambda found: jax.devices()[: found.chips])


def estimate(temporaries=8 * G, rows=64, what='train step', flops=0.0, traffic=0.0, sent=0.0):
    found = program.Figures(flops, 2 * flops, traffic, traffic / 2, program.Unlike(1, 2, 0.5, 'x'), [], 0)
    row = collectives.Row('all-reduce', 8, 3, 1, sent, sent)
    memory = compiling.Memory(4 * G, temporaries, G, G)
    on = slices.find('v5litepod-8')
    fits = memory.total <= on.chip.hbm
    return compiling.Estimate(what, on.name, 8, 1, rows, memory, fits, found, [row], 1, 2, {}, 1.0, {'jax': '1'}), on


def test_slices_have_as_many_chips_as_their_names_say():
    assert [slices.find(n).topology for n in ('v5litepod-256', 'v6e-1', 'v5p-128')] == [
        'v5e:16x16',
        'v6e:1x1',
        'v5p:4x4x4',
    ]
    for name, found in slices.SLICES.items():
        cores = 2 if found.shape.count('x') == 2 else 1
        assert int(name.rpartition('-')[2]) == cores * found.chips
    assert slices.of_place({'name': 'gke', 'accelerator': 'tpu-v6e-slice', 'topology': '4x4'}).name == 'v6e-16'
    assert slices.of_place({'name': 'tpu', 'type': 'v5p-8', 'vm': 'x'}).chips == 4


def test_the_longest_roof_bounds_the_step():
    """A v5e: 197 TFLOP in a second, 819 GB, 200 GB sent."""
    found, on = estimate(flops=19.7e12, traffic=163.8e9, sent=10e9)
    roof = report.roofs(found, on)
    assert [*roof] == pytest.approx([0.1, 0.2, 0.05])
    assert (roof.name, roof.longest, roof.mfu) == ('memory', pytest.approx(0.2), pytest.approx(0.5))
    twice = slices.find('tpu7x-8')
    assert report.roofs(found, twice).compute == pytest.approx(19.7e12 / (2307e12 / 2))


def test_rows_that_would_fit_by_proportion():
    """16 GiB less 4 of arguments, 1 of results and 1 of code leave 10: of 20 for 8 rows a chip, 4 rows."""
    found, on = estimate(temporaries=20 * G)
    assert not found.fits
    said = report.advice(found, on, G, 8)
    assert 'an estimate, 32 rows would: train.batch_size; or change train.accumulate' in said
    assert 'sample.batch_size' in report.advice(found._replace(what='sampling loop'), on, G, 8)
    assert 'not one row a chip' in report.advice(found, on, 12 * G, 8)


def test_memory_is_all_that_lies_there_at_once():
    found, _ = estimate(temporaries=3 * G)
    assert found.memory.total == 9 * G


def test_what_the_compiler_says_of_too_much_memory():
    new = 'RESOURCE_EXHAUSTED: memory required for HLO temporaries (144.00G) exceeds available HBM (15.75G).'
    old = 'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 512.00M of 15.75G hbm.'
    assert (compiling._needed(new), compiling._needed(old)) == (144 * G, G / 2)
    assert compiling._needed('INTERNAL: (144.00G) exceeds') is None


@pytest.mark.slow
def test_a_check_prints_and_keeps_an_estimate(on_cpus, tmp_path, capsys):
    arguments = (*TOY, '--sample', '--on=tpu:type=v5litepod-4', f'--out={tmp_path}')
    assert tiny.call(CHECK, *arguments) == 0
    first = capsys.readouterr().out
    assert 'train step on v5litepod-4 (v5e:2x2, 4 chips): mesh data=4, fsdp=1; 64 rows, 16 a device' in first
    assert first.count('THE ESTIMATES OF A COMPILER') == 2
    kept = {json.loads(path.read_text())['estimate']['what']: path for path in tmp_path.glob('*.json')}
    assert kept.keys() == {'train step', 'sampling loop'}
    saved = json.loads(kept['train step'].read_text())
    saved['estimate']['seconds'] = 1234.0
    kept['train step'].write_text(json.dumps(saved))
    assert tiny.call(CHECK, *arguments) == 0
    assert '1234 s' in capsys.readouterr().out  # read, not compiled again
    assert tiny.call(CHECK, *arguments, '--config.train.batch_size=128') == 0
    assert '128 rows' in capsys.readouterr().out
    assert tiny.call(CHECK, '--table', f'--out={tmp_path}') == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + 4
    assert {line.count('|') for line in table} == {14}
    kept['train step'].write_text('{"estimate": {}}')
    assert 'holds no estimate' in tiny.refusal(capsys, CHECK, '--table', f'--out={tmp_path}')


def test_every_array_of_the_state_is_donated(on_cpus):
    config = tiny.points()
    mesh = compiling.mesh_on({**config, 'mesh': {'data': 8, 'fsdp': 1}}, jax.devices())
    lowered, rows = compiling.train_step(config, builders.build(config), mesh)
    found = compiling.estimate('train step', lowered, rows, mesh, slices.find('v5litepod-8'))
    # Beside the state a step takes a key and the samples.
    assert (found.aliased, rows) == (found.of_arguments - 2, config['train']['batch_size'])


def test_what_does_not_fit_is_refused(on_cpus, tmp_path, capsys, monkeypatch):
    small = slices.find('v5litepod-4').chip._replace(hbm=1000.0)
    monkeypatch.setattr(slices, 'SLICES', {'v5litepod-4': slices.Slice('v5litepod-4', small, '2x2')})
    said = tiny.refusal(capsys, CHECK, *TOY, '--on=tpu:type=v5litepod-4', f'--out={tmp_path}')
    assert said.startswith('toy2d does not fit on v5litepod-4: not one row')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--on=tpu:type=v5litepod-24',), 'there is no slice v5litepod-24: use v5litepod-16 or v5litepod-32'),
        (('--on=tpu:type=v5lightpod-8',), 'there is no slice v5lightpod-8: did you mean v5litepod-8'),
        (('--on=gke:topology=3x3',), 'tpu-v5-lite-podslice has no topology 3x3; it has 1x1, 2x2'),
        (('--on=gke:accelerator=tpu-v5p-slic',), 'there is no accelerator tpu-v5p-slic; did you mean tpu-v5p-slice'),
        (('--on=slurm:gpus=8',), '--on=slurm: only tpu and gke can be checked'),
        (('--on=tpu:type=v5litepod-4', '--config.mesh.fsdp=8'), 'mesh.data=-1, mesh.fsdp=8, but there are 4 devices'),
        (('--on=tpu:type=v5litepod-4', '--config.train.batch_size=63'), 'use 60 or 64'),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, message, on_cpus, capsys, tmp_path):
    assert message in tiny.refusal(capsys, CHECK, *TOY, *arguments, f'--out={tmp_path}')


def test_without_a_config_or_a_compiler(capsys, monkeypatch):
    assert tiny.refusal(capsys, CHECK) == 'set --config'
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r"not installed: pip install -e '\.\[tpu\]' -c constraints\.txt"):
        compiling.devices_of(slices.find('v6e-8'))


def test_a_set_that_is_not_here_is_what_is_registered(monkeypatch, tmp_path):
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    source = stand_in.registered('cifar10', 'label')
    assert (source.kind.shape, source.x.shape, source.condition.parts) == ((32, 32, 3), (1, 32, 32, 3), mnist_classes())
    config = builders.resolve(mnist_dit.get_config('runlocal'))
    assert stand_in.build(config).shape == (28, 28, 1)
    with pytest.raises(UserError, match='nothing'):
        stand_in.build({**config, 'data': {**config['data'], 'name': 'nothing'}})


def mnist_classes():
    return stand_in.registered('mnist', 'label').condition.parts


def on_mesh(fsdp):
    """A tiny transformer's step on eight devices: figures and collectives, and its batch in bytes of activations."""
    config = mnist_dit.get_config('runlocal')
    config.data = {**{k: None for k in config.data}, 'name': 'digits', 'split': 'train'}
    config.net.update(hidden=64, patch=2)
    config.train.update(batch_size=256)
    config.optim.name = 'adam'  # Muon's products are of parameters, and split as these are
    config.mesh.fsdp = fsdp
    config = builders.resolve(config)
    mesh = compiling.mesh_on(config, jax.devices())
    experiment = builders.build(config)
    lowered, rows = compiling.train_step(config, experiment, mesh)
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    num = sum(a.size for a in jax.tree.leaves(shapes))
    return compiling.estimate('train step', lowered, rows, mesh, slices.find('v5litepod-8')), num


@pytest.mark.slow
def test_parameters_are_gathered_and_activations_stay():
    """With fsdp as without, each device works on its own rows: as many products, and sums of gradients alone between.

    A parameter is gathered once for both passes or for each, a gradient reduced: four times their bytes are enough.
    """
    whole, num = on_mesh(1)
    split, _ = on_mesh(8)
    assert whole.figures.flops == pytest.approx(split.figures.flops, rel=0.02)
    assert sum(row.payload for row in whole.collectives) <= 4.1 * num
    assert sum(row.payload for row in split.collectives) <= 4 * 4 * num
    assert {row.kind for row in whole.collectives} == {'all-reduce'}


def test_without_fsdp_nothing_is_gathered():
    """The step is what jit makes of the objective's own loss, to the last letter."""
    config = tiny.points()
    experiment, mesh = builders.build(config), sharding.make_mesh(8)
    parts = assemble(config, experiment, mesh)
    learner = experiment.loss, experiment.tx, experiment.ema, experiment.targets
    shardings = sharding.of_state(mesh, parts.shapes), sharding.replicated(mesh)
    plain = jax.jit(make_train_step(*learner), donate_argnums=0, out_shardings=shardings)
    batch = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), pipeline.batch_at(experiment.source, 0, 8)(0)
    )
    texts = [step.lower(parts.shapes, jax.random.key(0), batch).as_text() for step in (plain, parts.step)]
    assert texts[0] == texts[1]


def test_gathered_arrays_are_whole_and_their_gradients_split():
    mesh = sharding.make_mesh(2, 4)
    a = jax.random.normal(jax.random.key(0), (256, 128))
    split = jax.device_put(a, sharding.of_state(mesh, a))
    x = jax.device_put(jnp.ones((8, 256)), sharding.over_batch(mesh))
    gradient = jax.jit(jax.grad(lambda a: jnp.sum((x @ sharding.gathered(mesh, {'a': a})['a']) ** 2)))(split)
    assert gradient.sharding.is_equivalent_to(sharding.of_state(mesh, a), 2)
    np.testing.assert_allclose(gradient, 2 * x.T @ (x @ a), rtol=1e-4)


needs_libtpu = pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='libtpu is not installed')


@pytest.mark.slow
@needs_libtpu
def test_a_step_for_four_real_chips(tmp_path, capsys):
    """By the compiler that will run there; its products of bfloat16 numbers are 2 m n k."""
    assert tiny.call(CHECK, *TOY, '--on=tpu:type=v5litepod-4', f'--out={tmp_path}') == 0
    said = capsys.readouterr().out
    assert 'fits' in said
    assert 'all-reduce' in said
    devices = compiling.devices_of(slices.find('v5litepod-4'))
    mesh = sharding.make_mesh(-1, 1, devices)
    x = jax.ShapeDtypeStruct((4 * 256, 512), jnp.bfloat16, sharding=sharding.over_batch(mesh))
    w = jax.ShapeDtypeStruct((512, 128), jnp.bfloat16, sharding=sharding.replicated(mesh))
    module = hlo.parse(jax.jit(jnp.matmul).lower(x, w).compile().as_text())
    found = program.figures(module)
    assert (found.flops, found.unlike.count) == (2 * 256 * 512 * 128, 0)
    assert found.traffic == 2 * (256 * 512 + 512 * 128 + 256 * 128)


@needs_libtpu
def test_a_slice_of_one_chip_and_one_that_libtpu_does_not_know():
    assert len(compiling.devices_of(slices.find('v5litepod-1'))) == 1
    assert len(compiling.devices_of(slices.find('tpu7x-8'))) == 8
    config = tiny.points()
    with pytest.raises(UserError, match=r'does not lie on these chips.*; on all of them lie mesh\.fsdp=1, 16, 256$'):
        compiling.mesh_on({**config, 'mesh': {'data': -1, 'fsdp': 8}}, compiling.devices_of(slices.find('v6e-256')))
    unknown = slices.find('v5p-8')._replace(shape='2x3x1')
    with pytest.raises(UserError, match='libtpu knows no slice'):
        compiling.devices_of(unknown)
