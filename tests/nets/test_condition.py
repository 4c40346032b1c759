"""Conditions of every kind, through `Embedding` and the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion_jax.nets import MLP, UNet
from diffusion_jax.nets.condition import Embedding
from diffusion_jax.types import Masked, Part
from tests.nets.cases import built, randomised

B, F = 3, 8
C = jnp.linspace(0.5, 9.0, B)
RNG = np.random.default_rng(0)
MASK = np.array([[True, True, False, False], [True, False, True, True], [False] * 4])
WORDS = Masked(np.array([[3, 1, 0, 4], [2, 4, 1, 0], [0, 1, 2, 3]]), MASK)
VECTORS = Masked(RNG.standard_normal((B, 4, 5)).astype('float32'), MASK)
VECTOR = Masked(RNG.standard_normal((B, 5)).astype('float32'), np.array([True, False, True]))
IMAGE = Masked(RNG.standard_normal((B, 4, 6, 2)).astype('float32'), np.array([True, False, True]))
PARTS = {
    'kind': Part((), 3),
    'looks': Part((2,), 4),
    'words': Part((4,), 5, sequence=True),
    'sounds': Part((4, 5), sequence=True),
    'pose': Part((5,)),
    'sketch': Part((4, 6, 2)),
}
ROWS = {
    'kind': jnp.array([0, 3, 2]),
    'looks': jnp.array([[0, 1], [4, 4], [2, 0]]),
    'words': WORDS,
    'sounds': VECTORS,
    'pose': VECTOR,
    'sketch': IMAGE,
}


def embedding(condition, spatial=(4, 6), seed=1):
    """(cond -> Embedded, randomised params)."""
    module = Embedding(4, F, condition)
    params = randomised(jax.eval_shape(lambda: module.init(jax.random.key(0), C, None, spatial))['params'], seed)
    return (lambda cond, params=params: module.apply({'params': params}, C, cond, spatial)), params


def level(params):
    """The vector without any condition."""
    return Embedding(4, F).apply({'params': {k: params[k] for k in ('dense_1', 'dense_2')}}, C, None).vector


def affine(p, x):
    return x @ np.asarray(p['kernel']) + np.asarray(p['bias'])


def test_a_class_is_a_row_of_its_table_and_nothing_is_the_last():
    embed, params = embedding(Part((), 3))
    rows = jnp.array([2, 0, 3])
    table = params['classes']['embedding']
    assert table.shape == (4, F)
    np.testing.assert_allclose(embed(rows).vector - level(params), np.asarray(table)[rows], atol=1e-5)
    np.testing.assert_array_equal(embed(None).vector, embed(jnp.full(B, 3)).vector)
    assert embed(rows)[1:] == (None, None)


def test_attributes_are_the_sum_over_tables_of_their_own():
    embed, params = embedding({'looks': PARTS['looks']})
    one, two = (np.asarray(params[f'looks_{i}']['embedding']) for i in range(2))
    rows = np.array([[0, 1], [4, 4], [2, 0]])
    told = embed({'looks': rows}).vector - level(params)
    np.testing.assert_allclose(told, one[rows[:, 0]] + two[rows[:, 1]], atol=1e-5)
    np.testing.assert_array_equal(embed(None).vector, embed({'looks': jnp.full((B, 2), 4)}).vector)


def test_a_vector_goes_through_a_dense_layer_or_is_the_learned_nothing():
    embed, params = embedding(PARTS['pose'])
    expected = np.where(VECTOR.mask[:, None], affine(params['vector'], VECTOR.values), params['vector_nothing'])
    np.testing.assert_allclose(embed(VECTOR).vector - level(params), expected, atol=1e-5)


def test_tokens_have_positions_and_their_mean_is_in_the_vector():
    embed, params = embedding(PARTS['words'])
    out = embed(WORDS)
    table, positions = (np.asarray(p) for p in (params['sequence']['embedding'], params['sequence_positions']))
    tokens = np.zeros((B, 4, F))
    for b in range(B):
        for i in range(4):
            tokens[b, i] = table[WORDS.values[b, i]] + positions[i] if MASK[b, i] else 0
    np.testing.assert_allclose(out.tokens.values, tokens, atol=1e-6)
    np.testing.assert_array_equal(out.tokens.mask, MASK)
    mean = np.stack([tokens[0].sum(0) / 2, tokens[1].sum(0) / 3, np.zeros(F)])
    np.testing.assert_allclose(out.vector - level(params), affine(params['sequence_mean'], mean), atol=1e-5)


def test_sequences_follow_one_another_as_tokens():
    embed, params = embedding({k: PARTS[k] for k in ('sounds', 'words')})
    out = embed({'sounds': VECTORS, 'words': WORDS})
    assert out.tokens.values.shape == (B, 8, F)
    np.testing.assert_array_equal(out.tokens.mask, np.concatenate([MASK, MASK], axis=1))
    dense = affine(params['sounds'], VECTORS.values)
    np.testing.assert_allclose(out.tokens.values[:, :4], np.where(MASK[..., None], dense, 0), atol=1e-5)


def test_an_image_is_handed_through_with_its_mask_as_a_channel():
    embed, params = embedding(PARTS['sketch'])
    out = embed(IMAGE)
    np.testing.assert_array_equal(out.image[..., :2], np.where(IMAGE.mask[:, None, None, None], IMAGE.values, 0))
    np.testing.assert_array_equal(out.image[..., 2], np.ones((B, 4, 6)) * IMAGE.mask[:, None, None])
    np.testing.assert_array_equal(out.vector, level(params))
    assert not embed(None).image.any()


def spoilt(row):
    """The same rows, with other values where the mask says that there are none."""
    mask = row.mask.reshape(row.mask.shape + (1,) * (row.values.ndim - row.mask.ndim))
    return Masked(np.where(mask, row.values, np.nan if row.values.dtype.kind == 'f' else 10**6), row.mask)


def test_what_is_masked_has_no_influence_on_values_or_gradients():
    embed, params = embedding(PARTS)
    bad = {k: row if k in ('kind', 'looks') else spoilt(row) for k, row in ROWS.items()}

    def loss(params, rows):
        out = embed(rows, params)
        return jnp.sum(out.vector**2) + jnp.sum(out.tokens.values**3) + jnp.sum(out.image)

    jax.tree.map(np.testing.assert_array_equal, embed(bad), embed(ROWS))
    good = jax.grad(loss)(params, ROWS)
    jax.tree.map(np.testing.assert_array_equal, jax.grad(loss)(params, bad), good)
    assert all(np.isfinite(g).all() and np.abs(g).max() > 1e-5 for g in jax.tree.leaves(good))


def test_every_part_is_seen_and_by_its_own_sample_alone():
    embed, _ = embedding(PARTS)
    out = embed(ROWS)
    moved = {k: jax.tree.map(lambda v: np.roll(v, 1, axis=0), row) for k, row in ROWS.items()}
    for name in PARTS:
        one = embed({**ROWS, name: moved[name]})
        change = jax.tree.map(lambda a, b: jnp.abs(1.0 * a - b).max(), one, out)
        assert max(jax.tree.leaves(change)) > 0.1, name
    rolled = embed(moved)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.roll(b, 1, axis=0)), rolled[1:], out[1:])


@pytest.mark.parametrize(
    ('condition', 'cond', 'message'),
    [
        (None, jnp.zeros(B, int), 'built without one: condition=None'),
        ({'kind': Part((), 3)}, jnp.zeros(B, int), 'built for'),
        ({'kind': Part((), 3)}, {'sort': jnp.zeros(B, int)}, "'sort'.*built for.*'kind'"),
        (Part((), 3), jnp.zeros(B + 1, int), r'shape \(3,\); got \(4,\)'),
        (Part((), 3), jnp.zeros(B), 'integers; got float32'),
        (Part((), 3), Masked(jnp.zeros(B, int), jnp.ones(B, bool)), 'an array of integers; got Masked'),
        ({'words': PARTS['words']}, {'words': WORDS.values}, r'condition words must be Masked\(values, mask\)'),
        (PARTS['words'], WORDS._replace(mask=WORDS.mask[:, 0]), r'shape \(3, 4\); got \(3,\)'),
        (Part((2, 2), 3), None, r'classes are of shape \[\] or \[k\]'),
        (Part((4,), sequence=True), None, r'of shape \[L, D\]'),
        (Part((4, 5, 2)), None, r'\(4, 5, 2\) cannot be further channels of an x of 4x6'),
    ],
)
def test_conditions_that_do_not_fit_are_one_line(condition, cond, message):
    with pytest.raises(ValueError, match=message) as error:
        embedding(condition)[0](cond)
    assert '\n' not in str(error.value)


def test_an_mlp_sees_all_but_images():
    parts, rows = ({k: v for k, v in tree.items() if k != 'sketch'} for tree in (PARTS, ROWS))
    apply, params, x, c = built(MLP(width=16, depth=1, condition=parts), (B, 2))
    out = apply(params, x, c, rows, None)
    for name, row in rows.items():
        other = {**rows, name: jax.tree.map(lambda v: np.roll(v, 1, axis=0), row)}
        assert jnp.abs(apply(params, x, c, other, None) - out).max() > 0.01, name
    with pytest.raises(ValueError, match='cannot be further channels of a point'):
        built(MLP(width=16, condition=PARTS), (B, 2))


def test_a_u_net_sees_an_image_beside_x():
    apply, params, x, c = built(UNet(8, (1,), 1, (), condition=PARTS['sketch']), (B, 4, 6, 1))
    assert params['conv_in']['kernel'].shape == (3, 3, 1 + 2 + 1, 8)
    bare, _, _, _ = built(UNet(8, (1,), 1, ()), (B, 4, 6, 4))
    mask = np.ones((B, 4, 6, 1)) * IMAGE.mask[:, None, None, None]
    by_hand = np.concatenate([x, IMAGE.values * mask, mask], axis=-1, dtype=np.float32)
    expected = bare(params, by_hand, c, None, None)
    np.testing.assert_allclose(apply(params, x, c, IMAGE, None), expected, rtol=1e-5, atol=1e-5)
