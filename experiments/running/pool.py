"""Several processes at a time: what becomes of one is nothing to the others."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar('T')
STOPPED = (-signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT)  # exit codes: run again
POLL = 0.1  # seconds


def run_all(
    waiting: deque[T],
    workers: int,
    start: Callable[[T, int], subprocess.Popen],
    ended: Callable[[T, int], None],
    take: Callable[[deque[T]], T | None] = deque.popleft,
) -> int:
    """Starts a process for each of what is waiting, `workers` at a time, until all have ended.

    SIGTERM and Ctrl-C are passed on to the processes, and no other is started.

    Args:
        waiting: what to start; `ended` may put more in.
        workers: processes at a time.
        start: a process in the slot 0 .. workers - 1.
        ended: told of each, with its exit code.
        take: takes out what to start next; None if that cannot be said yet.

    Returns:
        The signal that stopped it, 0 if none did.
    """
    running = {}
    with received() as signals:
        told = 0
        while waiting or running:
            for slot in range(workers):
                if waiting and slot not in running and (item := take(waiting)) is not None:
                    running[slot] = item, start(item, slot)
            time.sleep(POLL)
            if len(signals) > told:
                told = len(signals)
                waiting.clear()
                for _, process in running.values():
                    process.send_signal(signal.SIGTERM)
            for slot, (item, process) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    if process.stdin:
                        process.stdin.close()
                    ended(item, process.returncode)
    return signals[0] if signals else 0


def start(command: list[str], log: Path, environment: dict[str, str], lock: IO | None = None) -> subprocess.Popen:
    """A process apart from the terminal's Ctrl-C, its output at the end of a file, with a standard input to hold.

    `lock` is from `locks.claim`: the process has it as long as it lives.
    """
    with log.open('a') as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
            pass_fds=[lock.fileno()] if lock else [],
        )


def devices_of(slot: int, workers: int) -> dict[str, str]:
    """A slot's even share of the devices in CUDA_VISIBLE_DEVICES, as an environment; empty if there are too few."""
    devices = [d for d in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if d]
    share = len(devices) // workers
    return {'CUDA_VISIBLE_DEVICES': ','.join(devices[slot * share : (slot + 1) * share])} if share else {}


def ends_with_parent() -> None:
    """Sends this process SIGTERM when its standard input ends, as it does when the process that holds it is killed."""

    def watch():
        while os.read(0, 1024):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def received():
    """Yields a list that SIGTERM and Ctrl-C come into while the block lasts."""
    numbers = []
    before = {s: signal.signal(s, lambda n, _: numbers.append(n)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield numbers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
