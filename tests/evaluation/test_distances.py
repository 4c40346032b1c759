"""Feature spaces and distances against closed forms, double loops and other libraries."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from diffusion_jax.evaluation import features, frechet, generalization, kid
from tests import fidelity

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (60, 2, 3, 1)).astype(np.float32)


def covariance(d, rank):
    factor = RNG.normal(size=(d, rank))
    return factor @ factor.T


def test_pixels_flatten_and_are_named_by_their_dimension():
    pixels = features.pixels((2, 3, 1))
    assert pixels.name == 'pixels-6'
    np.testing.assert_array_equal(pixels.apply(jnp.asarray(IMAGES)), IMAGES.reshape(60, 6))
    assert pixels.hash == features.pixels((2, 3, 1)).hash != features.pixels((3, 2, 1)).hash


def test_pca_is_scikit_learns_up_to_sign_and_orthonormal():
    pca = features.pca(IMAGES, 3)
    assert pca.name == 'pca-3'
    ours = np.asarray(pca.apply(jnp.asarray(IMAGES)))
    theirs = PCA(3, svd_solver='full').fit_transform(IMAGES.reshape(60, 6).astype(np.float64))
    np.testing.assert_allclose(ours, theirs * np.sign((ours * theirs).sum(0)), atol=1e-5)
    basis = np.asarray(pca.apply(jnp.eye(6).reshape(6, 2, 3, 1)) - pca.apply(jnp.zeros((1, 2, 3, 1))))
    np.testing.assert_allclose(basis.T @ basis, np.eye(3), atol=1e-6)


def test_pca_hash_follows_the_reference_and_the_dimension():
    hashes = {features.pca(x, d).hash for x, d in [(IMAGES, 3), (IMAGES, 2), (IMAGES[:50], 3), (-IMAGES, 3)]}
    assert len(hashes) == 4
    assert features.pca(IMAGES + np.float32(1e-8), 3).hash == features.pca(IMAGES, 3).hash


@pytest.mark.parametrize('dim', [0, 7])
def test_pca_of_too_many_components_is_refused(dim):
    with pytest.raises(ValueError, match=r'has 1\.\.6 components'):
        features.pca(IMAGES, dim)


@pytest.mark.parametrize('batch', [1, 7, 60])
def test_moments_stream(batch):
    shifted = IMAGES.astype(np.float64) + 1e4  # float64 all the way, and no cancellation
    identity = features.Features('identity', lambda x: features.Outputs(x.reshape(len(x), -1)), '')
    moments = frechet.moments(identity, (shifted[i : i + batch] for i in range(0, 60, batch)))
    flat = shifted.reshape(60, 6)
    np.testing.assert_allclose(moments.mean, flat.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.cov, np.cov(flat - 1e4, rowvar=False), rtol=1e-10, atol=1e-12)
    assert moments.n == 60


def test_moments_of_too_few_or_broken_samples_are_refused():
    pixels = features.pixels((2, 3, 1))
    with pytest.raises(ValueError, match='at least 2 samples, got 1'):
        frechet.moments(pixels, [jnp.asarray(IMAGES[:1])])
    with pytest.raises(ValueError, match='pixels-6 features of the samples are not finite'):
        frechet.moments(pixels, [jnp.full((4, 2, 3, 1), jnp.nan)])


def test_frechet_of_commuting_gaussians():
    # Diagonal covariances: sum of (m_1 - m_2)^2 + (s_1 - s_2)^2, even where some s are zero.
    m_1, m_2, s_1, s_2 = RNG.normal(size=(4, 5))
    s_1[:2], s_2[1:3] = 0, 0
    distance = frechet.frechet_distance(m_1, np.diag(s_1**2), m_2, np.diag(s_2**2))
    expected = np.sum((m_1 - m_2) ** 2 + (np.abs(s_1) - np.abs(s_2)) ** 2)
    np.testing.assert_allclose(distance, expected, rtol=1e-12)


def test_frechet_against_a_general_matrix_square_root():
    c_1, c_2, m_1, m_2 = covariance(6, 9), covariance(6, 9), RNG.normal(size=6), RNG.normal(size=6)
    root = scipy.linalg.sqrtm(c_1 @ c_2)
    expected = np.sum((m_1 - m_2) ** 2) + np.trace(c_1 + c_2 - 2 * root.real)
    np.testing.assert_allclose(frechet.frechet_distance(m_1, c_1, m_2, c_2), expected, rtol=1e-9)


def test_frechet_of_rank_one_gaussians():
    # C = u u^T: tr (C_1 C_2)^(1/2) = |u.v|.
    u, v = RNG.normal(size=(2, 8))
    expected = u @ u + v @ v - 2 * abs(u @ v)
    distance = frechet.frechet_distance(np.zeros(8), np.outer(u, u), np.zeros(8), np.outer(v, v))
    np.testing.assert_allclose(distance, expected, rtol=1e-12)


def test_frechet_ignores_rounding_in_a_null_space():
    # C_1 = u u^T and C_2 = 1: tr (C_1 C_2)^(1/2) = |u|; 63 eigenvalues of 1e-16 must not add roots of 1e-8.
    u = RNG.normal(size=64)
    distance = frechet.frechet_distance(np.zeros(64), np.outer(u, u), np.zeros(64), np.eye(64))
    np.testing.assert_allclose(distance, u @ u + 64 - 2 * np.linalg.norm(u), rtol=1e-12)


@pytest.mark.parametrize('rank', [1, 3, 20])
def test_frechet_to_itself_is_zero(rank):
    c, m = covariance(20, rank), RNG.normal(size=20)
    assert frechet.frechet_distance(m, c, m, c) < 1e-11 * np.trace(c)


def test_squared_mmd_is_the_double_loop():
    x, y = RNG.normal(size=(7, 4)), RNG.normal(size=(5, 4)) + 1

    def k(a, b):
        return (np.dot(a, b) / 4 + 1) ** 3

    within_x = np.mean([k(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    within_y = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([k(a, b) for a in x for b in y])
    np.testing.assert_allclose(kid.squared_mmd(x, y), within_x + within_y - 2 * between, rtol=1e-12)


def test_squared_mmd_is_unbiased():
    values = [kid.squared_mmd(*RNG.normal(size=(2, 20, 3))) for _ in range(500)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(500)
    assert min(values) < 0


def test_kernel_distance_separates_and_states_its_error():
    x, y, z = RNG.normal(size=(3, 500, 3))
    same = kid.kernel_distance(x, y, subsets=20, subset_size=100)
    other = kid.kernel_distance(x, z + 0.5, subsets=20, subset_size=100)
    assert abs(same.mean) < 0.1 < other.mean - 5 * other.standard_error
    assert same == kid.kernel_distance(x, y, subsets=20, subset_size=100)
    full = kid.kernel_distance(x, y, subsets=2, subset_size=500)
    np.testing.assert_allclose(full.mean, kid.squared_mmd(x, y), rtol=1e-9)


def test_kernel_distance_is_torch_fidelitys():
    """Subsets of the size of the set are the set, whatever the draw."""
    theirs = fidelity.module('metric_kid')
    torch = pytest.importorskip('torch')
    x, y = RNG.normal(size=(2, 150, 8)).astype(np.float32)
    settings = {'kid_subsets': 2, 'kid_subset_size': 150, 'rng_seed': 0, 'verbose': False}
    want = theirs.kid_features_to_metric(torch.tensor(x).double(), torch.tensor(y + 0.3).double(), **settings)
    ours = kid.kernel_distance(x, y + np.float32(0.3), subsets=2, subset_size=150)
    np.testing.assert_allclose(ours.mean, want['kernel_inception_distance_mean'], rtol=1e-6)


def test_kernel_distance_of_too_few_is_refused():
    with pytest.raises(ValueError, match='100 subsets of 1000 cannot be drawn from 7 and 7 samples'):
        kid.kernel_distance(np.zeros((7, 2)), np.zeros((7, 2)))
    with pytest.raises(ValueError, match='at least 2 samples a side, got 1 and 7'):
        kid.squared_mmd(np.zeros((1, 2)), np.zeros((7, 2)))


@pytest.mark.parametrize('chunk', [7, 60, 1000])
def test_neighbours_are_scikit_learns(chunk):
    samples = RNG.uniform(-1, 1, (11, 2, 3, 1)).astype(np.float32)
    distance, index = NearestNeighbors(n_neighbors=1).fit(IMAGES.reshape(60, 6)).kneighbors(samples.reshape(11, 6))
    ours = generalization.nearest_neighbours(samples, IMAGES, chunk)
    np.testing.assert_array_equal(ours.index, index[:, 0])
    np.testing.assert_allclose(ours.distance, distance[:, 0], rtol=1e-5)


def test_copies_are_at_distance_zero():
    neighbours = generalization.nearest_neighbours(IMAGES[[4, 40, 7]], IMAGES, 16)
    np.testing.assert_array_equal(neighbours.index, [4, 40, 7])
    np.testing.assert_array_equal(neighbours.distance, 0)


def test_neighbours_in_nothing_are_refused():
    with pytest.raises(ValueError, match='empty training set'):
        generalization.nearest_neighbours(IMAGES, IMAGES[:0])


def test_memorisation_tells_copies_from_new_samples():
    new, held_out = RNG.uniform(-1, 1, (2, 200, 2, 3, 1)).astype(np.float32)
    copied = IMAGES[RNG.integers(0, 60, 200)] + RNG.normal(0, 1e-3, (200, 2, 3, 1)).astype(np.float32)
    copied, new, held_out = (generalization.nearest_neighbours(x, IMAGES).distance for x in (copied, new, held_out))
    assert generalization.memorisation(copied, held_out).ratio < 0.01
    assert 0.85 < generalization.memorisation(new, held_out).ratio < 1.15


def test_the_frechet_gap_of_a_copy_and_of_a_model():
    """In one dimension the distance is (m_1 - m_2)^2 + (s_1 - s_2)^2."""

    def at(mean, std, n=9):
        return frechet.Moments(np.array([mean]), np.array([[std**2]]), n)

    train, held_out = at(0.0, 1.0), at(0.4, 1.5)
    np.testing.assert_allclose(generalization.frechet_gap(train, train, held_out), 0.16 + 0.25)
    np.testing.assert_allclose(generalization.frechet_gap(at(0.2, 1.25, 50), train, held_out), 0, atol=1e-12)
    with pytest.raises(ValueError, match='one size, got 9 and 8'):
        generalization.frechet_gap(train, train, at(0.4, 1.5, 8))
