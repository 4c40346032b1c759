"""A SLURM cluster of two nodes on this machine, all of it in one folder: `python -m tests.slurm FOLDER`.

It needs root, Linux and Debian's packages `slurm-wlm` and `munge`, and changes nothing outside the folder: the nodes'
names are known to what runs on them alone. It ends with Ctrl-C. In another shell `export SLURM_CONF=FOLDER/slurm.conf`
makes sbatch, squeue, scancel and the launcher speak to it. A job waits 10 s before it is started again, where SLURM's
default is two minutes. docs/pods.md has a whole session.
"""

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

NODES = ('n1', 'n2')
_PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'srun', 'scontrol', 'unshare')
_START, _STOP = 60, 20  # seconds
# `low` gives way to `high`: its jobs get SIGTERM, and {GRACE} seconds later they go back into the queue.
_CONFIG = """
ClusterName=one_machine
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerParameters=sched_interval=5,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} Gres=gpu:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} Gres=gpu:1
PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 GraceTime=60
PartitionName=high Nodes=n1,n2 PriorityTier=2 PreemptMode=off
"""


def missing() -> str | None:
    """What a cluster needs and this machine has not, in one line; None if there is nothing."""
    if lacks := [name for name in _PROGRAMS if _find(name) is None]:
        return f'no {", ".join(lacks)} here: apt-get install slurm-wlm munge'
    if os.geteuid():
        return 'a cluster on one machine is started by root'
    if subprocess.run(['unshare', '-m', 'true'], capture_output=True, check=False).returncode:
        return 'this machine allows no mount namespaces (unshare -m)'
    return None


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands find the cluster, which ends with the context, its jobs with it.

    Raises:
        RuntimeError: if it does not come up; the daemons' logs are in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    (folder / 'state').mkdir(exist_ok=True)
    _write(folder)
    environment = os.environ | {'SLURM_CONF': str(folder / 'slurm.conf')}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_daemon(folder, environment, 'munged', *_munge(folder)))
        _wait('munged', (folder / 'munge.socket').exists)
        stack.enter_context(_daemon(folder, environment, 'slurmctld', '-D'))
        for node in NODES:
            (folder / f'spool_{node}').mkdir(exist_ok=True)
            stack.enter_context(_daemon(folder, environment, 'slurmd', '-D', '-N', node, hosts=folder / 'hosts'))
        _wait('the nodes', lambda: ask(environment, 'sinfo', '-h', '-p', 'low', '-o', '%D %t').strip() == '2 idle')
        stack.callback(_end_jobs, environment)
        yield environment


def ask(environment: dict[str, str], *command: str) -> str:
    """What one of SLURM's commands says."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False).stdout


def _write(folder):
    sockets = [socket.socket() for _ in range(3)]
    for each in sockets:
        each.bind(('127.0.0.1', 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    text = _CONFIG.format(folder=folder, ports=ports, host=socket.gethostname(), cpus=max(os.cpu_count() or 1, 2))
    (folder / 'slurm.conf').write_text(text)
    for node in NODES:
        (folder / f'gpu_{node}').touch()
    (folder / 'gres.conf').write_text(''.join(f'NodeName={n} Name=gpu File={folder}/gpu_{n}\n' for n in NODES))
    (folder / 'hosts').write_text(Path('/etc/hosts').read_text() + ''.join(f'\n127.0.0.1 {n}' for n in NODES) + '\n')
    key = folder / 'munge.key'
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))


def _munge(folder):
    files = {'key-file': 'key', 'socket': 'socket', 'pid-file': 'pid', 'seed-file': 'seed'}
    return ['--foreground', '--force', *(f'--{option}={folder}/munge.{end}' for option, end in files.items())]


@contextlib.contextmanager
def _daemon(folder, environment, name, *arguments, hosts=None):
    command = [_find(name), *arguments]
    if hosts is not None:
        # Processes of a job look for the first node by its name.
        command = ['unshare', '-m', 'sh', '-c', f'mount --bind {hosts} /etc/hosts && exec {shlex.join(command)}']
    with (folder / f'{name}{arguments[-1] * (hosts is not None)}.log').open('w') as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_jobs(environment):
    ask(environment, 'scancel', '--signal=KILL', '--full', '--state=RUNNING', '-u', 'root')
    ask(environment, 'scancel', '-u', 'root')
    with contextlib.suppress(RuntimeError):
        _wait('the jobs', lambda: not ask(environment, 'squeue', '-h'))


def _wait(what, done):
    until = time.monotonic() + _START
    while not done():
        if time.monotonic() > until:
            raise RuntimeError(f'SLURM on one machine: {what}: not after {_START} s')
        time.sleep(0.2)


def _find(name):
    return shutil.which(name, path=f'{os.environ.get("PATH", "")}:/usr/sbin:/sbin')


def main() -> None:
    """The entry point."""
    if len(sys.argv) != 2 or missing():
        sys.exit(f'error: {missing() or "the folder of the cluster is missing: python -m tests.slurm FOLDER"}')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.suppress(KeyboardInterrupt), cluster(Path(sys.argv[1])) as environment:
        print(f'export SLURM_CONF={environment["SLURM_CONF"]}', flush=True)
        signal.pause()


if __name__ == '__main__':
    main()
