"""Scripts for bash that run a job, one function for each place where it can run, of the job and the place's settings.

`--on=slurm:nodes=2,gpus=8` becomes `slurm(job, nodes=2, gpus=8)`.
"""

import json
import shlex
import sys
from typing import Any

from diffusion_jax.errors import UserError
from experiments.launch.job import Job, ranges

__all__ = ['gke', 'local', 'slurm', 'tpu']

_SPOT = 'cloud.google.com/gke-spot'
# The shell itself would go on with what comes next. It waits for what it has started, which is told as well.
_STOP = "trap 'exit 130' INT\ntrap 'exit 143' TERM"


def local(job: Job, workers: int = 1) -> str:
    """On this machine; `workers` runs of a whole sweep at a time. Told to stop, a run saves, and no other follows."""
    python = shlex.quote(sys.executable)
    start = _begin(job)
    if job.indices is None or job.whole:
        return _script(
            [*start, f'exec {job.command(python=python)}' + (f' --workers={workers}' if job.indices else '')]
        )
    if workers > 1:
        raise UserError('--on=local: workers is for a whole sweep: leave --index out')
    runs = ' '.join(map(str, job.indices))
    each = f'code=0\nfor index in {runs}; do\n  {job.command("$index", python)} || code=$?\ndone\nexit "$code"'
    return _script([*start, _STOP, each])


def slurm(
    job: Job,
    nodes: int = 1,
    gpus: int = 1,
    cpus: int = 8,
    time: str = '24:00:00',
    at_once: int | None = None,
    partition: str | None = None,
    account: str | None = None,
    grace: int = 300,
) -> str:
    """A SLURM job, an array of them for a sweep, with one process for each GPU (`gpus=0`: for each node).

    `grace` seconds before `time` is over SLURM sends SIGTERM: the run saves and ends with 143, and is queued again.
    """
    logs = f'logs/{job.name}' if '://' in job.workdir else job.workdir  # SLURM cannot write to a bucket
    log = f'{logs}/slurm-%A_%a.log' if job.indices is not None else f'{logs}/slurm-%j.log'
    options = [
        f'--job-name={job.name}',
        f'--nodes={nodes}',
        f'--ntasks-per-node={gpus or 1}',
        *([f'--gpus-per-node={gpus}'] if gpus else []),
        f'--cpus-per-task={cpus}',
        f'--time={time}',
        '--requeue',
        '--open-mode=append',
        f'--signal=TERM@{grace}',
        f'--output={log}',
    ]
    if job.indices is not None:
        options.append(f'--array={ranges(job.indices)}' + (f'%{at_once}' if at_once else ''))
    options += [f'--partition={partition}'] if partition else []
    options += [f'--account={account}'] if account else []
    command = job.command('' if job.indices is None else '$SLURM_ARRAY_TASK_ID')
    # One run of an array has the number of the whole array, by which SLURM would queue all of them again.
    me = '$SLURM_JOB_ID' if job.indices is None else '${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID'
    body = [
        # The signal is for the processes; the shell waits for them. (An ignored signal they would ignore as well.)
        'trap : TERM',
        *_begin(job),
        # srun does not take the CPUs of a process from the job (since SLURM 22.05).
        f'srun --cpus-per-task={cpus} --kill-on-bad-exit=1 {command}',
        'code=$?',
        '# Stopped, and saved: once more, but not what was cancelled, which SLURM would start again all the same.',
        f'if [ "$code" -eq 143 ] && [ "$(squeue -h -j "{me}" -o "%T %r")" != "COMPLETING None" ]; then',
        f'  scontrol requeue "{me}"',
        'fi',
        'exit "$code"',
    ]
    batch = '\n'.join(
        ['#!/usr/bin/env bash', *(f'#SBATCH {shlex.quote(option)}' for option in options), *filter(None, body)]
    )
    return _script(
        [
            'set -eu',
            f'cd {shlex.quote(job.repository)}',
            f'mkdir -p {shlex.quote(logs)}',
            f"sbatch <<'END_OF_SCRIPT'\n{batch}\nEND_OF_SCRIPT",
        ]
    )


def tpu(
    job: Job,
    vm: str,
    zone: str,
    type: str = 'v5litepod-8',
    version: str = 'v2-alpha-tpuv5-lite',
    spot: bool = False,
    rounds: int = 100,
) -> str:
    """A Cloud TPU slice: made if it is not there, and made again when it was preempted; one process on each host.

    The runs of a sweep come one after another. Whatever ends a round, the next one goes on from the last checkpoint;
    three short rounds in a row, or `rounds` in all, are given up.
    """
    where = f'{shlex.quote(vm)} --zone={shlex.quote(zone)}'
    make = f'--accelerator-type={shlex.quote(type)} --version={shlex.quote(version)}' + (' --spot' if spot else '')
    # What a lost connection has left running keeps the chips: it is waited for, and there is little to do then.
    remote = [f'flock ~/diffusion_jax.lock bash -c {shlex.quote(_all_of(job, i))}' for i in _each(job)]
    return _script(
        [
            'set -u',
            _STOP,
            f"""ready() {{
  while true; do
    state=$(gcloud compute tpus tpu-vm describe {where} --format='value(state)' 2>/dev/null)
    case "$state" in
      READY) return ;;
      PREEMPTED | TERMINATED | STOPPED) gcloud compute tpus tpu-vm delete {where} --quiet ;;
      '') gcloud compute tpus tpu-vm create {where} {make} || sleep 60 ;;
      *) sleep 30 ;;
    esac
  done
}}
run() {{
  short=0
  for round in $(seq {rounds}); do
    ready
    began=$SECONDS
    gcloud compute tpus tpu-vm ssh {where} --worker=all --command="$1" && return
    echo "round $round ended with code $?" >&2
    if [ $((SECONDS - began)) -lt 600 ]; then short=$((short + 1)); else short=0; fi
    if [ "$short" -ge 3 ]; then break; fi
    sleep 60
  done
  echo "given up: $1" >&2
  exit 1
}}""",
            *(f'run {shlex.quote(command)}' for command in remote),
        ]
    )


def gke(
    job: Job,
    image: str,
    accelerator: str = 'tpu-v5-lite-podslice',
    topology: str = '2x4',
    chips: int = 4,
    spot: bool = False,
    grace: int = 300,
    restarts: int = 100,
) -> str:
    """JobSets for a GKE cluster with TPU node pools, one for each run; `chips` on each host, all hosts of `topology`.

    `image` holds the repository and its dependencies; the workdir must be one that all hosts and restarts see.
    """
    total = 1
    for side in topology.split('x'):
        total *= int(side)
    if total % chips:
        raise UserError(f'--on=gke: the {total} chips of topology={topology} are no multiple of chips={chips}')
    selector = {
        'cloud.google.com/gke-tpu-accelerator': accelerator,
        'cloud.google.com/gke-tpu-topology': topology,
        **({_SPOT: 'true'} if spot else {}),
    }
    tolerations = [{'key': _SPOT, 'operator': 'Equal', 'value': 'true', 'effect': 'NoSchedule'}] if spot else []
    sets = [
        _job_set(
            job.name + (f'-{i}' if i else ''),
            ['bash', '-c', _all_of(job, i)],
            {'image': image, 'resources': {'limits': {'google.com/tpu': chips}}},
            {'nodeSelector': selector, 'tolerations': tolerations, 'terminationGracePeriodSeconds': grace},
            total // chips,
            restarts,
        )
        for i in _each(job)
    ]
    # JSON is YAML, and needs no library.
    text = '\n---\n'.join(json.dumps(content, indent=2) for content in sets)
    return _script(['set -eu', f"kubectl apply -f - <<'END_OF_FILE'\n{text}\nEND_OF_FILE"])


def _job_set(name, command, container, pod, hosts, restarts) -> dict[str, Any]:
    user_error = {'action': 'FailJob', 'onExitCodes': {'containerName': 'main', 'operator': 'In', 'values': [2]}}
    job = {
        'parallelism': hosts,
        'completions': hosts,
        'completionMode': 'Indexed',
        'backoffLimit': 0,
        'podFailurePolicy': {'rules': [user_error]},
        'template': {
            'spec': {
                'restartPolicy': 'Never',
                **pod,
                'containers': [{'name': 'main', 'command': command, **container}],
            }
        },
    }
    return {
        'apiVersion': 'jobset.x-k8s.io/v1alpha2',
        'kind': 'JobSet',
        'metadata': {
            'name': name,
            'annotations': {'alpha.jobset.sigs.k8s.io/exclusive-topology': 'cloud.google.com/gke-nodepool'},
        },
        'spec': {
            # A host that fails, preempted ones too, restarts all of them; what the user must mend fails for good.
            'failurePolicy': {
                'maxRestarts': restarts,
                'rules': [{'action': 'FailJobSet', 'onJobFailureReasons': ['PodFailurePolicy']}],
            },
            'replicatedJobs': [{'name': 'hosts', 'replicas': 1, 'template': {'spec': job}}],
        },
    }


def _begin(job):
    return [f'cd {shlex.quote(job.repository)} || exit', job.setup and f'{job.setup} || exit']


def _all_of(job, index):
    return ' && '.join(filter(None, [job.setup, f'exec {job.command(index)}']))


def _each(job: Job) -> list[str]:
    return [''] if job.indices is None else [str(i) for i in job.indices]


def _script(lines: list[str]) -> str:
    return '\n'.join(['#!/usr/bin/env bash', *filter(None, lines), ''])
