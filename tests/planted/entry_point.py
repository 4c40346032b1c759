"""Bugs in the one entry point, in finding configs by name, in completion and in the doctor."""

from tests.planted.mutant import Mutant

# fmt: off
ENTRY, SHIPPED, COMPLETION, DOCTOR = '__main__.py', 'shipped/__init__.py', 'completion.py', 'doctor.py'
TESTS, DOCTORS = 'tests/test_commands.py::', 'tests/test_doctor.py::'
RUN = TESTS + 'test_a_command_is_run_as_python_m_runs_its_module[search_grid]'
FOUND = TESTS + 'test_a_config_is_found_by_name_and_by_path_from_any_folder'

MUTANTS = tuple(Mutant(*row) for row in [
    ('entry point: its own name among the flags', ENTRY, 'sys.argv[1:] = rest', 'sys.argv[1:] = [first, *rest]', RUN),
    ('entry point: not as the main module', ENTRY, "run_name='__main__', ", '', RUN),
    ('entry point: no modules of the user', ENTRY, 'if here not in sys.path:', 'if False:', RUN),
    ('entry point: underscores unknown', ENTRY, "first.replace('_', '-')", 'first', RUN),
    ('entry point: the help imports JAX', ENTRY, 'import shipped', 'import axes, shipped',
     TESTS + 'test_what_runs_nothing_imports_no_jax[arguments0]'),
    ('entry point: a command forgotten', 'commands.py',
     "        ('search-ema', 'search_ema', 'the best length of the average'),\n", '',
     TESTS + 'test_every_program_is_a_command_and_every_command_a_program'),
    ('entry point: another folder of the name first', SHIPPED, '[ours, *(path for path in sys.path if path != ours)]',
     '[*sys.path, ours]', TESTS + 'test_other_folders_of_the_name_are_parts_of_the_same_package'),
    ('entry point: ours before a file of ones own', SHIPPED, 'if not Path(path).exists() and ours', 'if ours',
     TESTS + 'test_a_file_of_ones_own_comes_first'),
    ('entry point: the argument of a config lost', SHIPPED, "f'{found}{colon}{argument}'", 'found', FOUND),
    ('entry point: what is shared is a config too', SHIPPED, "if 'def get_config(' in", "if 'def ' in", FOUND),
    ('entry point: no path of the repository', SHIPPED, 'found = file(path)\n', 'found = path\n', FOUND),
    ('entry point: a flag apart from its config', 'cli.py',
     "if re.fullmatch(r'--?(\\w+_)?config', before):", 'if False:',
     TESTS + 'test_a_named_config_is_that_of_the_run[flag1]'),
    ('entry point: one config flag alone', 'cli.py', "r'(--?(?:\\w+_)?config=)(.*)'", "r'(--?config=)(.*)'",
     TESTS + 'test_an_unknown_config_is_one_line_with_the_nearest'),
    ('completion: flags with a value are without', COMPLETION, "[f'--{name}='] if", "[f'--{name}'] if",
     TESTS + 'test_the_flags_are_those_that_absl_knows[convert]'),
    ('completion: switches want a value', COMPLETION, "found.append(f'--{name}')", "found.append(f'--{name}=')",
     TESTS + 'test_the_flags_are_those_that_absl_knows[evaluate]'),
    ('completion: the whole word in bash', COMPLETION, '("${COMPREPLY[@]#*=}")', '("${COMPREPLY[@]}")',
     TESTS + 'test_bash_completes[value]'),
    ('completion: after any =', COMPLETION, '[[ ${line##*[[:space:]]} == *=* ]]', '[[ $line == *=* ]]',
     TESTS + 'test_bash_completes[flag]'),
    ('completion: of one config flag', COMPLETION, ".endswith('config') and", " == '--config' and",
     TESTS + 'test_what_a_line_may_become'),
    ('doctor: ended by what is optional', DOCTOR, "'broken' if check.__name__ in _MUST else 'missing'", "'broken'",
     DOCTORS + 'test_nothing_optional_ends_it'),
    ('doctor: broken is fine', DOCTOR, "broken |= status == 'broken'", "broken |= status == 'missing'",
     DOCTORS + 'test_nothing_optional_ends_it'),
    ('doctor: a lost package', DOCTOR, "yield Line('broken', name,", "yield Line('ok', name,",
     DOCTORS + 'test_a_package_that_is_not_there_is_broken_or_missing'),
    ('doctor: another compile cache', 'home.py', "os.environ.get('JAX_COMPILATION_CACHE_DIR') or ", '',
     DOCTORS + 'test_the_compile_cache_is_the_one_that_commands_use'),
    ('doctor: any form of data', DOCTOR, "glob('*.array_record*')", "glob('*')",
     DOCTORS + 'test_data_sets_are_found_with_their_form'),
    ('doctor: kilobytes as bytes', DOCTOR, '.split()[0]) * 1024', '.split()[0]) * 2048',
     DOCTORS + 'test_memory_is_what_the_system_says'),
    ('doctor: never busy', DOCTOR, 'busy = load > num + 0.5', 'busy = load > 2 * num + 8',
     DOCTORS + 'test_a_busy_or_full_machine_is_called_slow'),
])
