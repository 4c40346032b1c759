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
BUCKET, PLACE = SWEEP + 'test_a_sweep_in_a_bucket', LAUNCH + 'test_a_stop_reaches_the_run_and_no_other_follows'
STUDY_ENDS = TUNE + 'test_a_study_ends_when_all_of_it_is_done'
PAPERS = 'tests/experiments/test_papers.py::test_processes_train_what_is_not_done_teachers_first'
PRUNED, REPORT = TUNE + 'test_a_training_is_measured_on_the_way_and_pruned', TUNE + 'test_the_report[minimize-order0]'

MUTANTS = tuple(Mutant(*row) for row in [
    ('sweep: the same draw n times', MINE + 'space.py', 'default_rng((seed, i))', 'default_rng(seed)', DRAWS),
    ('sweep: uniform for log-uniform', MINE + 'space.py', 'float(np.exp(rng.uniform(np.log(low), np.log(high))))',
     'float(rng.uniform(low, high))', DRAWS),
    ('sweep: zip to the shorter', MINE + 'space.py', 'zip(*axes.values(), strict=True)',
     'zip(*axes.values(), strict=False)', SWEEP + 'test_generators'),
    ('sweep: any field', 'builders/fields.py', 'if not is_argument and (message', 'if False and (message',
     SWEEP + 'test_overrides ' + SWEEP + 'test_an_unknown_field_is_told_before_anything_runs'),
    ('sweep: overrides in place', 'builders/fields.py', "return {**node, part: _with(node[part], rest, value, "
     "f'{where}.{part}') if rest else value}", "node[part] = _with(node[part], rest, value, f'{where}.{part}') if rest "
     'else value\n    return node', SWEEP + 'test_overrides'),
    ('sweep: folders by their place alone', MINE + 'plan.py', 'there.get(_hash(changes), folder / name)',
     'folder / name', ONCE),
    ('sweep: the same run twice', MINE + 'plan.py', 'list({_hash(o): o for o in map(_plain, given)}.values())',
     'list(map(_plain, given))', ONCE),
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
    ('sweep: anything is a run', MINE + 'plan.py', 'if not isinstance(one, Mapping):', 'if False:',
     SWEEP + 'test_files_that_are_no_sweep'),
    ('sweep: two write the table at once', MINE + 'table.py', "with taking(folder / 'results', PATIENCE):", 'if True:',
     SWEEP + 'test_one_process_at_a_time_writes_the_table'),
    ('sweep: a bucket is a folder here', MINE + '__main__.py', 'paths.parse(_WORKDIR.value)',
     "__import__('pathlib').Path(_WORKDIR.value)", BUCKET),
    ('sweep: a log in a bucket', MINE + '__main__.py', "paths.near(job.folder / 'log.txt')", "job.folder / 'log.txt'",
     BUCKET),
    ('sweep: a rate that is misspelt is no near miss', 'builders/optimiser.py', '    _check_names(spec)\n    tx',
     '    tx',
     SWEEP + 'test_an_unknown_field_is_told_before_anything_runs'),
    ('sweep: a consistency model before its teacher', '../experiments/papers/trained.py',
     'for wave in waves(plan, names):', 'for wave in [names]:', PAPERS),
    ('sweep: trained again for a table', '../experiments/papers/trained.py',
     'for job in jobs if not _state(folder_of(plan, settings, *job)).done)', 'for job in jobs)', PAPERS),
    ('launch: the next run when told to stop', AWAY + 'places.py', '[*start, _STOP, each]',
     "[*start, 'trap : TERM', each]", PLACE),
    ('launch: the launcher stops alone', AWAY + '__main__.py', 'os.killpg(process.pid, signals.pop(0))',
     'process.send_signal(signals.pop(0))', PLACE),
    ('launch: two processes on a host', AWAY + 'places.py', 'flock ~/diffusion_jax.lock bash', 'bash',
     LAUNCH + 'test_a_second_process_on_a_host_waits_for_the_first'),
    ('launch: logs to a bucket', AWAY + 'places.py', "if '://' in job.workdir", 'if False',
     LAUNCH + 'test_a_bucket_holds_no_logs'),
    ('launch: options without quotes', AWAY + 'places.py', 'shlex.quote(option)', 'option', ARRAY),
    ('launch: without what was to come first', AWAY + 'places.py', "f'{job.setup} || exit'", 'job.setup', ARRAY),
    ('launch: a name too long', AWAY + '__main__.py', '[-_LENGTH:]', '',
     LAUNCH + 'test_a_dry_run_prints_what_runs_otherwise'),
    ('launch: the last index left out', AWAY + 'job.py', 'int(part[2] or part[1]) + 1', 'int(part[2] or part[1])',
     LAUNCH + 'test_indices'),
    ('launch: gaps filled', AWAY + 'job.py', 'i == parts[-1][-1] + 1', 'i <= parts[-1][-1] + 3', ARRAY),
    ('launch: a preempted job ends', AWAY + 'places.py', '-eq 143 ]; then scontrol', '-eq 42 ]; then scontrol', ARRAY),
    ('launch: no folder for the log', AWAY + 'places.py', "f'mkdir -p {shlex.quote(logs)}',", '', ARRAY),
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
    ('tune: asked without the lock', STUDY + 'study.py', "with taking(shared.folder / 'ask', PATIENCE):",
     'with contextlib.nullcontext():', TUNE + 'test_one_process_at_a_time_asks'),
    ('tune: what was left is lost', STUDY + 'study.py', '_left_behind(shared, stack) or _new', '_new', LEFT),
    ('tune: tried for ever', STUDY + 'study.py', 'if starts >= _STARTS:', 'if False:', LEFT),
    ("tune: another host's trials taken", STUDY + 'study.py', 'filter(_is_ours, ', 'filter(None, ', ALIVE),
    ("tune: nobody's trial taken", STUDY + 'study.py', "get('host') ==", "get('host', _HOST) ==",
     TUNE + 'test_a_trial_that_has_no_host_yet_is_nobodys'),
    ("tune: nobody's trial counted", STUDY + 'study.py', " if 'host' in trial.user_attrs", '',
     TUNE + 'test_a_trial_that_has_no_host_yet_is_nobodys'),
    ('tune: the same draws once more', STUDY + 'study.py', '(*seed, len(study.get_trials(deepcopy=False)))', 'seed',
     TUNE + 'test_what_takes_the_place_of_a_killed_process_draws_anew'),
    ("tune: others' trials are still to do", STUDY + 'study.py', 'not t.state.is_finished() and _is_ours(t)',
     'not t.state.is_finished()', TUNE + 'test_what_is_left_to_do'),
    ('tune: no number is a value', STUDY + 'worker.py', 'if not np.isfinite(value):', 'if False:',
     TUNE + 'test_pruned_and_refused_trials'),
    ('tune: defaults unchecked', STUDY + 'worker.py', '**(defaults_of(space) if with_defaults else {})', '',
     TUNE + 'test_what_no_trial_can_do_is_told_before_any_is_made'),
    ('tune: a study of two things', STUDY + '__main__.py', 'if changed:', 'if False:', STUDY_ENDS),
    ('tune: done with trials left', STUDY + '__main__.py', '    if todo:', '    if False:', STUDY_ENDS),
    ('tune: a killed comparison is left out', STUDY + '__main__.py', 'pool.run_all(slots, 1, start, ended)',
     'pool.run_all(deque([_COMPARE]), 1, start, ended)', STUDY_ENDS),
    ('tune: compared again', STUDY + '__main__.py', ' and not _is_compared(shared, space, seeds)', '', STUDY_ENDS),
    ('tune: importances where all are of one kind alone', STUDY + 'report.py',
     'set.intersection(*(set(t.params) for t in done))', 'len({tuple(t.params) for t in done}) == 1', REPORT),
    ('tune: an evaluation too few', STUDY + 'spaces/sampler.py', '(evaluations + 1) // 2', 'evaluations // 2',
     TUNE + 'test_all_samplers_of_the_space_take_as_many_evaluations'),
    ('tune: what is worse goes on', STUDY + 'worker.py', 'if trial.should_prune():', 'if False:', PRUNED),
    ('tune: the end told beforehand', STUDY + 'worker.py', "run.step == changed['train']['steps'] or", '', PRUNED),
    ('tune: training with the config as it was', STUDY + 'worker.py', 'train(changed, folder_of',
     'train(config, folder_of', PRUNED),
    ('tune: the worst is the best', STUDY + 'report.py', 'MINIMIZE else -1', 'MAXIMIZE else -1', REPORT),
    ('tune: what was trained can be changed', STUDY + 'worker.py', "if not field.startswith('sample.'):", 'if False:',
     TUNE + 'test_a_finished_run_is_sampled_in_other_ways'),
    ('tune: nobody watches', 'training/run.py', 'watch(runs.Run(dict(config)', 'tuple(runs.Run(dict(config)',
     TUNE + 'test_a_training_shows_itself_on_the_way'),
])
