"""What the entry points share: errors that a user can mend end in one clear line and exit code 2."""

import importlib.util
import io
import itertools
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import jax
from absl import app, flags, logging

from diffusion_jax import builders, shipped
from diffusion_jax.builders import specs
from diffusion_jax.devices import processes
from diffusion_jax.errors import Interrupted, UserError, hang_up, one_line
from diffusion_jax.home import compile_cache

_COORDINATOR = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT of the first of several processes. Found by itself on TPU pods, SLURM, Kubernetes.'
)
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'How many processes.', lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0 on.', lower_bound=0)
_HEARTBEAT = flags.DEFINE_integer(
    'heartbeat', 30, 'Seconds without a sign of life of a process after which all of them end.', lower_bound=1
)

_NO_MEMORY = (
    'there is not enough memory: take a smaller batch (train.batch_size, --batch_size), or parts of one '
    '(train.accumulate), or set train.remat=full or mesh.fsdp'
)


def run(main: Callable[[], None], joins: Callable[[], bool] = lambda: True) -> None:
    """Parses the flags and runs `main`; where `joins()` is false, as a process of its own that starts others.

    Exit codes: 0 done, 1 a bug (traceback), 2 a user error, 124 hung, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    _quieten()
    shipped.reachable()
    _keep_compiled()
    app.run(lambda argv: guarded(main, argv, joins()), flags_parser=_parse)


def _keep_compiled():
    jax.config.update('jax_compilation_cache_dir', str(compile_cache()))
    if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:  # the hundred small programs of a start as well
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
    # JAX writes its files in place: who finds half of one, or no place to write to, compiles.
    warnings.filterwarnings('ignore', 'Error (reading|writing) persistent compilation cache entry', UserWarning)


def _quieten():
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every step of every save
    # A failed save is raised and told in one line: the threads that it ran in need not show their tracebacks as well.
    threads = ('orbax', 'asyncio')
    logging.get_absl_handler().addFilter(lambda r: not (r.levelno >= 40 and any(t in r.pathname for t in threads)))
    show = sys.unraisablehook

    def without_aftermath(u):
        abandoned = 'orbax' in getattr(getattr(u.object, 'cr_code', None), 'co_filename', '')
        if not abandoned and str(u.exc_value) != 'Event loop is closed':
            show(u)

    sys.unraisablehook = without_aftermath
    warnings.filterwarnings('ignore', 'coroutine .* was never awaited', RuntimeWarning)  # of writes given up


def guarded(main: Callable[[], None], argv: list[str], joins: bool = True) -> None:
    """Runs `main`, and turns what a user can mend into one line and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may hold bytes that no encoding has
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        if len(argv) > 1:
            raise UserError(f'unexpected argument {argv[1]!r}: flags are --name=value, see --help')
        given = (_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
        if joins:
            processes.start(*given, _HEARTBEAT.value, _HEARTBEAT.value)
        with processes.one_voice():
            main()
    except Interrupted as error:  # all processes stop at one step, so all can end as usual
        print(error, file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        _fail('interrupted', 130)
    except UserError as error:
        _fail(f'error: {error}', 2)
    except OSError as error:  # a full disk, a folder without permission
        _fail(f'error: {one_line(error)}', 2)
    except Exception as error:
        if isinstance(error, MemoryError) or 'RESOURCE_EXHAUSTED' in str(error):
            _fail(f'error: {_NO_MEMORY} ({one_line(error):.200})', 2)
        if not processes.many():
            raise
        _fail(traceback.format_exc(), 1)


def _fail(message, code):
    if not processes.many():
        print(message, file=sys.stderr)
        sys.exit(code)
    print(f'process {jax.process_index()}: {message}', file=sys.stderr)
    processes.leave(code)


def _parse(argv):
    before = sys.argv
    try:
        argv = _with_config_files(argv)
        ours, argv = _spec_overrides(argv)
        sys.argv = argv  # where ml_collections looks for overrides
        rest = flags.FLAGS(argv)
        for path, value in ours:
            _set(flags.FLAGS['config'].value, path, value)
        return rest
    except (SystemExit, BrokenPipeError):  # absl ends --help with 1; `--help | head` hangs up earlier
        hang_up()
        sys.exit(0)
    except (flags.Error, UserError) as error:
        message = one_line(error)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        # What the flags raise for an override of an unknown field, without the field's path, or of another type.
        message = _explain_override(argv) or one_line(error)
    finally:
        sys.argv = before
    print(f'error: {message}{"" if message.endswith((".", "?")) else "."} See --help.', file=sys.stderr)
    sys.exit(2)


def _config_given(argv):
    given = [re.match(r'--?config=(.*)', a) for a in argv]
    given += [re.match('(.*)', b) for a, b in itertools.pairwise(argv) if a in ('--config', '-config')]
    path, _, arg = next((m[1] for m in given if m), '').partition(':')
    return path, arg


def _with_config_files(argv):
    """The arguments, in which every config that is given by name, or by its path in the repository, is a file."""
    found = []
    for before, argument in zip(['', *argv], argv, strict=False):
        flag = re.fullmatch(r'(--?(?:\w+_)?config=)(.*)', argument, re.DOTALL)
        if re.fullmatch(r'--?(\w+_)?config', before):
            found.append(shipped.config(argument))
        else:
            found.append(flag[1] + shipped.config(flag[2]) if flag else argument)
    return found


def _spec_overrides(argv):
    """Overrides that replace a whole spec, `--config.net=DiT:depth=6`, or say None; and the other arguments.

    What is set below such a spec afterwards, `--config.net.depth=6`, belongs to it, and so does an argument that the
    config's own spec does not have, `--config.objective.ode_step=batch`: whether its factory has it, the builder says.
    ml_collections knows none of it.
    """
    given = [re.match(r'--?config\.([^=]+)=(.*)', a) for a in argv]
    if not any(given):
        return [], argv
    config, ours, rest = _load_config(argv), [], []
    for argument, override in zip(argv, given, strict=True):
        if override is None:
            rest.append(argument)
        elif override[2] == 'None' and _is_field(config, override[1].split('.')):
            ours.append((override[1], None))
        elif _is_spec(config, override[1].split('.')):
            ours.append((override[1], specs.parse_spec(override[2])))
        elif any(override[1].startswith(f'{path}.') for path, _ in ours) or _is_new(config, override[1]):
            ours.append((override[1], specs.argument(override[1].rpartition('.')[2], override[2])))
        else:
            rest.append(argument)
    return ours, rest


def _section(config: Any, path: list[str]) -> Any:
    for part in path:
        config = config.get(part, {}) if hasattr(config, 'keys') else {}
    return config if hasattr(config, 'keys') else {}


def _is_field(config: Any, path: list[str]) -> bool:
    return path[-1] in _section(config, path[:-1])


def _is_spec(config: Any, path: list[str]) -> bool:
    if not _is_field(config, path):
        return False
    section, last = _section(config, path[:-1]), path[-1]
    value = section[last]
    if hasattr(value, 'keys'):
        return 'name' in value
    return value is None and section.get_type(last) is type(None)


def _is_new(config: Any, path: str) -> bool:
    *spec, argument = path.split('.')
    return bool(spec) and _is_spec(config, spec) and argument not in _section(config, spec)


def _set(config, path, value):
    *above, last = path.split('.')
    for part in above:
        config = config[part]
    with config.unlocked():
        if last in config:
            del config[last]  # whose type would be kept
        config[last] = value


def _load_config(argv):
    path, arg = _config_given(argv)
    spec = importlib.util.spec_from_file_location('config_of_the_command_line', path)
    if spec is None or spec.loader is None:
        raise UserError(f'cannot read {path} as a config file')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg) if arg else module.get_config()


def _explain_override(argv):
    """The first override on the command line that names no field of the config."""
    for override in filter(None, (re.match(r'--?config\.([^=]+)', a) for a in argv)):
        node, seen = _load_config(argv), 'config'
        for part in override[1].split('.'):
            if message := builders.unknown_field(node, part, seen):
                return message
            node, seen = node[part], f'{seen}.{part}'
    return None
