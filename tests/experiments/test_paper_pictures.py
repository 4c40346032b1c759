"""Pictures of papers' tables: what stands where, with which error, and what is joined."""

import math

import pytest
from matplotlib.figure import Figure

from experiments.papers import drawing
from experiments.papers.drawing import Point
from experiments.papers.table import Paper, Table

PAPER = Paper('A paper', '0000.00000', 'data')
DISTANCE = 'Frechet distance'


@pytest.fixture
def drawn(monkeypatch):
    """What a table is drawn as: its panels."""

    def of(paper, ours, floors):
        figures = []
        monkeypatch.setattr(Figure, 'savefig', lambda self, path, **_: figures.append(self))
        drawing.draw('unused.png', paper, ours, floors)
        return figures[0]

    return of


def bars(axes):
    """Of each set of points: its label, the points, their errors, and whether they are joined."""
    found = {}
    for container in axes.containers:
        line, _, (errors,) = container
        points = [tuple(map(float, xy)) for xy in line.get_xydata()]
        along = int(container.has_yerr)
        ends = [abs(segment[1][along] - segment[0][along]) / 2 for segment in errors.get_segments()]
        found[container.get_label()] = points, ends, line.get_linestyle() != 'None'
    return found


def test_numbers_are_an_axis_and_rows_are_curves(drawn):
    paper = Table(PAPER, ('a', 'b'), ('1', '2', '10'), 'steps:', {('a', '2'): 3.0, ('a', '10'): 1.5}, ())
    ours = {
        ('a', '1'): Point(8.0, 0.5, DISTANCE),
        ('a', '10'): Point(2.0, 0.25, DISTANCE),
        ('b', '1'): Point(math.inf, 0.0, DISTANCE),
        ('b', '2'): Point(4.0, 0.125, DISTANCE),
    }
    theirs, mine = drawn(paper, ours, {DISTANCE: 1.25}).axes
    assert (theirs.get_title(), theirs.get_ylabel(), theirs.get_xlabel()) == ('paper: A paper', 'FID', 'steps')
    assert (mine.get_title(), mine.get_ylabel(), mine.get_xlabel()) == ('ours', DISTANCE, 'steps')
    assert bars(theirs) == {'a': ([(2.0, 3.0), (10.0, 1.5)], [0.0, 0.0], True)}
    assert bars(mine) == {
        'a': ([(1.0, 8.0), (10.0, 2.0)], [0.5, 0.25], True),
        'b': ([(2.0, 4.0)], [0.125], True),
    }
    assert [list(line.get_ydata()) for line in mine.lines if line.get_label() == 'held-out data'] == [[1.25, 1.25]]
    assert not [line for line in theirs.lines if line.get_label() == 'held-out data']  # it is of another metric
    assert [label.get_text() for label in mine.get_xticklabels()] == ['1', '2', '10']
    assert (mine.get_yscale(), theirs.get_yscale()) == ('log', 'linear')
    assert mine.yaxis.get_major_formatter()(2.0, 0) == '2'


def test_categories_are_rows_and_never_joined(drawn):
    paper = Table(PAPER, ('a', 'b', 'c'), ('1', '2'), 'steps:', {}, ())
    ours = {
        ('a', '1'): Point(1.0, 0.5, DISTANCE),
        ('c', '1'): Point(2.0, 0.25, DISTANCE),
        ('b', '2'): Point(1.5, 0, DISTANCE),
    }
    (axes,) = drawn(paper, ours, {DISTANCE: 1.25}).axes
    found = bars(axes)
    assert found.keys() == {'steps 1', 'steps 2'}
    points, errors, joined = found['steps 1']
    assert ([x for x, _ in points], [round(y) for _, y in points], errors) == ([1.0, 2.0], [0, 2], [0.5, 0.25])
    assert not joined
    assert round(found['steps 2'][0][0][1]) == 1
    assert found['steps 2'][0][0][1] > 1 > points[0][1] + 1  # columns of one row do not hide each other
    assert [label.get_text() for label in axes.get_yticklabels()] == ['a', 'b', 'c']
    assert axes.get_ylim() == (2.5, -0.5)  # the first on top
    assert [list(line.get_xdata()) for line in axes.lines if line.get_label() == 'held-out data'] == [[1.25, 1.25]]
    assert axes.get_xlabel() == DISTANCE


def test_each_metric_has_a_panel_of_its_own(drawn):
    cells = {('a', 'FID'): 3.0, ('a', 'NLL'): 2.5, ('b', 'FID'): 7.0}
    paper = Table(PAPER, ('a', 'b'), ('NLL', 'FID'), '', cells, (), metric='')
    ours = {('b', 'FID'): Point(4.0, 0.5, DISTANCE), ('b', 'NLL'): Point(3.5, 0.25, 'bits/dim')}
    panels = {(axes.get_title(), axes.get_xlabel()): bars(axes) for axes in drawn(paper, ours, {}).axes}
    assert list(panels) == [
        *(('paper: A paper', metric) for metric in ('NLL', 'FID')),
        *(('ours', metric) for metric in ('bits/dim', DISTANCE)),
    ]
    points = {panel: [x for found in of.values() for x, _ in found[0]] for panel, of in panels.items()}
    assert list(points.values()) == [[2.5], [3.0, 7.0], [3.5], [4.0]]
