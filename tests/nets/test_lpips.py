"""LPIPS by hand, and against the `lpips` package with its own weights and random features.

For the latter the extra `oracle` and `pip install --no-deps lpips==0.1.4`: its torchvision is not needed.
"""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import lpips
from diffusion_jax.nets.lpips import Conv, Params
from diffusion_jax.objectives import distances

LAYERS = (2, 2, 3, 3, 3)
distance = jax.jit(lpips.lpips)
SHIFT, SCALE = np.array([-0.03, -0.088, -0.188]), np.array([0.458, 0.448, 0.45])


def tiny(seed=0, channels=(4, 4, 6, 6, 8), dtype=np.float32):
    """VGG16 with few channels."""
    rng = np.random.default_rng(seed)
    stages, c = [], 3
    for n, o in zip(LAYERS, channels, strict=True):
        convs = []
        for _ in range(n):
            kernel = rng.normal(size=(3, 3, c, o)) / np.sqrt(9 * c / 2)
            convs.append(Conv(jnp.asarray(kernel, dtype), jnp.asarray(rng.normal(size=o) / 10, dtype)))
            c = o
        stages.append(tuple(convs))
    return Params(tuple(stages), tuple(jnp.asarray(rng.uniform(size=o), dtype) for o in channels))


def images(n=3, size=16, channels=3, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (2, n, size, size, channels)).astype(np.float32)


def test_a_distance_by_hand(x64):
    """Convolutions that only swap or keep channels: a gives (3, 4, 0) on the left, its right and b (0, 3, 4)."""
    keep, swap = np.zeros((2, 3, 3, 3, 3))
    keep[1, 1] = np.eye(3)
    swap[1, 1] = np.eye(3)[[1, 2, 0]]  # channel 0 moves to 1, 1 to 2, 2 to 0
    stages = [[Conv(jnp.asarray(k), jnp.zeros(3)) for k in [swap, keep, keep][:n]] for n in LAYERS]
    stages[0][1] = Conv(jnp.asarray(keep), -jnp.ones(3))  # which takes 1 off, but not below 0
    w = [(i + 1) * jnp.array([100.0, 10.0, 1.0]) for i in range(5)]
    a, b = np.zeros((1, 16, 16, 3)), np.zeros((1, 16, 16, 3))
    a[:, :, :8], a[:, :, 8:], b[...] = (4, 5, 0.5), (0.5, 4, 5), (0.5, 4, 5)
    got = distance(Params(stages, w), jnp.asarray(a * SCALE + SHIFT), jnp.asarray(b * SCALE + SHIFT))
    # (0.6, 0.8, 0) - (0, 0.6, 0.8), squared, with the channels swapped once more in every stage; on half of the pixels
    d = np.array([0.36, 0.04, 0.64])
    want = [np.roll(d, i + 1) @ [100, 10, 1] / 2 for i in range(4)]
    # One pixel remains, the maximum (3, 4, 4) of both halves.
    want.append(np.roll((np.array([3, 4, 4]) / np.sqrt(41) - [0, 0.6, 0.8]) ** 2, 5) @ [100, 10, 1])
    np.testing.assert_allclose(got, [want @ np.arange(1, 6)], rtol=1e-9)


def test_zero_symmetric_and_sample_by_sample():
    params, (a, b) = tiny(), jnp.asarray(images())
    d = distance(params, a, b)
    assert d.shape == (3,)
    assert (d > 1e-3).all()
    assert len(set(d.tolist())) == 3
    np.testing.assert_allclose(distance(params, a, a), np.zeros(3), atol=1e-12)
    np.testing.assert_allclose(distance(params, b, a), d, rtol=1e-5)
    p = np.array([2, 0, 1])
    np.testing.assert_allclose(distance(params, a[p], b[p]), d[p], rtol=1e-5)


def test_grey_images_are_three_equal_channels():
    params, (a, b) = tiny(), jnp.asarray(images(channels=1))
    rgb = [jnp.repeat(x, 3, axis=-1) for x in (a, b)]
    np.testing.assert_allclose(distance(params, a, b), distance(params, *rgb), rtol=1e-5)


def test_pixels_without_features_have_a_gradient(x64):
    """A pixel whose features are all 0 must not turn the others' gradient into NaN."""
    params = tiny(dtype=np.float64)
    w, bias = params.stages[0][-1]
    last = Conv(w, bias - 0.5)  # less than many a feature, not all
    params = Params(((params.stages[0][0], last),), params.w[:1])
    a, b = jnp.asarray(images(n=1), jnp.float64)
    dead = (lpips.features(params.stages, a)[0] == 0).all(-1)
    assert 0 < dead.sum() < dead.size
    with jax.debug_nans(True):  # op by op: not even a NaN that relu would drop
        grad = jax.grad(lambda a: lpips.lpips(params, a, b).sum())(a)
    v = jnp.asarray(np.random.default_rng(2).normal(size=a.shape))
    h = 1e-6
    numeric = (distance(params, a + h * v, b) - distance(params, a - h * v, b)) / (2 * h)
    np.testing.assert_allclose((grad * v).sum(), numeric[0], rtol=1e-4)


@pytest.mark.parametrize('shape', [(2, 15, 32, 3), (2, 32, 32, 4)])
def test_images_it_cannot_take(shape):
    with pytest.raises(ValueError, match='LPIPS needs images of 16x16 at least, with 1 or 3 channels'):
        lpips.lpips(tiny(), jnp.zeros(shape), jnp.zeros(shape))


def test_resizing_is_bilinear_to_a_square_or_none(monkeypatch):
    params, (a, b) = tiny(), jnp.asarray(images())
    monkeypatch.setattr('diffusion_jax.interop.lpips.read', lambda vgg, lin: params)
    np.testing.assert_allclose(jax.jit(distances.lpips('', '', None))(a, b), distance(params, a, b), rtol=1e-6)
    seen = []
    monkeypatch.setattr('diffusion_jax.nets.lpips.lpips', lambda params, *images: seen.extend(images))
    x = jnp.stack([a[:, :1], -a[:, :1]], 1)[:, :, 0]  # two rows: x and -x
    distances.lpips('', '')(x, x)
    for big in seen:
        assert big.shape == (3, 224, 224, 3)
        np.testing.assert_allclose(big[:, 0], -big[:, -1], rtol=1e-6, atol=1e-7)  # rounding, of values near 1
        np.testing.assert_allclose(big[:, 112] - big[:, 111], (big[:, 112] - big[:, 110]) / 2, atol=1e-6)


@pytest.fixture(scope='module')
def package(tmp_path_factory):
    """(the package's LPIPS with random features, the two files of its weights)."""
    torch = pytest.importorskip('torch')
    spec = importlib.util.find_spec('lpips')
    if spec is None:
        pytest.skip('lpips is not installed')
    torch.manual_seed(0)
    layers, c = [], 3
    for i, (n, o) in enumerate(zip(LAYERS, (64, 128, 256, 512, 512), strict=True)):
        layers += [torch.nn.MaxPool2d(2, 2)] if i else []
        for _ in range(n):
            conv = torch.nn.Conv2d(c, o, 3, padding=1)
            torch.nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')
            torch.nn.init.normal_(conv.bias, std=0.1)
            layers, c = [*layers, conv, torch.nn.ReLU(inplace=True)], o
    features = torch.nn.Sequential(*layers)
    # All that the package wants of torchvision, which has no build for every torch.
    torchvision = ModuleType('torchvision')
    torchvision.models = SimpleNamespace(vgg16=lambda pretrained: SimpleNamespace(features=features))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'torchvision', torchvision)
        import lpips as original

        model = original.LPIPS(net='vgg', pnet_rand=True, verbose=False)
    path = tmp_path_factory.mktemp('vgg') / 'vgg.pth'
    torch.save({f'features.{name}': w for name, w in features.state_dict().items()}, path)
    return model, str(path), str(next(iter(spec.submodule_search_locations))) + '/weights/v0.1/vgg.pth'


def test_values_and_gradients_are_the_packages(package):
    torch = pytest.importorskip('torch')
    model, *files = package
    a, b = images(n=2, size=20)
    b[1] = a[1] + 0.01 * b[1]  # near, as a consistency model's two outputs are
    x, y = (torch.tensor(v.transpose(0, 3, 1, 2)) for v in (a, b))
    x.requires_grad = True

    def scale(v):
        return torch.nn.functional.interpolate(v, 32, mode='bilinear')

    want = model(scale(x), scale(y))[:, 0, 0, 0]
    want.sum().backward()
    ours = distances.lpips(*files, 32)
    got, pullback = jax.jit(lambda a, b: jax.vjp(lambda a: ours(a, b), a))(jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-4)
    grad = x.grad.numpy().transpose(0, 2, 3, 1)
    for g, theirs in zip(pullback(jnp.ones(2))[0], grad, strict=True):
        np.testing.assert_allclose(g, theirs, atol=1e-3 * np.abs(theirs).max())
