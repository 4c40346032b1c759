"""One planted bug."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """A bug: what, where, and the tests that should notice."""

    name: str
    file: str  # below diffusion_jax/; an experiment's begins with ../
    old: str  # occurs exactly once in the file
    new: str
    tests: str  # node ids, separated by spaces
