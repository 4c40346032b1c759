"""Networks of EDM2, exported, against a restatement of them and of their training in PyTorch, with random weights."""

import functools
import itertools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import save_file

from diffusion_jax import builders, objectives, samplers, times
from diffusion_jax.conversion import incoming
from diffusion_jax.inference import runs
from diffusion_jax.interop import names, official
from diffusion_jax.nets.magnitude import DIRECTION, unit_directions
from diffusion_jax.objectives import adaptive, weights
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


SMALL = {'side': 8, 'channels': 8, 'multipliers': (1, 2), 'blocks': 1, 'attends': (), 'classes': 5, 'per_head': 8}
LATENTS = {
    'side': 8, 'channels': 8, 'multipliers': (1, 2, 2), 'blocks': 2, 'attends': (8, 2), 'classes': 0, 'seen': 4,
    'per_head': 4, 'clip': 0.75,
}  # fmt: skip
XS = {'side': 64, 'channels': 128, 'multipliers': (1, 2, 3, 4), 'blocks': 3, 'attends': (16, 8), 'classes': 1000}
# Settings, and what the file says of itself.
KINDS = {
    'classes': (SMALL, {'head_channels': '8'}),
    'latents': (LATENTS, {'head_channels': '4', 'clip': '0.75'}),
}
OFTEN = [pytest.param(kind, marks=[pytest.mark.slow] * (kind != 'classes')) for kind in KINDS]
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


def export(model, path, about):
    """As the script of docs/networks.md does."""
    save_file({name: w.detach().numpy() for name, w in model.state_dict().items()}, path, about)


def first(a):
    return torch.tensor(np.asarray(a).transpose(0, 3, 1, 2).copy())


def last(a):
    return a.detach().numpy().transpose(0, 2, 3, 1)


class Read(NamedTuple):
    """A network of theirs as read here, and what it is asked."""

    params: Any
    rows: list
    told: Any  # their classes: one that is told, and none
    x: np.ndarray
    eps: np.ndarray
    ask: Any  # params -> ((training loss, D), gradient of the loss)


@functools.cache
def read(kind):
    settings, about = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        export(theirs(settings), Path(folder) / 'w.safetensors', about)
        found = official.edm2(Path(folder) / 'w.safetensors', official.Asked())
    experiment = builders.build(incoming.config_of(found))
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    rows = found.rows(shapes)
    params = names.take_in('it', found.what, found.weights, rows, shapes)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, settings.get('seen', 3))).astype(np.float32)
    num, key = settings['classes'], jax.random.key(1)
    cond = jnp.array([3, num]) if num else None
    told = torch.cat([torch.eye(num)[[3]], torch.zeros(1, num)]) if num else None
    objective = objectives.denoising(
        experiment.models.denoise, experiment.schedule, lambda key, shape: jnp.asarray(SIGMA), weights.edm(),
        adaptive.uncertainty(),
    )  # fmt: skip

    def both(params):
        D = experiment.models.denoise(params, cond)(jnp.asarray(x), jnp.asarray(SIGMA))
        return objective.loss(params, Frozen(), key, Batch(jnp.asarray(x), cond), jnp.int32(0))[0], D

    eps = np.asarray(jax.random.normal(jax.random.split(key, 3)[1], x.shape))
    return Read(params, rows, told, x, eps, jax.jit(jax.value_and_grad(both, has_aux=True)))


@pytest.mark.parametrize('kind', OFTEN)
def test_outputs_gradients_and_the_way_back(kind):
    """Of D, and of the training loss, which has u in it."""
    model, ours = theirs(KINDS[kind][0]), read(kind)
    back = names.give_out(ours.rows, ours.params)
    assert back.keys() == model.state_dict().keys()
    for name, w in model.state_dict().items():
        np.testing.assert_array_equal(back[name], w.numpy())
    (value, D), grads = ours.ask(ours.params)
    x, sigma = first(ours.x), torch.tensor(SIGMA)
    with torch.no_grad():
        expected = last(model(x, sigma, ours.told)[0])
    for a, b in zip(D, expected, strict=True):
        assert np.abs(a - b).max() < 2e-5 * np.abs(b).max()
    of_theirs = loss(model, x, sigma, first(ours.eps), ours.told)
    np.testing.assert_allclose(value, of_theirs.item(), rtol=2e-5)
    of_theirs.backward()
    grads = names.give_out(ours.rows, grads)
    drawn = [n for n in grads if n.endswith(('freqs', 'phases'))]
    assert len(drawn) == 4
    assert not any(grads[n].any() for n in drawn)
    of_them = {n: p.grad.numpy() for n, p in model.named_parameters()}
    largest = max(np.abs(g).max() for g in of_them.values())
    for name, g in of_them.items():
        assert np.abs(grads[name] - g).max() < 1e-3 * max(np.abs(g).max(), 1e-3 * largest), name


def is_direction(path):
    return path[-1].key == DIRECTION


def test_training_is_theirs_step_by_step():
    """They normalise the stored weights before a step, we after it: ours are theirs as their next step will find them.

    Adam's eps is of the size of the gradients, whose rounding would else decide the sign of the smallest.
    """
    model, ours = theirs(SMALL).train(), read('classes')
    tx = builders.build_optimiser({'name': 'adam', 'lr': 0.03, 'b2': 0.99, 'eps': 1e-2}, steps=3)
    of_theirs = torch.optim.Adam(model.parameters(), lr=0.03, betas=(0.9, 0.99), eps=1e-2)

    @jax.jit
    def begin(params):
        """As a run does."""
        return jax.tree_util.tree_map_with_path(lambda path, w: unit_directions(w) if is_direction(path) else w, params)

    @jax.jit
    def step_of_ours(grads, state, params):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = begin(ours.params)
    state, start = jax.jit(tx.init)(params), params
    for step in range(3):
        before = names.give_out(ours.rows, params)
        of_theirs.zero_grad()
        loss(model, first(ours.x), torch.tensor(SIGMA), first(ours.eps), ours.told).backward()
        for name, w in model.state_dict().items():
            np.testing.assert_allclose(before[name], w.numpy(), rtol=0, atol=1e-6 + 2e-5 * step, err_msg=name)
        of_theirs.step()
        params, state = step_of_ours(ours.ask(params)[1], state, params)
    for path, w in jax.tree_util.tree_leaves_with_path(params):
        if is_direction(path):
            magnitude = np.sqrt(np.mean(np.square(w), axis=tuple(range(w.ndim - 1))))
            np.testing.assert_allclose(magnitude, 1, atol=1.1e-4)
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - b).max(), params, start)
    assert moved['conv_in'][DIRECTION] > 0.01
    assert moved['fourier'] == {'frequencies': 0, 'phases': 0}


@pytest.mark.slow
def test_ten_steps_of_heun_from_the_command_line(tmp_path):
    settings, about = KINDS['classes']
    model = theirs(settings)
    export(model, tmp_path / 'w.safetensors', about)
    command = ['convert', '--from=edm2', f'--in={tmp_path}/w.safetensors', f'--workdir={tmp_path}/run']
    assert tiny.call(*command) == 0
    run = runs.load(tmp_path / 'run')
    assert run.config['sample']['times'] == {'name': 'karras', 'n': 32}
    cond = jnp.array([1, 4])
    sampler = samplers.heun(run.experiment.models.denoise(run.params, cond), run.experiment.schedule)
    x = 80 * np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    grid = jnp.asarray(times.karras(n=10, sigma_min=0.002, sigma_max=80.0), jnp.float32)
    got = jax.jit(lambda x: samplers.sample(sampler, jax.random.key(0), x, grid))(jnp.asarray(x))

    def denoise(x, s):
        with torch.no_grad():
            D = model(first(x.astype(np.float32)), torch.full((2,), s), torch.eye(5)[[1, 4]])[0]
        return last(D).astype(np.float64)

    expected, sigmas = x.astype(np.float64), [*np.asarray(grid, np.float64)]
    for s, r in itertools.pairwise(sigmas):
        d = (expected - denoise(expected, s)) / s
        y = expected + (r - s) * d
        expected = y if r == 0 else expected + (r - s) * (d + (y - denoise(y, r)) / r) / 2
    assert np.abs(got - expected).max() < 1e-4 * np.abs(expected).max()
    assert tiny.call('sample', f'--workdir={tmp_path}/run', '--num=2', '--steps=2', f'--out={tmp_path}/x') == 0


def test_what_is_no_network_of_edm2_is_refused(tmp_path, capsys):
    model = theirs(SMALL)
    given = {name: w.detach().numpy() for name, w in model.state_dict().items()}
    file = tmp_path / 'w.safetensors'
    command = ['convert', '--from=edm2', f'--in={file}', f'--workdir={tmp_path}/run']

    def told(changes, about, *more):
        save_file({n: w for n, w in {**given, **changes}.items() if w is not None}, file, about)
        return tiny.refusal(capsys, *command, *more)

    about = KINDS['classes'][1]
    assert told({'more': np.zeros(8, np.float32)}, about).endswith('missing are none; left over are more')
    line = told({'unet.dec.4x4_in0.attn_proj.weight': None}, about)
    assert line.endswith('missing are unet.dec.4x4_in0.attn_proj.weight; left over are none')
    line = told({'unet.emb_noise.weight': np.zeros((16, 4), np.float32)}, about)
    assert 'the widths must be whole multiples of 8' in line
    assert told({}, {'clip': 'a lot'}).endswith('says clip=a lot, which is no number of that kind')
    assert 'has no head of head_channels=64' in told({}, None)
    assert told({}, about, '--size=8').startswith('--from=edm2: the file says it all: leave out --size, --heads')
    save_file({'map_layer0.weight': np.zeros(1, np.float32)}, file)
    line = 'should be the weights of a network of EDM2, and looks like a network of EDM (--from=edm): no'
    assert line in tiny.refusal(capsys, *command)
    save_file(given, file)
    line = tiny.refusal(capsys, 'convert', '--from=edm', f'--in={file}', f'--workdir={tmp_path}/run')
    assert 'looks like a network of EDM2 (--from=edm2)' in line
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_edm2_xs_at_its_published_size(tmp_path):
    model = theirs(XS)
    assert sum(p.numel() for p in model.unet.parameters()) == 124_710_821  # as docs/networks.md has it
    export(model, tmp_path / 'w.safetensors', None)
    found = official.edm2(tmp_path / 'w.safetensors', official.Asked())
    experiment = builders.build(incoming.config_of(found))
    shapes = jax.eval_shape(experiment.init, jax.random.key(0))
    params = names.take_in('it', found.what, found.weights, found.rows(shapes), shapes)
    sigma = np.array([1.5], np.float32)
    x = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        expected = last(model(first(x), torch.tensor(sigma), torch.eye(1000)[[281]])[0])
    denoise = experiment.models.denoise
    got = jax.jit(lambda p: denoise(p, jnp.array([281]))(jnp.asarray(x), jnp.asarray(sigma)))(params)
    assert np.abs(got - expected).max() < 2e-5 * np.abs(expected).max()
