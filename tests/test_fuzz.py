"""Random command lines, files and folders: every command does what was asked for, or refuses it in one line."""

import contextlib
import copy
import functools
import gc
import inspect
import io
import json
import math
import os
import pickle
import shutil
import tempfile
import types
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from configs import digits_classes
from diffusion_jax import builders, samplers, schedules, times
from diffusion_jax.builders import asked, editing, evaluation, experiment, guidance, models, optimiser, parallel
from diffusion_jax.data import conditions, kinds, sources
from diffusion_jax.inference import generate, runs, sample_file
from diffusion_jax.training import checkpoint
from diffusion_jax.training import run as training
from diffusion_jax.training.run import train
from tests import tiny

pytestmark = [
    pytest.mark.slow,
    # What Orbax leaves behind when it gives up a damaged checkpoint.
    pytest.mark.filterwarnings('ignore:coroutine .* was never awaited:RuntimeWarning'),
    pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
]

POINTS = f'--config={Path(__file__).parents[1]}/configs/toy2d.py:runlocal'
SMALL = [POINTS, '--config.data.n=64', '--config.net.width=4', '--config.net.depth=1', '--config.sample.times.n=3']


def fuzz(examples):
    """The same examples every time; FUZZ=10 in the environment goes through ten times as many."""
    examples *= int(os.environ.get('FUZZ', '1'))
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    chosen = settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=checks)
    return lambda test: chosen(test)


# What a shell can hand over: no NUL; surrogates stand for bytes that are no UTF-8.
TEXTS = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), max_size=6)
# Whole numbers are small, or so large that nobody allocates them.
NUMBERS = ['-1', '0', '1', '2', '3', '7', '100', '-7', str(10**18), str(-(10**18)), str(10**30), '1e400']
FLOATS = ['0.5', '-0.5', '1.5', '1e-9', '1e-320', '1e30', '1e308', 'nan', 'inf', '-inf', '0.0', '-0.0']
WORDS = ['', ' ', 'None', 'True', 'False', 'none', 'é', '漢字' * 60, '\udcff', '()', '(1,2)', '[1]', '{}', '../x', '/']
WORDS += ['a=b', 'a:b', '1/0', '3/2/1', '1/nan', '0x10', '1_0', '+', '--', '*', '?', '~', '%s', '{0}', '\n', 'a' * 300]
VALUES = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(FLOATS), st.sampled_from(WORDS), TEXTS)
NAMES = ['', '.', '..', '.x', 'x.', 'nope', '__doc__', '__all__', 'annotations', 'np', 'jax', 'name', '1', 'é']
NAMES += ['math.pi', 'math.nope', 'math.sqrt', 'nope.nope', 'builtins.dict', '..math.sqrt', 'os.path', 'saved']


def fitting(annotation):
    """Values of the type that an argument is annotated with, mostly."""
    text = str(annotation)
    some = (NUMBERS if 'int' in text else []) + (FLOATS if 'float' in text else [])
    some += [word for word, sign in (('None', 'None'), ('True', 'bool'), ('uniform', 'str')) if sign in text]
    return st.one_of(*[st.sampled_from(some)] * 3, VALUES) if some else VALUES


def specs_of(module):
    """Specs of a module's factories with arguments that they have, or have not, and any values."""

    def argument(key, parameters):
        return fitting(parameters[key].annotation if key in parameters else '').map(lambda value: f'{key}={value}')

    def arguments(name):
        found = getattr(module, name, None) if name in module.__all__ else None
        parameters = {} if found is None else inspect.signature(found).parameters
        keys = st.sampled_from(sorted(parameters)) if parameters else TEXTS
        keys = st.one_of(keys, keys, keys, st.just('name'), TEXTS)
        items = st.lists(keys.flatmap(lambda key: argument(key, parameters)), max_size=3)
        return items.map(lambda items: f'{name}:{",".join(items)}' if items else name)

    known = st.sampled_from([*module.__all__])
    return st.one_of(
        known.flatmap(arguments), known.flatmap(arguments), st.sampled_from(NAMES).flatmap(arguments), TEXTS
    )


def flag(name, values):
    return values.map(lambda value: f'--{name}={value}')


SAVED = st.sampled_from(['saved:grid=good', 'saved:grid=nope', 'saved', 'saved:grid=../config', 'saved:grid=1'])
GRIDS = st.one_of(specs_of(times), SAVED)
OF_OTHERS = ['auto:weak=nowhere,w=2.0', 'auto:w=2.0', 'auto:weak=,w=1', 'auto:weak=3,w=1', 'auto:weak=/,w=1']
OF_OTHERS += ['classifier:of=nowhere,w=1.0', 'classifier:of=,w=nan', 'classifier:of=/,step=nope,w=1']
WEAK = st.sampled_from(OF_OTHERS)
COUNTS = st.sampled_from(['1', '2', '3', '9', '0', '-1', '1.5', 'nan', '', '10**3', str(10**18), str(10**30)])
SHARED = {
    'sampler': specs_of(samplers),
    'grid': GRIDS,
    'guidance': st.one_of(specs_of(guidance._GUIDANCE), WEAK, st.just('none')),
    'cond': specs_of(asked._ASKED),
    'steps': COUNTS,
    'num': COUNTS,
    'seed': st.one_of(COUNTS, VALUES),
    'step': st.one_of(st.just('best'), VALUES),
}
FEATURES = st.one_of(specs_of(evaluation._FEATURES))
METHODS = st.one_of(
    specs_of(types.SimpleNamespace(__all__=['ode', 'vlb'], ode=builders.bits._ode, vlb=builders.bits._vlb))
)
OF_SAMPLE = {
    **SHARED,
    'batch_size': COUNTS,
    'rows': COUNTS,
    'edit': specs_of(editing._EDITS),
    'parallel': specs_of(parallel._PARALLEL),
    'trajectory': COUNTS,
}
OF_EVALUATE = {**SHARED, 'features': FEATURES, 'bits': METHODS, 'bits_num': COUNTS, 'held_out': VALUES}


def flags(known):
    """Up to three of these flags."""
    one = st.sampled_from(sorted(known)).flatmap(lambda name: flag(name, known[name]))
    return st.lists(one, min_size=1, max_size=3, unique_by=lambda text: text.partition('=')[0])


def captioned(split: str = 'train') -> sources.Source:
    """Pictures under texts."""
    rows = [conditions.encode_bytes(text, 8) for text in ('a dog', 'two cats')]
    cond = jax.tree.map(lambda *a: np.stack(a), *rows)
    x = np.zeros((2, 8, 8, 1), np.uint8)
    return sources.Source(x, cond, kinds.images((8, 8, 1)), conditions.of_bytes(8), f'captioned/{split}')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Folders of runs: points, digits, digits under classes, pictures under texts."""
    folder = tmp_path_factory.mktemp('runs')
    classes = digits_classes.get_config('runlocal')
    classes.net.multipliers = (1, 1)
    classes.train.update(steps=2, save_every=2, sample_every=0)
    classes.sample.times.n = 3
    classes = builders.resolve(classes)
    made = {'points': tiny.points(steps=2, save_every=2), 'digits': tiny.digits(steps=2), 'classes': classes}
    made['texts'] = {**classes, 'data': {'name': 'tests.test_fuzz.captioned', 'drop_cond': 0.1}}
    made['texts'] = {**made['texts'], 'eval': {**classes['eval'], 'held_out': None}}

    def saved(step, state, key, source, config, workdir, mesh, manager, draw_samples):
        checkpoint.save(manager, state, {'loss': 1.0}, {'config': config})
        checkpoint.wait(manager)
        return state

    for name, config in made.items():
        config['eval'] |= {'num': 16, 'batch_size': 8}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, '_fit', saved)
            train(config, folder / name)
        (folder / name / 'grids').mkdir()
        (folder / name / 'grids' / 'good.json').write_text('{"times": [1.0, 0.5, 0.0]}')
    return folder


@pytest.fixture(scope='module', autouse=True)
def _only_the_drawing_is_another(trained, tmp_path_factory):
    """Models are traced, which finds what does not fit, and give zeros; opened runs are kept open."""
    fill, load, kept = sample_file.fill, runs.load, functools.cache(runs.load)

    def opened(workdir, which='newest', mesh=None, sigma_rel=None):
        return (kept if Path(workdir).parent == trained else load)(workdir, which, mesh, sigma_rel)

    def zeros(drawing, key, num, first=0):
        size = -(-min(drawing.batch_size, num) // drawing.mesh.size) * drawing.mesh.size
        index = jax.ShapeDtypeStruct((size,), np.int32)
        keys = jax.eval_shape(lambda k: jax.random.split(k, size), key)
        shape = jax.eval_shape(drawing.draw, drawing.params, keys, index).shape
        for start in range(first, num, size):
            yield np.random.default_rng(start).uniform(-1, 1, (min(size, num - start), *shape[1:])).astype(np.float32)

    def bits(run, source, num, seed=0, method=None):
        found = builders.build_bits(run.experiment, source, run.config['eval'], method)
        x = jax.ShapeDtypeStruct((2, *run.experiment.shape), np.float32)
        jax.eval_shape(found.evaluate, run.params, jax.random.key(seed), x, run.experiment.nothing(2))
        return {'bits/dim': 1.0, 'standard error': None, 'rows': num}

    def fitted(step, state, key, experiment, config, workdir, mesh, manager, draw_samples):
        jax.eval_shape(step, state, key, next(training._batches(experiment.source, config, 0, mesh)))
        with training.Log(workdir, int(state.step), config['train']['steps']) as log:
            log.write(int(state.step) + 1, {'loss': 1.0})
        (workdir / 'trained').write_text('')
        return state

    def filled(path, request, num, *more):
        REQUESTS.append({**request, 'num': num})
        return fill(path, request, num, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('HOME', str(tmp_path_factory.mktemp('home')))
        patch.setattr(runs, 'load', opened)
        patch.setattr(runs, 'batches', zeros)
        patch.setattr(generate, 'batches', zeros)
        patch.setattr(sample_file, 'fill', filled)
        patch.setattr(runs, 'bits_per_dim', bits)
        patch.setattr(training, '_fit', fitted)
        yield


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file() and path.name != '.lock'}


def done(command, *arguments, expected=()):
    """Whether the command did it; else it said why in one line, and left its files alone."""
    folder = Path(expected[0]).parent if expected else None
    before = contents(folder) if folder and os.path.isdir(folder) else {}
    said, shown = io.StringIO(), io.TextIOWrapper(io.BytesIO(), 'utf-8')
    gc.disable()  # what Orbax gave up, collected while `tiny.call` parses a module, is a SystemError of CPython 3.11
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown):
            code = tiny.call(command, *arguments)
    finally:
        gc.enable()
    errors = [line for line in said.getvalue().splitlines() if line.startswith('error: ')]
    assert code in (0, 2), (code, said.getvalue())
    assert 'Traceback' not in said.getvalue(), said.getvalue()
    after = contents(folder) if folder and os.path.isdir(folder) else {}
    if code == 0:
        assert not errors
        for path in expected:
            assert after.get(Path(path)) not in (None, before.get(Path(path))), path
    else:
        assert len(errors) == 1, said.getvalue()
        assert len(errors[0]) > len('error: '), said.getvalue()
        assert before == after
    return code == 0


@contextlib.contextmanager
def room():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / 'out').mkdir()
        yield Path(folder)


REQUESTS = []  # what `sample` was asked for, as a file that it has begun says it


def sampled(workdir, place, *arguments):
    out = place / 'out' / 'x.npz'
    out.write_bytes(b'older')
    given = [f'--workdir={workdir}', f'--out={place}/out/x', '--num=2', *arguments]
    if done('sample', *given, expected=[out]):
        with np.load(out) as arrays:
            assert len(arrays['samples'])


def evaluated(workdir, place, *arguments, older=b'{"older": {}}'):
    results = place / 'out' / 'results.json'
    results.write_bytes(older)
    given = [f'--workdir={workdir}', f'--results={results}', '--num=9', '--bits_num=0', '--held_out=none', *arguments]
    if done('evaluate', *given, expected=[results]):
        assert len(json.loads(results.read_text())) > len(json.loads(older))


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


NAMED = st.sampled_from(
    [word for word in WORDS if len(word) < 100] + ['漢字' * 60, 'é' * 140, 'x.npz', 'x.y', '.', 'a/b']
)


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
    # A network of 10^18 layers is none that is refused: tracing it takes for ever.
    values = {'net.depth': st.sampled_from(['-1', '0', '2', 'nan', 'None', ''])}
    single = st.sampled_from(leaves()).flatmap(lambda path: flag(f'config.{path}', values.get(path, VALUES)))
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


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.sampled_from([-1, 0, 1, 3, 10**30, 0.5, math.nan, math.inf]), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=4,
)
DTYPES = ['u1', 'u1', 'u1', 'f4', '?', 'i2', 'i8', 'f2', 'f8', '>f4', 'c8', '<U3', 'O', 'M8[s]', 'V4', [('a', 'f4')]]
SHAPES = [
    (8, 8, 1),
    (8, 8, 1),
    (2, 8, 8, 1),
    (8, 8),
    (4, 4, 1),
    (8, 8, 3),
    (),
    (0,),
    (0, 8, 8, 1),
    (2,),
    (3, 2),
    (1,) * 20,
]


def array(dtype, shape, seed):
    """Values of several sizes, some of which are no numbers."""
    rng = np.random.default_rng(seed)
    values = rng.choice([0, 1, 255, 16, -1, 0.5, np.nan, np.inf, 1e30][: rng.integers(1, 10)], shape)
    with np.errstate(all='ignore'):
        try:
            return values.astype(dtype)
        except (TypeError, ValueError):
            return np.zeros(shape, dtype)


ARRAYS = st.builds(array, st.sampled_from(DTYPES), st.sampled_from(SHAPES), st.integers(0, 99))


def as_npy(x):
    file = io.BytesIO()
    np.save(file, x, allow_pickle=True)
    return file.getvalue()


def as_npz(names, x):
    file = io.BytesIO()
    np.savez(file, **{name: np.zeros(1) if x.dtype == 'O' else x for name in names})
    return file.getvalue()


def as_picture(mode, size, form, seed):
    file, rng = io.BytesIO(), np.random.default_rng(seed)
    picture = Image.fromarray(rng.choice([0, 255], size[::-1]).astype(np.uint8)).convert(mode)
    picture.save(file, form)
    return file.getvalue()


NPY = ARRAYS.map(as_npy)
NPZ = st.builds(as_npz, st.lists(st.sampled_from(['a', 'params/out/bias', 'params/out', 'x/']), unique=True), ARRAYS)
SIZES = st.sampled_from([(8, 8), (8, 8), (4, 4), (9, 8), (1, 1)])
PICTURES = st.builds(
    as_picture,
    st.sampled_from(['L', 'RGB', 'RGBA', '1', 'P', 'LA', 'I', 'F']),
    SIZES,
    st.just('TIFF'),
    st.integers(0, 9),
)
PICTURES |= st.builds(
    as_picture,
    st.sampled_from(['L', 'RGB', '1', 'P']),
    SIZES,
    st.sampled_from(['PNG', 'GIF', 'BMP']),
    st.integers(0, 9),
)


@st.composite
def damaged(draw, whole):
    """A file as it should be, cut short, or with other bytes in it."""
    content = draw(whole)
    kind = draw(st.sampled_from(['whole', 'whole', 'cut', 'other', 'other']))
    if kind == 'cut':
        return content[: draw(st.integers(0, len(content)))]
    if kind == 'other' and content:
        places = draw(st.lists(st.tuples(st.integers(0, min(len(content), 400) - 1), st.integers(0, 255)), max_size=4))
        changed = bytearray(content)
        for place, byte in places:
            changed[place] = byte
        return bytes(changed)
    return content


SUFFIXES = st.sampled_from(['.npy', '.npy', '.png', '.npz', ''])
GIVEN = st.one_of(damaged(NPY), damaged(PICTURES), damaged(NPZ), st.binary(max_size=40))
SOURCES = ['digits', 'digits', 'classes']
EDITS = ['inpaint', 'inpaint:repeats=2', 'sdedit:t0=0.5', 'colourise', 'super_resolve:factor=2', 'interpolate']


def put(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


@fuzz(120)
@given(
    name=st.sampled_from(SOURCES),
    edit=st.sampled_from([*EDITS, 'transfer:source=1,target=2']),
    image=GIVEN,
    mask=st.one_of(GIVEN, st.just(as_picture('L', (8, 8), 'PNG', 0))),
    suffixes=st.tuples(SUFFIXES, SUFFIXES),
)
def test_images_and_masks(trained, name, edit, image, mask, suffixes):
    with room() as place:
        given = [put(place, f'image{suffixes[0]}', image), put(place, f'mask{suffixes[1]}', mask)]
        flags = ['--image2' if edit == 'interpolate' else '--mask', '--cond=row:index=1']
        sampled(
            trained / name, place, f'--edit={edit}', f'--image={given[0]}', f'{flags[0]}={given[1]}', '--sampler=ddim'
        )


@fuzz(15)
@given(content=st.one_of(st.binary(max_size=40), TEXTS.map(str.encode)))
def test_files_of_prompts(trained, content):
    with room() as place:
        sampled(trained / 'texts', place, f'--cond=prompts:file={put(place, "prompts", content)}')


def as_json(value):
    return json.dumps(value).encode()


TIMES = st.lists(st.sampled_from([1.0, 0.9, 0.5, 0.1, 0.0, -1.0, math.nan, 10**30, '1', None]), max_size=4)
SAVED_GRIDS = st.one_of(JSON, st.fixed_dictionaries({'times': TIMES | JSON}, optional={'model_times': TIMES | JSON}))


@fuzz(80)
@given(content=st.one_of(SAVED_GRIDS.map(as_json), damaged(SAVED_GRIDS.map(as_json)), st.binary(max_size=20)))
def test_saved_grids(trained, content):
    put(trained / 'points' / 'grids', 'random.json', content)
    with room() as place:
        sampled(trained / 'points', place, '--grid=saved:grid=random')


@fuzz(40)
@given(older=st.one_of(JSON.map(as_json), st.binary(max_size=20)))
def test_results_that_were_there(trained, older):
    with room() as place:
        evaluated(trained / 'points', place, older=older)


NETWORKS = st.sampled_from(['classifier', 'inception', 'dinov2'])


def as_weights(x):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('archive/data.pkl', pickle.dumps({'weight': x.tolist()}))
    return file.getvalue()


@fuzz(40)
@given(
    network=NETWORKS,
    content=st.one_of(damaged(NPZ), damaged(NPY), damaged(ARRAYS.map(as_weights)), st.binary(max_size=40)),
)
def test_files_of_features(trained, network, content):
    with room() as place:
        evaluated(trained / 'digits', place, f'--features={network}:path={put(place, "weights.npz", content)}')


UNFINISHED = st.fixed_dictionaries({}, optional={'request': JSON, 'done': JSON})


@fuzz(20)
@given(told=st.one_of(st.none(), UNFINISHED, JSON), garbled=st.none() | st.binary(max_size=20), rows=damaged(NPY))
def test_samples_that_were_begun(trained, told, garbled, rows):
    """The request is right where it is None: only then the rows are looked at."""
    with room() as place:
        sampled(trained / 'points', place)
        put(place / 'out', '.x.unfinished.npy', rows)
        if told is None:
            told = {'request': REQUESTS[-1], 'done': 1}
        put(place / 'out', '.x.unfinished.json', as_json(told) if garbled is None else garbled)
        sampled(trained / 'points', place)


def replaced(node, path, value):
    """A copy of nested dicts and lists in which a part, found by numbers, is another, or gone."""
    node = copy.deepcopy(node)
    at = node
    for number in path[:-1]:
        children = [
            child for child in (at.values() if isinstance(at, dict) else at) if isinstance(child, dict | list) and child
        ]
        if not children:
            break
        at = children[number % len(children)]
    key = (sorted(at) if isinstance(at, dict) else range(len(at)))[path[-1] % len(at)]
    if value is REMOVED:
        del at[key]
    else:
        at[key] = value
    return node


REMOVED = object()
CHANGES = st.lists(st.tuples(st.lists(st.integers(0, 30), min_size=1, max_size=3), JSON | st.just(REMOVED)), max_size=2)


def retold(folder, name, changes):
    config = json.loads((folder / name / 'config.json').read_text())
    for path, value in changes:
        config = replaced(config, path, value)
    return config


def resumed(workdir, *arguments):
    made = [workdir / name for name in ('provenance.json', 'trained')]
    done('train', *SMALL, f'--workdir={workdir}', '--allow_config_change', *arguments, expected=made)


def used(trained, command, workdir, place):
    if command == 'train':
        resumed(workdir)
    elif command == 'weak':
        sampled(trained / 'points', place, f'--guidance=auto:weak={workdir},w=2.0')
    elif command == 'teacher':
        new = [place / 'out' / 'new' / name for name in ('config.json', 'trained')]
        done('train', *SMALL, f'--workdir={place}/out/new', f'--config.init_from={workdir}', expected=new)
    else:
        {'sample': sampled, 'evaluate': evaluated}[command](workdir, place)


COMMANDS = st.sampled_from(['sample', 'evaluate', 'train', 'weak', 'teacher'])


@fuzz(150)
@given(
    command=COMMANDS, changes=CHANGES, garbled=st.one_of(*[st.none()] * 5, st.binary(max_size=20), JSON.map(as_json))
)
def test_configs_that_were_saved(trained, command, changes, garbled):
    with room() as place:
        workdir = place / 'run'
        workdir.mkdir()
        (workdir / 'checkpoints').symlink_to(trained / 'points' / 'checkpoints')
        config = as_json(retold(trained, 'points', changes)) if garbled is None else garbled
        put(workdir, 'config.json', config)
        used(trained, command, workdir, place)


@fuzz(60)
@given(
    command=COMMANDS,
    whats=st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from(['gone', 'file', 'folder', 'cut', 'garbled'])), max_size=3
    ),
)
def test_folders_half_finished(trained, command, whats):
    with room() as place:
        workdir = place / 'run'
        shutil.copytree(trained / 'points', workdir)
        for number, what in whats:
            found = sorted(workdir.rglob('*'))
            if not found:
                break
            path = found[number % len(found)]
            content = path.read_bytes() if path.is_file() else b''
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            if what == 'folder':
                path.mkdir()
            elif what != 'gone':
                path.write_bytes({'file': b'', 'cut': content[: len(content) // 2], 'garbled': content[::-1]}[what])
        used(trained, command, workdir, place)


@pytest.mark.parametrize('command', ['sample', 'evaluate', 'train', 'weak', 'teacher'])
def test_folders_that_are_none(trained, command, tmp_path):
    (tmp_path / 'out').mkdir()
    for workdir in ('nowhere', 'file', 'file/run', 'a' * 300, 'out'):
        (tmp_path / 'file').write_text('')
        used(trained, command, tmp_path / workdir, tmp_path)
