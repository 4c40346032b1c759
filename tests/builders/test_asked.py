"""What a run is asked for, by the index of the sample: a class, a text, a row's own condition, or nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax import builders
from diffusion_jax.builders.specs import parse_spec
from diffusion_jax.data import conditions
from diffusion_jax.errors import UserError
from diffusion_jax.types import Masked
from tests import newcomer, tiny
from tests.builders.test_experiment import changed

BASE = builders.build(changed(changed(tiny.points(), 'data.condition', 'label'), 'data.drop_cond', 0.1))
INDEX = jnp.array([5, 0, 17, 2])


def of(source, drops=True):
    """An experiment of these data."""
    return BASE._replace(source=source, drops_cond=drops)


def asked(source, text, index=INDEX, drops=True):
    return jax.device_get(builders.build_asked(of(source, drops), parse_spec(text))(index))


def prompts(length=8, rows=2):
    """Data under texts of at most so many bytes."""
    encoded = [conditions.encode_bytes(text, length) for text in ('a dog', 'two cats')[:rows]]
    cond = jax.tree.map(lambda *a: np.stack(a), *encoded)
    return BASE.source._replace(x=np.zeros((rows, 2), np.float32), cond=cond, condition=conditions.of_bytes(length))


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_what_is_asked_for_by_index(tmp_path):
    video, audio, labels = newcomer.video(), newcomer.audio(), BASE.source
    same(asked(labels, 'turn'), [5, 0, 1, 2])
    same(asked(labels, 'label:value=3'), [3, 3, 3, 3])
    same(asked(video, 'label:value=up'), [1, 1, 1, 1])
    same(asked(audio, 'label:value=loud=2+channel=1'), {'loud': [2] * 4, 'channel': [1] * 4})
    same(asked(labels, 'row:index=7'), [labels.cond[7]] * 4)
    same(asked(labels, 'nothing'), [8] * 4)
    same(asked(labels._replace(cond=None, condition=None), 'data'), None)
    (tmp_path / 'prompts.txt').write_text('ab\n\ncdé\n')
    got = asked(prompts(), f'prompts:file={tmp_path}/prompts.txt')
    said = [bytes(v[m].astype(np.uint8).tolist()).decode() for v, m in zip(got.values, got.mask, strict=True)]
    assert said == ['cdé', 'ab', 'cdé', 'ab']
    one = asked(prompts(), 'prompts:text=too long a text')
    assert one.mask.all()
    assert bytes(one.values[0].astype(np.uint8).tolist()) == b'too long'


def test_classes_come_by_their_share_of_the_data():
    """Of sorted rows, nine of ten in class 0: any beginning of the samples has them so, within its standard error."""
    cond = np.sort(np.random.default_rng(0).choice(8, 2000, p=[0.9, 0.1, 0, 0, 0, 0, 0, 0])).astype(np.int32)
    source = BASE.source._replace(x=np.zeros((2000, 2), np.float32), cond=cond)
    first = asked(source, 'data', jnp.arange(400))
    assert abs(first.mean() - 0.1) < 4 * np.sqrt(0.09 / 400)
    same(np.bincount(asked(source, 'data', jnp.arange(2000)), minlength=8), np.bincount(cond, minlength=8))
    same(asked(source, 'data', jnp.arange(400, 800)), asked(source, 'data', jnp.arange(800))[400:])


def test_nothing_is_told_by_an_empty_mask():
    for source in (prompts(), newcomer.waveform(), newcomer.flow(), newcomer.text()):
        got = asked(source, 'nothing')
        assert not got.mask.any()
        assert jax.tree.map(np.shape, got) == jax.tree.map(lambda a: (4, *a.shape[1:]), source.cond)


def test_places_that_are_not_told_may_hold_anything():
    source = prompts()
    rows = Masked(np.where(source.cond.mask, source.cond.values, -7), source.cond.mask)
    conditions.check(source.condition, rows, 's')
    with pytest.raises(UserError, match='row 1 holds 256'):
        conditions.check(source.condition, rows._replace(values=np.where(rows.mask, 256, -7) * [[0], [1]]), 's')


@pytest.mark.parametrize(
    ('source', 'text', 'message'),
    [
        ('labels', 'label:value=8', "--cond: '8' is no class: there are 0 to 7"),
        ('labels', 'label:value=1.5', '--cond.value=1.5 must be of type int or str'),
        ('labels', 'label', '--cond: label: missing a required argument'),
        ('labels', 'prompts:text=a', '--cond=prompts: this model is told one of 8 classes: use label:value=.., row'),
        ('labels', 'row:index=64', '--cond=row: index=64, and mixture/n=64,seed=0 has the rows 0 to 63'),
        ('labels', 'row:index=-1', '--cond=row: index=-1, and'),
        ('labels', 'labels', "--cond.name='labels' is unknown; did you mean label?"),
        ('labels', 'nothing', '--cond=nothing: this run dropped no conditions: train one with --config.data.drop_cond'),
        (
            'labels',
            'label:value=3,condition=4',
            '--cond.condition of label is what this run has, and no spec can set it',
        ),
        ('audio', 'label:value=1', "--cond: '1' is not told; known: channel, loud"),
        ('audio', 'label:value=loud=1', "--cond: 'loud=1' does not say channel: the form is a=1+b=2"),
        ('audio', 'label:value=lou=1+channel=0', "--cond: 'lou' is not told; did you mean loud?"),
        ('audio', 'turn', '--cond=turn goes through the classes of one label, and this model is told one of 2 classes'),
        (
            'prompts',
            'label:value=a',
            '--cond=label: this model is told a text: use prompts:text=.., row:index=.., data',
        ),
        ('prompts', 'prompts', '--cond=prompts needs text=... or file=...'),
        ('prompts', 'prompts:file=/nowhere', '--cond=prompts: cannot read /nowhere'),
        (
            'waveform',
            'prompts:text=a',
            '--cond=prompts: this model is told values of shape (2,): use row:index=.., data',
        ),
        (
            'text',
            'prompts:text=a',
            '--cond=a: no text says what this model is told: take the condition of a row, --cond=row',
        ),
        ('latents', 'label:value=3', '--cond=label: this run trained an unconditional model: leave it out'),
    ],
)
def test_what_cannot_be_asked(source, text, message):
    known = {'labels': lambda: BASE.source, 'prompts': prompts}
    made = known[source]() if source in known else getattr(newcomer, source)()
    with pytest.raises(UserError) as error:
        asked(made, text, drops=False)
    assert str(error.value).startswith(message), str(error.value)
    assert '\n' not in str(error.value)
