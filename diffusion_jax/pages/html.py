"""Pages that need no other file: their style, their program, their pictures and their data are in them."""

import base64
import mimetypes
import re
from collections.abc import Iterable
from importlib import resources
from typing import Any
from urllib.parse import unquote

import jinja2
import markdown

from diffusion_jax.errors import UserError
from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath

_SOURCE = re.compile(r'(<img\b[^>]*?\bsrc=")([^"]+)(")')


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader('diffusion_jax.pages', 'templates'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(name: str) -> str:
    """A file of this package: style or program of the pages."""
    return (resources.files('diffusion_jax.pages') / 'templates' / name).read_text()


def render(template: str, **values: Any) -> str:
    """A template of this package with these values, every text of which is escaped."""
    code = {'style': asset('page.css'), 'program': asset('page.js')}
    return _environment().get_template(template).render(**code, **values)


def plotly() -> str:
    """The program that draws curves, as plotly's package brings it.

    Raises:
        UserError: where it is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise UserError('curves need plotly: pip install "diffusion_jax[report]"') from error
    return get_plotlyjs()


def embedded(path: AnyPath) -> str:
    """A file as an address that holds it."""
    kind = mimetypes.guess_type(path.name)[0] or 'application/octet-stream'
    return f'data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}'


def of_markdown(path: AnyPath, more: Iterable[str] = ()) -> str:
    """A report in markdown as one page, with its pictures; `more` are names of others in its folder, if they exist."""
    text = path.read_text()
    text += ''.join(f'\n\n![{name}]({name})' for name in more if (path.parent / name).exists())
    body = markdown.markdown(text, extensions=['tables', 'fenced_code', 'sane_lists'])

    def in_it(found: re.Match) -> str:
        picture = path.parent / unquote(found[2])
        return found[1] + (embedded(picture) if picture.exists() else found[2]) + found[3]

    title = next((line.lstrip('# ') for line in text.splitlines() if line.startswith('#')), path.stem)
    return render('markdown.html', title=title, body=_SOURCE.sub(in_it, body))


def beside(path: AnyPath, more: Iterable[str] = ()) -> AnyPath:
    """Writes a report in markdown as a page as well (`of_markdown`), under the same name; returns its path."""
    page = path.with_suffix('.html')
    files.write_text(page, of_markdown(path, more))
    return page
