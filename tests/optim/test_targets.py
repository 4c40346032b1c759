"""Target and teacher over a few steps, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax.optim import targets
from diffusion_jax.times import curricula
from diffusion_jax.types import Frozen

PARAMS = [{'w': jnp.float32(w)} for w in (1.0, 2.0, 4.0, 8.0, 16.0)]  # after 0, 1, 2, 3 and 4 steps
TEACHER = {'w': jnp.float32(-1.0)}


def run(freezing):
    """Frozen parameters after each step."""
    states, update = [freezing.init(PARAMS[0], TEACHER)], jax.jit(freezing.update)
    for k in range(1, 5):
        states.append(update(states[-1], PARAMS[k], jnp.int32(k)))
    return states


def test_fixed_changes_nothing():
    assert all(s == Frozen(None, TEACHER) for s in run(targets.fixed()))


def test_the_target_follows_with_the_decay_of_the_step_just_done():
    states = run(targets.moving_target(lambda step: jnp.array([0.5, 0.25, 1.0, 0.0])[step]))
    np.testing.assert_allclose([s.target['w'] for s in states], [1, 1.5, 0.25 * 1.5 + 0.75 * 4, 3.375, 16])
    assert all(s.teacher['w'] == -1 for s in states)


def test_the_student_becomes_the_teacher_when_the_number_of_steps_changes():
    states = run(targets.staged_teacher(curricula.doubling(steps=4, s_0=1, s_1=2)))  # changes after 2 steps
    assert [float(s.teacher['w']) for s in states] == [-1, -1, 4, 4, 4]
    assert states[-1].target is None
