"""Programs that run one after the other, each until it is done once: what was done with a command is not done again."""

import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from diffusion_jax import shipped
from diffusion_jax.errors import Interrupted, UserError
from diffusion_jax.workdir import files
from experiments.running import child, locks, pool

FILE, LOG = 'jobs.json', 'log.txt'


class Job(NamedTuple):
    """A program of this repository."""

    name: str
    module: str
    arguments: Sequence[str]

    @property
    def command(self) -> str:
        """As it is typed."""
        return ' '.join(['python', '-m', self.module, *self.arguments])


class State(NamedTuple):
    """What became of a job."""

    command: str
    seconds: float = 0.0  # of CPU in all its starts with any command
    done: bool = False
    error: str | None = None


def states(folder: Path) -> dict[str, State]:
    """What became of the jobs of a folder so far, by their names."""
    return {name: State(**found) for name, found in files.read_json(folder / FILE, {}).items()}


def do(folder: Path, jobs: Sequence[Job], say: Callable[[str], None]) -> str | None:
    """Does what is not done, in this order; the reason of the first that fails, after which none is begun.

    Args:
        folder: takes the states, and all that the programs print.
        jobs: their order counts: one that is done anew, as its command is another, takes those after it along.
        say: is told every line that a program prints, as it comes.

    Raises:
        Interrupted: if this process was told to stop; the program was told so as well, and has ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    anew = False
    for job in jobs:
        before = states(folder).get(job.name, State(job.command))
        if before.done and before.command == job.command and not anew:
            say(f'{job.name}: done before')
            continue
        anew = True
        say(f'{job.name}: {job.command}')
        code, seconds, signal, last = _run(job, folder, say)
        error = None if not code or code in pool.STOPPED else _reason(code, last)
        state = State(job.command, before.seconds + seconds, code == 0, error)
        files.write_json(folder / FILE, {k: v._asdict() for k, v in {**states(folder), job.name: state}.items()})
        if signal or code in pool.STOPPED:
            raise Interrupted('stopped. Run the same command again to go on.', 128 + signal if signal else abs(code))
        if error:
            return f'{job.name}: {error}'
    return None


def _reason(code, last):
    return last.removeprefix('error: ') if last else f'ended with code {code}'


def _run(job: Job, folder: Path, say: Callable[[str], None]) -> tuple[int, float, int, str]:
    """Exit code, seconds of CPU, the signal that came to this process meanwhile (0: none), the last line printed."""
    log, before = folder / LOG, _seconds_of_children()
    path = os.pathsep.join(filter(None, [str(shipped.root()), os.environ.get('PYTHONPATH')]))
    with _claimed(folder) as lock, log.open('a'), pool.received() as signals, log.open(errors='replace') as printed:
        printed.seek(0, os.SEEK_END)
        process, told, last = (
            pool.start(child.command(job.module, job.arguments), log, {'PYTHONPATH': path}, lock),
            0,
            '',
        )
        while True:
            ended = process.poll() is not None  # before the last look at what it printed
            for line in map(str.rstrip, printed):
                last = line or last
                say(line)
            if ended:
                break
            if len(signals) > told:
                told = len(signals)
                process.terminate()
            time.sleep(pool.POLL)
        if process.stdin:
            process.stdin.close()
    return process.returncode, _seconds_of_children() - before, signals[0] if signals else 0, last


def _claimed(folder: Path) -> IO:
    """The folder's lock; the program of a command that was killed may take its time to save."""
    until = time.monotonic() + locks.PATIENCE
    while (lock := locks.claim(folder)) is None:
        if time.monotonic() >= until:
            raise UserError(f'{folder} is in use by another process')
        time.sleep(pool.POLL)
    return lock


def _seconds_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
