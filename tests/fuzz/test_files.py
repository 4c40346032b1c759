"""Random files: images, masks, prompts, grids, results, weights."""

import io
import math
import pickle
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.commands import evaluated, put, room, sampled
from tests.fuzz.strategies import ARRAYS, JSON, NPY, NPZ, PICTURES, TEXTS, as_json, as_picture, damaged, fuzz

pytestmark = [
    pytest.mark.slow,
    # What Orbax leaves behind when it gives up a damaged checkpoint.
    pytest.mark.filterwarnings('ignore:coroutine .* was never awaited:RuntimeWarning'),
    pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
]

SUFFIXES = st.sampled_from(['.npy', '.npy', '.png', '.npz', ''])
GIVEN = st.one_of(damaged(NPY), damaged(PICTURES), damaged(NPZ), st.binary(max_size=40))
SOURCES = ['digits', 'digits', 'classes']
EDITS = ['inpaint', 'inpaint:repeats=2', 'sdedit:t0=0.5', 'colourise', 'super_resolve:factor=2', 'interpolate']


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
