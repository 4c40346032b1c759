"""Starts entry points as several real processes with several fake devices each."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment(devices: int) -> dict[str, str]:
    """That of a process with so many CPU devices."""
    flags = f'--xla_force_host_platform_device_count={devices}'
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'XLA_FLAGS': flags, 'PYTHONUNBUFFERED': '1', 'JAX_PLATFORMS': 'cpu'}


def start(module: str, arguments: list[str], processes: int, devices: int, **changes: str) -> list[subprocess.Popen]:
    """The processes of one job; {process} in an argument is the number of each, `changes` go to their environment."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    call = [sys.executable, '-m', module, *arguments]
    if processes > 1:
        call += [f'--coordinator=127.0.0.1:{port}', f'--num_processes={processes}']
    return [
        subprocess.Popen(
            [part.replace('{process}', str(i)) for part in call] + ([f'--process_id={i}'] if processes > 1 else []),
            cwd=ROOT,
            env={**environment(devices), **changes},
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(processes)
    ]


def finish(job: list[subprocess.Popen], timeout: float) -> tuple[list[int], list[str]]:
    """Exit codes and what they said; none is left running."""
    try:
        said = [process.communicate(timeout=timeout)[1] for process in job]
    finally:
        for process in job:
            process.kill()
            process.wait()
    return [process.returncode for process in job], said
