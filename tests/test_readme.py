"""The README's example runs as printed."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / 'README.md').read_text()


def test_example_runs(capsys):
    (code,) = re.findall(r'```python\n(.*?)```', README, re.S)
    assert len(code.splitlines()) <= 25
    names: dict = {}
    exec(code, names)
    # The ring has standard deviation 0.8 / sqrt(2) on each axis, whatever its eight components add.
    assert abs(float(names['x_0'].std()) - 0.57) < 0.03
    assert abs(names['z_T'] - names['x_T']).mean() < 0.1


def test_first_two_blocks_are_the_commands():
    first, second, *_ = re.findall(r'```sh\n(.*?)```', README, re.S)
    assert 'experiments.quickstart' in first
    assert 'pytest' in second
