"""Ends a program that hangs: a job that does nothing for hours costs as much as one that works."""

import contextlib
import faulthandler
import os
import sys
import threading
import time

STALLED = 124  # the exit code, as that of timeout(1)


@contextlib.contextmanager
def watchdog(seconds: float):
    """Yields `beat()`. From its first call on it has to be called every `seconds`, or the program ends; 0 is never.

    It then prints the stacks of all threads, which say what hangs, and ends with the code `STALLED` at once: whatever
    hangs would not let it end otherwise.
    """
    last: list[float] = []
    over = threading.Event()

    def beat():
        last[:] = [time.monotonic()]

    def watch():
        while not over.wait(min(1.0, seconds / 4)):
            if last and time.monotonic() - last[0] > seconds:
                print(f'error: no step was finished for {seconds:g} s. What runs:', file=sys.stderr, flush=True)
                faulthandler.dump_traceback(2, all_threads=True)
                os._exit(STALLED)

    if not seconds:
        yield lambda: None
        return
    thread = threading.Thread(target=watch, name='watchdog', daemon=True)
    thread.start()
    try:
        yield beat
    finally:
        over.set()
        thread.join()
