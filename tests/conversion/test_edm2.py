"""Networks of EDM2, exported, against a restatement of them and of their training in PyTorch, with random weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from diffusion_jax import builders, samplers, times
from diffusion_jax.conversion import incoming
from diffusion_jax.inference import runs
from diffusion_jax.interop import names, official
from diffusion_jax.nets.magnitude import DIRECTION
from diffusion_jax.types import Batch, Frozen
from tests import tiny

try:
    import torch

    from tests.conversion.edm2_torch import EDM2Net, loss
except ModuleNotFoundError:  # each test is skipped by itself, so that a planted bug can name it
    torch = None


@pytest.fixture(autouse=True)
def _needs_pytorch():
    pytest.importorskip('torch')


SMALL = {'side': 8, 'channels': 8, 'multipliers': (1, 2), 'blocks': 1, 'attends': (4,), 'classes': 5, 'per_head': 8}
LATENTS = {**SMALL, 'multipliers': (1, 2, 2), 'blocks': 2, 'attends': (8, 2), 'classes': 0, 'seen': 4, 'per_head': 4}
CLIPPED = {**SMALL, 'clip': 0.75}
ABOUT = {'head_channels': '8'}
SIGMA = np.array([0.05, 7.0], np.float32)


def theirs(settings):
    """In evaluation, with weights of any length."""
    torch.manual_seed(0)
    model = EDM2Net(**settings).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith('gain'):
                p.fill_(0.7)
            else:
                p.mul_(0.5 + torch.rand(len(p)).reshape(-1, *(1,) * (p.ndim - 1)))
    return model


def export(model, path, about=None):
    """As the script of docs/networks.md does."""
    save_file({name: w.detach().numpy() for name, w in model.state_dict().items()}, path, about)


def read(path):
    """(experiment, parameters, rows of names)."""
    found = official.edm2(path, official.Asked())
    experiment = builders.build(incoming.config_of(found))
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    rows = found.rows(shapes)
    return experiment, names.take_in('it', found.what, found.weights, rows, shapes), rows


def first(a):
    return torch.tensor(np.asarray(a).transpose(0, 3, 1, 2).copy())


def last(a):
    return a.detach().numpy().transpose(0, 2, 3, 1)


def noisy(seen=3):
    x = np.random.default_rng(0).standard_normal((2, 8, 8, seen))
    return (x * (1 + SIGMA[:, None, None, None])).astype(np.float32)


def close_gradients(got, model):
    of_them = {n: p.grad.numpy() for n, p in model.named_parameters()}
    largest = max(np.abs(g).max() for g in of_them.values())
    for name, g in of_them.items():
        assert np.abs(got[name] - g).max() < 1e-3 * max(np.abs(g).max(), 1e-3 * largest), name


@pytest.mark.parametrize(
    ('settings', 'about'),
    [
        (SMALL, ABOUT),
        pytest.param(CLIPPED, {**ABOUT, 'clip': '0.75'}, marks=pytest.mark.slow),
        pytest.param(LATENTS, {'head_channels': '4'}, marks=pytest.mark.slow),
    ],
    ids=['classes', 'clipped', 'latents'],
)
def test_outputs_gradients_and_the_way_back(settings, about, tmp_path):
    """Of D and of the training loss, which has u in it."""
    model = theirs(settings)
    export(model, tmp_path / 'w.safetensors', about)
    experiment, params, rows = read(tmp_path / 'w.safetensors')
    back = names.give_out(rows, params)
    assert back.keys() == model.state_dict().keys()
    for name, w in model.state_dict().items():
        np.testing.assert_array_equal(back[name], w.numpy())
    x, num = noisy(settings.get('seen', 3)), settings['classes']
    cond = jnp.array([3, num]) if num else None  # the class that is told, and none
    told = torch.cat([torch.eye(num)[[3]], torch.zeros(1, num)]) if num else None
    context, seen = experiment.context, []

    def p_t(key, shape):
        return jnp.asarray(SIGMA)

    objective = official.process.of_edm2(True).objective
    of = builders.experiment.make(
        builders.experiment.objectives, {k: v for k, v in objective.items() if k != 'p_t'},
        {**context.given, 'model': experiment.models.denoise, 'p_t': p_t}, 'it',
    )  # fmt: skip

    def both(params):
        D = experiment.models.denoise(params, cond)(jnp.asarray(x), jnp.asarray(SIGMA))
        value, _ = of.loss(params, Frozen(), jax.random.key(1), Batch(jnp.asarray(x), cond), jnp.int32(0))
        return value, D

    (value, D), grads = jax.jit(jax.value_and_grad(both, has_aux=True))(params)
    sigma = torch.tensor(SIGMA)
    with torch.no_grad():
        expected = last(model(first(x), sigma, told)[0])
    for a, b in zip(D, expected, strict=True):
        assert np.abs(a - b).max() < 2e-5 * np.abs(b).max()
    eps = jax.random.normal(jax.random.split(jax.random.key(1), 3)[1], x.shape)
    of_theirs = loss(model, first(x), sigma, first(eps), told)
    np.testing.assert_allclose(value, of_theirs.item(), rtol=2e-5)
    of_theirs.backward()
    grads = names.give_out(rows, grads)
    drawn = [n for n in grads if n.endswith(('freqs', 'phases'))]
    assert len(drawn) == 4
    assert not any(grads[n].any() for n in drawn)
    close_gradients(grads, model)
