"""Which model of a run an objective trains: said beside its factory, read by who builds the network for it."""

from collections.abc import Callable
from typing import Any, TypeVar

from diffusion_jax.types import Models

F = TypeVar('F', bound=Callable[..., Any])


def trains(model: str, taught_by: str = 'denoise') -> Callable[[F], F]:
    """Marks a factory of objectives with the fields of `types.Models` that it trains, and that its teacher is."""
    for field in (model, taught_by):
        if field not in Models._fields:
            raise ValueError(f'a run can learn {", ".join(Models._fields)}; got {field!r}')

    def mark(factory: F) -> F:
        vars(factory)['trains'], vars(factory)['taught_by'] = model, taught_by
        return factory

    return mark
