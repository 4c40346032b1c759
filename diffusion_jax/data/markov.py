"""Markov chains of symbols: the exact denoiser of masked sequences, likelihood and entropy. Data for tests and demos.

x is `[B, L, 1]`, integers below K; the number K itself is the mask.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffusion_jax.ranges import whole, within
from diffusion_jax.types import Categorical, Key


class MarkovChain(NamedTuple):
    """P(first) = `initial`, P(next = j | i) = `transition[i, j]`, each row summing to one."""

    initial: Float[Array, ' k']
    transition: Float[Array, 'k k']


def cyclic(k: int = 4, stay: float = 0.3, jump: float = 0.1) -> MarkovChain:
    """A ring of k symbols: the next is any with probability `jump`, else the same with `stay`, else its successor.

    The first is uniform, and so is every other. k is in [2, inf), stay and jump are in [0, 1]; anything else is a
    ValueError.
    """
    whole('[2, inf)', k=k)
    within('[0, 1]', stay=stay, jump=jump)
    same = jnp.eye(k)
    moved = stay * same + (1 - stay) * jnp.roll(same, 1, axis=1)
    return MarkovChain(jnp.full(k, 1 / k), (1 - jump) * moved + jump / k)


def sample(chain: MarkovChain, key: Key, n: int, length: int) -> Int[Array, 'n l 1']:
    """`n` sequences."""
    key_first, key_rest = jax.random.split(key)
    first = jax.random.categorical(key_first, jnp.log(chain.initial), shape=(n,))

    def step(x, key):
        x = jax.random.categorical(key, jnp.log(chain.transition)[x])
        return x, x

    _, rest = jax.lax.scan(step, first, jax.random.split(key_rest, length - 1))
    return jnp.concatenate([first[None], rest]).T[..., None]


def log_prob(chain: MarkovChain, x: Int[Array, 'b l 1']) -> Float[Array, ' b']:
    """Log-probability of each sequence, in nats."""
    x = x[..., 0]
    return jnp.log(chain.initial)[x[:, 0]] + jnp.log(chain.transition)[x[:, :-1], x[:, 1:]].sum(1)


def entropy(chain: MarkovChain, length: int) -> Float[Array, '']:
    """Of a sequence, in nats: what no model's mean negative log-likelihood can be below."""
    total, p = jax.scipy.special.entr(chain.initial).sum(), chain.initial
    for _ in range(length - 1):
        total += p @ jax.scipy.special.entr(chain.transition).sum(1)
        p = p @ chain.transition
    return total


def categorical(chain: MarkovChain) -> Categorical:
    """The exact log p(x_0^i | all other tokens that are there) by forward-backward, at masks and tokens alike.

    It does not depend on t: which places are masked says nothing of what was there.
    """
    T = chain.transition

    def forward(before, seen):
        after = before * seen
        return _normal(after @ T), before

    def backward(after, seen):
        return _normal((after * seen) @ T.T), after

    def posterior(x, t):
        del t
        k = len(chain.initial)
        there = (x < k).swapaxes(0, 1)  # [L, B, 1]
        seen = jnp.where(there, jax.nn.one_hot(x[..., 0], k).swapaxes(0, 1), 1)
        start = jnp.broadcast_to(chain.initial, seen.shape[1:])
        _, left = jax.lax.scan(forward, start, seen)
        _, right = jax.lax.scan(backward, jnp.ones_like(start), seen, reverse=True)
        return jnp.log(_normal(left * right)).swapaxes(0, 1)[:, :, None]

    return posterior


def _normal(p: Float[Array, '*b k']) -> Float[Array, '*b k']:
    return p / p.sum(-1, keepdims=True)
