"""A sample depends on the key and its index alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.devices import sharding
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.inference.generate import batches, generate
from tests import tiny

KEY = jax.random.key(3)


def echo(params, keys, cond):
    """The first draw of each key, exact under any batching, beside the class."""
    noise = jax.vmap(lambda k: jax.random.normal(k, (2,)))(keys)
    return noise if cond is None else jnp.concatenate([noise, cond[:, None].astype(noise.dtype)], axis=1)


@pytest.mark.parametrize('devices', [1, 8])
@pytest.mark.parametrize('batch_size', [1, 5, 8, 13, 100])
def test_every_batch_gives_the_same_samples(devices, batch_size):
    x = generate(jax.jit(echo), {}, KEY, 13, batch_size, sharding.make_mesh(devices))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.arange(13))
    np.testing.assert_array_equal(x, echo({}, keys, None))
    assert len(np.unique(x)) == 26


@pytest.mark.parametrize('first', [4, 9])
def test_going_on_from_any_index(first):
    rest = batches(jax.jit(echo), {}, KEY, 13, 3, sharding.make_mesh(1), num_classes=5, first=first)
    whole = generate(jax.jit(echo), {}, KEY, 13, 100, sharding.make_mesh(1), num_classes=5)
    np.testing.assert_array_equal(np.concatenate(list(rest)), whole[first:])


def test_classes_go_round():
    x = generate(jax.jit(echo), {}, KEY, 7, 2, sharding.make_mesh(1), num_classes=3)
    np.testing.assert_array_equal(x[:, 2], [0, 1, 2, 0, 1, 2, 0])


def test_progress():
    done = []
    generate(jax.jit(echo), {}, KEY, 20, 8, sharding.make_mesh(), progress=done.append)
    assert done == [8, 16, 20]


def test_nan_is_refused():
    def diverged(params, keys, cond):
        return jnp.where(jnp.arange(len(keys))[:, None] == 3, jnp.nan, jnp.zeros((len(keys), 2)))

    with pytest.raises(UserError, match=r'^sample 3 holds NaN or infinity: the model diverged$'):
        generate(diverged, {}, KEY, 8, 8, sharding.make_mesh())
    assert generate(diverged, {}, KEY, 3, 8, sharding.make_mesh()).shape == (3, 2)  # the padding may be anything


def test_the_sample_that_diverged_is_traced_alone():
    """The sixth of all, the second of its batch, with its own key and class, on four devices."""

    def diverged(params, keys, cond):
        return jnp.where(cond[:, None] == 5, jnp.inf, jnp.zeros((len(keys), 2)))

    def trace(params, keys, cond):
        np.testing.assert_array_equal(jax.random.key_data(keys)[0], jax.random.key_data(jax.random.fold_in(KEY, 5)))
        np.testing.assert_array_equal(cond, [5])
        return 1.0, 1 / 3

    said = r'^sample 5 holds NaN or infinity that came up in the step from t = 1 to t = 0.3333: the model diverged$'
    with pytest.raises(UserError, match=said):
        generate(diverged, {}, KEY, 14, 4, sharding.make_mesh(4), num_classes=7, trace=trace)


@pytest.mark.parametrize('sampler', [{'name': 'ancestral'}, {'name': 'ddim', 'eta': 0.5}], ids=['ancestral', 'ddim'])
def test_a_model_on_one_and_eight_devices(sampler):
    config = tiny.points()
    experiment = builders.build(config)
    # The last layer starts at zero, and would hide the network.
    params = jax.tree.map(lambda a: a + 0.1, jax.jit(experiment.init)(jax.random.key(0)))
    draw = jax.jit(builders.build_draw(experiment, {**config['sample'], 'sampler': sampler}))
    x = {
        (devices, size): generate(draw, params, KEY, 20, size, sharding.make_mesh(devices))
        for devices, size in [(1, 20), (1, 3), (8, 8)]
    }
    assert np.abs(x[1, 20]).max() > 0.1
    for other in x.values():  # matrix products of other sizes may sum in another order
        np.testing.assert_allclose(other, x[1, 20], rtol=1e-4, atol=1e-5)


def test_with_as_many_rows_on_each_device_a_sample_is_the_same_to_the_last_bit(digits_run):
    """Through a U-Net: on any number of devices, with any number of other samples, from any batch on."""
    run = runs.load(digits_run, mesh=sharding.make_mesh(1))
    params = jax.tree.map(lambda a: a + 0.05, run.params)  # the last layer starts at zero, and would hide the network
    draw = runs.sampling(run, run.config['sample']).draw

    def drawn(devices, num, first=0):
        mesh = sharding.make_mesh(devices)
        on_all = jax.device_put(params, sharding.replicated(mesh))
        parts = batches(draw, on_all, KEY, num, 4 * devices, mesh, first=first, whole=True)
        return np.concatenate(list(parts))

    x = drawn(1, 20)
    assert len(np.unique(x)) > 500
    for other in (drawn(2, 20), drawn(8, 20)):
        np.testing.assert_array_equal(other, x)
    for devices in (1, 2):
        np.testing.assert_array_equal(drawn(devices, 3), x[:3])
    np.testing.assert_array_equal(drawn(2, 20, first=4), x[4:])
