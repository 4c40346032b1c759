"""The edits of the sampling command: which image a variant belongs to, what is kept, and what is written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from diffusion_jax import builders
from diffusion_jax.builders.specs import parse_spec
from diffusion_jax.data import conditions, kinds
from diffusion_jax.data.files import read_mask, read_samples
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.inference import generate as generation
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import Drawing, generate
from diffusion_jax.types import Models
from tests import few_step, tiny

pytestmark = pytest.mark.slow
ROWS = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
HIDDEN = np.zeros((8, 8), np.uint8)
HIDDEN[4:] = 255
IMAGES = ROWS / np.float32(127.5) - 1
TEN = conditions.of_classes(10)
POINTS = np.array([[0.5, -0.3], [0.1, 0.8]], np.float32)


@pytest.fixture
def files(tmp_path):
    """Two images, and a mask whose lower half is white."""
    np.save(tmp_path / 'two.npy', ROWS)
    Image.fromarray(HIDDEN).save(tmp_path / 'mask.png')
    return tmp_path


def edited(folder, files, *arguments):
    given = [f'--workdir={folder}', f'--out={files}/out', '--sampler=ddim', '--steps=2', *arguments]
    assert tiny.call('sample', *given) == 0
    with np.load(files / 'out.npz') as arrays:
        return dict(arrays)


def test_inpainting(digits_run, files):
    out = edited(digits_run, files, '--edit=inpaint', f'--image={files}/two.npy', f'--mask={files}/mask.png', '--num=3')
    assert {name: a.shape for name, a in out.items()} == {
        'samples': (6, 8, 8, 1), 'original': (2, 8, 8, 1), 'given': (2, 8, 8, 1),
    }  # fmt: skip
    np.testing.assert_array_equal(out['original'], ROWS)
    np.testing.assert_array_equal(out['samples'][:, :4], ROWS[:, :4].repeat(3, 0))
    np.testing.assert_array_equal(out['given'][:, :4], ROWS[:, :4])
    assert (out['given'][:, 4:] == 128).all()
    assert len({row[4:].tobytes() for row in out['samples']}) == 6
    with Image.open(files / 'out.png') as picture:
        assert picture.size == (5 * 34, 2 * 34)
    np.save(files / 'mask.npy', HIDDEN)  # without an axis of channels
    again = edited(
        digits_run, files, '--edit=inpaint', f'--image={files}/two.npy', f'--mask={files}/mask.npy', '--num=3'
    )
    np.testing.assert_array_equal(again['samples'], out['samples'])


def test_a_half_done_edit_goes_on_unless_the_image_is_another(digits_run, files, monkeypatch):
    arguments = [
        '--edit=inpaint',
        f'--image={files}/two.npy',
        f'--mask={files}/mask.png',
        '--num=6',
    ]  # batches of eight, of twelve
    whole, begun, batches = edited(digits_run, files, *arguments), [], generation.batches

    def interrupted(*given):
        begun.append(given[3])
        yield next(batches(*given))
        raise KeyboardInterrupt

    (files / 'out.npz').unlink()
    monkeypatch.setattr(generation, 'batches', interrupted)
    given = [f'--workdir={digits_run}', f'--out={files}/out', '--sampler=ddim', '--steps=2', *arguments]
    assert tiny.call('sample', *given) == 130
    np.save(files / 'two.npy', ROWS[::-1])
    assert tiny.call('sample', *given) == 130
    np.save(files / 'two.npy', ROWS)
    assert tiny.call('sample', *given) == 130  # of the other image there was a batch
    assert tiny.call('sample', *given) == 130
    assert begun == [0, 0, 0, 8]  # of twelve, in batches of eight
    monkeypatch.undo()
    out = edited(digits_run, files, *arguments)
    for name, a in whole.items():
        np.testing.assert_array_equal(out[name], a)


def test_where_nan_came_up_in_an_edit(digits_run, files, monkeypatch, capsys):
    """DDIM asks at 1, 0.75, 0.5 and 0.25 of the table; a model that fails from 0.6 down does so at 0.5."""
    load = runs.load

    def with_a_broken_model(folder, which='newest', mesh=None, sigma_rel=None, changes=None):
        run = load(folder, which, mesh)

        def broken(params, cond, key):
            return lambda x, t: jnp.where((t < 0.6)[:, None, None, None], jnp.nan, x)

        return run._replace(experiment=run.experiment._replace(models=Models(denoise=broken)))

    monkeypatch.setattr(runs, 'load', with_a_broken_model)
    given = ['--edit=inpaint', f'--image={files}/two.npy', f'--mask={files}/mask.png', '--num=2', '--sampler=ddim']
    said = tiny.refusal(capsys, 'sample', f'--workdir={digits_run}', f'--out={files}/out', '--steps=4', *given)
    assert (
        said == 'sample 0 holds NaN or infinity that came up in the step from t = 0.5 to t = 0.25: the model diverged'
    )


def gaussian(params, cond, key):
    """The exact model of N(class / 10, 0.09), on VE."""
    mean = 0.0 if cond is None else cond[:, None, None, None] / 10
    return lambda x, t: mean + 0.09 / (0.09 + t[:, None, None, None] ** 2) * (x - mean)


def of_images(edit, images, num=2, condition=None, **spec):
    config = few_step.run('edm')
    experiment = builders.build(config)
    source = experiment.source._replace(kind=kinds.images((8, 8, 1)), condition=condition)
    experiment = experiment._replace(source=source, models=Models(denoise=gaussian))
    return draw(experiment, {**config['sample'], **spec}, edit, images, num, {}, batch_size=3)


def draw(experiment, spec, edit, images, num, params, batch_size):
    job = builders.build_edit(experiment, spec, parse_spec(edit), images, num)
    given, mesh = builders.Given(params, job.rows), sharding.make_mesh(1)
    return generate(Drawing(jax.jit(job.draw), given, mesh, batch_size), jax.random.key(1), len(job.rows[0]))


def test_a_small_image_and_a_large_one_of_which_the_means_count():
    """Both are the same measurement, and `num` variants follow each image."""
    small = IMAGES.reshape(2, 4, 2, 4, 2, 1).mean((2, 4))
    edit = 'super_resolve:factor=2,repeats=2,length=2'
    outs = [of_images(edit, builders.Images(image=x)) for x in (small, IMAGES)]
    np.testing.assert_allclose(*outs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outs[0].reshape(4, 4, 2, 4, 2, 1).mean((2, 4)), small.repeat(2, 0), atol=1e-5)
    once = of_images('super_resolve:factor=2', builders.Images(image=small))
    assert not np.allclose(once, outs[0], atol=0.1)


def test_every_prediction_is_projected():
    """Where the model takes each of two values for the other, the hidden one ends at the known one, at the last t."""
    config = few_step.run('edm')
    experiment = builders.build(config)._replace(
        models=Models(denoise=lambda params, cond, key: lambda x, t: x[:, ::-1])
    )
    spec = {**config['sample'], 'times': {'name': 'karras', 'n': 20}}
    images = builders.Images(image=POINTS, mask=np.array([False, True]))
    out = draw(experiment, spec, 'inpaint', images, 2, {}, batch_size=4)
    np.testing.assert_allclose(out[:, 1], POINTS[:, 0].repeat(2), atol=0.02)


def test_sdedit_of_one_image():
    near = of_images('sdedit:t0=0.01', builders.Images(image=IMAGES[1]))
    np.testing.assert_allclose(near, IMAGES[1:].repeat(2, 0), atol=0.05)
    far = of_images('sdedit:t0=20.0', builders.Images(image=IMAGES[1]))
    assert np.abs(far - IMAGES[1]).mean() > 0.3


def test_interpolation_and_transfer():
    """Encoded and decoded on a fine grid; the exact map between two classes is the difference of their means."""
    fine = {'times': {'name': 'karras', 'n': 100}}
    out = of_images('interpolate', builders.Images(image=IMAGES, image2=IMAGES[::-1]), num=3, **fine)
    np.testing.assert_allclose(out[[0, 2, 3, 5]], IMAGES[[0, 1, 1, 0]], atol=0.1)
    assert np.abs(out[1] - IMAGES[0]).mean() > 0.1
    moved = of_images('transfer:source=2,target=5', builders.Images(image=IMAGES), condition=TEN, **fine)
    np.testing.assert_allclose(moved, IMAGES.repeat(2, 0) + 0.3, atol=0.1)
    with pytest.raises(UserError, match="--edit: target: '10' is no class: there are 0 to 9"):
        of_images('transfer:source=2,target=10', builders.Images(image=IMAGES), condition=TEN)


def drawn(name, edit, images, sampler=None, batch_size=6):
    """From the start of a tiny model on points."""
    config = few_step.run(name)
    experiment = builders.build(config)
    # The last layer starts at zero, and would hide the network.
    params = jax.tree.map(lambda a: a + 0.1, jax.jit(experiment.init)(jax.random.key(0)))
    spec = config['sample'] if sampler is None else {**config['sample'], 'sampler': parse_spec(sampler)}
    return draw(experiment, spec, edit, images, 3, params, batch_size)


@pytest.mark.parametrize(('name', 'sampler'), [('ct', 'renoise'), ('edm', 'edm_churn'), ('mean_flow', 'euler')])
def test_every_kind_of_model(name, sampler):
    images = builders.Images(image=POINTS, mask=np.array([False, True]))
    out = drawn(name, 'inpaint', images, sampler)
    np.testing.assert_array_equal(out[:, 0], POINTS[:, 0].repeat(3))
    assert len(np.unique(out[:, 1])) == 6
    if name == 'ct':
        np.testing.assert_allclose(drawn(name, 'inpaint', images, sampler, batch_size=4), out, rtol=1e-4, atol=1e-5)


REFUSED = [
    ('mean_flow', 'inpaint', '--edit: jump makes no x_0 predictions that could be projected: set --sampler to one of'),
    (
        'ct',
        'interpolate',
        '--edit: encoding an image needs a diffusion model, and this run trained a consistency model',
    ),
    (
        'edm',
        'transfer:source=1,target=2',
        '--edit: transfer leads from one condition to another, and the model is unconditional',
    ),
    ('ct', 'sdedit:t0=0.001', r'--edit: t0 = 0.001 lies below sigma_min = 0.002 of the consistency model'),
    ('edm', 'super_resolve:factor=2', r'--edit: super_resolve: blocks of 2 do not divide samples of shape \(2,\)'),
]


@pytest.mark.parametrize(('name', 'edit', 'message'), REFUSED)
def test_edits_that_a_model_cannot_have(name, edit, message):
    with pytest.raises(UserError, match=message):
        drawn(name, edit, builders.Images(image=POINTS, image2=POINTS, mask=np.array([False, True])))


PICTURES = kinds.images((16, 16, 1))


def test_every_level_of_a_file_comes_back(tmp_path):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / 'x.png')
    x = read_samples(tmp_path / 'x.png', PICTURES)
    assert x.shape == (16, 16, 1)
    np.testing.assert_array_equal(np.round(127.5 * x.astype(np.float64) + 127.5), levels[..., None])
    np.save(tmp_path / 'x.npy', levels > 100)
    np.testing.assert_array_equal(read_samples(tmp_path / 'x.npy', PICTURES), np.where(levels > 100, 1, -1))


@pytest.mark.parametrize('high', [1, 255, True, 1.0, np.float32(1)])
def test_a_mask_hides_the_same_whatever_its_type(tmp_path, high):
    hidden = np.arange(16).reshape(4, 4) % 3 == 0
    np.save(tmp_path / 'mask.npy', hidden * high)
    np.testing.assert_array_equal(read_mask(tmp_path / 'mask.npy'), hidden)
    if high in (1, 255) and high is not True:
        Image.fromarray((hidden * int(high)).astype(np.uint8)).save(tmp_path / 'mask.png')
        np.testing.assert_array_equal(read_mask(tmp_path / 'mask.png')[..., 0], hidden)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (np.array([[0, 256]]), r'needs integers in 0 .. 255; got 0 .. 256'),
        (np.array([[0, 1]]), r'holds the integers 0 and 1 alone: give truth values, or 0 .. 255'),
        (np.array([[0.0, 1.5]]), r'needs integers in 0 .. 255 or floats in \[-1, 1\]'),
        (np.array([[np.nan]]), r'needs integers in 0 .. 255 or floats in \[-1, 1\]'),
        (np.array([['a']]), 'holds <U1, and numbers are needed'),
        (np.array([[1j]]), 'holds complex128, and numbers are needed'),
    ],
)
def test_an_image_without_a_stated_meaning_is_refused(tmp_path, values, message):
    np.save(tmp_path / 'x.npy', values)
    with pytest.raises(UserError, match=message):
        read_samples(tmp_path / 'x.npy', PICTURES)
