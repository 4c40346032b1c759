"""Levenberg-Marquardt against SciPy's, against linear algebra, and against problems whose minimum is known."""

import numpy as np
import pytest
import scipy.optimize

from diffusion_jax.search.least_squares import levenberg_marquardt

RNG = np.random.default_rng(0)


def equations(r, J, told=None):
    """From z to r . r, J^T r, J^T J."""

    def at(z):
        if told is not None:
            told.append(z)
        return r(z) @ r(z), J(z).T @ r(z), J(z).T @ J(z)

    return at


def test_a_linear_problem_is_its_normal_equations():
    A, b = RNG.normal(size=(30, 4)), RNG.normal(size=30)
    z = levenberg_marquardt(equations(lambda z: A @ z - b, lambda z: A), np.zeros(4), 60, 1e-14).z
    np.testing.assert_allclose(z, np.linalg.lstsq(A, b)[0], rtol=1e-6)


def rosenbrock(z):
    return np.array([10 * (z[1] - z[0] ** 2), 1 - z[0]])


def of_rosenbrock(z):
    return np.array([[-20 * z[0], 10], [-1, 0]])


@pytest.mark.parametrize('start', [(-1.2, 1.0), (3.0, -3.0)])
def test_rosenbrocks_valley_is_followed_to_its_end(start):
    z = levenberg_marquardt(equations(rosenbrock, of_rosenbrock), np.array(start), 300, 1e-12).z
    np.testing.assert_allclose(z, [1, 1], atol=1e-4)


def decays():
    """A fit with residuals at its minimum: data that no two decays make."""
    t = np.linspace(0, 3, 40)
    y = np.exp(-t) + 0.3 * np.cos(3 * t)

    def r(z):
        return z[0] * np.exp(-z[1] * t) + z[2] - y

    def J(z):
        e = np.exp(-z[1] * t)
        return np.stack([e, -z[0] * t * e, np.ones_like(t)], 1)

    return r, J


def test_what_scipy_finds_where_residuals_are_left():
    r, J = decays()
    start = np.array([0.5, 0.5, 0.0])
    exact = scipy.optimize.least_squares(r, start, J, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    assert exact.cost > 0.1
    z = levenberg_marquardt(equations(r, J), start, 200, 1e-12).z
    np.testing.assert_allclose(r(z) @ r(z) / 2, exact.cost, rtol=1e-8)
    np.testing.assert_allclose(z, exact.x, rtol=1e-3)


def test_no_step_is_kept_that_is_worse_and_steps_are_counted():
    r, J = decays()
    start, told, done = np.array([0.5, 0.5, 0.0]), [], []
    z = levenberg_marquardt(equations(r, J, told), start, 7, 0.0, progress=done.append).z
    assert done == [*range(1, 8)]
    assert len(told) == 8
    assert r(z) @ r(z) == min(r(tried) @ r(tried) for tried in told)
    start = np.array([-1.2, 1.0])  # from where the full step goes uphill
    stays = levenberg_marquardt(equations(rosenbrock, of_rosenbrock), start, 1, 0.0, damping=1e-9)
    np.testing.assert_array_equal(stays.z, start)
    assert stays.damping > 1e-9


def test_a_place_without_value_is_left_again():
    """sqrt(z) - 1 beyond z = 0 has none, and the first full step from z = 9 lies there."""

    def r(z):
        return np.array([np.sqrt(z[0]) - 1 if z[0] > 0 else np.nan])

    def J(z):
        return np.array([[0.5 / np.sqrt(z[0]) if z[0] > 0 else np.nan]])

    z = levenberg_marquardt(equations(r, J), np.array([9.0]), 100, 1e-12, damping=1e-3).z
    np.testing.assert_allclose(z, [1], rtol=1e-4)


def test_derivatives_that_are_not_finite_are_no_way():
    """The sum of squares falls beyond z = 1, where no derivative tells how to go on; at the start there is no way."""

    def r(z):
        return np.array([3 - z[0]])

    def J(z):
        return np.array([[-1.0 if z[0] < 1 else np.nan]])

    z = levenberg_marquardt(equations(r, J), np.zeros(1), 200, 0.0).z
    np.testing.assert_allclose(z, [1], atol=1e-2)
    assert z[0] < 1
    np.testing.assert_array_equal(levenberg_marquardt(equations(r, J), np.array([2.0]), 5, 0.0).z, [2])


def test_it_ends_where_a_step_gains_a_smaller_share_than_the_tolerance():
    r, J = decays()
    sums = []
    for tolerance in (0.5, 1e-2, 1e-8):
        told = []
        z = levenberg_marquardt(equations(r, J, told), np.array([0.5, 0.5, 0.0]), 200, tolerance).z
        sums.append((len(told), r(z) @ r(z)))
    assert sums[0][0] < sums[1][0] < sums[2][0] < 200
    assert sums[2][1] <= sums[1][1] <= sums[0][1]


def test_a_fit_that_goes_on_is_one_that_was_not_cut():
    r, J = decays()
    whole = levenberg_marquardt(equations(r, J), np.array([0.5, 0.5, 0.0]), 9, 0.0)
    half = levenberg_marquardt(equations(r, J), np.array([0.5, 0.5, 0.0]), 4, 0.0)
    rest = levenberg_marquardt(equations(r, J), half.z, 5, 0.0, half.damping)
    np.testing.assert_allclose(rest.z, whole.z, rtol=1e-10)
    np.testing.assert_allclose(rest.damping, whole.damping, rtol=1e-10)
