"""Results that carry their protocol, and tables that refuse to mix protocols."""

import dataclasses
import json
from collections.abc import Mapping

from diffusion_jax.errors import UserError
from diffusion_jax.evaluation.features import Features


class ProtocolError(UserError):
    """Results that cannot be set side by side, or a file that is not a result. One line."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """All that a distance depends on beside the model and its sampler. Equal protocols make numbers comparable."""

    features: str
    features_hash: str
    n: int  # generated samples
    reference: str  # data set, version and split, as `Source.name`
    reference_size: int  # images of it; 0 of a file of statistics that holds none
    seeds: tuple[int, ...]
    levels: int | None  # quantisation levels of the reference; None for continuous data
    rounding: str = '256 levels'  # what samples are rounded to first; 'none' for continuous data
    resize: str = 'none'  # how images came to the size of the feature network
    rows: int | None = None  # samples, and reference rows, that kernel and neighbour metrics compare; None: no limit
    kernel_subsets: str = 'none'  # number and size
    conditions: str = 'none'  # what was asked for, of a conditional model


@dataclasses.dataclass(frozen=True)
class Result:
    """Named values under one protocol."""

    values: dict[str, float]
    protocol: Protocol


def frechet_name(features: Features) -> str:
    """What a Frechet distance is called in a report: FID with the published weights of Inception alone."""
    return 'FID' if features.inception else f'Frechet distance ({features.name})'


def spatial_name(features: Features) -> str:
    """The same of the spatial features: sFID, or not."""
    return 'sFID' if features.inception else f'spatial Frechet distance ({features.name})'


def kernel_name(features: Features) -> str:
    """What a kernel distance is called in a report: KID, or not."""
    return 'KID' if features.inception else f'kernel distance ({features.name})'


def class_name(features: Features) -> str:
    """What the Inception Score's formula is called in a report: the Inception Score, or not."""
    return 'Inception Score' if features.inception else f'class score ({features.name})'


def to_json(result: Result) -> str:
    """The result as JSON text."""
    return json.dumps(dataclasses.asdict(result), indent=2)


def from_json(text: str) -> Result:
    """The result that `to_json` wrote.

    Raises:
        ProtocolError: if the text is anything else.
    """
    try:
        content = json.loads(text)
        protocol = content['protocol']
        return Result(dict(content['values']), Protocol(**{**protocol, 'seeds': tuple(protocol['seeds'])}))
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f'not a saved result: {error}') from error


def check_comparable(results: Mapping[str, Result]) -> None:
    """Refuses results of different protocols.

    Raises:
        ProtocolError: naming the first result that differs from the first, and the fields.
    """
    (first_name, first), *others = results.items()
    for name, other in others:
        differing = [
            f'{field.name} ({getattr(first.protocol, field.name)} / {getattr(other.protocol, field.name)})'
            for field in dataclasses.fields(Protocol)
            if getattr(first.protocol, field.name) != getattr(other.protocol, field.name)
        ]
        if differing:
            raise ProtocolError(
                f"'{first_name}' and '{name}' cannot be compared: they differ in {', '.join(differing)}"
            )


def markdown_table(results: Mapping[str, Result]) -> str:
    """One row for each named result, one column for each value, and the protocol they share below.

    Raises:
        ProtocolError: if there are no results, or they are not comparable.
    """
    if not results:
        raise ProtocolError('there are no results to show')
    check_comparable(results)
    columns = list(dict.fromkeys(key for result in results.values() for key in result.values))
    lines = ['| | ' + ' | '.join(columns) + ' |', '| --- ' * (len(columns) + 1) + '|']
    for name, result in results.items():
        cells = [f'{result.values[key]:.4g}' if key in result.values else '' for key in columns]
        lines.append(f'| {name} | ' + ' | '.join(cells) + ' |')
    protocol = dataclasses.asdict(next(iter(results.values())).protocol)
    return '\n'.join([*lines, '', 'Protocol: ' + ', '.join(f'{k} = {v}' for k, v in protocol.items()) + '.', ''])
