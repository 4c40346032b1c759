"""Bugs in truncated consistency models."""

from tests.planted.mutant import Mutant

# fmt: off
FILE = 'objectives/truncated_consistency.py'
TESTS, RUNS = 'tests/objectives/test_truncated_consistency.py::', 'tests/training/test_distillation.py::'
LEARNS = TESTS + 'test_up_to_the_cut_it_learns_the_first_stage'
ACROSS = TESTS + 'test_a_pair_across_the_cut_ends_in_the_first_stage'

MUTANTS = tuple(Mutant(*row) for row in [
    ('truncated: cut by t', FILE, 'where_rows(s > t_min,', 'where_rows(t > t_min,', ACROSS),
    ('truncated: s on the cut is above it', FILE, 'where_rows(s > t_min,', 'where_rows(s >= t_min,', ACROSS),
    ('truncated: the other way round', FILE, 'own, first))', 'first, own))', LEARNS),
    ('truncated: the first stage at t', FILE, '(frozen.teacher, batch.cond, None)(x_s, s)',
     '(frozen.teacher, batch.cond, None)(x_t, t)', LEARNS),
    ('truncated: the student as first stage', FILE, 'teacher(frozen.teacher,', 'teacher(params,', LEARNS),
    ('truncated: the teacher as target', FILE, 'frozen.target_or(params)', 'frozen.teacher', ACROSS),
    ('truncated: no stop-gradient', FILE, 'jax.lax.stop_gradient(where_rows', '(where_rows',
     TESTS + 'test_neither_the_first_stage_nor_the_target_gets_a_gradient'),
    ('truncated: another noise', FILE, 'q_sample(schedule, batch.x, s, eps)', 'q_sample(schedule, batch.x, s, -eps)',
     TESTS + 'test_cut_at_nothing_it_is_consistency_training[CT]'),
    ('truncated: a diffusion model as first stage', FILE, "taught_by='consistency'", "taught_by='denoise'",
     RUNS + 'test_teachers_that_are_refused[diffusion]'),
    ('truncated: keeps no teacher', FILE, 'reads_teacher=True', 'reads_teacher=False',
     RUNS + 'test_a_truncated_model_starts_and_ends_its_path_in_its_first_stage'),
])
