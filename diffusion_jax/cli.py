"""What the entry points share: errors that a user can mend end in one clear line and exit code 2."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import jax
from absl import app, flags, logging

from diffusion_jax.errors import Interrupted, UserError


def run(main: Callable[[], None]) -> None:
    """Parses the flags and runs `main`. Exit codes: 0 done, 1 a bug (traceback), 2 a user error, 130 interrupted."""
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every step of every save
    # A second run of the same program need not compile again; a user's own setting comes first.
    cache = os.environ.get('JAX_COMPILATION_CACHE_DIR') or Path.home() / '.cache' / 'diffusion_jax'
    jax.config.update('jax_compilation_cache_dir', str(cache))

    def guarded(argv):
        try:
            if len(argv) > 1:
                raise UserError(f'unexpected argument {argv[1]!r}: flags are --name=value, see --help')
            main()
        except Interrupted as error:
            print(error, file=sys.stderr)
            sys.exit(130)
        except UserError as error:
            print(f'error: {error}', file=sys.stderr)
            sys.exit(2)

    app.run(guarded, flags_parser=_parse)


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        message = str(error)
    except (KeyError, AttributeError, TypeError, ValueError, OSError) as error:
        # What ml_collections raises for an override of an unknown field or of another type, or a config file not found.
        message = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    print(f'error: {" ".join(message.split())} See --help.', file=sys.stderr)
    sys.exit(2)
