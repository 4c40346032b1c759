"""What official U-Nets have in common, whatever their weights are called: an architecture, and a table of names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from diffusion_jax.errors import UserError
from diffusion_jax.interop.names import AS_IT_IS, CLASSES, Form, Row, Tree, flat, kernel, query_key_value
from diffusion_jax.nets import UNet


class Architecture(NamedTuple):
    """A network of images, and what it learnt from."""

    net: dict[str, Any]  # its spec
    shape: tuple[int, int, int]  # of an image
    classes: int | None
    learns_variance: bool
    latents: bool = False  # of an autoencoder, not pictures
    drops: bool = False  # it learnt what no class means


class Dialect(NamedTuple):
    """How a program calls the weights of a U-Net.

    Attributes:
        place: (block here, as 'down_0_block_1', whether it has layers, the places of the U-Net) -> its name there;
            KeyError if there is none.
        layers: a layer's name here -> there; q, k and v may share one.
        ones: layer here -> axes of size one that its kernel has there: a dense layer may be a 1x1 convolution.
        order: of queries, keys and values in one layer; see `names.query_key_value`.
        classes: the form of the table of classes.
        others: what is no layer's: (path here, name there).
        kernel: (axes of size one) -> the form of a kernel.
    """

    place: Callable[[str, bool, 'Places'], str]
    layers: Mapping[str, str]
    ones: Mapping[str, int]
    order: str = 'three heads dim'
    classes: Form = CLASSES
    others: Mapping[tuple[str, ...], str] = {}
    kernel: Callable[[int], Form] = kernel


class Places(NamedTuple):
    """What a name there may depend on."""

    levels: int
    blocks: int
    attends: tuple[bool, ...]  # at each level
    height: int  # of an image


def table(net: Mapping[str, Any], shapes: Tree, dialect: Dialect, height: int) -> list[Row]:
    """The rows of a U-Net of this spec.

    Args:
        net: the spec.
        shapes: of its parameters.
        dialect: of the other program.
        height: of an image.

    Raises:
        UserError: if it has a part that no U-Net of that program has.
    """
    attends = tuple(height >> level in net['attention'] for level in range(len(net['multipliers'])))
    places = Places(len(net['multipliers']), net['blocks'], attends, height)
    found: dict[str, Row] = {}
    leaves = flat(shapes)
    for path, leaf in leaves.items():
        try:
            name, form = _named(path, leaf, dialect, places, net)
        except KeyError as error:
            raise UserError(f'the network has {"/".join(path)}, which no network there has') from error
        paths = (*found[name].paths, path) if name in found else (path,)
        found[name] = Row(name, tuple(sorted(paths)), form)  # k, q, v are put in order below
    return [row._replace(paths=in_order(row.paths)) for row in found.values()]


def in_order(paths: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The paths of queries, keys and values that share a name there, in this order."""
    return tuple(sorted(paths, key=lambda path: 'qkv'.find(path[-2])))


def _named(path: tuple[str, ...], leaf: Any, dialect: Dialect, places: Places, net: Mapping[str, Any]):
    """The name of a leaf there, and its form."""
    if path in dialect.others:
        return dialect.others[path], AS_IT_IS
    block, *layer, last = path
    place = dialect.place(block, bool(layer), places)
    if last == 'embedding':
        return f'{dialect.layers["classes"]}.weight', dialect.classes
    parts = [place, *(dialect.layers[name] for name in layer)]
    name = '.'.join(filter(None, parts)) + ('.bias' if last == 'bias' else '.weight')
    return name, _form(layer, leaf, last, dialect, net)


def _form(layer: Sequence[str], leaf: Any, last: str, dialect: Dialect, net: Mapping[str, Any]) -> Form:
    of = layer[-1] if layer else ''
    if of in ('q', 'k', 'v') and len({dialect.layers[x] for x in 'qkv'}) == 1:
        c = leaf.shape[-1]
        heads = c // net['head_channels'] if net.get('head_channels') else net.get('heads', 1)
        return query_key_value(dialect.order, heads, dialect.ones.get(of, 0))
    return dialect.kernel(dialect.ones.get(of, 0)) if last == 'kernel' else AS_IT_IS


def complete(net: Mapping[str, Any]) -> dict[str, Any]:
    """A U-Net's spec with the sizes that it leaves to the defaults."""
    return {**{name: getattr(UNet, name) for name in ('channels', 'multipliers', 'blocks', 'attention')}, **net}


def multiples(widths: Sequence[int], channels: int) -> tuple[int, ...] | None:
    """The widths of the levels in units of `channels`; None where they are no whole ones."""
    if any(width % channels for width in widths):
        return None
    return tuple(width // channels for width in widths)


def of_diffusers(where: str, widths: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """Channels and multipliers of `block_out_channels`.

    Raises:
        UserError: for widths that are no whole multiples of the first.
    """
    multipliers = multiples(widths, widths[0])
    if multipliers is None:
        raise UserError(f'{where}: block_out_channels={[*widths]} must be whole multiples of the first')
    return widths[0], multipliers
