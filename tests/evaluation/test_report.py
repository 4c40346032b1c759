"""A result keeps its protocol, a table refuses to mix protocols, a grid puts each image where it belongs."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from diffusion_jax.data import show
from diffusion_jax.evaluation import features, report

PROTOCOL = report.Protocol('pixels-64', 'ab12', 1000, 'digits/test', 297, (0, 1), 17)
OTHER = report.Protocol('pca-8', 'cd34', 10, 'digits/train', 1500, (2,), 256, 'none', 'bicubic', 5, '2 of 3', 'turn')
NAME = report.frechet_name(features.pixels((8, 8, 1)))


def result(value, **changes):
    return report.Result({NAME: value}, dataclasses.replace(PROTOCOL, **changes))


def test_names_state_the_features():
    assert NAME == 'Frechet distance (pixels-64)'
    assert report.kernel_name(features.pixels((8, 8, 1))) == 'kernel distance (pixels-64)'


def test_json_round_trip():
    saved = result(1.25, levels=None, seeds=(3,))
    assert report.from_json(report.to_json(saved)) == saved


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"values": {}, "protocol": {"seeds": [0], "extra": 1}}'])
def test_other_files_are_refused(text):
    with pytest.raises(report.ProtocolError, match='not a saved result') as error:
        report.from_json(text)
    assert '\n' not in str(error.value)


def test_table():
    table = report.markdown_table({'ddpm': result(1.25), 'ddim': report.Result({'bits/dim': 3.0}, PROTOCOL)})
    assert table.splitlines()[:4] == [
        '| | Frechet distance (pixels-64) | bits/dim |',
        '| --- | --- | --- |',
        '| ddpm | 1.25 |  |',
        '| ddim |  | 3 |',
    ]
    for field in dataclasses.fields(report.Protocol):
        assert f'{field.name} = {getattr(PROTOCOL, field.name)}' in table


@pytest.mark.parametrize('field', [field.name for field in dataclasses.fields(report.Protocol)])
def test_protocols_are_never_mixed(field):
    value = getattr(OTHER, field)
    other = result(1.0, **{field: value})
    with pytest.raises(report.ProtocolError) as error:
        report.markdown_table({'a': result(1.0), 'same': result(2.0), 'b': other})
    expected = f"'a' and 'b' cannot be compared: they differ in {field} ({getattr(PROTOCOL, field)} / {value})"
    assert str(error.value) == expected


def test_every_differing_field_is_named():
    with pytest.raises(report.ProtocolError, match=r'differ in n \(1000 / 10\), levels \(17 / 256\)$'):
        report.check_comparable({'a': result(1.0), 'b': result(1.0, n=10, levels=256)})


def test_empty_table_is_refused():
    with pytest.raises(report.ProtocolError, match='no results'):
        report.markdown_table({})


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_grid_layout_and_png(tmp_path, channels):
    images = np.random.default_rng(0).integers(1, 256, (5, 2, 3, channels), np.uint8)
    grid = show.image_grid(images, columns=3)
    assert grid.shape == (4, 9, channels)
    for i, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        np.testing.assert_array_equal(grid[2 * row : 2 * row + 2, 3 * column : 3 * column + 3], images[i])
    np.testing.assert_array_equal(grid[2:, 6:], 0)
    show.save_png(tmp_path / 'grid.png', grid)
    with Image.open(tmp_path / 'grid.png') as picture:
        np.testing.assert_array_equal(np.asarray(picture).reshape(grid.shape), grid)


def test_other_channels_are_refused(tmp_path):
    with pytest.raises(ValueError, match='1, 3 or 4 channels, not 2'):
        show.save_png(tmp_path / 'x.png', np.zeros((2, 2, 2), np.uint8))
