"""The U-Nets of DDPM on CIFAR-10 and of configs/mnist_ddpm.py, in JAX and in diffusers: time of a pass, of sampling.

See README.md. Both sides run in this process, on the same batch and cores, in turn.
"""

import argparse
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import torch  # pyright: ignore[reportMissingImports]
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel  # pyright: ignore[reportMissingImports]

from diffusion_jax import precond, schedules, times
from diffusion_jax.devices import cores, sharding
from diffusion_jax.nets import UNet, functional
from diffusion_jax.objectives import weights
from diffusion_jax.objectives.denoising import denoising
from diffusion_jax.optim import ema
from diffusion_jax.samplers.ancestral import ancestral, ddim
from diffusion_jax.samplers.loop import sample
from diffusion_jax.training.state import init_state
from diffusion_jax.training.step import make_train_step
from diffusion_jax.types import Batch
from experiments.benchmarks.timing import Row, interleaved, seconds, table

DDPM_STEPS = 20  # of the 1000, which are all alike: the table's figure is scaled by 50


class Size(NamedTuple):
    """A network's arguments on both sides, and its images."""

    theirs: dict[str, Any]
    ours: dict[str, Any]
    shape: tuple[int, int, int]


_DDPM = {
    'downsample_padding': 0,
    'flip_sin_to_cos': False,
    'freq_shift': 1,
    'norm_eps': 1e-6,
    'attention_head_dim': None,
}
SIZES = {
    'cifar10': Size(  # google/ddpm-cifar10-32: 35,746,307 parameters
        {
            **_DDPM,
            'sample_size': 32,
            'block_out_channels': (128, 256, 256, 256),
            'layers_per_block': 2,
            'down_block_types': ('DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'),
            'up_block_types': ('UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'),
            'dropout': 0.1,
        },
        {},
        (32, 32, 3),
    ),
    'mnist': Size(  # configs/mnist_ddpm.py: 686,769 parameters
        {
            **_DDPM,
            'sample_size': 28,
            'in_channels': 1,
            'out_channels': 1,
            'block_out_channels': (16, 32, 64),
            'layers_per_block': 1,
            'down_block_types': ('DownBlock2D', 'DownBlock2D', 'AttnDownBlock2D'),
            'up_block_types': ('AttnUpBlock2D', 'UpBlock2D', 'UpBlock2D'),
            'norm_num_groups': 4,
            'dropout': 0.0,
        },
        {'channels': 16, 'multipliers': (1, 2, 4), 'blocks': 1, 'attention': (7,), 'dropout': 0.0, 'out_channels': 1},
        (28, 28, 1),
    ),
}


class Theirs:
    """diffusers' UNet2DModel, in channels_last, optionally through torch.compile."""

    def __init__(self, size: Size, batch: int, compiled: bool):
        model = UNet2DModel(**size.theirs)
        self.parameters = sum(p.numel() for p in model.parameters())
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.model = torch.compile(model) if compiled else model
        height, width, channels = size.shape
        self.x = torch.randn(batch, channels, height, width).to(memory_format=torch.channels_last)
        self.t = torch.linspace(1, 900, batch).long()
        self.optimiser = torch.optim.Adam(model.parameters(), 2e-4)
        self.noising = DDPMScheduler(num_train_timesteps=1000)
        self.compile_seconds = seconds(self.train) + seconds(self.forward)

    def forward(self):
        """One evaluation."""
        self.model.eval()
        with torch.inference_mode():
            return self.model(self.x, self.t).sample

    def train(self):
        """L_simple, backward, Adam."""
        self.model.train()
        eps, t = torch.randn_like(self.x), torch.randint(0, 1000, (len(self.x),))
        self.optimiser.zero_grad()
        noisy = self.noising.add_noise(self.x, eps, t)  # pyright: ignore[reportArgumentType]
        torch.nn.functional.mse_loss(self.model(noisy, t).sample, eps).backward()
        self.optimiser.step()

    def _sample(self, scheduler, steps):
        self.model.eval()
        x = self.x
        with torch.inference_mode():
            for t in scheduler.timesteps[:steps]:
                x = scheduler.step(self.model(x, t).sample, t, x).prev_sample
        return x

    def ddim(self):
        """50 steps of DDIM, eta = 0."""
        scheduler = DDIMScheduler(num_train_timesteps=1000, clip_sample=False, set_alpha_to_one=True)
        scheduler.set_timesteps(50)
        return self._sample(scheduler, 50)

    def ddpm(self):
        """The first `DDPM_STEPS` of 1000 ancestral steps."""
        scheduler = DDPMScheduler(num_train_timesteps=1000, clip_sample=False)
        scheduler.set_timesteps(1000)
        return self._sample(scheduler, DDPM_STEPS)


class Ours:
    """The same through this package's own train step, samplers and loop, over the cores as `train` takes them."""

    def __init__(self, size: Size, batch: int):
        init, apply = functional(UNet(**size.ours))
        mesh = sharding.make_mesh()
        schedule = schedules.DiscreteVP(schedules.linear_betas())
        model = precond.denoiser(precond.eps(schedule), apply)
        loss = denoising(model, schedule, times.discrete_uniform(1000), weights.snr(schedule)).loss
        tx = optax.adam(2e-4)
        self.key = jax.random.key(0)
        rows = sharding.over_batch(mesh)
        self.x = jax.device_put(jax.random.normal(self.key, (batch, *size.shape)), rows)
        self.t = jax.device_put(jnp.linspace(1, 900, batch), rows)
        start = init_state(lambda key: init(key, jnp.zeros((1, *size.shape)), jnp.ones(1)), tx)
        create = jax.jit(start, out_shardings=sharding.replicated(mesh))
        self.init_seconds = seconds(lambda: jax.block_until_ready(create(self.key)))
        self.state = create(self.key)
        self.parameters = sum(a.size for a in jax.tree.leaves(self.state.params))
        step = jax.jit(make_train_step(loss, tx, ema.none()), donate_argnums=0)
        forward = jax.jit(lambda params, x, t: apply(params, x, t, None, None))
        data = Batch(self.x)
        self.compile_seconds = seconds(lambda: step.lower(self.state, self.key, data).compile())

        def train():
            self.state, metrics = step(self.state, self.key, data)
            return jax.block_until_ready((self.state, metrics))

        def sampled(sampler, grid):
            run = jax.jit(lambda params: sample(sampler(model(params, None, None), schedule), self.key, self.x, grid))
            return lambda: jax.block_until_ready(run(self.state.params))

        self.train = train
        self.forward = lambda: jax.block_until_ready(forward(self.state.params, self.x, self.t))
        self.ddim = sampled(ddim, times.uniform(50))
        self.ddpm = sampled(ancestral, times.uniform(1000)[: DDPM_STEPS + 1])


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--net', choices=SIZES, default='cifar10')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--threads', type=int, default=2, help='of torch; pin the process for JAX, see README.md')
    parser.add_argument('--reps', type=int, default=5, help='repetitions of forward and train step')
    parser.add_argument('--sampling_reps', type=int, default=2)
    parser.add_argument('--torch_compile', action='store_true')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cores.take(args.batch)
    size = SIZES[args.net]
    theirs, ours = Theirs(size, args.batch, args.torch_compile), Ours(size, args.batch)
    rows = [
        Row('train step and forward, compilation or first call', [theirs.compile_seconds], [ours.compile_seconds]),
        interleaved('forward', theirs.forward, ours.forward, args.reps),
        interleaved('train step', theirs.train, ours.train, args.reps),
        interleaved(
            f'1000 DDPM steps (timed: {DDPM_STEPS}, times {1000 // DDPM_STEPS})',
            theirs.ddpm,
            ours.ddpm,
            args.sampling_reps,
            1000 / DDPM_STEPS,
        ),
        interleaved('50 DDIM steps', theirs.ddim, ours.ddim, args.sampling_reps),
    ]
    print(f'{args.net}: {theirs.parameters:,} parameters of theirs, {ours.parameters:,} of ours.')
    over = f'Batch {args.batch} over {jax.device_count()} devices'
    print(f'{over}; our init besides, compiled and run: {ours.init_seconds:.1f} s.')
    print(table(rows, 'channels_last, ' + ('torch.compile' if args.torch_compile else 'eager')))


if __name__ == '__main__':
    main()
