"""Where a run's numbers go: metrics.jsonl, tensorboard events and a progress bar."""

import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from diffusion_jax.workdir import write_text


class Log:
    """Writer of a run's metrics; a resumed run drops the lines of steps that it will do again."""

    def __init__(self, workdir: Path, start: int, steps: int, batch_size: int):
        self._path = workdir / 'metrics.jsonl'
        _drop_after(self._path, start)
        self._events = SummaryWriter(str(workdir), purge_step=start + 1)
        self._batch_size = batch_size
        self._last = (start, time.perf_counter())
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
        """Records means over the steps since the last call, and the throughput over them."""
        step_0, time_0 = self._last
        now = time.perf_counter()
        self._last = (step, now)
        rate = (step - step_0) / (now - time_0)
        metrics = {**metrics, 'images_per_second': rate * self._batch_size}
        with self._path.open('a') as file:
            file.write(json.dumps({'step': step, **metrics}) + '\n')
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)
        loss = ' '.join(f'{k} {v:.4f}' for k, v in metrics.items() if k == 'loss')
        shown = f'{loss}  {metrics["images_per_second"]:.0f} images/s'
        self._bar.update(self._task, completed=step, shown=shown)
        if self._bar.disable:
            eta = (self._steps - step) / rate
            print(f'step {step}/{self._steps}  {shown}  {eta / 60:.1f} min left', file=sys.stderr, flush=True)


def _drop_after(path: Path, step: int) -> None:
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        write_text(path, ''.join(f'{line}\n' for line in lines))


def _step_of(line: str) -> int | float:
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError, TypeError):
        return float('inf')  # a line that a killed run left half-written
