"""What a sampling run asks of a conditional model: from a spec to a condition for every sample's index."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffusion_jax.builders.experiment import Experiment
from diffusion_jax.builders.specs import make
from diffusion_jax.data.conditions import is_class
from diffusion_jax.data.sources import Source, rows_of
from diffusion_jax.errors import UserError, one_line
from diffusion_jax.home import expanded
from diffusion_jax.types import Asked, Cond, Condition

_WHERE = '--cond'
_ROWS = 2**14  # of the data, whose conditions are asked for in turn


def build_asked(experiment: Experiment, spec: Mapping[str, Any]) -> Asked:
    """Conditions by the sample's index, from a config's `sample.cond`; None for all, of an unconditional model.

    Raises:
        UserError: as `make`; for a condition that the model does not have.
    """
    condition = experiment.source.condition
    if condition is None:
        if spec['name'] not in ('data', 'nothing'):
            raise UserError(f'{_WHERE}={spec["name"]}: this run trained an unconditional model: leave it out')
        return lambda index: None
    given = {'source': experiment.source, 'condition': condition, 'drops_cond': experiment.drops_cond}
    rows = make(_ASKED, spec, given, _WHERE)

    def asked(index):
        return jax.tree.map(lambda a: jnp.asarray(a)[index % len(a)], rows)

    return asked


def read_row(condition: Condition, text: str, where: str) -> Cond:
    """The one row that a text says.

    Raises:
        UserError: if it says none.
    """
    if condition.read is None:
        raise UserError(
            f'{where}={text}: no text says what this model is told: take the condition of a row, --cond=row'
        )
    try:
        return condition.read(text)
    except UserError as error:
        raise UserError(f'{where}: {error}') from error


def _data(source: Source) -> Cond:
    """Those of rows of the data in a random order that is always the same: classes come by their share of it."""
    n = len(source.x)
    return rows_of(source, np.random.default_rng(n).permutation(n)[:_ROWS])


def _turn(condition: Condition) -> Cond:
    """Sample i is of class i % n."""
    return np.arange(_only_class(condition), dtype=np.int32)


def _label(condition: Condition, value: int | str) -> Cond:
    """One class, by its number or name; of several attributes `a=1+b=2`."""
    if any(part.num is None or part.sequence for part in jax.tree.leaves(condition.parts)):
        raise UserError(f'{_WHERE}=label: this model is told {_told(condition)}: {_fits(condition)}')
    return _stacked([read_row(condition, str(value), _WHERE)])


def _prompts(condition: Condition, text: str | None = None, file: str | None = None) -> Cond:
    """A text for every sample, or one for each line of a file, in turn."""
    if not any(part.sequence and part.num is not None for part in jax.tree.leaves(condition.parts)):
        raise UserError(f'{_WHERE}=prompts: this model is told {_told(condition)}: {_fits(condition)}')
    if (text is None) == (file is None):
        raise UserError(f'{_WHERE}=prompts needs text=... or file=...')
    try:
        lines = [text] if file is None else expanded(file).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{_WHERE}=prompts: cannot read {file}: {one_line(error)}') from error
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f'{_WHERE}=prompts: there is no text')
    return _stacked([read_row(condition, line, _WHERE) for line in lines])


def _row(source: Source, index: int) -> Cond:
    """That of one row of the data."""
    if not 0 <= index < len(source.x):
        raise UserError(f'{_WHERE}=row: index={index}, and {source.name} has the rows 0 to {len(source.x) - 1}')
    return rows_of(source, np.array([index]))


def _nothing(condition: Condition, drops_cond: bool) -> Cond:
    """The row that tells nothing: samples of the unconditional model in a conditional one."""
    if not drops_cond:
        raise UserError(f'{_WHERE}=nothing: this run dropped no conditions: train one with --config.data.drop_cond=0.1')
    return _stacked([condition.null])


_ASKED = SimpleNamespace(
    __all__=['data', 'label', 'nothing', 'prompts', 'row', 'turn'],
    data=_data,
    label=_label,
    nothing=_nothing,
    prompts=_prompts,
    row=_row,
    turn=_turn,
)


def _stacked(rows: Sequence[Cond]) -> Cond:
    return jax.tree.map(lambda *a: np.stack(a), *rows)


def _only_class(condition: Condition) -> int:
    parts = jax.tree.leaves(condition.parts)
    if len(parts) != 1 or not is_class(parts[0]):
        raise UserError(
            f'{_WHERE}=turn goes through the classes of one label, and this model is told {_told(condition)}'
        )
    return parts[0].num


def _told(condition: Condition) -> str:
    def one(part):
        if part.sequence:
            return 'a text' if part.num is not None else 'a sequence of vectors'
        return f'one of {part.num} classes' if part.num is not None else f'values of shape {part.shape}'

    return ' and '.join(one(part) for part in jax.tree.leaves(condition.parts))


def _fits(condition: Condition) -> str:
    classes = all(part.num is not None and not part.sequence for part in jax.tree.leaves(condition.parts))
    texts = any(part.sequence and part.num is not None for part in jax.tree.leaves(condition.parts))
    ways = ['label:value=..'] if classes else ['prompts:text=..'] if texts else []
    return f'use {", ".join([*ways, "row:index=..", "data"])}'
