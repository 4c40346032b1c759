"""How far something is that takes its time."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PATIENCE = 2.0  # seconds in which nobody asks


@contextlib.contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes the number done; what is not done after two seconds is shown.

    By a bar on stderr, or, where that is no terminal, by one line on stdout.

    Args:
        what: is being done.
        total: of it.
    """
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # What is printed meanwhile stays in a pipe that it goes to.
    bar = Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty())
    task = bar.add_task(what, total=total)

    def tell():
        print(f'{what}: {total} to be done', flush=True)

    show = threading.Timer(_PATIENCE, bar.start if console.is_terminal else tell)
    show.daemon = True
    show.start()
    try:
        yield lambda done: bar.update(task, completed=done)
    finally:
        show.cancel()
        show.join()
        if bar.live.is_started:
            bar.stop()


def counted(batches: Iterable, progress: Callable[[int], None], done: int = 0) -> Iterator:
    """The same batches; after each `progress` is told how many rows there were, beside those `done` before."""
    for x in batches:
        yield x
        done += len(x)
        progress(done)
