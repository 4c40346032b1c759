"""Guidance, labels that are dropped, and what tells of a model that diverged."""

from tests.planted.mutant import Mutant

FILE, TESTS, WIRED = 'guidance.py', 'tests/test_guidance.py::test_', 'tests/builders/test_sampling.py::test_'
BUILD, SAMPLING, RUNS = 'builders/guidance.py', 'builders/sampling.py', 'inference/runs.py'
PAPER, EACH = TESTS + 'classifier_free_is_the_papers_eps_by_one_call', '[each]'
INTERVAL, RESCALE = (
    TESTS + 'the_interval_is_of_noise_levels_open_below_and_closed_above',
    TESTS + 'rescale_brings_back_the_conditional_spread',
)
CLASSIFIER, ENDS = (
    TESTS + 'the_exact_classifier_makes_the_exact_conditional_denoiser[RectifiedFlow]',
    TESTS + 'the_classifier_at_the_ends_of_the_path',
)
ONE_STEP = WIRED + 'one_step_is_the_guided_prediction'
DROPPED = 'tests/data/test_pipeline.py::test_labels_are_dropped_with_the_probability_asked_for'
TRACED = 'tests/inference/test_generate.py::test_the_sample_that_diverged_is_traced_alone'

MUTANTS = tuple(Mutant(*row) for row in [
    ('guidance: (1 + w) of the paper', FILE, 'w * x_0 + (1 - w) * other', '(1 + w) * x_0 - w * other', PAPER + '[2.5]'),
    ('guidance: away from the condition', FILE, 'w * x_0 + (1 - w) * other', '(1 - w) * x_0 + w * other',
     PAPER + '[2.5]'),
    ('guidance: weights along the last axis', FILE, 'w = per_sample(jnp.asarray(w, x_0.dtype), x_0)',
     'w = jnp.broadcast_to(jnp.mean(jnp.asarray(w, x_0.dtype)), (1,) * x_0.ndim)', PAPER + EACH),
    ('guidance: null before the condition', FILE, 'return pairs[:, 0], pairs[:, 1]', 'return pairs[:, 1], pairs[:, 0]',
     PAPER + '[2.5]'),
    ('guidance: rows of halves taken for pairs', FILE, 'rows.reshape(len(rows) // 2, 2, *rows.shape[1:])\n'
     '    return pairs[:, 0], pairs[:, 1]', 'rows.reshape(2, len(rows) // 2, *rows.shape[1:])\n'
     '    return pairs[0], pairs[1]', PAPER + '[1]'),
    ('guidance: variance of the null model', FILE, '_separate(logits)[0]', '_separate(logits)[1]',
     TESTS + 'a_variance_is_the_conditional_models'),
    ('autoguidance towards the weak model', FILE, '_extrapolate(denoise(x, t), weak(x, t), w, rescale)',
     '_extrapolate(weak(x, t), denoise(x, t), w, rescale)', TESTS + 'autoguidance_goes_away_from_the_weak_model'),
    ('classifier: sigma without its square', FILE, 'scale = schedule.sigma(t) ** 2 /', 'scale = schedule.sigma(t) /',
     CLASSIFIER),
    ('classifier: alpha forgotten', FILE, 'scale = schedule.sigma(t) ** 2 / jnp.where(blind, 1, schedule.alpha(t))',
     'scale = schedule.sigma(t) ** 2', CLASSIFIER),
    ('classifier: against its class', FILE, 'denoise(x, t) + jnp.where(', 'denoise(x, t) - jnp.where(', CLASSIFIER),
    ('classifier: divides by alpha = 0', FILE, 'blind = without_signal(schedule, t)',
     'blind = jnp.zeros(t.shape, bool)', ENDS),
    ('classifier: one weight for all', FILE, 'per_sample(w * scale, x) * gradient',
     'per_sample(jnp.mean(w) * scale, x) * gradient', TESTS + 'weights_of_the_classifier_add_its_gradient'),
    ('interval: in sigma, not sigma / alpha', FILE, 'sigma / jnp.where(alpha > 0, alpha, 1), jnp.inf)',
     'sigma, jnp.inf)', INTERVAL),
    ('interval: closed below', FILE, '(low < level)', '(low <= level)', INTERVAL),
    ('interval: open above', FILE, '(level <= high)', '(level < high)', INTERVAL),
    ('interval: guided outside', FILE, 'jnp.where(per_sample(inside, a), a, b)',
     'jnp.where(per_sample(inside, a), b, a)', INTERVAL),
    ('interval: both models at every step', FILE, '_evaluate_if(jnp.any(~inside), plain, x, t)',
     '_evaluate_if(True, plain, x, t)', INTERVAL),
    ('rescale: share and rest exchanged', FILE, 'rescale * ratio + 1 - rescale', 'rescale + (1 - rescale) * ratio',
     RESCALE),
    ('rescale: spread over the batch', FILE, 'axes = tuple(range(1, x_0.ndim))', 'axes = tuple(range(x_0.ndim))',
     RESCALE),
    ('rescale: the inverse ratio', FILE, 'jnp.std(x_0, axes, keepdims=True) / jnp.where(std > 0, std, 1)',
     'jnp.where(std > 0, std, 1) / jnp.std(x_0, axes, keepdims=True)', RESCALE),
    ('dynamic threshold over the batch', FILE, 'jnp.quantile(jnp.abs(x_0).reshape(len(x_0), -1), p, axis=1)',
     'jnp.full(len(x_0), jnp.quantile(jnp.abs(x_0), p))', TESTS + 'dynamic_thresholding'),
    ('dynamic threshold below 1', FILE, 'p, axis=1), 1), x_0)', 'p, axis=1), 0), x_0)', TESTS + 'dynamic_thresholding'),
    ('dynamic threshold that only clips', FILE, 'jnp.clip(x_0, -s, s) / s', 'jnp.clip(x_0, -s, s)',
     TESTS + 'dynamic_thresholding'),
    # the wiring
    ('guided and not clipped', SAMPLING, 'guidance.on_x_0(lambda denoise: edit(clip(denoise)), full)',
     'guidance.on_x_0(edit, full)', ONE_STEP),
    ('guidance: the learned variance unguided', SAMPLING, "context['denoise_with_variance'] = denoise",
     "context['denoise_with_variance'] = experiment.models['model_with_variance'](params, cond, None)", ONE_STEP),
    ('guidance: threshold forgotten', BUILD, 'if threshold is not None:', 'if threshold == 0:', ONE_STEP),
    ('guidance: interval from below forgotten', BUILD, 'if low > 0 or high < math.inf:', 'if low > 0:', ONE_STEP),
    ('guidance: the last class for none', BUILD, 'null = experiment.num_classes\n',
     'null = experiment.num_classes - 1\n', ONE_STEP),
    ('guidance: a weak model of other classes', BUILD, 'if ours != theirs:', 'if False:',
     WIRED + 'weak_models_that_do_not_fit[classes]'),
    ('guidance: the strong parameters in the weak model', BUILD, 'weak(weak_params, cond, None)',
     'weak(params, cond, None)', WIRED + 'autoguidance_by_another_network'),
    ('guidance without dropped labels', BUILD, 'not experiment.drops_labels', 'False',
     WIRED + 'guidance_that_is_refused[undropped-10]'),
    ('labels never dropped', 'builders/experiment.py', '    if p:\n', '    if p is None:\n',
     WIRED + 'training_sees_the_null_class'),
    ('labels kept with the probability', 'data/pipeline.py', 'batch.cond.shape), null, batch.cond)',
     'batch.cond.shape), batch.cond, null)', DROPPED),
    ('all labels dropped or none', 'data/pipeline.py', 'jax.random.bernoulli(key_drop, p, batch.cond.shape)',
     'jax.random.bernoulli(key_drop, p)', DROPPED),
    ('older configs differ', 'workdir/files.py', 'if a.get(k) != b.get(k)]',
     'if a.get(k, missing) != b.get(k, missing)]',
     WIRED + 'runs_of_before_there_was_guidance_are_the_same_runs'),
    ('label ignored', RUNS, 'jnp.full_like(cond, label)', 'cond', WIRED + 'the_commands_choices_reach_the_model'),
    ('Brownian keys those of the steps', SAMPLING, "'brownian': samplers.fold_in(keys, 2)",
     "'brownian': samplers.fold_in(samplers.fold_in(keys, 1), 0)", WIRED + 'a_sampler_may_ask_for_brownian_keys'),
    ('steps never counted', SAMPLING, 'if len(grid) - 1 < sampler.least_steps:', 'if len(grid) < sampler.least_steps:',
     WIRED + 'a_grid_of_too_few_steps'),
    ('NaN traced one step late', SAMPLING, 'float(grid[bad[0] - 1]), float(grid[bad[0]])',
     'float(grid[bad[0]]), float(grid[bad[0] + 1])', WIRED + 'where_nan_came_up'),
    ('another sample traced', 'inference/generate.py', 'row = jnp.asarray(rows[bad[:1]])',
     'row = jnp.asarray(rows[:1])', TRACED),
    ('another class traced', 'inference/generate.py', 'row % num_classes if num_classes else None)',
     'bad[:1] % num_classes if num_classes else None)', TRACED),
    ('NaN of the padding refused', 'inference/generate.py', 'cond))[: num - start]', 'cond))',
     'tests/inference/test_generate.py::test_nan_is_refused'),
])  # fmt: skip
