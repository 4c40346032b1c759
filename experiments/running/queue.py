"""Trainings in an order that any number of commands can work on at once: each run is one process's at a time."""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

from diffusion_jax.workdir import paths
from experiments.running import locks, pool
from experiments.running.measuring import Measure
from experiments.running.training import Training, check_workdir, forget_error, is_trained, make, note_error

Over = Callable[[Training], bool]


class Queue:
    """Trainings, by their places in a list.

    Each that is not over is handed out once: after the one that it starts from, and when no other process is at it.

    Raises:
        UserError: for a workdir that holds a run of another config.
    """

    def __init__(self, trainings: Sequence[Training], is_over: Over):
        for training in trainings:
            check_workdir(training)
        self.trainings, self._is_over = trainings, is_over
        self.waiting = deque(range(len(trainings)))
        self.failed: list[int] = []
        self.locks = {}
        self._by_workdir = {str(training.workdir): i for i, training in enumerate(trainings)}
        self._left_out, self._told = set(), set()

    def take(self, waiting: deque[int]) -> int | None:
        """Takes out the next one, with its lock; None while there is none."""
        for i in list(waiting):
            training = self.trainings[i]
            first = self._by_workdir.get(str(training.config['init_from']))
            if first in self._left_out:
                waiting.remove(i)
                self._left_out.add(i)
            elif first is not None and not self._is_over(self.trainings[first]):
                continue
            elif (lock := locks.claim(training.workdir)) is None:
                if i not in self._told:
                    print(f'{training.name}: another process is at it', flush=True)
                self._told.add(i)
            elif self._is_over(training):  # before, or by now
                lock.close()
                waiting.remove(i)
            else:
                self.locks[i] = lock
                waiting.remove(i)
                return i
        return None

    def give_back(self, i: int) -> None:
        """Lets others have one that was taken."""
        self.locks.pop(i).close()
        if not self._is_over(self.trainings[i]):
            self.failed.append(i)
            self._left_out.add(i)


def log_of(training: Training):
    """What a training's process says; it writes as it goes, so that it is a file of this machine."""
    return paths.near(training.workdir / 'log.txt')


def make_all(
    trainings: Sequence[Training],
    is_over: Over,
    workers: int,
    command: Callable[[int], list[str]],
    ended: Callable[[int], None] = lambda i: None,
) -> tuple[int, list[int], int]:
    """Makes what is not over, each run in a process of its own, `workers` at a time.

    Args:
        trainings: the runs; a process that fails has its reason noted, and what starts from its run is left out.
        is_over: whether there is nothing left to do for one.
        workers: processes at a time.
        command: what follows `python` for the run at a place in the list.
        ended: told of each place whose process has ended.

    Returns:
        How many were started, the places of those that failed, and the signal that stopped it, or 0.
    """
    queue, started = Queue(trainings, is_over), []

    def start(i, slot):
        training, log = trainings[i], log_of(trainings[i])
        training.workdir.mkdir(parents=True, exist_ok=True)
        forget_error(training)
        started.append(i)
        print(f'{training.name}: started, see {log}', flush=True)
        return pool.start([sys.executable, *command(i)], log, pool.devices_of(slot, workers), queue.locks[i])

    def process_ended(i, code):
        if code and code not in pool.STOPPED:
            note_error(trainings[i], f'ended with code {code}, see {log_of(trainings[i])}')
        queue.give_back(i)
        ended(i)

    signal = pool.run_all(queue.waiting, workers, start, process_ended, queue.take)
    return len(started), queue.failed, signal


def make_one(training: Training, measure: Measure | None, is_child: bool) -> None:
    """Makes a run in this process, which `make_all` started with the run's lock if it is a child, or else takes it.

    Raises:
        UserError: as `training.make`; if another process has the run.
    """
    if is_child:
        pool.ends_with_parent()
        make(training, measure)
        return
    with locks.locked(training.workdir, locks.PATIENCE):
        make(training, measure)


def train_here(trainings: Sequence[Training]) -> None:
    """Trains what is not trained, one after the other, in this process.

    Raises:
        UserError: as `training.make`.
    """
    queue = Queue(trainings, is_trained)
    while queue.waiting:
        i = queue.take(queue.waiting)
        if i is None:
            time.sleep(pool.POLL)
            continue
        print(f'{trainings[i].name}: training in {trainings[i].workdir}', flush=True)
        try:
            make(trainings[i])
        finally:
            queue.give_back(i)
