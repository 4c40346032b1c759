"""Where a run's numbers go: metrics.jsonl, tensorboard events and a progress bar."""

import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from diffusion_jax.workdir.files import write_text

# What of a line is shown on the screen, and how.
_SHOWN = {
    'loss': 'loss {:.4f}',
    'images_per_second': '{:.0f} images/s',
    'mfu': 'MFU {:.1%}',
    'input_wait_share': 'input wait {:.0%}',
    'skipped': '{:.0f} skipped',
    'compile_seconds': 'compiled in {:.1f} s',
}


class Log:
    """Writer of a run's metrics; a resumed run drops the lines of steps that it will do again."""

    def __init__(self, workdir: Path, start: int, steps: int):
        self._path = workdir / 'metrics.jsonl'
        _drop_after(self._path, start)
        self._events = SummaryWriter(str(workdir), purge_step=start + 1)
        self._start = (start, time.perf_counter())
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn('{task.fields[shown]}'),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task('train', total=steps, completed=start, shown='')
        self._steps = steps

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *_):
        self._bar.stop()
        self._events.close()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Records what is known of the steps since the last call."""
        with self._path.open('a') as file:
            file.write(json.dumps({'step': step, **metrics}) + '\n')
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)
        shown = '  '.join(form.format(metrics[name]) for name, form in _SHOWN.items() if name in metrics)
        self._bar.update(self._task, completed=step, shown=shown)
        if self._bar.disable:
            start, since = self._start
            left = (self._steps - step) * (time.perf_counter() - since) / (step - start)
            print(f'step {step}/{self._steps}  {shown}  {left / 60:.1f} min left', file=sys.stderr, flush=True)


def _drop_after(path: Path, step: int) -> None:
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        write_text(path, ''.join(f'{line}\n' for line in lines))


def _step_of(line: str) -> int | float:
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError, TypeError):
        return float('inf')  # a line that a killed run left half-written
