r"""Measures a trained model: distances of its samples to the data, and its bits/dim.

    python -m diffusion_jax.evaluate --workdir=runs/mnist --num=10000 --sampler=ddim --steps=50

prints a table with its protocol and keeps every result in WORKDIR/metrics.json, under the name of its settings; where
that folder cannot be written to, in the file of --results. With --reference=FILE the samples are compared with other
images, or with a published file of statistics, instead of the run's data.

    python -m diffusion_jax.evaluate --samples=DIR_OR_ZIP_OR_NPZ --config=configs/cifar10_edm.py --config.data.dir=DIR
    python -m diffusion_jax.evaluate --samples=DIR_OR_ZIP_OR_NPZ --reference=FILE --features=inception:path=FILE

measures the images of any program, without a run; results are kept in the file of --results alone.
"""

import json
import tempfile

from absl import flags
from ml_collections import config_flags

from diffusion_jax import builders, cli
from diffusion_jax.builders import specs
from diffusion_jax.devices import cores, processes
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import report
from diffusion_jax.inference import references, runs
from diffusion_jax.ranges import MOST, MOST_SEED
from diffusion_jax.workdir import files, paths, saved_grids

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run.')
_SAMPLES = flags.DEFINE_string(
    'samples', None, 'Images to measure instead of samples of a run: a folder, or a .zip, .npy or .npz file.'
)
_REFERENCE = flags.DEFINE_string(
    'reference',
    None,
    "What to compare with instead of a run's data: images, or statistics (.npz with mu, sigma; .pkl).",
)
_CONFIG = config_flags.DEFINE_config_file('config', None, 'Of --samples: the config whose data they are compared with.')
_STEP = flags.DEFINE_string('step', 'newest', 'Which checkpoint: newest, best (by train.best_by), or its step.')
_EMA = flags.DEFINE_float(
    'ema', None, 'Length (sigma_rel) of the average to use, of a run with train.ema_every. Default: what the run keeps.'
)
_NUM = flags.DEFINE_integer(
    'num', None, "How many samples. Default: the run's own eval.num.", lower_bound=2, upper_bound=MOST
)
_SAMPLER = flags.DEFINE_string('sampler', None, "e.g. ancestral, ddim, ddim:eta=0.5. Default: the run's own.")
_STEPS = flags.DEFINE_integer(
    'steps', None, "Steps of the time grid. Default: the run's own.", lower_bound=1, upper_bound=MOST
)
_GRID = flags.DEFINE_string('grid', None, "e.g. uniform, quadratic, karras, saved:grid=NAME. Default: the run's own.")
_GUIDANCE = flags.DEFINE_string(
    'guidance',
    None,
    "e.g. classifier_free:w=2.0, auto:weak=WORKDIR,w=2.0, classifier:of=WORKDIR,w=1.0, none. Default: the run's own.",
)
_COND = flags.DEFINE_string('cond', None, "e.g. label:value=3, turn, nothing. Default: the run's own.")
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noise.', lower_bound=0, upper_bound=MOST_SEED)
_FEATURES = flags.DEFINE_string(
    'features', None, "e.g. pixels, inception:path=FILE, dinov2:path=FILE. Default: the run's own eval.features."
)
_HELD_OUT = flags.DEFINE_string(
    'held_out', None, "Split of data that the run has not seen; none for none. Default: the run's own eval.held_out."
)
_BITS = flags.DEFINE_integer(
    'bits_num', None, "Held-out rows for bits/dim; 0 for none. Default: the run's own.", lower_bound=0, upper_bound=MOST
)
_METHOD = flags.DEFINE_string(
    'bits',
    None,
    'How bits/dim are computed: vlb (the variational bound; needs a table of steps) or ode (any schedule), e.g. '
    'ode:dequantise=truncated_normal,sigma_min=0.002, or ode:dequantise=trained,fit_steps=500 (a network, '
    'trained on training rows for this model). Default: masked for a model of tokens, else vlb where it can be.',
)
_RESULTS = flags.DEFINE_string('results', None, 'JSON file that takes the results. Default: WORKDIR/metrics.json.')
_GAP = flags.DEFINE_bool('bits_gap', False, 'Bits/dim of as many training rows as well, and the difference.')


def main() -> None:
    """The entry point."""
    cores.take()
    if _SAMPLES.value:
        _measure_images(_SAMPLES.value)
        return
    if not _WORKDIR.value:
        raise UserError('set --workdir, the folder of a trained run, or --samples, images of any program')
    if _CONFIG.value:
        raise UserError('--config is for --samples: a run has its own')
    workdir = paths.parse(_WORKDIR.value)
    results = paths.parse(_RESULTS.value) if _RESULTS.value else workdir / 'metrics.json'
    run = runs.load(workdir, _STEP.value, sigma_rel=_EMA.value)
    settings = run.config['eval']
    num = _NUM.value or settings['num']
    choices = runs.Choices(_SAMPLER.value, _STEPS.value, _GRID.value, _GUIDANCE.value, _COND.value)
    spec = runs.sample_spec(run.config['sample'], choices)
    resolved = saved_grids.resolved(workdir, spec)
    guided = runs.sampling(run, resolved).guided  # what cannot be sampled so is told before the reference is read
    held_out = runs.held_out(run, _HELD_OUT.value)
    bits_num = settings['bits_num'] if _BITS.value is None else _BITS.value
    if bits_num and held_out is None:
        raise UserError('bits/dim needs held-out data: set --held_out=SPLIT, or --bits_num=0')
    method = specs.parse_spec(_METHOD.value) if _METHOD.value else None
    if bits_num and held_out is not None:  # before hours of sampling
        builders.build_bits(run.experiment, held_out, settings, method)
    # What cannot take the results is told before they are computed.
    files.check_writable(results)
    files.read_json(results, {})
    features = specs.parse_spec(_FEATURES.value) if _FEATURES.value else None
    if _REFERENCE.value:
        kind = run.experiment.source.kind
        reference = references.of_files(paths.local(_REFERENCE.value), features or settings['features'], kind)
    else:
        reference = runs.reference(run, held_out, features)
    _warn_of_few(num, reference)
    result = runs.survey(run, resolved, num, reference, _SEED.value)
    told = [_name(spec[name]) for name in ('sampler', 'times', 'guidance') if spec.get(name)]
    told += [] if guided.experiment.source.condition is None else [_name(spec['cond'])]
    told += [_model(run), f'{num} samples', f'seed {_SEED.value}']
    told += [f'against {reference.name}'] if _REFERENCE.value else []
    name = ', '.join([*told, *([reference.features.name] if _FEATURES.value else [])])
    print(report.markdown_table({name: result}))
    _keep(results, name, json.loads(report.to_json(result)))

    if bits_num and held_out is not None:
        sources = (held_out, runs.reference_data(run)) if _GAP.value else (held_out,)
        _keep_bits(results, run, sources, bits_num, method)


def _measure_images(samples: str) -> None:
    for flag in (_STEP, _EMA, _SAMPLER, _STEPS, _GRID, _GUIDANCE, _COND, _SEED, _BITS, _METHOD, _GAP):
        if flag.present:
            raise UserError(f'--{flag.name} is of a run, and --samples are measured as they are: leave it out')
    if sum(bool(flag.value) for flag in (_WORKDIR, _CONFIG, _REFERENCE)) != 1:
        raise UserError('--samples are compared with one of --config, --workdir (its data) and --reference: set one')
    if _REFERENCE.value and _HELD_OUT.value:
        raise UserError('--held_out is a split of data, and --reference has no splits: leave it out')
    path, results = paths.local(samples), paths.parse(_RESULTS.value) if _RESULTS.value else None
    if results:
        files.check_writable(results)
        files.read_json(results, {})
    with tempfile.TemporaryDirectory() as near:  # what is measured once need not stay
        images, reference = _compared(path, near, specs.parse_spec(_FEATURES.value) if _FEATURES.value else None)
        num = _NUM.value or len(images.x)
        if not 2 <= num <= len(images.x):
            raise UserError(f'{path} holds {len(images.x)} images, and {max(num, 2)} are asked for: set --num')
        _warn_of_few(num, reference)
        result = references.survey(images, num, reference)
    name = f'{path.name}, {num} images, {reference.features.name}'
    print(report.markdown_table({name: result}))
    if results:
        _keep(results, name, json.loads(report.to_json(result)))


def _compared(path, near, features):
    if _REFERENCE.value:
        if features is None:
            raise UserError('--reference says nothing of features: set --features, e.g. inception:path=FILE, or pixels')
        images = references.images(path, near)
        return images, references.of_files(paths.local(_REFERENCE.value), features, images.kind)
    config = builders.resolve(_CONFIG.value) if _CONFIG.value else _config_of(paths.parse(str(_WORKDIR.value)))
    data, held_out = references.data(config), references.held_out(config, _HELD_OUT.value)
    images = references.images(path, near, data.kind.shape)
    return images, references.of_data(data, held_out, features or config['eval']['features'])


def _config_of(workdir):
    return builders.check(files.load_config(workdir))


def _warn_of_few(num, reference):
    d = len(reference.summary.moments.mean)
    if num <= d:
        print(f'{num} samples have a singular covariance of {d} features: take {d + 1} at least, better ten times that')


def _keep_bits(results, run, sources, num, method):
    by = f', {_name(method)}' if method else ''
    found = []
    for source in sources:
        bits = runs.bits_per_dim(run, source, num, method=method)
        found.append(bits)
        name = f'bits/dim on {source.name}, {_model(run)}{by}'
        print(f'{name}: ' + ', '.join(f'{k} {v:.4g}' for k, v in bits.items() if isinstance(v, float | int)))
        _keep(results, name, bits)
    if len(found) == 2:
        gap = runs.bits_gap(*found)
        name = f'bits/dim on {sources[0].name} above {sources[1].name}, {_model(run)}{by}'
        print(f'{name}: ' + ', '.join(f'{k} {v:.4g}' for k, v in gap.items()))
        _keep(results, name, gap)


def _model(run):
    return f'step {run.step}' if run.sigma_rel is None else f'step {run.step}, ema {run.sigma_rel}'


def _name(spec):
    arguments = ','.join(f'{k}={v}' for k, v in spec.items() if k != 'name')
    return f'{spec["name"]}({arguments})'


def _keep(results, name, content):
    if processes.is_first():
        files.write_json(results, {**files.read_json(results, {}), name: content})


if __name__ == '__main__':
    cli.run(main)
