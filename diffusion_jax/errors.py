"""Errors that a user can mend. Entry points print the message, one line or a short list, without a traceback."""

import difflib
import os
import sys
from collections.abc import Iterable


class UserError(Exception):
    """Something asked for cannot be done; the message says what and how to mend it."""


class Diverged(UserError):
    """Training or sampling came to values that are not finite."""


class Interrupted(UserError):
    """The user, or the platform, stopped the run; everything is saved. `code` is what the program ends with."""

    def __init__(self, message: str, code: int = 130):
        super().__init__(message)
        self.code = code


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say beside an unknown name: the known ones that look like it, or else all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f'did you mean {" or ".join(near)}?' if near else f'known: {", ".join(known)}'


def one_line(error: BaseException) -> str:
    """The message of an exception of a library, which may run over many lines, or else its type."""
    return ' '.join(str(error).split())[:400] or type(error).__name__


def hang_up() -> None:
    """Writes what is still to be written; where nobody reads it any more, the interpreter shall not try at its end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        with open(os.devnull, 'w') as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
