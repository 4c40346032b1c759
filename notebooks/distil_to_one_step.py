# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Distil to one step
#
# A consistency model (Song et al. 2023, arXiv 2303.01469) learns where the ODE ends from any point of its path, so
# that one evaluation does what a solver does in many. Here the teacher is exact, eight Gaussians on a ring: what is
# lost is the student's own. In Colab, first `!pip install git+URL` of the repo.
#
# ## Teacher and student
#
# The student f(x_t, t) is a network with coefficients that make it the identity at the least noise. It shall say the
# same at t and at the next lower time s of a grid of 18, where x_s is one Heun step of the teacher from x_t. What is
# compared with is a slow average of the student itself.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from diffusion_jax import nets, objectives, precond, samplers, schedules, times
from diffusion_jax.data import mixture
from diffusion_jax.objectives import distances, pair_weights
from diffusion_jax.times import curricula
from diffusion_jax.types import Batch, Frozen

STEPS = 4000
schedule = schedules.VE()
ring = mixture.ring(k=8, radius=0.8, std=0.05)
teacher = mixture.denoiser(ring, schedule)

init, apply = nets.functional(nets.MLP(width=128, depth=3))
student = precond.denoiser(precond.consistency(sigma_data=0.57), apply)  # 0.57: the std of the ring's coordinates
loss = objectives.consistency(
    student,
    schedule,
    times.uniform_pairs(curricula.constant(18)),
    distances.l2(),
    pair_weights.uniform(),
    objectives.teacher_step(lambda params, cond, key: teacher, schedule, samplers.heun_step),
).loss
tx = optax.chain(optax.clip_by_global_norm(1.0), optax.radam(optax.linear_schedule(3e-3, 0, STEPS)))


def train_step(state, step):
    """RAdam on fresh points; the target follows with decay 0.95, the average that is sampled from with 0.995."""
    params, target, average, moments = state
    key, key_data = jax.random.split(jax.random.fold_in(jax.random.key(1), step))
    batch = Batch(mixture.sample(ring, key_data, 256))
    (value, _), grads = jax.value_and_grad(loss, has_aux=True)(params, Frozen(target), key, batch, step)
    updates, moments = tx.update(grads, moments, params)
    params = optax.apply_updates(params, updates)
    target = optax.incremental_update(params, target, 0.05)
    return (params, target, optax.incremental_update(params, average, 0.005), moments), value


params = jax.jit(init)(jax.random.key(0), jnp.zeros((1, 2)), jnp.zeros(1))
state, losses = jax.jit(lambda s: jax.lax.scan(train_step, s, jnp.arange(STEPS)))(
    (params, params, params, tx.init(params))
)
print(f'loss {losses[:50].mean():.4f} -> {losses[-50:].mean():.4f}')

# %% [markdown]
# ## From the same noise
#
# One evaluation of the student, two (the second from fresh noise at a middle level), and DDIM on the exact teacher.
# What is measured is the distance W2 to fresh data, over the best assignment of 300 points to 300, in three
# repetitions; two sets of data have one as well, the floor.

# %%
consistency = student(state[2], None, None)
M, REPEATS = 300, 3
x_T = samplers.prior(jax.random.key(2), schedule, (M * REPEATS, 2), t_max=80.0)
reference = np.asarray(mixture.sample(ring, jax.random.key(3), M * REPEATS))


def w2(x):
    """Mean and standard error over the repetitions."""
    values = []
    for a, b in zip(np.split(np.asarray(x), REPEATS), np.split(reference, REPEATS), strict=True):
        cost = cdist(a, b, 'sqeuclidean')
        values.append(np.sqrt(cost[linear_sum_assignment(cost)].mean()))
    return np.mean(values), np.std(values, ddof=1) / np.sqrt(REPEATS)


key = jax.random.key(4)
drawn = {
    ('DDIM', n): samplers.sample(samplers.ddim(teacher, schedule), key, x_T, times.multistep(n))
    for n in (1, 2, 4, 8, 16)
}
drawn |= {
    ('CD', n): samplers.sample(samplers.renoise(consistency, schedule), key, x_T, times.multistep(n)) for n in (1, 2)
}
results = {name: w2(x) for name, x in drawn.items()}
floor = w2(mixture.sample(ring, jax.random.key(5), M * REPEATS))
ends = samplers.sample(samplers.heun(teacher, schedule), key, x_T, times.karras(100))
from_map = float(jnp.linalg.norm(drawn['CD', 1] - ends, axis=1).mean())
for (name, n), (mean, error) in results.items():
    print(f'{name:4s} {n:2d} evaluations: W2 {mean:.3f} ± {error:.3f}')
print(f'data against data: {floor[0]:.3f} ± {floor[1]:.3f}; one step is {from_map:.3f} off the end of the ODE')

# %%
plt.rcParams.update({'font.size': 15, 'axes.spines.top': False, 'axes.spines.right': False, 'figure.dpi': 100})
figure, (left, *rest) = plt.subplots(1, 4, figsize=(13, 4), width_ratios=[1.8, 1, 1, 1], layout='constrained')
for name, marker in (('DDIM', 's-'), ('CD', 'o-')):
    n, values = zip(*[(n, v) for (kind, n), v in results.items() if kind == name], strict=True)
    left.errorbar(
        n, *np.transpose(values), fmt=marker, ms=9, lw=2, capsize=5, label={'CD': 'consistency model'}.get(name, name)
    )
left.axhline(floor[0], color='k', ls='--', label='data against data')
left.set(
    xscale='log',
    yscale='log',
    xlabel='network evaluations',
    ylabel='$W_2$ to the data (± s.e.)',
    title='One noise, two ways',
)
left.set_xticks([1, 2, 4, 8, 16], ['1', '2', '4', '8', '16'])
left.set_xticks([], minor=True)
left.legend(frameon=False, fontsize=12)
shown = {'DDIM, 2': ('DDIM', 2), 'consistency, 1': ('CD', 1), 'consistency, 2': ('CD', 2)}
for axes, (title, name) in zip(rest, shown.items(), strict=True):
    axes.scatter(*reference.T, s=5, color='0.75')
    axes.scatter(*np.asarray(drawn[name]).T, s=5, color='C0' if name[0] == 'DDIM' else 'C1')
    axes.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), aspect='equal', xlabel='$x_1$', title=title)
rest[0].set(ylabel='$x_2$')
plt.show()

# %% [markdown]
# Grey is data. What this notebook claims, as a test that it runs:

# %%
assert results['CD', 1][0] < results['DDIM', 1][0] / 4
assert results['CD', 2][0] < results['DDIM', 2][0] / 3
assert from_map < 0.15  # of a ring whose radius is 0.8
