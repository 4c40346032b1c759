r"""Searches the length of the average with which a run's samples are closest to its data (EDM2, arXiv 2312.02696).

    python -m experiments.search_ema --workdir=runs/digits_edm --lengths=.03,.05,.1,.2 --num=1000

puts every length together from the snapshots of the run (train.ema_every), measures samples from the same noises, and
prints the table and the best; the table is written into WORKDIR/ema_search, under the name of all that it depends on. A
first row is of the average that the run itself keeps, if there is a checkpoint of that step. The best of many is
flattered by its noises: measure it once more by `diffusion_jax.evaluate --ema=LENGTH --seed=1`.
"""

import jax
from absl import flags

from diffusion_jax import cli
from diffusion_jax.builders import specs
from diffusion_jax.devices import processes
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import measure, report
from diffusion_jax.inference import averages, runs
from diffusion_jax.inference.generate import batches
from diffusion_jax.progress import counted, progress_bar
from diffusion_jax.ranges import MOST, MOST_SEED
from diffusion_jax.workdir import files, paths, saved_grids

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run with train.ema_every.', required=True)
_LENGTHS = flags.DEFINE_list('lengths', None, 'Lengths (sigma_rel) to try, such as .03,.05,.1,.2.', required=True)
_STEP = flags.DEFINE_string('step', 'newest', 'Which snapshot: newest, or its step.')
_METRIC = flags.DEFINE_enum('metric', 'frechet', ['frechet', 'kernel'], 'The distance by which one is best.')
_NUM = flags.DEFINE_integer(
    'num', None, "Samples a length. Default: the run's own eval.num.", lower_bound=2, upper_bound=MOST
)
_SAMPLER = flags.DEFINE_string('sampler', None, "e.g. ddim, heun. Default: the run's own.")
_STEPS = flags.DEFINE_integer(
    'steps', None, "Steps of the time grid. Default: the run's own.", lower_bound=1, upper_bound=MOST
)
_GRID = flags.DEFINE_string('grid', None, "e.g. quadratic, karras. Default: the run's own.")
_GUIDANCE = flags.DEFINE_string('guidance', None, "e.g. classifier_free:w=2.0, none. Default: the run's own.")
_COND = flags.DEFINE_string('cond', None, "e.g. label:value=3, turn. Default: the run's own.")
_FEATURES = flags.DEFINE_string(
    'features', None, "e.g. pixels, inception:path=FILE. Default: the run's own eval.features."
)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noises.', lower_bound=0, upper_bound=MOST_SEED)


def main() -> None:
    """The entry point."""
    workdir, lengths = paths.parse(_WORKDIR.value), _lengths()
    run = runs.load(workdir, _STEP.value, sigma_rel=lengths[0])
    plans = {sigma_rel: averages.plan(workdir, sigma_rel, str(run.step)) for sigma_rel in lengths}
    choices = runs.Choices(_SAMPLER.value, _STEPS.value, _GRID.value, _GUIDANCE.value, _COND.value)
    spec = saved_grids.resolved(workdir, runs.sample_spec(run.config['sample'], choices))
    drawing, guided = runs.sampling(run, spec)
    drawing = drawing._replace(batch_size=run.config['eval']['batch_size'])
    is_asked = guided.experiment.source.condition is not None
    reference = runs.reference(run, None, specs.parse_spec(_FEATURES.value) if _FEATURES.value else None)
    num = _NUM.value or run.config['eval']['num']
    path = workdir / 'ema_search' / f'{_name(run, spec, is_asked, num, reference.features.name, lengths)}.md'
    files.check_writable(path)
    conditions = runs.name_of(spec['cond']) if is_asked else 'none'

    def measured(params):
        given = runs.guided(run._replace(params=params), spec).params
        with progress_bar('sampling', num) as progress:
            stream = batches(drawing._replace(params=given), jax.random.key(_SEED.value), num)
            return measure.survey(counted(stream, progress), num, reference, (_SEED.value,), conditions)

    name_of_metric = {'frechet': report.frechet_name, 'kernel': report.kernel_name}[_METRIC.value]
    metric, shapes = name_of_metric(reference.features), _shapes(run.params)
    own = _own(workdir, run)
    results = {} if own is None else {"the run's own": measured(own)}
    for sigma_rel, plan in plans.items():
        results[f'ema {sigma_rel}'] = measured(averages.restore(workdir, shapes, plan))
        print(f'ema {sigma_rel}: {metric} {results[f"ema {sigma_rel}"].values[metric]:.4g}', flush=True)
    table, best = report.markdown_table(results), min(results, key=lambda name: results[name].values[metric])
    if processes.is_first():
        files.write_text(path, table)
    print(f'\n{table}\nbest: {best}, {metric} {results[best].values[metric]:.4g}: {path}')


def _lengths():
    try:
        first, *more = dict.fromkeys(float(text) for text in _LENGTHS.value)
        return [first, *more]
    except ValueError as error:
        raise UserError(f'--lengths={",".join(_LENGTHS.value)} must be numbers, such as .03,.05,.1') from error


def _name(run, spec, is_asked, num, features, lengths):
    parts = [runs.name_of(spec[name]) for name in ('sampler', 'times', 'guidance') if spec.get(name)]
    parts += [f'cond-{runs.name_of(spec["cond"])}'] if is_asked else []
    parts += [f'step{run.step}', f'seed{_SEED.value}', f'n{num}', features, 'ema', *map(str, lengths)]
    return paths.shortened('_'.join(parts))


def _shapes(params):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), params)


def _own(workdir, run):
    """The parameters that the run averaged itself, None where no checkpoint of that step was kept."""
    try:
        return runs.load(workdir, str(run.step), run.mesh).params
    except UserError:
        return None


if __name__ == '__main__':
    cli.run(main)
