"""The search for a setting, on a slice whose memory and time are known in closed form."""

import math

import pytest

from experiments.launch import collectives, compiling, program, report, slices, suggest
from experiments.launch.suggest import Setting
from tests import tiny
from tests.experiments.test_check import CHECK, TOY, on_cpus  # noqa: F401 (a fixture)

G = 2.0**30
ON = slices.find('v5litepod-8')  # 16 GiB a chip, 197 TFLOP/s
SIZES, REMATS = (1, 2, 4, 8), (None, 'full')
WHOLE = 64  # rows a chip


def model(state, row, kept=0.25, again=1.3, sent=0.0):
    """A network of so many GiB of state and of temporaries a row; remat keeps `kept` of these and does `again` as much.

    Its memory is exactly state / fsdp + the temporaries of WHOLE / accumulate rows; `sent` seconds go to links for each
    doubling of fsdp.
    """
    tried = []

    def estimate(setting):
        tried.append(setting)
        split = state / setting.fsdp
        rows = WHOLE / setting.accumulate
        memory = compiling.Memory(split * G, rows * row * (kept if setting.remat else 1) * G, 0, 0)
        flops = 197e12 * (again if setting.remat else 1) * (1 + 0.01 * (setting.accumulate - 1))
        figures = program.Figures(flops, flops, 0, 0, program.Unlike(0, 1, 0, ''), [], 0)
        row_of = collectives.Row('all-gather', 8, 1, 0, 1, 200e9 * (sent * math.log2(setting.fsdp)))
        fits = memory.total <= report.hbm(ON)
        found = compiling.Estimate('train step', ON.name, 8, 1, 1, memory, fits, figures, [row_of], 0, 0, {}, 1.0, {})
        return found, split * G

    return estimate, tried


def test_what_fits_whole_stays_whole_and_is_not_computed_again():
    estimate, tried = model(state=4, row=0.1)
    best = suggest.search(estimate, ON, SIZES, (1, 2, 4), REMATS)[0]
    assert best.setting == Setting(1, 1, None)
    assert best.seconds == pytest.approx(1)
    assert {s.remat for s in tried} == {None}
    assert {s.accumulate for s in tried} == {1}


def test_a_step_is_cut_no_finer_than_it_must_be():
    """0.4 GiB a row: neither 25.6 nor 12.8 fit 16 beside 4 of state; 6.4 do, and with remat 6.4 of all rows."""
    estimate, tried = model(state=4, row=0.4)
    found = suggest.search(estimate, ON, (1,), (1, 2, 4, 8), REMATS)
    assert found[0].setting == Setting(1, 4, None)  # 1.03 s against 1.3
    assert tried == [Setting(1, 1, None), Setting(1, 4, None), Setting(1, 1, 'full')]


def test_parts_that_cannot_do_are_not_compiled():
    """3 GiB a row: 192 beside 4 of state need 16 parts at least by proportion."""
    estimate, tried = model(state=4, row=3.0)
    suggest.search(estimate, ON, (1,), (1, 2, 4, 8, 16, 32, 64), (None,))
    assert [s.accumulate for s in tried] == [1, 16]


def test_a_state_that_is_too_large_is_split():
    """20 GiB of state lie on no chip: no number of parts is tried there; among two it fits."""
    estimate, tried = model(state=20, row=0.05)
    found = suggest.search(estimate, ON, SIZES, (1, 2, 4), REMATS)
    assert found[0].setting == Setting(2, 1, None)
    assert [s for s in tried if s.fsdp == 1] == [Setting(1, 1, None), Setting(1, 1, 'full')]
    assert f'THE SHORTEST ESTIMATE: {found[0].setting.flags()}' in suggest.words(found, ON)


def test_links_bound_how_far_it_is_split():
    estimate, tried = model(state=20, row=0.05, sent=0.6)
    found = suggest.search(estimate, ON, (1, 2, 4, 8, 16, 32), (1,), (None,))
    assert found[0].setting == Setting(2, 1, None)
    assert [s.fsdp for s in tried] == [1, 2, 4, 8]  # 4 and 8 are slower, so that 16 is not tried
    assert [t.setting.fsdp for t in found] == [2, 4, 8, 1]


def test_where_nothing_fits_it_says_so():
    estimate, _ = model(state=500, row=1)
    said = suggest.words(suggest.search(estimate, ON, SIZES, (1, 2), REMATS), ON)
    assert said.endswith('nothing fits: a smaller train.batch_size, a smaller network, or a larger slice')
    assert 'SHORTEST' not in said


@pytest.mark.slow
def test_the_command_compiles_each_setting_once_and_its_flags_are_a_run(on_cpus, tmp_path, capsys):  # noqa: F811
    arguments = (*TOY, '--on=tpu:type=v5litepod-4', f'--out={tmp_path}')
    assert tiny.call(CHECK, *arguments, '--suggest') == 0
    out, err = capsys.readouterr()
    assert err.count('accumulate=1') == len([*tmp_path.glob('*.json')]) == 3
    flags = out.splitlines()[-1].removeprefix('THE SHORTEST ESTIMATE: ').split()
    assert tiny.call(CHECK, *arguments, *flags) == 0
    assert len([*tmp_path.glob('*.json')]) == 3
    assert 'does not divide over 4 devices' in tiny.refusal(
        capsys, CHECK, *arguments, '--suggest', '--config.train.batch_size=63'
    )
