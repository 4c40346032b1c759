"""What the sampling loop costs beside the network: DDIM on a tiny MLP, diffusers' Python loop against our scan."""

import argparse

import jax
import jax.numpy as jnp
import torch  # pyright: ignore[reportMissingImports]
from diffusers import DDIMScheduler  # pyright: ignore[reportMissingImports]

from diffusion_jax import precond, schedules, times
from diffusion_jax.nets import MLP, functional
from diffusion_jax.samplers.ancestral import ddim
from diffusion_jax.samplers.loop import sample
from experiments.benchmarks.timing import Row, interleaved, table

WIDTH = 16


class TorchMLP(torch.nn.Module):
    """One residual block with a time input: no more layers than ours has."""

    def __init__(self):
        super().__init__()
        self.inner, self.time = torch.nn.Linear(2, WIDTH), torch.nn.Linear(1, WIDTH)
        self.hidden, self.outer = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, 2)

    def forward(self, x, t):
        """`x [B, 2]`, one time -> `[B, 2]`."""
        h = self.inner(x) + self.time(t.reshape(1, 1) / 1000.0)
        return self.outer(torch.nn.functional.silu(self.hidden(torch.nn.functional.silu(h))))


def _minus(what, whole, part):
    """The time of the whole without one of its parts, repetition by repetition."""
    return Row(what, *([a - b for a, b in zip(x, y, strict=True)] for x, y in zip(whole[1:], part[1:], strict=True)))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--reps', type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)  # more threads only slow down a network of this size
    net, x = TorchMLP().eval(), torch.randn(4, 2)
    init, apply = functional(MLP(width=WIDTH, depth=1))
    z = jnp.asarray(x.numpy())
    schedule = schedules.DiscreteVP(schedules.linear_betas())
    params = init(jax.random.key(0), z, jnp.ones(4))
    model = precond.denoiser(precond.eps(schedule), apply)

    def theirs(steps):
        scheduler = DDIMScheduler(num_train_timesteps=1000, clip_sample=False, set_alpha_to_one=True)
        scheduler.set_timesteps(steps)

        def run():
            y = x
            with torch.inference_mode():
                for t in scheduler.timesteps:
                    y = scheduler.step(net(y, t), int(t), y).prev_sample  # pyright: ignore[reportAttributeAccessIssue]

        return run

    def theirs_alone(steps):
        t = torch.tensor(500)

        def run():
            with torch.inference_mode():
                for _ in range(steps):
                    net(x, t)

        return run

    def ours(steps):
        grid = times.uniform(steps)
        run = jax.jit(lambda p, z: sample(ddim(model(p, None, None), schedule), jax.random.key(0), z, grid))
        return lambda: jax.block_until_ready(run(params, z))

    def ours_alone(steps):
        grid = 1000 * jnp.asarray(times.uniform(steps)[:-1], jnp.float32)

        def evaluate(params, y, t):
            return apply(params, y, jnp.full(y.shape[:1], t), None, None)

        run = jax.jit(lambda p, z: jax.lax.scan(lambda y, t: (evaluate(p, y, t), None), z, grid)[0])
        return lambda: jax.block_until_ready(run(params, z))

    rows = []
    for steps in (50, 1000):
        whole = interleaved(f'{steps} DDIM steps', theirs(steps), ours(steps), args.reps)
        network = interleaved(
            f'of which {steps} network evaluations', theirs_alone(steps), ours_alone(steps), args.reps
        )
        rows += [whole, network, _minus(f'of which the loop, {steps} steps', whole, network)]
    print(table(rows, 'one thread, eager'))


if __name__ == '__main__':
    main()
