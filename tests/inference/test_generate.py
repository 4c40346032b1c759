"""A sample depends on the key and its index alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import Drawing, batches, generate
from tests import tiny

KEY = jax.random.key(3)


def echo(params, keys, index):
    """The first draw of each key, exact under any batching, beside the index."""
    noise = jax.vmap(lambda k: jax.random.normal(k, (2,)))(keys)
    return jnp.concatenate([noise, index[:, None].astype(noise.dtype)], axis=1)


def drawing(batch_size, devices=1, draw=echo, **more):
    return Drawing(jax.jit(draw), {}, sharding.make_mesh(devices), batch_size, **more)


@pytest.mark.parametrize('devices', [1, 8])
@pytest.mark.parametrize('batch_size', [1, 5, 8, 13, 100])
def test_every_batch_gives_the_same_samples(devices, batch_size):
    x = generate(drawing(batch_size, devices), KEY, 13)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(13))
    np.testing.assert_array_equal(x, echo({}, keys, jnp.arange(13)))
    assert len(np.unique(x[:, :2])) == 26


@pytest.mark.parametrize('first', [4, 9])
def test_going_on_from_any_index(first):
    rest = batches(drawing(3), KEY, 13, first=first)
    whole = generate(drawing(100), KEY, 13)
    np.testing.assert_array_equal(np.concatenate(list(rest)), whole[first:])


def test_progress():
    done = []
    generate(drawing(8, 8), KEY, 20, progress=done.append)
    assert done == [8, 16, 20]


def test_nan_is_refused():
    def diverged(params, keys, index):
        return jnp.where(index[:, None] == 3, jnp.nan, jnp.zeros((len(keys), 2)))

    with pytest.raises(UserError, match=r'^sample 3 holds NaN or infinity: the model diverged$'):
        generate(drawing(8, 8, diverged), KEY, 8)
    assert generate(drawing(8, 8, diverged), KEY, 3).shape == (3, 2)  # the padding may be anything


def test_the_sample_that_diverged_is_looked_at_alone():
    """The sixth of all, the second of its batch, with its own key and index, on four devices."""

    def diverged(params, keys, index):
        return jnp.where(index[:, None] == 5, jnp.inf, jnp.zeros((len(keys), 2)))

    def find(params, keys, index):
        np.testing.assert_array_equal(jax.random.key_data(keys)[0], jax.random.key_data(jax.random.fold_in(KEY, 5)))
        np.testing.assert_array_equal(index, [5])
        return 1.0, 1 / 3

    said = r'^sample 5 holds NaN or infinity that came up in the step from t = 1 to t = 0.3333: the model diverged$'
    with pytest.raises(UserError, match=said):
        generate(drawing(4, 4, diverged, find_non_finite=find), KEY, 14)


@pytest.mark.slow
@pytest.mark.parametrize('sampler', [{'name': 'ancestral'}, {'name': 'ddim', 'eta': 0.5}], ids=['ancestral', 'ddim'])
def test_a_model_on_one_and_eight_devices(sampler):
    config = tiny.points()
    experiment = builders.build(config)
    # The last layer starts at zero, and would hide the network.
    params = jax.tree.map(lambda a: a + 0.1, jax.jit(experiment.init)(jax.random.key(0)))
    draw = builders.build_draw(experiment, {**config['sample'], 'sampler': sampler})
    x = {
        (devices, size): generate(drawing(size, devices, draw)._replace(params=params), KEY, 20)
        for devices, size in [(1, 20), (1, 3), (8, 8)]
    }
    assert np.abs(x[1, 20]).max() > 0.1
    for other in x.values():  # matrix products of other sizes may sum in another order
        np.testing.assert_allclose(other, x[1, 20], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_with_as_many_rows_on_each_device_a_sample_is_the_same_to_the_last_bit(digits_run):
    """Through a U-Net: on any number of devices, with any number of other samples, from any batch on."""
    run = runs.load(digits_run, mesh=sharding.make_mesh(1))
    params = jax.tree.map(lambda a: a + 0.05, run.params)  # the last layer starts at zero, and would hide the network
    draw = runs.sampling(run, run.config['sample']).drawing.draw

    def drawn(devices, num, first=0):
        mesh = sharding.make_mesh(devices)
        on_all = jax.device_put(params, sharding.replicated(mesh))
        at_once = Drawing(draw, on_all, mesh, 4 * devices, whole=True)
        return np.concatenate(list(batches(at_once, KEY, num, first)))

    x = drawn(1, 20)
    assert len(np.unique(x)) > 500
    for other in (drawn(2, 20), drawn(8, 20)):
        np.testing.assert_array_equal(other, x)
    for devices in (1, 2):
        np.testing.assert_array_equal(drawn(devices, 3), x[:3])
    np.testing.assert_array_equal(drawn(2, 20, first=4), x[4:])
