"""Bugs in what pages show of runs."""

from tests.planted.mutant import Mutant

# fmt: off
FOLDER, HTML, COMPARISON, LIVE = (f'pages/{name}.py' for name in ('folder', 'html', 'comparison', 'live'))
READ, PAGES, SERVED = (f'tests/pages/test_{name}.py::' for name in ('folder', 'pages', 'live'))

MUTANTS = tuple(Mutant(*row) for row in [
    ('pages: rows of a lost end are kept', FOLDER, 'if s < step}', 'if s != step}',
     READ + 'test_where_a_run_went_on_the_newer_rows_count'),
    ('pages: what is not finite is a number', FOLDER, 'if math.isfinite(value) else None)', ')',
     READ + 'test_what_is_not_finite_is_a_gap'),
    ('pages: the mean of the steps', FOLDER, 'sorted(found)[len(found) // 2]', '(sum(found) / len(found))',
     READ + 'test_time_left_is_that_of_the_last_steps'),
    ('pages: time of the whole run', FOLDER, 'max(0, self.steps - self.step)', 'self.steps',
     READ + 'test_time_left_is_that_of_the_last_steps'),
    ('pages: the oldest first', FOLDER, 'p.name), reverse=True)', 'p.name))',
     READ + 'test_media_come_the_newest_first_and_nothing_else'),
    ('pages: runs of one name', FOLDER, 'n = next((n for', 'n = 1 or next((n for',
     READ + 'test_names_tell_runs_apart'),
    ('pages: a folder twice', FOLDER, 'if len(set(parts)) < len(parts):', 'if False:',
     READ + 'test_names_tell_runs_apart'),
    ('pages: equal fields too', FOLDER, 'if len(set(values)) > 1}', 'if values}',
     READ + 'test_differences_are_the_fields_that_are_not_the_same'),
    ('pages: texts are not escaped', HTML, 'autoescape=True', 'autoescape=False',
     PAGES + 'test_no_text_becomes_part_of_the_page'),
    ('pages: pictures stay outside', HTML, 'embedded(file) if file.exists() else None', 'None',
     PAGES + 'test_a_report_becomes_a_page_with_its_pictures_and_tables'),
    ('pages: protocols are mixed', COMPARISON, 'json.dumps([protocol, [] if', 'json.dumps([{}, [] if',
     PAGES + 'test_results_of_different_protocols_are_in_different_tables'),
    ('pages: the end of a curve is lost', COMPARISON, 'range(len(curve.steps) - 1, -1, -k)',
     'range((len(curve.steps) - 1) // k * k, -1, -k)', PAGES + 'test_a_long_curve_is_thinned_and_keeps_its_end[12345]'),
    ('pages: pictures of any of the runs', COMPARISON, 'set.intersection(*', 'set.union(*',
     PAGES + 'test_pictures_of_one_name_stand_side_by_side'),
    ('pages: any file below samples', LIVE, 'return found.get(name)',
     'return found.get(name) or workdir / path.removeprefix("/")',
     SERVED + 'test_nothing_but_the_page_and_its_media_is_given[samples/%2e%2e/config.json]'),
    ('pages: a picture is kept for ever', LIVE, "?{path.stat().st_mtime_ns}'", "'",
     SERVED + 'test_a_picture_that_is_written_anew_has_another_address'),
    ('pages: never done', LIVE, 'if run.step >= run.steps:', 'if run.step > run.steps:',
     SERVED + 'test_the_time_left_is_told_until_the_end'),
])
