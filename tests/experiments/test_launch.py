"""Launching: the scripts are what is asked for, and they do it, on stand-ins for SLURM's and Google's commands."""

import fcntl
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from diffusion_jax.errors import UserError
from experiments.launch import job as jobs
from experiments.launch import scripts
from tests import processes, tiny
from tests.experiments.test_sweep import CONFIG, SWEEP, read_csv

MAIN = 'experiments.launch.__main__'
PYTHON = sys.executable
JOB = jobs.Job('foo', 'runs/a b', '/', ('-m', 'thing', '--x=a b'), (0, 1, 2, 5), False, 'true')
ALONE = JOB._replace(indices=None, whole=True)

# What stands in for the commands of a cluster; $FAKE is a folder of their own.
FAKES = {
    # Runs a job array as SLURM does, and again while it is put into the queue again.
    'sbatch': r"""#!/usr/bin/env bash
cat > "$FAKE/batch.sh"
array=$(sed -n 's/^#SBATCH --array=\([0-9,-]*\).*/\1/p' "$FAKE/batch.sh")
job=99
for part in ${array//,/ }; do
  for i in $(seq ${part%-*} ${part#*-}); do
    job=$((job + 1))
    while true; do
      rm -f "$FAKE/requeue_100_$i"
      SLURM_JOB_ID=$job SLURM_ARRAY_JOB_ID=100 SLURM_ARRAY_TASK_ID=$i bash "$FAKE/batch.sh"
      [ -e "$FAKE/requeue_100_$i" ] || break
    done
  done
done
""",
    'scontrol': '#!/usr/bin/env bash\n[ "$1" = requeue ] && touch "$FAKE/requeue_$2"\n',
    'squeue': '#!/usr/bin/env bash\ncat "$FAKE/state" 2>/dev/null || echo "RUNNING None"\n',
    'srun': '#!/usr/bin/env bash\nwhile [[ "$1" == -* ]]; do shift; done\nexec "$@"\n',
    'sleep': '#!/usr/bin/env bash\n',
    # Notes its arguments; ends with the next code in $FAKE/codes, 0 when there are no more.
    'python': r"""#!/usr/bin/env bash
echo "$*" >> "$FAKE/calls"
code=$(head -n 1 "$FAKE/codes" 2>/dev/null)
sed -i 1d "$FAKE/codes" 2>/dev/null
exit ${code:-0}
""",
    # A slice that is there once it was made; the states that it goes through are in $FAKE/states.
    'gcloud': r"""#!/usr/bin/env bash
echo "$4" >> "$FAKE/asked"
case "$4" in
  describe) state=$(head -n 1 "$FAKE/states"); sed -i 1d "$FAKE/states"; echo "${state:-READY}" | sed 's/^NONE$//' ;;
  ssh) cat > /dev/null; for a in "$@"; do case "$a" in --command=*) exec bash -c "${a#--command=}" ;; esac; done ;;
esac
""",
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with the commands of a cluster on the PATH; what they were asked lies beside them."""
    folder = tmp_path / 'fake'
    folder.mkdir()
    for name, text in FAKES.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
    monkeypatch.setenv('FAKE', str(folder))
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(sys, 'executable', 'python')
    # Whether the TPU's compiler is installed here or not.
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, find=importlib.util.find_spec: name != 'libtpu' and find(name)
    )
    return folder


def run(script, tmp_path):
    path = tmp_path / 'script.sh'
    path.write_text(script)
    return subprocess.run(
        ['bash', path], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )


def calls(cluster):
    return (cluster / 'calls').read_text().splitlines()


def of_every_place(job):
    return {
        'local': scripts.local(job),
        'slurm': scripts.slurm(job, nodes=2, gpus=4, partition='p', account='a', at_once=2),
        'tpu': scripts.tpu(job, 'vm', 'zone', spot=True),
        'gke': scripts.gke(job, 'image', spot=True),
    }


def test_scripts_are_shell():
    for job in (JOB, ALONE, JOB._replace(whole=True), JOB._replace(setup='')):
        for name, script in of_every_place(job).items():
            done = subprocess.run(['bash', '-n'], input=script, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ''), (name, done.stderr, script)
            assert script.startswith('#!/usr/bin/env bash\n')


def test_indices():
    assert jobs.parse_indices('0-2,5', 6) == (0, 1, 2, 5)
    assert jobs.parse_indices(None, 3) == (0, 1, 2)
    assert jobs.ranges((5, 0, 1, 2, 8, 7)) == '0-2,5,7-8'
    for wrong in ('6', 'a', '3-', '2-1', '-1'):
        with pytest.raises(UserError, match='--index'):
            jobs.parse_indices(wrong, 6)


def test_here(cluster, tmp_path):
    """All runs are tried, whatever becomes of one of them; the exit code says that one failed."""
    (cluster / 'codes').write_text('0\n2\n')
    assert run(scripts.local(JOB), tmp_path).returncode == 2
    assert calls(cluster) == [f'-m thing --x=a b --index={i}' for i in (0, 1, 2, 5)]
    (cluster / 'calls').unlink()
    assert run(scripts.local(JOB._replace(whole=True), workers=3), tmp_path).returncode == 0
    assert run(scripts.local(ALONE), tmp_path).returncode == 0
    assert calls(cluster) == ['-m thing --x=a b --workers=3', '-m thing --x=a b']
    with pytest.raises(UserError, match='leave --index out'):
        scripts.local(JOB, workers=2)


def test_slurm_runs_every_index_and_a_preempted_one_again(cluster, tmp_path):
    (cluster / 'codes').write_text('0\n143\n143\n0\n2\n')
    job = JOB._replace(repository=str(tmp_path))
    assert run(scripts.slurm(job), tmp_path).returncode == 0
    assert calls(cluster) == [f'-m thing --x=a b --index={i}' for i in (0, 1, 1, 1, 2, 5)]
    assert (tmp_path / 'runs' / 'a b').is_dir()  # SLURM itself makes no folder for the log
    assert "#SBATCH '--output=runs/a b/slurm-%A_%a.log'" in (cluster / 'batch.sh').read_text()
    (cluster / 'calls').unlink()
    assert run(scripts.slurm(job._replace(setup='false')), tmp_path).returncode == 0
    assert not (cluster / 'calls').exists()  # nothing runs without what was to come first


def test_a_bucket_holds_no_logs(cluster, tmp_path):
    job = ALONE._replace(repository=str(tmp_path), workdir='gs://bucket/foo')
    assert run(scripts.slurm(job), tmp_path).returncode == 0
    assert (tmp_path / 'logs' / 'foo').is_dir()
    assert not (tmp_path / 'gs:').exists()
    assert '--output=logs/foo/slurm-%j.log' in (cluster / 'batch.sh').read_text()


# Saves when it is told to stop, as training does, and has the launcher told to.
STOPPED = r"""#!/usr/bin/env bash
trap 'echo saved >> "$FAKE/calls"; exit 143' TERM
echo "$*" >> "$FAKE/calls"
kill -TERM "$LAUNCHER"
for i in $(seq 100); do /bin/sleep 0.05; done
"""


def test_a_stop_reaches_the_run_and_no_other_follows(files, cluster, monkeypatch):
    (cluster / 'python').write_text(STOPPED)
    monkeypatch.setenv('LAUNCHER', str(os.getpid()))
    before = signal.getsignal(signal.SIGTERM)
    assert tiny.call(MAIN, *files, '--index=1,3') == 143
    assert [call.rpartition(' ')[2] for call in calls(cluster)] == ['--index=1', 'saved']
    assert signal.getsignal(signal.SIGTERM) == before


def waits_for(file):
    """Whether a process waits for the lock of an open file."""
    inode = f':{os.fstat(file.fileno()).st_ino} '
    return any('->' in line and inode in line for line in Path('/proc/locks').read_text().splitlines())


def test_a_second_process_on_a_host_waits_for_the_first(cluster, tmp_path):
    """What a lost connection has left running has the chips."""
    (cluster / 'states').write_text('')
    text = scripts.tpu(ALONE, 'vm', 'zone')
    with (tmp_path / 'diffusion_jax.lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (tmp_path / 'script.sh').write_text(text)
        process = subprocess.Popen(['bash', tmp_path / 'script.sh'], stdin=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not waits_for(file):
            assert time.monotonic() < until
            assert not (cluster / 'calls').exists()
            time.sleep(0.05)
    assert process.wait(60) == 0
    assert calls(cluster) == ['-m thing --x=a b']


def test_the_settings_of_slurm():
    text = scripts.slurm(JOB, nodes=2, gpus=4, cpus=6, time='1:00:00', at_once=3, partition='p', grace=120)
    options = dict(line.removeprefix('#SBATCH --').partition('=')[::2] for line in re.findall('#SBATCH.*', text))
    assert (
        options.items()
        >= {
            'array': '0-2,5%3',
            'nodes': '2',
            'ntasks-per-node': '4',
            'gpus-per-node': '4',
            'cpus-per-task': '6',
            'time': '1:00:00',
            'requeue': '',
            'signal': 'TERM@120',
            'partition': 'p',
            'open-mode': 'append',
        }.items()
    )
    assert 'account' not in options
    assert 'srun --cpus-per-task=6 ' in text
    on_cpus = scripts.slurm(ALONE, gpus=0)
    assert '--ntasks-per-node=1' in on_cpus
    assert 'gpus-per-node' not in on_cpus
    assert '--array' not in on_cpus
    assert '--index' not in on_cpus


def test_the_batch_script_outlives_the_signal(cluster, tmp_path):
    """The shell of a job that gets the signal as well waits for what its processes end with."""
    text = scripts.slurm(ALONE._replace(repository=str(tmp_path)))
    batch = re.search(r"<<'END_OF_SCRIPT'\n(.*)\nEND_OF_SCRIPT", text, re.S)[1]
    (tmp_path / 'batch.sh').write_text(batch.replace('srun', 'kill -TERM $$; (exit 143) #'))
    environment = {**os.environ, 'SLURM_JOB_ID': '7'}
    done = subprocess.run(['bash', tmp_path / 'batch.sh'], env=environment, timeout=30, check=False)
    assert done.returncode == 143
    assert (cluster / 'requeue_7').exists()
    # As SLURM says it of a job that reached its limit, and of one that was cancelled.
    for state, again in (('COMPLETING TimeLimit', True), ('COMPLETING None', False)):
        (cluster / 'requeue_7').unlink(missing_ok=True)
        (cluster / 'state').write_text(f'{state}\n')
        subprocess.run(['bash', tmp_path / 'batch.sh'], env=environment, timeout=30, check=False)
        assert (cluster / 'requeue_7').exists() == again


def test_a_slice_is_made_and_made_again(cluster, tmp_path):
    (cluster / 'states').write_text('NONE\nCREATING\nREADY\nPREEMPTED\nNONE\nREADY\n')
    (cluster / 'codes').write_text('255\n')
    job = JOB._replace(indices=(3, 4))
    done = run(scripts.tpu(job, 'vm', 'zone'), tmp_path)
    assert done.returncode == 0, done.stderr
    assert calls(cluster) == [f'-m thing --x=a b --index={i}' for i in (3, 3, 4)]
    asked = [a for a in (cluster / 'asked').read_text().split() if a != 'describe']
    assert asked == ['create', 'ssh', 'delete', 'create', 'ssh', 'ssh']


def test_a_slice_on_which_nothing_works_is_given_up(cluster, tmp_path):
    (cluster / 'states').write_text('')
    (cluster / 'codes').write_text('2\n' * 9)
    done = run(scripts.tpu(JOB, 'vm', 'zone'), tmp_path)
    assert done.returncode == 1
    assert len(calls(cluster)) == 3
    assert re.search("given up: flock .* bash -c 'true && exec python -m thing", done.stderr)


@pytest.mark.parametrize(('topology', 'chips', 'hosts'), [('16x16', 4, 64), ('2x4', 8, 1), ('2x2x4', 4, 4)])
def test_gke(topology, chips, hosts):
    text = scripts.gke(JOB, 'image', topology=topology, chips=chips, accelerator='acc')
    content = re.search(r"kubectl apply -f - <<'END_OF_FILE'\n(.*)\nEND_OF_FILE", text, re.S)[1]
    sets = list(yaml.safe_load_all(content))
    assert [s['metadata']['name'] for s in sets] == ['foo-0', 'foo-1', 'foo-2', 'foo-5']
    for i, job_set in zip((0, 1, 2, 5), sets, strict=True):
        assert (job_set['kind'], job_set['apiVersion']) == ('JobSet', 'jobset.x-k8s.io/v1alpha2')
        (replicated,) = job_set['spec']['replicatedJobs']
        job = replicated['template']['spec']
        pod = job['template']['spec']
        (container,) = pod['containers']
        assert replicated['replicas'] == 1
        assert job['parallelism'] == job['completions'] == hosts
        # A policy of pod failures allows no restarts in place, and it names a container that is there.
        assert (job['backoffLimit'], pod['restartPolicy']) == (0, 'Never')
        assert job['podFailurePolicy']['rules'][0]['onExitCodes']['containerName'] == container['name']
        assert container['resources']['limits'] == {'google.com/tpu': chips}
        assert pod['nodeSelector']['cloud.google.com/gke-tpu-topology'] == topology
        assert container['command'][:2] == ['bash', '-c']
        assert container['command'][2] == f"true && exec python -m thing '--x=a b' --index={i}"
    with pytest.raises(UserError, match='are no multiple of chips=3'):
        scripts.gke(JOB, 'image', chips=3)


@pytest.fixture
def files(tmp_path):
    """The flags of a sweep of six tiny runs."""
    (tmp_path / 'config.py').write_text(CONFIG)
    (tmp_path / 'sweep.py').write_text(SWEEP)
    return [f'--config={tmp_path}/config.py', f'--sweep={tmp_path}/sweep.py', f'--workdir={tmp_path}/runs']


def test_a_dry_run_prints_what_runs_otherwise(files, cluster, tmp_path, capfd):
    given = [*files, '--config.optim.clip=0.5', '--index=1', '--setup=cat "$0" >&2']
    assert tiny.call(MAIN, *given, '--dry_run') == 0
    printed = capfd.readouterr().out
    assert tiny.call(MAIN, *given) == 0
    assert capfd.readouterr().err == printed  # the script shows itself
    (call,) = calls(cluster)
    config, sweep, workdir = files
    assert call == f'-m diffusion_jax sweep {config} --config.optim.clip=0.5 {sweep} {workdir} --index=1'
    (cluster / 'codes').write_text('143\n')
    assert tiny.call(MAIN, files[0], files[2]) == 143
    assert calls(cluster)[1] == f'-m diffusion_jax.train {config} {workdir}'
    assert tiny.call(MAIN, files[0], '--workdir=/home/Me/' + 60 * 'x', '--on=slurm', '--dry_run') == 0
    assert f'--job-name={40 * "x"}\n' in capfd.readouterr().out


def test_what_replaces_a_whole_spec_is_launched_too(files, cluster, capsys):
    given = ['--config.net=DiT:depth=6', '--config.net.depth=2', '--config.optim.clip=None', '--config.seed=3']
    assert tiny.call(MAIN, files[0], files[2], *given, '--dry_run') == 0
    assert f'{files[0]} {" ".join(given)} {files[2]}' in capsys.readouterr().out


def test_a_run_is_checked_before_its_launch(files, cluster, capsys, monkeypatch):
    """The check is given the run's config and the place; what it refuses is not launched."""
    run, place = (files[0], '--config.seed=3', files[2]), '--on=tpu:vm=x,zone=y,type=v5litepod-8'
    check = f'-m diffusion_jax check {files[0]} --config.seed=3 {place}'
    assert tiny.call(MAIN, *run, place, '--check') == 0
    assert calls(cluster)[0] == check
    assert len(calls(cluster)) == 2
    (cluster / 'codes').write_text('2\n')
    capsys.readouterr()
    assert tiny.call(MAIN, *run, place, '--check') == 2
    assert 'error: nothing was launched' in capsys.readouterr().err
    assert calls(cluster)[2:] == [check]
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    for arguments, checked in [((*run, place), 1), ((*run, place, '--nocheck'), 0), ((*files, place), 0), (run, 0)]:
        before = len(calls(cluster))
        assert tiny.call(MAIN, *arguments) == 0
        assert sum('-m diffusion_jax check' in call for call in calls(cluster)[before:]) == checked
    assert '--check is of a run by itself' in tiny.refusal(capsys, MAIN, *files, place, '--check')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--on=slrum'], "--on.name='slrum' is unknown; did you mean slurm?"),
        (['--on=slurm:gpu=8'], '--on.gpu is not an argument of slurm; did you mean gpus or cpus?'),
        (['--on=slurm:gpus=eight'], "--on.gpus='eight' must be of type int"),
        (['--on=tpu:vm=x'], "--on: tpu: tpu() missing 1 required positional argument: 'zone'"),
        (['--index=6'], '--index=6: the sweep has the runs 0 to 5'),
        (['--sweep='], 'set --config or --sweep'),
    ],
)
def test_refusals(arguments, message, files, capsys):
    files = files[1:] if arguments == ['--sweep='] else files
    assert tiny.refusal(capsys, MAIN, *files, *arguments, '--dry_run') == message


@pytest.mark.slow
def test_the_whole_path_through_slurm(files, cluster, tmp_path):
    """A sweep of two real runs as an array, by stand-ins for sbatch and srun that run what they are given."""
    (cluster / 'python').unlink()
    (tmp_path / 'sweep.py').write_text(SWEEP.replace('range(3)', '[0]'))
    settings = {'cwd': processes.ROOT, 'check': True, 'timeout': 900}
    path = f'{cluster}:{Path(PYTHON).parent}:{os.environ["PATH"]}'
    environment = {**processes.environment(1), 'PATH': path}
    command = [PYTHON, '-m', 'experiments.launch', *files, '--on=slurm:gpus=0']
    subprocess.run(command, **settings, env=environment)
    assert [row['state'] for row in read_csv(tmp_path)] == ['done', 'done']
    for folder, lr in zip(sorted((tmp_path / 'runs').glob('0*')), (0.001, 0.01), strict=True):
        assert json.loads((folder / 'config.json').read_text())['optim']['lr'] == lr
