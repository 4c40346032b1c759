"""Time, waiting, FLOPs and memory against counts by hand."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.devices import sharding
from diffusion_jax.nets import DiT, functional
from diffusion_jax.training import throughput
from diffusion_jax.training.flops import left_out
from diffusion_jax.training.throughput import Clock, Cost, Timing


@pytest.fixture
def now(monkeypatch):
    """A clock that only the test moves."""
    time = SimpleNamespace(now=100.0)
    monkeypatch.setattr('diffusion_jax.training.throughput.time.perf_counter', lambda: time.now)
    return time


def test_a_lap_is_of_the_steps_alone(now):
    clock = Clock(10)
    for _ in range(4):
        with clock.waiting():
            now.now += 0.5
        now.now += 1.5
    with clock.beside():
        now.now += 30.0
    assert clock.lap(14) == Timing(steps=4, seconds=8.0, waited=2.0)
    now.now += 3.0
    assert clock.lap(20) == Timing(steps=6, seconds=3.0, waited=0.0)


def test_figures_by_hand():
    timing, cost = Timing(steps=4, seconds=8.0, waited=2.0), Cost(3.0, 1.97e15)
    found = throughput.figures(timing, cost, batch_size=64, kind='TPU v5 lite', devices=10)
    expected = {'images_per_second': 32, 'step_seconds': 2, 'input_wait_share': 0.25, 'flops_per_second': 0.985e15}
    assert found == pytest.approx({**expected, 'mfu': 0.5})
    assert throughput.figures(timing, cost, 64, 'cpu', 10) == pytest.approx(expected)
    assert throughput.once(cost) == {'compile_seconds': 3.0, 'step_flops': 1.97e15}
    unknown = Cost(3.0, None)
    del expected['flops_per_second']
    assert throughput.figures(timing, unknown, 64, 'TPU v5 lite', 10) == pytest.approx(expected)
    assert throughput.once(unknown) == {'compile_seconds': 3.0}


def test_flops_of_a_product_on_eight_devices():
    """[64, 32] x [32, 16] is 2 * 64 * 32 * 16 FLOPs; what is counted is what runs."""
    traces, mesh = [], sharding.make_mesh(4, 2)

    def step(w, x):
        traces.append(1)
        return x @ w

    x = sharding.put_batch(mesh, np.ones((64, 32), np.float32))
    w = jax.device_put(jnp.ones((32, 16)), sharding.replicated(mesh))
    run, cost = throughput.compile_step(jax.jit(step), w, x, devices=8)
    assert cost.flops == pytest.approx(2 * 64 * 32 * 16, rel=0.02)
    assert cost.compile_seconds > 0
    np.testing.assert_array_equal(run(w, x), 32.0)
    assert len(traces) == 1


def test_flops_of_every_pass_through_a_loop():
    """Four parts of a batch, each through a product, and its gradient: 2 * 64 * 32 * 16 each, and as much again."""

    def loss(w, x):
        def add(total, part):
            return total + jnp.sum((part @ w) ** 2), None

        return jax.lax.scan(add, 0.0, x.reshape(4, 16, 32))[0]

    _, cost = throughput.compile_step(jax.jit(jax.grad(loss)), jnp.ones((32, 16)), jnp.ones((64, 32)), devices=1)
    assert cost.flops == pytest.approx(2 * 2 * 64 * 32 * 16, rel=0.05)


def test_flops_of_loops_in_loops():
    """Three times five products; one of them computed again."""

    def inner(x, w):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, length=5)[0]

    def step(x, w):
        return jax.lax.scan(lambda x, _: (jax.checkpoint(inner)(x, w), None), x, length=3)[0]

    def once(x, w):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, length=1)[0]

    x, w = jnp.ones((8, 16)), jnp.ones((16, 16))
    product = 2 * 8 * 16 * 16
    for f, passes in ((step, 15), (once, 1)):
        _, cost = throughput.compile_step(jax.jit(f), x, w, devices=1)
        assert cost.flops == pytest.approx(passes * product, rel=0.05)


def test_flops_of_a_convolution_in_a_loop():
    """[2, 8, 8, 3] to 5 channels by 3x3: 2 * 9 * 3 for each of 2 * 8 * 8 * 5 values, four times."""

    def step(x, w):
        def conv(x):
            return jax.lax.conv_general_dilated(x, w, (1, 1), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))

        return jax.lax.scan(lambda _, x: (0, conv(x)), 0, x)[1]

    jaxpr = jax.jit(step).trace(jnp.ones((4, 2, 10, 10, 3)), jnp.ones((3, 3, 3, 5))).jaxpr
    assert left_out(jaxpr) == 3 * 2 * 9 * 3 * 2 * 8 * 8 * 5


@pytest.mark.slow
def test_a_deeper_transformer_has_as_many_more_flops():
    """The blocks are one scan: without its other passes depth would cost nothing."""

    def flops(depth):
        net = DiT(hidden=16, depth=depth, heads=2, patch=2, out_channels=1)
        init, apply = functional(net)
        x, c = jnp.ones((2, 8, 8, 1)), jnp.ones(2)
        params = init(jax.random.key(0), x, c)
        loss = jax.jit(jax.grad(lambda params: jnp.sum(apply(params, x, c, None, None) ** 2)))
        return throughput.compile_step(loss, params, devices=1)[1].flops

    two, four, eight = (flops(depth) for depth in (2, 4, 8))
    assert eight - four == pytest.approx(2 * (four - two), rel=0.02)
    assert four - two > 0.5 * two


@pytest.mark.parametrize('analysis', [None, {}, {'flops': -1.0}])
def test_a_backend_without_figures(analysis):
    def compiled():
        """Stands for an executable."""

    compiled.cost_analysis = lambda: analysis
    none = jax.make_jaxpr(lambda: 0)()
    traced = SimpleNamespace(jaxpr=none, lower=lambda: SimpleNamespace(compile=lambda: compiled))
    step = SimpleNamespace(trace=lambda: traced)
    assert throughput.compile_step(step, devices=1)[1].flops is None


def test_memory_of_the_fullest_device():
    full = [{'bytes_in_use': 3, 'peak_bytes_in_use': 9}, {'bytes_in_use': 5, 'peak_bytes_in_use': 7}]
    assert throughput.memory(full) == {'memory_bytes': 5, 'memory_peak_bytes': 9}
    assert throughput.memory([{'bytes_in_use': 3}]) == {'memory_bytes': 3}
    assert throughput.memory([None]) == {}
