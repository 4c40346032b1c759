"""Bugs in sweeps, in what launches them elsewhere, and in tuning."""

from tests.planted.mutant import Mutant

# fmt: off
SWEEP, LAUNCH, TUNE = (f'tests/experiments/test_{name}.py::' for name in ('sweep', 'launch', 'tune'))
MINE, AWAY, STUDY = ('../experiments/' + name for name in ('sweep/', 'launch/', 'tune/'))
DRAWS = SWEEP + 'test_random_draws_have_their_distributions_and_a_longer_list_begins_with_the_shorter'
ROWS, ONCE = (
    SWEEP + 'test_runs_what_is_not_done_and_every_run_is_one_row',
    SWEEP + 'test_a_run_keeps_its_folder_and_is_there_once',
)
STOP, APART = SWEEP + 'test_a_stop_is_passed_on', SWEEP + 'test_processes_do_not_take_each_other_along'
AGAIN = SWEEP + 'test_a_run_that_fails_says_why_and_is_tried_again'
ARRAY, SLICE = (
    LAUNCH + 'test_slurm_runs_every_index_and_a_preempted_one_again', LAUNCH + 'test_a_slice_is_made_and_made_again'
)
SHARED, LEFT = (
    TUNE + 'test_two_workers_share_the_trials',
    TUNE + 'test_a_trial_left_behind_is_gone_on_with_and_given_up_the_third_time',
)
ALIVE = TUNE + 'test_a_trial_of_a_living_process_or_of_another_host_is_left_alone'
PRUNED, REPORT = TUNE + 'test_a_training_is_measured_on_the_way_and_pruned', TUNE + 'test_the_report[minimize-order0]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('sweep: the same draw n times', MINE + 'space.py', 'default_rng((seed, i))', 'default_rng(seed)', DRAWS),
    ('sweep: uniform for log-uniform', MINE + 'space.py', 'float(np.exp(rng.uniform(np.log(low), np.log(high))))',
     'float(rng.uniform(low, high))', DRAWS),
    ('sweep: zip to the shorter', MINE + 'space.py', 'zip(*axes.values(), strict=True)',
     'zip(*axes.values(), strict=False)', SWEEP + 'test_generators'),
    ('sweep: any field', 'build/fields.py', 'if not is_argument and (message', 'if False and (message',
     SWEEP + 'test_overrides ' + SWEEP + 'test_an_unknown_field_is_told_before_anything_runs'),
    ('sweep: overrides in place', 'build/fields.py', "return {**node, part: _with(node[part], rest, value, "
     "f'{where}.{part}') if rest else value}", "node[part] = _with(node[part], rest, value, f'{where}.{part}') if rest "
     'else value\n    return node', SWEEP + 'test_overrides'),
    ('sweep: folders by their place alone', MINE + 'plan.py', 'there.get(_hash(changes), folder / name)',
     'folder / name', ONCE),
    ('sweep: the same run twice', MINE + 'plan.py', 'list({_hash(o): o for o in map(_plain, module.sweep())}.values())',
     'list(map(_plain, module.sweep()))', ONCE),
    ('sweep: another config goes on', MINE + 'plan.py', 'if changed:', 'if False:',
     SWEEP + 'test_another_config_in_the_same_folder'),
    ('sweep: a process too many', MINE + 'pool.py', 'for slot in range(workers):', 'for slot in range(workers + 1):',
     APART),
    ('sweep: starts more when told to stop', MINE + 'pool.py', 'waiting.clear()', 'told += 0', STOP),
    ('sweep: stops alone', MINE + 'pool.py', 'process.send_signal(signal.SIGTERM)', 'process.poll()', STOP),
    ('sweep: all devices for each', MINE + 'pool.py', 'devices[slot * share : (slot + 1) * share]', 'devices',
     SWEEP + 'test_devices_are_shared_out'),
    ('sweep: what failed is done', MINE + 'result.py', "return 'values' in read(job)", 'return bool(read(job))', ROWS),
    ('sweep: done again', MINE + '__main__.py', 'if not result.is_done(job)]', 'if job]', ROWS),
    ('sweep: an old error stays', MINE + 'result.py', '.unlink(missing_ok=True)', '.exists()', AGAIN),
    ('sweep: a finished run measured again', MINE + 'result.py', 'if is_done(job):', 'if False:', AGAIN),
    ('sweep: any numbers side by side', MINE + 'table.py', 'row.values and row.protocol not in distinct',
     'row.values and not distinct', SWEEP + 'test_numbers_of_different_protocols_stand_in_different_tables'),
    ('sweep: lines join everything', MINE + 'table.py', '[other for other in panels if other != field]', '[]',
     SWEEP + 'test_numbers_of_different_protocols_stand_in_different_tables'),
    ('launch: the last index left out', AWAY + 'job.py', 'int(part[2] or part[1]) + 1', 'int(part[2] or part[1])',
     LAUNCH + 'test_indices'),
    ('launch: gaps filled', AWAY + 'job.py', 'i == parts[-1][-1] + 1', 'i <= parts[-1][-1] + 3', ARRAY),
    ('launch: a preempted job ends', AWAY + 'places.py', '-eq 143 ]; then scontrol', '-eq 42 ]; then scontrol', ARRAY),
    ('launch: no folder for the log', AWAY + 'places.py', "f'mkdir -p {shlex.quote(job.workdir)}',", '', ARRAY),
    ('launch: the shell dies of the signal', AWAY + 'places.py', "'trap : TERM',", '',
     LAUNCH + 'test_the_batch_script_outlives_the_signal'),
    ('launch: the first failure is the last run', AWAY + 'places.py', ' || code=$?\\ndone', ' || exit\\ndone',
     LAUNCH + 'test_here'),
    ('launch: a preempted slice waited for', AWAY + 'places.py', 'PREEMPTED | TERMINATED | STOPPED) gcloud',
     'TERMINATED | STOPPED) gcloud', SLICE),
    ('launch: one round', AWAY + 'places.py', '--command="$1" && return', '--command="$1"; return', SLICE),
    ('launch: never given up', AWAY + 'places.py', '[ "$short" -ge 3 ]', '[ "$short" -ge 30 ]',
     LAUNCH + 'test_a_slice_on_which_nothing_works_is_given_up'),
    ('launch: a pod for each chip', AWAY + 'places.py', 'total // chips,', 'total,', LAUNCH + 'test_gke[16x16-4-64]'),
    ('launch: overrides lost', AWAY + '__main__.py', 'for field, value in overrides.items()]',
     'for field, value in {}.items()]', LAUNCH + 'test_a_dry_run_prints_what_runs_otherwise'),
    ('tune: a trial too many', STUDY + 'study.py', '>= trials:', '> trials:', SHARED),
    ('tune: asked without the lock', STUDY + 'study.py', "with taking(folder / 'ask', PATIENCE):",
     'with contextlib.nullcontext():', SHARED),
    ('tune: what was left is lost', STUDY + 'study.py', '_left_behind(study, folder, stack) or _new', '_new', LEFT),
    ('tune: tried for ever', STUDY + 'study.py', 'if starts >= _STARTS:', 'if False:', LEFT),
    ("tune: another host's trials taken", STUDY + 'study.py', "if frozen.user_attrs.get('host', _HOST) != _HOST:",
     'if False:', ALIVE),
    ('tune: what is worse goes on', STUDY + 'worker.py', 'if trial.should_prune():', 'if False:', PRUNED),
    ('tune: the end told beforehand', STUDY + 'worker.py', "run.step == changed['train']['steps'] or", '', PRUNED),
    ('tune: training with the config as it was', STUDY + 'worker.py', 'train(changed, folder_of',
     'train(config, folder_of', PRUNED),
    ('tune: the worst is the best', STUDY + 'report.py', 'MINIMIZE else -1', 'MAXIMIZE else -1', REPORT),
    ('tune: what was trained can be changed', STUDY + 'worker.py', "if not field.startswith('sample.'):", 'if False:',
     TUNE + 'test_a_finished_run_is_sampled_in_other_ways'),
    ('tune: nobody watches', 'training.py', 'watch(runs.Run(dict(config)', 'tuple(runs.Run(dict(config)',
     TUNE + 'test_a_training_shows_itself_on_the_way'),
])
