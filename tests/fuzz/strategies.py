"""What a command may be given: values, specs of factories, arrays, pictures, and files that are damaged."""

import inspect
import io
import json
import math
import os
import types

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

from diffusion_jax import builders, samplers, times
from diffusion_jax.builders import asked, editing, evaluation, guidance, parallel


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


NAMED = st.sampled_from(
    [word for word in WORDS if len(word) < 100] + ['漢字' * 60, 'é' * 140, 'x.npz', 'x.y', '.', 'a/b']
)
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


def as_json(value):
    return json.dumps(value).encode()
