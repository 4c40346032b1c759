r"""A run as it goes, in a browser: curves, newest samples, speed, time left.

    python -m diffusion_jax.watch --workdir=runs/mnist

serves one page on this machine alone (http://127.0.0.1:8088) until Ctrl-C, and only reads the run's folder. Of another
machine: `ssh -L 8088:127.0.0.1:8088 HOST`.
"""

from absl import flags

from diffusion_jax import cli
from diffusion_jax.errors import UserError
from diffusion_jax.pages import folder, live
from diffusion_jax.workdir import paths

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.', required=True)
_PORT = flags.DEFINE_integer('port', 8088, 'Of the page; 0 for any that is free.', 0, 65535)
_HOST = flags.DEFINE_string('host', '127.0.0.1', 'Address to serve at; 0.0.0.0 shows the run to the whole network.')
_SECONDS = flags.DEFINE_float('seconds', 5.0, 'Between two looks at the folder.', 0.1, 3600.0)


def main() -> None:
    """The entry point."""
    workdir = paths.local(_WORKDIR.value)
    folder.read(workdir)
    try:
        server = live.server(workdir, _HOST.value, _PORT.value, _SECONDS.value)
    except OSError as error:
        where = f'{_HOST.value}:{_PORT.value}'
        raise UserError(f'cannot serve at {where} ({error.strerror}): set --port, 0 for any that is free') from error
    with server:
        host, port = server.server_address[:2]
        print(f'{workdir} at http://{host}:{port}, until Ctrl-C', flush=True)
        server.serve_forever()


if __name__ == '__main__':
    cli.run(main, joins=lambda: False)
