"""Bugs in how a compiled program is read, and in how parameters that are split are used."""

from tests.planted.mutant import Mutant

# fmt: off
HLO, CHECK = 'tests/experiments/test_hlo.py::', 'tests/experiments/test_check.py::'
LAUNCH = 'tests/experiments/test_launch.py::'
AT = '../experiments/launch/'

MUTANTS = tuple(Mutant(*row) for row in [
    ('program: a loop is one pass', AT + 'hlo.py', 'visit(called, times * once, fused', 'visit(called, times, fused',
     HLO + 'test_a_scan_multiplies'),
    ('program: loops count up by one', AT + 'hlo.py', 'step += sum(int(body[name].inside) for name in constants)',
     'step = 1', HLO + 'test_a_loop_by_hand'),
    ('program: products with padding', AT + 'hlo.py', 'if p >= 0 and p % of_input', 'if p % of_input',
     HLO + 'test_convolutions_as_xla_counts_them'),
    ('program: products with holes', AT + 'hlo.py', 'p % of_input == 0 and p // of_input < size',
     'p // of_input < size', HLO + 'test_convolutions_as_xla_counts_them'),
    ('program: multiplications alone', AT + 'hlo.py', 'return 2 * math.prod(out.dims) *',
     'return math.prod(out.dims) *', HLO + 'test_a_product_of_matrices'),
    ('program: VMEM is traffic', AT + 'program.py', '            if shape.space == 0:\n                yield',
     '            if True:\n                yield', HLO + 'test_a_loop_by_hand'),
    ('program: whole arrays read for a slice', AT + 'program.py',
     'read += math.prod(user.shapes[0].dims) / max(total, 1)', 'return 1.0', HLO + 'test_a_scan_reads_its_rows_once'),
    ('program: not padded', AT + 'program.py', 'traffic += run.times * part * shape.padded',
     'traffic += run.times * part * shape.bytes', HLO + 'test_a_loop_by_hand'),
    ('program: products are stored', AT + 'program.py', '        if not run.fused:\n', '        if True:\n',
     HLO + 'test_a_loop_by_hand'),
    ('program: one float32 factor passes', AT + 'program.py', "{left.dtype, right.dtype} != {'bf16'}",
     "'bf16' not in {left.dtype, right.dtype}", HLO + 'test_products_of_floats_are_found'),
    ('collectives: each piece counts', AT + 'collectives.py', 'key = channel[1] if channel else', 'key =',
     HLO + 'test_collectives_that_overlap_count_once'),
    ('collectives: no scattering seen', AT + 'collectives.py', "if 'all-reduce-scatter' in run.name", 'if False',
     HLO + 'test_collectives_that_overlap_count_once'),
    ('collectives: once in a loop', AT + 'collectives.py', 'times = max(run.times,', 'times = max(1,',
     HLO + 'test_sums_in_a_loop_count_as_often_as_it_runs'),
    ('slice: cores are chips', AT + 'slices.py', "'v5p': (_DEEP, 2)", "'v5p': (_DEEP, 1)",
     CHECK + 'test_slices_have_as_many_chips_as_their_names_say'),
    ('estimate: a chip for each device', AT + 'report.py', 'return Roofs(*(chip.devices * seconds',
     'return Roofs(*(seconds', CHECK + 'test_the_longest_roof_bounds_the_step'),
    ('estimate: temporaries for free', AT + 'compiling.py', 'return sum(self)', 'return self.arguments + self.outputs',
     CHECK + 'test_memory_is_all_that_lies_there_at_once'),
    ('estimate: by proportion of all', AT + 'report.py', '(hbm(on) - fixed) / memory.temporaries',
     'hbm(on) / memory.temporaries', CHECK + 'test_rows_that_would_fit_by_proportion'),
    ('check: what does not fit is launched', AT + 'check.py', '    if not found.fits:', '    if False:',
     CHECK + 'test_what_does_not_fit_is_refused'),
    ('check: another batch is the same', AT + 'check.py', 'json.dumps([config, on.name, what,',
     'json.dumps([on.name, what,', CHECK + 'test_a_check_prints_and_keeps_an_estimate'),
    ('step: the state is copied', 'training/assemble.py', 'train_step, donate_argnums=0, out', 'train_step, out',
     CHECK + 'test_every_array_of_the_state_is_donated'),
    ('step: activations sent', 'training/assemble.py', "if mesh.shape['fsdp'] == 1:", 'if True:',
     CHECK + 'test_parameters_are_gathered_and_activations_stay'),
    ('step: gradients whole', 'devices/sharding.py', 'with_sharding_constraint(gradient, of_state(mesh, gradient))',
     'with_sharding_constraint(gradient, replicated(mesh))',
     CHECK + 'test_gathered_arrays_are_whole_and_their_gradients_split'),
    ('launch: specs left behind', AT + '__main__.py', r"if re.match(r'--?config\.[^=]+=', a)}", 'if False}',
     LAUNCH + 'test_what_replaces_a_whole_spec_is_launched_too'),
    ('launch: in spite of the check', AT + '__main__.py', 'check=False).returncode:', 'check=False).returncode < 0:',
     LAUNCH + 'test_a_run_is_checked_before_its_launch'),
])
# fmt: on
