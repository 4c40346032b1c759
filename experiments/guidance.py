r"""Guidance compared: do samples belong to the class that was asked for, and how far are they from the data?

    python -m experiments.guidance --workdir=runs/digits_classes --num=500 \
        --guidance=none --guidance=classifier_free:w=2.0 --guidance=classifier_free:w=2.0,low=0.2,high=2.0

prints a row for each guidance, all from the same noises and as many samples of every class: the agreement of a support
vector machine, fitted to the real images, with the class; the Frechet distance; diversity; time a sample. A run that is
told nothing, guided by a classifier, needs --condition=label, the feature of its data that holds the classes.
"""

import time

import jax
import numpy as np
from absl import flags

from diffusion_jax import builders, cli
from diffusion_jax.data.quantise import rounded
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import coherence, measure, report
from diffusion_jax.evaluation.rows import Values
from diffusion_jax.inference import runs
from diffusion_jax.workdir import paths
from experiments.running.measurements import drawing
from experiments.running.tables import markdown

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a trained run of classes.', required=True)
_GUIDANCE = flags.DEFINE_multi_string('guidance', ['none'], 'As for diffusion_jax.sample, once for every row.')
_NUM = flags.DEFINE_integer('num', 500, 'Samples a row.', lower_bound=100)
_CONDITION = flags.DEFINE_string(
    'condition', None, "Which feature holds the classes. Default: the run's own condition."
)
_DATA_ROWS = 1000  # enough for a mean distance


def fit_classifier(x: np.ndarray, label: np.ndarray):
    """A support vector machine on images `[N, ...]` in [-1, 1]; returns a function images -> classes `[n]`."""
    from sklearn.svm import SVC  # a second to import

    fitted = SVC(C=10.0).fit(x.reshape(len(x), -1), label)
    return lambda x: fitted.predict(x.reshape(len(x), -1))


def main() -> None:
    """The entry point."""
    run = runs.load(paths.parse(_WORKDIR.value))
    settings, data = run.config['eval'], dict(run.config['data'])
    data['condition'] = _CONDITION.value or data.get('condition')
    source, held_out = (builders.build_source(data, settings[name]) for name in ('reference', 'held_out'))
    if not isinstance(source.cond, np.ndarray) or not isinstance(held_out.cond, np.ndarray):
        raise UserError('this run has no classes to agree with: set --condition, such as label')
    label = np.arange(_NUM.value) % (source.cond.max() + 1)
    x = Values(source)
    reference = measure.make_reference(source, builders.build_features(settings['features'], x))
    frechet = report.frechet_name(reference.features)
    classify = fit_classifier(x[:], source.cond[np.arange(len(x))])

    def figures(x, label):
        return {
            'agreement': float(np.mean(classify(rounded(x, source.kind.levels)) == label)),
            frechet: measure.measure(x, reference, (0,)).values[frechet],
            'diversity': coherence.diversity(x, reference.x[:_DATA_ROWS]),
        }

    real = Values(held_out)[:]
    rows = {f'{len(real)} held-out images': figures(real, held_out.cond[np.arange(len(real))])}
    for guidance in _GUIDANCE.value:
        spec = runs.sample_spec(run.config['sample'], runs.Choices(guidance=guidance))
        if runs.guided(run, spec).experiment.source.condition is not None:
            spec['cond'] = {'name': 'turn'}
        draw = drawing(run, spec)
        draw(settings['batch_size'], jax.random.key(1))  # compiles
        start = time.process_time()
        x = draw(_NUM.value, jax.random.key(0))
        cost = 1e3 * (time.process_time() - start) / _NUM.value
        rows[guidance] = {**figures(x, label), 'CPU ms a sample': cost}
        print(guidance, rows[guidance], flush=True)
    columns = ['agreement', frechet, 'diversity', 'CPU ms a sample']
    cells = [[name, *(f'{row[c]:.4g}' if c in row else '' for c in columns)] for name, row in rows.items()]
    print('\n' + markdown(['guidance', *columns], cells))
    settings = f'{runs.name_of(spec["sampler"])}, {runs.name_of(spec["times"])}'
    print(f'{_NUM.value} samples a row, step {run.step}, {settings}.')


if __name__ == '__main__':
    cli.run(main)
