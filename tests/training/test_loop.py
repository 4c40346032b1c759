"""The loop with a train step that is a stand-in: when it reads, saves, logs and stops."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.training import loop
from diffusion_jax.training.state import TrainState
from diffusion_jax.training.throughput import Timing
from diffusion_jax.types import Frozen

NEVER = loop.Every(log=0, save=0, draw=0)


class Value:
    """A metric that tells when it is read."""

    def __init__(self, run, step, value):
        self.run, self.step, self.value = run, step, value

    def __array__(self, *args, **kwargs):
        if self.step not in self.run.read:
            self.run.read.append(self.step)
            self.run.ahead.append(self.run.dispatched - self.step)
        return np.asarray(self.value)

    def __float__(self):
        return float(self.__array__())


class Run:
    """A recorded run; the metric of step k is `values(k)`."""

    def __init__(self, values=float, stop_at=None):
        self.values, self.stop_at = values, stop_at
        self.dispatched, self.read, self.ahead = 0, [], []
        self.batches, self.logged, self.saved, self.drawn, self.means = [], [], [], [], []
        self.kept = []

    def step(self, state, key, batch):
        self.dispatched += 1
        self.batches.append(batch)
        k = int(state.step) + 1
        value = self.values(k)
        values = value if type(value) is dict else {'loss': value}
        return state._replace(step=jnp.int32(k)), {name: Value(self, k, v) for name, v in values.items()}

    def fit(self, steps, every, start=0, max_skips=0):
        state = TrainState(jnp.int32(start), None, None, (), Frozen())
        self.dispatched = start
        hooks = loop.Hooks(
            log=lambda k, metrics, timing: self.logged.append((k, metrics)),
            save=lambda state, means: self.saved.append(int(state.step)) or self.means.append(means),
            draw=lambda k, state: self.drawn.append((k, int(state.step))),
            stop=lambda k: 143 if k == self.stop_at else 0,
            beat=lambda: None,
            keep=lambda state: self.kept.append(int(state.step)),
        )
        batches = itertools.count(start)
        return loop.fit(self.step, state, jax.random.key(0), batches, steps, every, hooks, max_skips)


def test_never_reads_the_newest_steps():
    run = Run()
    run.fit(40, NEVER)
    assert run.read == list(range(1, 41))  # each once, in order
    steady = run.ahead[: 40 - loop.AHEAD]
    assert set(steady) == {loop.AHEAD}


def test_saves_draws_and_logs_at_their_steps():
    run = Run(values=lambda k: k**2)
    state = run.fit(25, loop.Every(log=4, save=10, draw=7))
    assert state.step == 25
    assert run.saved == [10, 20, 25]
    assert run.means == [
        {'loss': np.mean([k**2 for k in steps])} for steps in (range(1, 11), range(11, 21), range(21, 26))
    ]
    assert run.drawn == [(7, 7), (14, 14), (21, 21), (25, 25)]
    expected = [(k, {'loss': np.mean([j**2 for j in range(k - 3, k + 1)])}) for k in range(4, 25, 4)]
    expected.append((25, {'loss': 25**2}))
    assert run.logged == expected
    assert run.batches == list(range(25))


def test_snapshots_are_kept_at_their_steps_and_at_the_end():
    run = Run()
    run.fit(25, loop.Every(log=0, save=10, draw=0, keep=6))
    assert run.kept == [6, 12, 18, 24, 25]
    assert run.saved == [10, 20, 25]
    assert run.means[1] == {'loss': np.mean(range(11, 21))}  # a snapshot takes nothing from the means of a save
    run.fit(25, loop.Every(log=0, save=10, draw=0), start=20)
    assert run.kept == [6, 12, 18, 24, 25]


def test_no_snapshot_is_kept_from_a_bad_step_on():
    run = Run(values=lambda k: np.nan if k == 11 else 1.0)
    with pytest.raises(UserError, match=r'^step 11: loss=nan'):
        run.fit(40, loop.Every(log=0, save=0, draw=0, keep=4))
    assert run.kept == [4, 8]


def test_goes_on_where_the_state_is():
    run = Run()
    run.fit(12, loop.Every(log=3, save=5, draw=0), start=7)
    assert run.batches == [7, 8, 9, 10, 11]
    assert run.saved == [10, 12]
    assert run.logged == [(9, {'loss': 8.5}), (12, {'loss': 11.0})]


def test_a_finished_run_does_nothing():
    run = Run()
    assert run.fit(10, loop.Every(1, 1, 1), start=10).step == 10
    assert run.batches == run.saved == run.drawn == run.logged == []


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('at', [11, 20, 23])
def test_nothing_is_saved_from_a_bad_step_on(bad, at):
    run = Run(values=lambda k: bad if k == at else 1.0)
    with pytest.raises(UserError, match=rf'^step {at}: loss=-?(nan|inf)\. Stopped') as error:
        run.fit(40, loop.Every(log=1, save=10, draw=10))
    assert '\n' not in str(error.value)
    assert run.saved == [k for k in (10, 20) if k < at]
    assert [k for k, _ in run.drawn] == run.saved
    assert [k for k, _ in run.logged] == list(range(1, at))
    assert run.dispatched <= at + loop.AHEAD


def test_stopping_saves_and_says_how_to_go_on():
    run = Run(stop_at=13)
    with pytest.raises(
        Interrupted, match=r'stopped at step 13 of 40; saved. Run the same command again to go on'
    ) as stop:
        run.fit(40, loop.Every(log=0, save=10, draw=0))
    assert stop.value.code == 143
    assert run.saved == [10, 13]
    assert run.read == list(range(1, 14))  # all checked before they are saved


def test_stopping_at_the_last_step_is_finishing():
    run = Run(stop_at=13)
    assert run.fit(13, NEVER).step == 13
    assert run.saved == [13]
    assert run.drawn == [(13, 13)]


def skipping(*bad):
    """Losses k, and those of bad steps NaN and skipped."""

    def values(k):
        in_a_row = next(n for n in itertools.count() if k - n not in bad)
        loss = np.nan if in_a_row else float(k)
        return {'loss': loss, 'skipped': sum(b <= k for b in bad), 'skipped_in_a_row': in_a_row}

    return values


def test_skipped_steps_are_counted_and_enter_no_mean():
    run = Run(values=skipping(2, 5, 6))
    run.fit(8, loop.Every(log=2, save=6, draw=0), max_skips=2)
    assert run.logged == [
        (2, {'loss': 1.0, 'skipped': 1}),
        (4, {'loss': 3.5, 'skipped': 1}),
        (6, {'skipped': 3}),
        (8, {'loss': 7.5, 'skipped': 3}),
    ]
    assert run.means == [{'loss': (1 + 3 + 4) / 3}, {'loss': 7.5}]


def test_a_save_after_skipped_steps_alone_has_no_means():
    run = Run(values=skipping(3, 4))
    run.fit(4, loop.Every(log=0, save=2, draw=0), max_skips=2)
    assert run.means == [{'loss': 1.5}, {}]


def test_too_many_skipped_steps_in_a_row_end_the_run():
    run = Run(values=skipping(3, 5, 6, 7))
    message = r'^step 7: loss=nan, the last of 3 steps skipped in a row \(train.max_skips\)\. Stopped'
    with pytest.raises(UserError, match=message):
        run.fit(40, loop.Every(log=0, save=2, draw=0), max_skips=2)
    assert run.saved == [2, 4, 6]


def test_what_is_timed(monkeypatch):
    """Half a second for a batch, one for a step, ten for a save or a picture."""
    clock, laps = SimpleNamespace(now=0.0), []
    monkeypatch.setattr('diffusion_jax.training.throughput.time.perf_counter', lambda: clock.now)

    def take(seconds, result=None):
        clock.now += seconds
        return result

    def step(state, key, batch):
        return take(1.0, (state._replace(step=state.step + 1), {'loss': 0.0}))

    hooks = loop.Hooks(
        log=lambda k, metrics, timing: laps.append((k, timing)),
        save=lambda state, means: take(10.0),
        draw=lambda k, state: take(10.0),
        stop=lambda k: 0,
        beat=lambda: None,
    )
    state = TrainState(jnp.int32(0), None, None, (), Frozen())
    batches = (take(0.5, k) for k in itertools.count())
    loop.fit(step, state, jax.random.key(0), batches, 40, loop.Every(log=20, save=10, draw=20), hooks)
    # At every save nothing is in flight any more.
    assert laps == [(k, Timing(steps=20, seconds=30.0, waited=10.0)) for k in (20, 40)]
