"""Weights under the names and in the forms that another program has for them; the mapping itself is in a table each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diffusion_jax.errors import UserError
from diffusion_jax.interop.weights_file import looks_like

Tree = dict[str, Any]  # nested, of arrays or of what has a shape
Arrays = Sequence[np.ndarray]


class Form(NamedTuple):
    """How one array there and those here that are its parts become each other, without rounding."""

    inward: Callable[[np.ndarray], tuple[np.ndarray, ...]]
    outward: Callable[[Arrays], np.ndarray]


class Row(NamedTuple):
    """One array there, and the paths here of its parts."""

    name: str
    paths: tuple[tuple[str, ...], ...]
    form: Form
    layer: int | None = None  # along the first axis of what is here, where equal blocks are one stack


AS_IT_IS = Form(lambda w: (w,), lambda parts: parts[0])


def kernel(ones: int = 0) -> Form:
    """`[out, in, *window]`, with axes of size one behind it, as `[*window, in, out]`."""

    def inward(w: np.ndarray) -> tuple[np.ndarray, ...]:
        w = w.reshape(w.shape[: w.ndim - ones])
        return (w.transpose(*range(2, w.ndim), 1, 0),)

    def outward(parts: Arrays) -> np.ndarray:
        (w,) = parts
        w = w.transpose(w.ndim - 1, w.ndim - 2, *range(w.ndim - 2))
        return w.reshape(*w.shape, *(1,) * ones)

    return Form(inward, outward)


def _table_inward(w: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.concatenate([w, np.zeros_like(w[:1])]),)


def _table_outward(parts: Arrays) -> np.ndarray:
    return parts[0] if parts[0][-1].any() else parts[0][:-1]


# A table of classes: here it has a row more, of the class that tells nothing. Zeros there are no part of a model.
CLASSES = Form(_table_inward, _table_outward)
# The same in a dense layer without a bias, which is told classes as unit vectors.
CLASSES_IN_COLUMNS = Form(lambda w: _table_inward(w.T), lambda parts: _table_outward(parts).T)


def query_key_value(order: str, heads: int, ones: int) -> Form:
    """Queries, keys and values in one dense layer, whose outputs are in an order of three, heads, dim as their names.

    'three heads dim' is all queries first; 'heads three dim' is every head's queries, keys, values; 'heads dim three'
    goes through the three for each number. `ones` as of `kernel`; biases have none.
    """
    axes = ['three', 'heads', 'dim']
    there = order.split()
    to_us, to_them = [there.index(a) for a in axes], [axes.index(a) for a in there]

    def inward(w: np.ndarray) -> tuple[np.ndarray, ...]:
        sizes = {'three': 3, 'heads': heads, 'dim': w.shape[0] // (3 * heads)}
        rest = w.shape[1:2]
        split = w.reshape(*(sizes[a] for a in there), *rest).transpose(*to_us, *range(3, 3 + len(rest)))
        return tuple(part.reshape(-1, *rest).T for part in split)

    def outward(parts: Arrays) -> np.ndarray:
        stacked = np.stack([part.T for part in parts])
        rest = stacked.shape[2:]
        split = stacked.reshape(3, heads, -1, *rest).transpose(*to_them, *range(3, 3 + len(rest)))
        return split.reshape(-1, *rest, *(1,) * (ones if rest else 0))

    return Form(inward, outward)


def prefixed(rows: Iterable[Row], name: str, *above: str) -> list[Row]:
    """The rows of a part: `name` before the names there, the path `above` before those here."""
    return [row._replace(name=name + row.name, paths=tuple((*above, *path) for path in row.paths)) for row in rows]


def flat(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The leaves of a nested dict, by their paths."""
    if not isinstance(tree, Mapping):
        return {path: tree}
    return {p: leaf for key, below in tree.items() for p, leaf in flat(below, (*path, key)).items()}


def nested(leaves: Mapping[tuple[str, ...], Any]) -> Tree:
    """The other way round."""
    tree: Tree = {}
    for (*above, last), leaf in leaves.items():
        node = tree
        for key in above:
            node = node.setdefault(key, {})
        node[last] = leaf
    return tree


def take_in(where: str, what: str, weights: Mapping[str, np.ndarray], rows: Iterable[Row], shapes: Tree) -> Tree:
    """Our parameters from the weights of a file.

    Args:
        where: they are from, for messages.
        what: they should be, for messages.
        weights: by name there.
        rows: for all of our parameters.
        shapes: of our parameters.

    Raises:
        UserError: if a weight is missing or left over, naming the first of both, or of another shape.
    """
    rows, wanted = list(rows), flat(shapes)
    missing = [row.name for row in rows if row.name not in weights]
    left = sorted({*weights} - {row.name for row in rows})
    if len(missing) == len(rows):
        raise UserError(f'{where} should be {what}, and looks like {looks_like(weights)}')
    if missing or left:
        raise UserError(
            f'{where} should be {what}, and its names do not fit: missing are {_some(missing)}; left over are '
            f'{_some(left)}'
        )
    found: dict[tuple[str, ...], Any] = {}
    for row in rows:
        shapes_here = (wanted[path].shape[row.layer is not None :] for path in row.paths)
        empty = [np.broadcast_to(np.zeros((), np.float32), shape) for shape in shapes_here]
        shape = row.form.outward(empty).shape
        if weights[row.name].shape != shape:
            raise UserError(
                f'{where} should be {what}; its {row.name} has the shape {weights[row.name].shape}, not {shape}'
            )
        for path, part in zip(row.paths, row.form.inward(weights[row.name]), strict=True):
            found.setdefault(path, {})[row.layer] = part
    whole = {path: w[None] if None in w else np.stack([w[i] for i in range(len(w))]) for path, w in found.items()}
    return nested(whole)


def give_out(rows: Iterable[Row], params: Tree) -> dict[str, np.ndarray]:
    """Our parameters under the names there."""
    leaves = {path: np.asarray(leaf) for path, leaf in flat(params).items()}

    def part(row: Row, path: tuple[str, ...]) -> np.ndarray:
        return leaves[path] if row.layer is None else leaves[path][row.layer]

    return {row.name: row.form.outward([part(row, path) for path in row.paths]) for row in rows}


def _some(names: Sequence[str]) -> str:
    more = f' and {len(names) - 4} more' if len(names) > 4 else ''
    return (', '.join(names[:4]) + more) or 'none'
