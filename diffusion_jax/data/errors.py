"""Errors of data."""

from diffusion_jax.errors import UserError


class DataError(UserError):
    """Data that cannot be used as asked. The message is one line that a user can act on."""
