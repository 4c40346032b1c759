"""Which model of a run an objective trains: said beside its factory, read by who builds the network for it."""

from collections.abc import Callable
from typing import Any, TypeVar

from diffusion_jax.types import Models

F = TypeVar('F', bound=Callable[..., Any])


def trains(model: str) -> Callable[[F], F]:
    """Marks a factory of objectives with the field of `types.Models` that it trains."""
    if model not in Models._fields:
        raise ValueError(f'a run can learn {", ".join(Models._fields)}; got {model!r}')

    def mark(factory: F) -> F:
        vars(factory)['trains'] = model
        return factory

    return mark
