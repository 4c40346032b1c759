"""The table and the fitted powers of the comparison on mixtures, on made-up errors."""

import numpy as np
import pytest

from experiments.few_step import rates


def cells(*errors):
    return [{'map error': e, 'sliced Wasserstein': e / 2, 'seconds': 1.0} for e in errors]


def test_a_power_of_the_budget_is_found():
    """The errors are 3 K^-0.5, the mean over seeds of each budget."""
    exact = {k: cells(*(3 * k**-0.5 * np.array([0.9, 1.0, 1.1]))) for k in (250, 1000, 4000)}
    power = rates.fit(exact, 'map error')
    assert power is not None
    np.testing.assert_allclose(power, (-0.5, 0.0), atol=1e-7)
    noisy = {**exact, 4000: cells(0.06)}
    slope = rates.fit(noisy, 'map error')
    assert slope is not None
    assert slope.error > 0.01
    assert rates.fit({k: exact[k] for k in (250, 1000)}, 'map error') is None
    assert rates.fit({**exact, 4000: [{'seconds': 1.0}]}, 'map error') is None


def test_rows_have_all_budgets_and_what_was_not_measured_is_empty():
    results = {
        ('CD', 'renoise, 1'): {40: cells(0.4, 0.2), 80: cells(0.2)},
        ('CD', 'renoise, 2'): {40: [{'sliced Wasserstein': 0.5, 'seconds': 2.0}]},
    }
    head, _, first, second = rates.table(results).splitlines()
    assert [c.strip() for c in head.split('|')[1:4]] == ['method', 'sampler, evaluations', 'map error, 40 steps']
    assert [c.strip() for c in first.split('|')[3:5]] == ['0.3000 ± 0.1000', '0.2000 ± 0.0000']
    assert [c.strip() for c in second.split('|')[3:7]] == ['', '', '0.5000 ± 0.0000', '']


@pytest.mark.parametrize('budgets', [(40,), (40, 80, 160)])
def test_the_picture_is_drawn(tmp_path, budgets):
    names = [f'method {i}' for i in range(14)]
    results = {(name, 'jump, 1'): {k: cells(0.1, 0.2) for k in budgets} for name in names}
    rates.draw(tmp_path / 'rates.png', results)
    assert (tmp_path / 'rates.png').read_bytes()[:4] == b'\x89PNG'
