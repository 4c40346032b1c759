"""Bugs in NCSN++ and what of EDM's and score_sde's networks and preconditionings goes with it."""

from tests.planted.mutant import Mutant

# fmt: off
FIR, UNET, CONDITION, EDM = 'nets/fir.py', 'nets/unet.py', 'nets/condition.py', 'interop/edm_unet.py'
TEST = 'tests/conversion/test_edm.py::'
ALL = TEST + 'test_outputs_gradients_and_the_way_back'
SCIPY = 'tests/nets/test_fir.py::test_against_scipy'
VE, VP = TEST + 'test_ten_steps_of_heun_under_the_preconditioning_of_ve', TEST + 'test_the_preconditioning_of_vp'

MUTANTS = tuple(Mutant(*row) for row in [
    ('ncsnpp: the filter lies a pixel on', FIR, 'x = _filtered(x, axis, pad=1, stride=2)',
     'x = _filtered(jnp.roll(x, -1, axis), axis, pad=1, stride=2)', SCIPY),
    ('ncsnpp: a pixel and its neighbours in the wrong order', FIR, '[(before + 3 * x) / 4, (3 * x + after) / 4]',
     '[(3 * x + after) / 4, (before + 3 * x) / 4]', SCIPY),
    ('ncsnpp: a blur that lost its edge', FIR, 'pad=2, stride=1', 'pad=1, stride=1', SCIPY),
    ('ncsnpp: cosines first', CONDITION, '[jnp.sin(phase), jnp.cos(phase)]', '[jnp.cos(phase), jnp.sin(phase)]',
     f'{ALL}[NCSN++]'),
    ('ncsnpp: frequencies learn', CONDITION, 'jax.lax.stop_gradient(f)', 'f', f'{ALL}[NCSN++]'),
    ('ncsnpp: classes as they are', CONDITION, 'math.sqrt(num) * table(row)', 'table(row)',
     f'{ALL}[classes_among_sinusoids]'),
    ('ncsnpp: the residual encoder forgets', UNET, 'return h, h\n', 'return h, aux\n', f'{ALL}[NCSN++]'),
    ('ncsnpp: its sum is not scaled', UNET, 'h = scaled(h + conv((3,)', 'h = (lambda y, _: y)(h + conv((3,)',
     f'{ALL}[NCSN++]'),
    ('ncsnpp: skips by means', UNET, 'aux = self._filter(downsample)(aux, strides)', 'aux = downsample(aux, strides)',
     f'{ALL}[skips_of_both_kinds]'),
    ('ncsnpp: only the last level answers', UNET, 'out = here if out is None else here + larger(out)', 'out = here',
     f'{ALL}[skips_of_both_kinds]'),
    ('ncsnpp: score told ln sigma', 'precond.py', 'jnp.log(t / 2)', 'jnp.log(t)', VE),
    ('ncsnpp: its sign', 'precond.py', 'c_skip=_one, c_out=lambda t: t, c_in=_one',
     'c_skip=_one, c_out=lambda t: -t, c_in=_one',
     VE),
    ('ncsnpp: VP told a step less', 'precond.py', 'c_noise=lambda t: scale * t)', 'c_noise=lambda t: scale * t - 1)',
     VP),
    ('ncsnpp: the variance that nobody trained', EDM, 'inner[name][: len(inner[name]) // 2]',
     'inner[name][len(inner[name]) // 2 :]', TEST + 'test_the_preconditioning_of_iddpm_is_known_by_its_levels'),
    ('ncsnpp: any filter', EDM, 'inner[n].shape == f.shape and np.allclose(inner[n], f)', 'inner[n].shape == f.shape',
     TEST + 'test_what_is_no_network_of_edm_is_refused'),
])
# fmt: on
