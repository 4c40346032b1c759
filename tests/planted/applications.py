"""Bugs in the command of all applications, in its jobs and in its page."""

from tests.planted.mutant import Mutant

# fmt: off
JOBS, PAGE, READINGS, PARTS, COMMAND, RECORDS = (
    f'../experiments/applications/{name}.py'
    for name in ('jobs', 'page', 'readings', 'application', '__main__', 'records')
)
HERE, PAGES = 'tests/experiments/test_applications.py::', 'tests/pages/test_pages.py::'
HOLDS = HERE + 'test_the_page_holds_what_lies_on_the_disk'
FAILS = HERE + 'test_one_that_fails_is_named_and_the_others_go_on'
ONCE = HERE + 'test_what_was_stopped_goes_on_and_nothing_is_done_twice'
ANEW = HERE + 'test_another_command_is_done_anew_with_all_that_follows'
SHARE = HERE + 'test_a_share_is_of_steps_and_of_samples'
REFUSED = HERE + 'test_what_does_not_fit_is_one_line_and_nothing_is_begun'
OTHERS = HERE + 'test_the_tables_of_other_programs'

MUTANTS = tuple(Mutant(*row) for row in [
    ('applications: everything again', JOBS, 'if before.done and', 'if False and', ONCE),
    ('applications: what was stopped is done', JOBS, 'job.command, before.seconds + seconds, code == 0, error',
     'job.command, before.seconds + seconds, True, error', ONCE),
    ('applications: minutes of the last start alone', JOBS, 'before.seconds + seconds', 'seconds', ONCE),
    ('applications: a signal is kept from the program', JOBS, 'process.terminate()', 'pass', ONCE),
    ('applications: any command is the same', JOBS, 'before.command == job.command', 'True', ANEW),
    ('applications: old measures of a new model', JOBS, 'anew = True', 'anew = False', ANEW),
    ('applications: what follows a failure is done', JOBS, "            return f'{job.name}: {error}'",
     '            continue', FAILS),
    ('applications: why it failed is not told', JOBS, "last.removeprefix('error: ') if last else", "'' if False else",
     FAILS),
    ('applications: two in one folder', JOBS, 'while (lock := locks.claim(folder)) is None:',
     'lock = open(os.devnull)\n    while False:', HERE + 'test_what_is_in_use_is_left_alone'),
    ('applications: programs outlive their command', '../experiments/running/child.py', 'pool.ends_with_parent()',
     'pass', HERE + 'test_a_program_ends_with_the_process_that_started_it'),
    ('applications: a failure ends well', COMMAND, '    if failed:', '    if False:', FAILS),
    ('applications: a broken table ends all', COMMAND, 'except (LookupError, ValueError) as error:',
     'except AttributeError as error:', HERE + 'test_tables_that_cannot_be_read_are_a_failure_of_one'),
    ('applications: no number is refused', COMMAND, 'if not 0 < share <= 1:', 'if share <= 0 or share > 1:', REFUSED),
    ('applications: the second of two runs', COMMAND, 'if name in mine:', 'if False:', REFUSED),
    ('applications: any folder is a finished run', COMMAND, 'files.load_config(path)', 'pass', REFUSED),
    ('applications: one that is left out goes unsaid', PAGE,
     "*_told('Left out', {a.name: o.left_out for a, o in outcomes if o.left_out})", "*_told('Left out', {})",
     HERE + 'test_what_needs_a_data_set_is_left_out_with_a_sentence'),
    ('applications: a try does not say so', PAGE, 'if share == 1:', 'if share:',
     HERE + 'test_a_try_says_so_and_what_waits_has_a_row'),
    ('applications: real data and quality change places', PAGE, 'r.judge, r.real, r.model, r.evaluations, r.quality',
     'r.judge, r.quality, r.model, r.evaluations, r.real', HOLDS),
    ('applications: seconds for minutes', PAGE, 'seconds / 60:.3g', 'seconds:.3g', HOLDS),
    ('applications: addresses of another folder', PAGE, '{quote(folder)}/{found[2]}', '{found[2]}',
     HERE + 'test_a_report_becomes_a_part_of_another'),
    ('applications: links to sites lead into the folder', PAGE, '(?!\\w+:|#)', '',
     HERE + 'test_a_report_becomes_a_part_of_another'),
    ('applications: real data of any pairs', READINGS, "of_real[row.get(group, '')][judge]",
     '[*of_real.values()][0][judge]', HERE + 'test_rows_are_beside_real_data_of_their_own_group'),
    ('applications: Heun evaluates once', READINGS, '2 * steps - 1 if', 'steps if', OTHERS),
    ('applications: every score of anomalies', READINGS, "if r['method'] in methods]", 'if r]', OTHERS),
    ('applications: given runs are trained', PARTS, '*([] if asked.given else [train(asked, name)])',
     'train(asked, name)', HERE + 'test_of_runs_that_are_given_these_alone_are_measured'),
    ('applications: other runs of given ones', PARTS, 'for name in asked.given or runs:', 'for name in runs:',
     HERE + 'test_of_runs_that_are_given_these_alone_are_measured'),
    ('applications: a whole warm-up of a short training', PARTS, 'round(asked.share * found.optim.warmup)',
     'found.optim.warmup', SHARE),
    ('applications: judges learn as long in a try', RECORDS, '--judge_steps={asked.steps(300)}', '--judge_steps=300',
     SHARE),
    ('applications: bits of a letter in nats', RECORDS, ' / math.log(2)', '',
     HERE + 'test_bits_are_beside_the_entropy_of_the_chain'),
    ('tables: empty cells are lost', '../experiments/running/tables.py', ".strip('|').split('|')]",
     ".strip('|').split('|') if cell.strip()]",
     HERE + 'test_tables_are_read_as_they_are_written'),
    ('pages: sounds are links', 'pages/html.py', "'audio' if name.endswith(SOUNDS)", "'audio' if False",
     PAGES + 'test_sounds_and_films_that_a_report_links_to_are_players'),
    ('pages: lost sounds are players', 'pages/html.py', 'if source is None:', 'if tag is None:',
     PAGES + 'test_sounds_and_films_that_a_report_links_to_are_players'),
    ('applications: augmentation of the most rows alone', READINGS, '(numbers[0], numbers[-1])', '(numbers[-1],)',
     HERE + 'test_the_tables_of_other_programs'),
    ('applications: what was added beside itself', READINGS, "n}', rows['real alone'][n]", "n}', rows[method][n]",
     HERE + 'test_the_tables_of_other_programs'),
])
