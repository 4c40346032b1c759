"""All sequences of few symbols: closed forms of masked diffusion in float64 NumPy, without a line of the package."""

import itertools
from math import factorial

import numpy as np


def sequences(k, length):
    """All of them, [k^L, L]."""
    return np.array(list(itertools.product(range(k), repeat=length)))


def masks(length):
    """All 2^L, True for hidden."""
    return np.array(list(itertools.product((False, True), repeat=length)))


def joint(initial, transition, length):
    """The probability of each of `sequences`."""
    x = sequences(len(initial), length)
    return initial[x[:, 0]] * np.prod([transition[a, b] for a, b in zip(x.T[:-1], x.T[1:], strict=True)], axis=0)


def conditional(p, k, length, x_t):
    """P(x_i | the tokens of x_t beside i), [L, k], by summing over all sequences; k is the mask."""
    x = sequences(k, length)
    out = np.zeros((length, k))
    for i in range(length):
        agrees = np.all([(x[:, j] == x_t[j]) | (x_t[j] == k) | (j == i) for j in range(length)], axis=0)
        out[i] = np.bincount(x[:, i], p * agrees, k)
    return out / out.sum(1, keepdims=True)


def bound(log_p, x_0, k):
    """The exact ELBO of one sequence in nats, by the number of masks: int u^(m-1) (1-u)^(L-m) du is a beta function."""
    n, total = len(x_0), 0.0
    for hidden in masks(n):
        m = hidden.sum()
        if m:
            nats = -log_p(np.where(hidden, k, x_0))[hidden, x_0[hidden]].sum()
            total += factorial(m - 1) * factorial(n - m) / factorial(n) * nats
    return total


def discrete_bound(log_p, x_0, k, sigmas):
    """The sum of KLs of the D3PM with these mask probabilities, 0 = sigmas[0] < .. < sigmas[T] = 1, in nats.

    Every posterior by Bayes' rule from transition matrices over the k tokens and the mask.
    """

    def matrix(stay):
        m = np.eye(k + 1) * stay
        m[:, k] += 1 - stay
        return m

    n, total = len(x_0), 0.0
    states = [np.where(hidden, k, x_0) for hidden in masks(n)]
    predicted = [np.exp(log_p(x_t)) for x_t in states]
    for s, t in itertools.pairwise(sigmas):
        to_s, to_t, whole = matrix(1 - s), matrix((1 - t) / (1 - s)), matrix(1 - t)
        for x_t, p in zip(states, predicted, strict=True):
            weight = np.prod(whole[x_0, x_t])
            for i in np.flatnonzero((x_t == k) & (weight > 0)):
                q = to_s[:k] * to_t[:, x_t[i]] / whole[:k, x_t[i], None]  # [x_0, x_s]
                model = p[i] @ q
                seen = q[x_0[i]] > 0
                total += weight * (q[x_0[i]][seen] * np.log(q[x_0[i]][seen] / model[seen])).sum()
    return total
