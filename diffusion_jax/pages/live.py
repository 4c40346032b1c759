"""A page of a run that goes on, and the small server that shows it: it answers questions, and changes nothing."""

import datetime
import json
import mimetypes
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from diffusion_jax.errors import UserError
from diffusion_jax.pages import comparison, html
from diffusion_jax.pages.folder import Seen, media, read

_NEWEST = 4  # media that are shown


def server(workdir: Path, host: str, port: int, seconds: float) -> ThreadingHTTPServer:
    """A server of the page, which looks at the folder every so many seconds.

    Raises:
        OSError: if the port cannot be had.
        UserError: as `html.plotly`.
    """
    plotly = html.plotly().encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            if path == '/':
                self._send('text/html; charset=utf-8', page(read(workdir), seconds).encode())
            elif path == '/now.json':
                self._send('application/json', json.dumps(now(workdir)).encode())
            elif path == '/plotly.js':
                self._send('text/javascript; charset=utf-8', plotly, 'max-age=86400')
            elif found := _medium(workdir, path):
                self._send(mimetypes.guess_type(found.name)[0] or 'application/octet-stream', found.read_bytes())
            else:
                self.send_error(HTTPStatus.NOT_FOUND)

        def _send(self, kind: str, content: bytes, cache: str = 'no-store'):
            self.send_response(HTTPStatus.OK)
            for name, value in (('Content-Type', kind), ('Content-Length', len(content)), ('Cache-Control', cache)):
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format, *args):
            """Says nothing of every question."""

    return ThreadingHTTPServer((host, port), Handler)


def _medium(workdir, path):
    """A file of samples/ by the address that `now` told, no other one."""
    folder, _, name = path.removeprefix('/').partition('/')
    found = {p.name: p for p in media(workdir)} if folder == 'samples' else {}
    return found.get(name)


def page(run: Seen, seconds: float) -> str:
    """The page, which asks for the rest."""
    config = json.dumps(run.config, indent=1, default=str)
    return html.render('watch.html', title=run.name, seconds=seconds, config=config)


def now(workdir: Path) -> dict[str, Any]:
    """What the page shows by now."""
    try:
        run = read(workdir)
    except UserError as error:
        return {'told': str(error), 'done': 0, 'curves': [], 'media': []}
    newest = [
        {
            'name': path.name,
            'kind': comparison.kind_of(path),
            'address': f'samples/{quote(path.name)}?{path.stat().st_mtime_ns}',  # a file written anew is another
        }
        for path in run.media[:_NEWEST]
    ]
    done = run.step / run.steps if run.steps else 0
    return {'told': told(run), 'done': done, 'curves': comparison.curves([run]), 'media': newest}


def told(run: Seen) -> str:
    """How far a run is, how fast it goes, and when it will be done."""
    facts = comparison.facts(run)
    parts = [f'step {facts["step"]}']
    if facts['last loss']:
        parts.append(f'loss {facts["last loss"]}')
    if facts['samples a second']:
        parts.append(f'{facts["samples a second"]} samples a second')
    if run.step >= run.steps:
        parts.append('done')
    elif run.seconds_left is not None and run.age is not None:
        parts.append(f'{_span(run.seconds_left)} left')
        parts.append(f'last told of {_span(run.age)} ago')
    return ', '.join(parts)


def _span(seconds):
    return str(datetime.timedelta(seconds=round(seconds)))
