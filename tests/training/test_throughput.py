"""Time, waiting, FLOPs and memory against counts by hand."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.devices import sharding
from diffusion_jax.training import throughput
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


def test_flops_of_a_product_in_four_parts():
    def step(w, x):
        return jax.lax.scan(lambda total, part: (total, part @ w), 0, x.reshape(4, 16, 32))[1]

    _, cost = throughput.compile_step(jax.jit(step), jnp.ones((32, 16)), jnp.ones((64, 32)), devices=1, parts=4)
    assert cost.flops == pytest.approx(2 * 64 * 32 * 16, rel=0.02)
    unknown = throughput.compile_step(jax.jit(step), jnp.ones((32, 16)), jnp.ones((64, 32)), devices=1, parts=None)
    assert unknown[1].flops is None


@pytest.mark.parametrize('analysis', [None, {}, {'flops': -1.0}])
def test_a_backend_without_figures(analysis):
    def compiled():
        """Stands for an executable."""

    compiled.cost_analysis = lambda: analysis
    step = SimpleNamespace(lower=lambda: SimpleNamespace(compile=lambda: compiled))
    assert throughput.compile_step(step, devices=1)[1].flops is None


def test_memory_of_the_fullest_device():
    full = [{'bytes_in_use': 3, 'peak_bytes_in_use': 9}, {'bytes_in_use': 5, 'peak_bytes_in_use': 7}]
    assert throughput.memory(full) == {'memory_bytes': 5, 'memory_peak_bytes': 9}
    assert throughput.memory([{'bytes_in_use': 3}]) == {'memory_bytes': 3}
    assert throughput.memory([None]) == {}
