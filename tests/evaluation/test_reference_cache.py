"""References kept on disk: the same to the last bit without asking the network, made anew where anything differs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.data import kinds
from diffusion_jax.data.sources import Source
from diffusion_jax.evaluation import measure, reference_cache
from diffusion_jax.evaluation.features import Features, Outputs

RNG = np.random.default_rng(0)
KIND = kinds.images((2, 3, 1), 17)
TRAIN, HELD_OUT = (Source(RNG.integers(0, 17, (n, 2, 3, 1), np.uint8), None, KIND, None, f's/{n}') for n in (80, 30))
SAMPLES = RNG.uniform(-1, 1, (57, 2, 3, 1)).astype(np.float32)


class Network:
    """Features that count how many rows they are asked for."""

    def __init__(self, scale=1.0, spatial=True, **names):
        self.asked = 0
        self.scale, self.spatial = scale, spatial
        self.features = Features(**{'name': 'net-4', 'outputs': self, 'hash': 'ab', 'resize': 'a kernel', **names})

    def __call__(self, x):
        self.asked += len(x)
        flat = jnp.asarray(x).reshape(len(x), -1) * self.scale
        return Outputs(flat[:, :4], flat[:, 3:] ** 2, 4 * flat) if self.spatial else Outputs(flat[:, :4])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    return tmp_path / '.cache' / 'diffusion_jax_references'


@pytest.mark.parametrize('held_out', [None, HELD_OUT], ids=['alone', 'with held-out data'])
@pytest.mark.parametrize('spatial', [True, False], ids=['all outputs', 'rows alone'])
def test_what_was_kept_is_the_reference_to_the_last_bit(held_out, spatial):
    made = measure.make_reference(TRAIN, Network(spatial=spatial).features, held_out)
    reference_cache.reference(TRAIN, Network(spatial=spatial).features, held_out)
    blind = Network(scale=np.nan)  # would be seen in every value
    read = reference_cache.reference(TRAIN, blind.features, held_out)
    assert blind.asked == 0
    parts = lambda r: (r.summary, r.gap, r.held_out)  # noqa: E731
    assert jax.tree.structure(parts(read)) == jax.tree.structure(parts(made))
    for a, b in zip(jax.tree.leaves(parts(read)), jax.tree.leaves(parts(made)), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)
    assert (read.name, read.levels, len(read.x)) == (made.name, made.levels, len(made.x))
    seen = Network(spatial=spatial).features
    results = [measure.survey([SAMPLES], 57, r._replace(features=seen), (0,)) for r in (made, read)]
    assert repr(results[0]) == repr(results[1])


@pytest.mark.parametrize(
    'change',
    [
        {'name': 'net-5'},
        {'hash': 'ac'},
        {'resize': 'another kernel'},
        {'source': TRAIN._replace(name='t/80')},
        {'source': TRAIN._replace(x=16 - np.asarray(TRAIN.x))},
        {'source': TRAIN._replace(kind=kinds.images((2, 3, 1), 18))},
        {'held_out': None},
        {'held_out': HELD_OUT._replace(x=16 - np.asarray(HELD_OUT.x))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_else_is_made_anew(change):
    reference_cache.reference(TRAIN, Network().features, HELD_OUT)
    again = Network(**{k: v for k, v in change.items() if k not in ('source', 'held_out')})
    reference_cache.reference(change.get('source', TRAIN), again.features, change.get('held_out', HELD_OUT))
    assert again.asked >= 80


def test_damaged_files_and_those_of_other_code_are_made_anew(folder, monkeypatch):
    reference_cache.reference(TRAIN, Network().features)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    damaged = [b'', whole[:-100], whole[: len(whole) // 2] + b'\xff' + whole[len(whole) // 2 + 1 :]]
    for content in damaged:
        path.write_bytes(content)
        again = Network()
        reference_cache.reference(TRAIN, again.features)
        assert again.asked == 80
        assert path.read_bytes() != content
    with monkeypatch.context() as patched:
        patched.setattr(reference_cache, '_code', lambda: 'older')
        reference_cache.reference(TRAIN, Network().features)
    newer = Network()
    reference_cache.reference(TRAIN, newer.features)
    assert newer.asked == 80
    assert len([*folder.iterdir()]) == 1


def test_where_nothing_can_be_written_it_is_made_every_time(folder, capsys):
    folder.parent.mkdir()
    folder.write_text('in the way')
    for _ in range(2):
        network = Network()
        assert len(reference_cache.reference(TRAIN, network.features).summary.rows) == 80
        assert network.asked == 80
        assert 'cannot be written: ' in capsys.readouterr().err
