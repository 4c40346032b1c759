"""Random flags and overrides."""

import functools
import shutil
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffusion_jax import samplers, schedules
from diffusion_jax.builders import asked, experiment, guidance, models, optimiser
from diffusion_jax.data import sources
from tests import tiny
from tests.fuzz.commands import SMALL, contents, done, evaluated, room, sampled
from tests.fuzz.strategies import (
    FEATURES,
    GRIDS,
    NAMED,
    OF_EVALUATE,
    OF_SAMPLE,
    TEXTS,
    VALUES,
    flag,
    flags,
    fuzz,
    specs_of,
)

pytestmark = [
    pytest.mark.slow,
    # What Orbax leaves behind when it gives up a damaged checkpoint.
    pytest.mark.filterwarnings('ignore:coroutine .* was never awaited:RuntimeWarning'),
    pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
]

RUNS = st.sampled_from(['points', 'digits', 'classes', 'texts'])


@fuzz(120)
@given(name=RUNS, arguments=flags(OF_SAMPLE))
def test_flags_of_sample(trained, name, arguments):
    with room() as place:
        sampled(trained / name, place, *arguments)


@fuzz(60)
@given(name=st.sampled_from(['points', 'digits', 'classes']), arguments=flags(OF_EVALUATE))
def test_flags_of_evaluate(trained, name, arguments):
    with room() as place:
        evaluated(trained / name, place, *arguments)


@fuzz(25)
@given(out=NAMED)
def test_names_of_outputs(trained, out):
    with room() as place:
        for command, flag in (('sample', 'out'), ('evaluate', 'results')):
            more = ['--num=2'] if command == 'sample' else ['--num=9', '--bits_num=0', '--held_out=none']
            before = contents(place)
            told = done(command, f'--workdir={trained}/points', f'--{flag}={place}/out/{out}', *more)
            assert told == (contents(place) != before)


@fuzz(20)
@given(prompt=NAMED | TEXTS, sampler=specs_of(samplers))
def test_outputs_named_by_what_was_asked_for(trained, prompt, sampler):
    shutil.rmtree(trained / 'texts' / 'samples', ignore_errors=True)
    flags = ['--num=2', f'--cond=prompts:text={prompt}', f'--sampler={sampler}']
    told = done('sample', f'--workdir={trained}/texts', *flags)
    assert told == bool([*(trained / 'texts' / 'samples').glob('*.npz')])


# Not 'folder', which looks for pictures below whatever it is given, '/' as well.
EMBEDDED = types.SimpleNamespace(__all__=['digits', 'mixture'], digits=sources.digits, mixture=sources.mixture)
FIELDS = {
    'schedule': specs_of(schedules),
    'precond': specs_of(experiment.objectives),
    'objective': specs_of(experiment.objectives),
    'optim': specs_of(optimiser._OPTIMISERS),
    'optim.anneal': specs_of(optimiser.learning_rate),
    'ema': specs_of(experiment.emas),
    'frozen': specs_of(experiment.targets),
    'net': specs_of(models._NETS),
    'data': specs_of(EMBEDDED),
    'sample.sampler': specs_of(samplers),
    'sample.times': GRIDS,
    'sample.guidance': specs_of(guidance._GUIDANCE),
    'sample.cond': specs_of(asked._ASKED),
    'eval.features': FEATURES,
}


@functools.cache
def leaves():
    """The dotted names of the fields of a config."""

    def names(node, path=''):
        for key, value in node.items():
            yield path + key
            if hasattr(value, 'keys'):
                yield from names(value, f'{path}{key}.')

    return sorted(names(tiny.points()))


def overrides():
    single = st.sampled_from(leaves()).flatmap(lambda path: flag(f'config.{path}', VALUES))
    whole = st.sampled_from(sorted(FIELDS)).flatmap(lambda path: flag(f'config.{path}', FIELDS[path]))
    return st.lists(st.one_of(single, single, whole), min_size=1, max_size=3)


@fuzz(150)
@given(arguments=overrides())
def test_overrides_of_train(arguments):
    with room() as place:
        workdir = place / 'out' / 'run'
        expected = [workdir / name for name in ('config.json', 'provenance.json', 'trained')]
        if '--config.train.steps=0' in arguments:
            expected.pop()
        done('train', *SMALL, *arguments, f'--workdir={workdir}', expected=expected)
