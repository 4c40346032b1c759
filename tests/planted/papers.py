"""Bugs in the paper tables: in their numbers, in what is claimed of them, in what is set beside them."""

from tests.planted.mutant import Mutant

# fmt: off
TESTS, PAPERS = 'tests/experiments/test_papers.py::', '../experiments/papers/'
BESIDE = TESTS + 'test_the_table_has_the_papers_column_beside_ours'
JUDGED = TESTS + 'test_claims_are_judged_seed_by_seed'
COMPARED = TESTS + 'test_numbers_are_compared_under_one_protocol_alone'
DRAWN = 'tests/experiments/test_paper_pictures.py::'
OWN, BUILDS = TESTS + 'test_the_paper_satisfies_its_own_claims', TESTS + 'test_every_run_of_every_plan_builds'

MUTANTS = tuple(Mutant(*row) for row in [
    ('spread without its correction', PAPERS + 'report.py', 'np.std(values, ddof=1)', 'np.std(values)', BESIDE),
    ('paper and ours swapped', PAPERS + 'report.py',
     '[number(paper.cells.get((row, column))), number(ours, spread)]',
     '[number(ours, spread), number(paper.cells.get((row, column)))]', BESIDE),
    ('a claim holds if one seed says so', PAPERS + 'report.py', 'share >= 0.95 else', 'share > 0 else', JUDGED),
    ('standard errors forgotten', PAPERS + 'report.py', 'value + errors[cell] * rng.normal()',
     'value + 0.0 * rng.normal()', TESTS + 'test_claims_within_the_standard_error_are_open'),
    ('an order in one value', PAPERS + 'table.py', 'if len(values) < 2:', 'if len(values) < 0:', JUDGED),
    ('numbers compared in any features', PAPERS + 'report.py', 'e.metric == metric and e', 'e', COMPARED),
    ('numbers compared at any n', PAPERS + 'report.py', "e.protocol['n'] == n and ", '', COMPARED),
    ('difference the other way', PAPERS + 'report.py', 'ours[row, column] - paper.cells[row, column]',
     'paper.cells[row, column] - ours[row, column]', COMPARED),
    ('a number of the paper mistyped', PAPERS + 'ddim_table1/paper.py', '[13.36, 6.84', '[31.36, 6.84',
     OWN + '[ddim_table1]'),
    ('a claim upside down', PAPERS + 'ict_ablation/paper.py', 'c[ICT, n] < c[CT, n] / 2',
     'c[ICT, n] > c[CT, n] / 2', OWN + '[ict_ablation]'),
    ('every replicate with one seed', PAPERS + 'plan.py', 'config.seed = seed', 'config.seed = 0',
     BUILDS + '[ddim_table2-mini]'),
    ('a student before its teacher', PAPERS + 'plan.py', '[name for name in plan.recipes if name in wanted]',
     'sorted(wanted)', TESTS + 'test_only_the_runs_of_the_wanted_cells_are_trained'),
    ('an override of no field', PAPERS + 'ect_ablation/plan.py', "'objective.distance': {",
     "'objective.distances': {", BUILDS + '[ect_ablation-mini]'),
    ('any word is a table', PAPERS + '__main__.py', 'papers.known(_TABLE.value)',
     '_TABLE.value', TESTS + 'test_tables_are_named_on_the_command_line'),
    ('a given folder that is no run', PAPERS + '__main__.py', '        files.load_config(paths.local(workdir))\n', '',
     TESTS + 'test_cells_are_chosen_by_name'),
    ('a bar twice as long as the error', PAPERS + 'drawing.py', '[p.error for p in points]',
     '[2 * p.error for p in points]', DRAWN + 'test_numbers_are_an_axis_and_rows_are_curves'),
    ('categories joined by lines', PAPERS + 'drawing.py', "xerr=errors, fmt='o'", "xerr=errors, fmt='o-'",
     DRAWN + 'test_categories_are_rows_and_never_joined'),
    ('the first row at the bottom', PAPERS + 'drawing.py', 'set_ylim(len(paper.rows) - 0.5, -0.5)',
     'set_ylim(-0.5, len(paper.rows) - 0.5)', DRAWN + 'test_categories_are_rows_and_never_joined'),
    ('held-out data beside another metric', PAPERS + 'drawing.py', 'if panel.metric in floors:\n',
     'if floors:\n            floors = {panel.metric: next(iter(floors.values()))}\n',
     DRAWN + 'test_numbers_are_an_axis_and_rows_are_curves'),
    ('two metrics on one axis', PAPERS + 'drawing.py', 'if point.metric == m}', 'if m}',
     DRAWN + 'test_each_metric_has_a_panel_of_its_own'),
    ('columns of a row on top of each other', PAPERS + 'drawing.py', '0.18 * (i', '0.0 * (i',
     DRAWN + 'test_categories_are_rows_and_never_joined'),
    ('numbers at equal distances', PAPERS + 'drawing.py', 'x = [float(column) for column in columns]',
     'x = list(range(len(columns)))', DRAWN + 'test_numbers_are_an_axis_and_rows_are_curves'),
])
