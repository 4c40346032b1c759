"""Errors that a user can mend. Entry points print the message, one line or a short list, without a traceback."""


class UserError(Exception):
    """Something asked for cannot be done; the message says what and how to mend it."""


class Interrupted(UserError):
    """The user stopped the run; everything is saved."""
