"""What XLA's count of FLOPs leaves out: it counts the body of a loop once, however often it runs."""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend import core


def left_out(jaxpr: core.ClosedJaxpr) -> float:
    """FLOPs of the products and convolutions of all passes but the first through every scan, nested ones as well.

    Of a whole program on all devices. Loops whose number of passes is not known beforehand (`while`) are not counted;
    nor is what is small beside products: in a loop an element costs as much as outside, but there are no thousands.
    """
    return _products(jaxpr.jaxpr, every_pass=True) - _products(jaxpr.jaxpr, every_pass=False)


def _products(jaxpr: core.Jaxpr, every_pass: bool) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name in _FLOPS:
            total += _FLOPS[name](equation)
        passes = params['length'] if every_pass and name == 'scan' else 1
        total += passes * sum(_products(inner, every_pass) for inner in _inner(params.values()))
    return total


def _inner(values: Any) -> Iterator[core.Jaxpr]:
    """The programs that an equation calls."""
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inner(value)


def _dot(equation):
    (contracted, _), _ = equation.params['dimension_numbers']
    left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return 2.0 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def _convolution(equation):
    kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
    channels = kernel[equation.params['dimension_numbers'].rhs_spec[0]]
    return 2.0 * math.prod(out) * math.prod(kernel) / channels


_FLOPS = {'dot_general': _dot, 'conv_general_dilated': _convolution}
