"""Pages that need no other file: their style, their program, their pictures and their data are in them."""

import base64
import mimetypes
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from typing import Any
from urllib.parse import unquote

import jinja2
import markdown

from diffusion_jax.errors import UserError
from diffusion_jax.pages.folder import FILMS, SOUNDS
from diffusion_jax.workdir import files
from diffusion_jax.workdir.paths import AnyPath

_SOURCE = re.compile(r'(<img\b[^>]*?\bsrc=")([^"]+)(")')
_LINK = re.compile(r'<a href="([^"]+)">(.*?)</a>', re.S)
_TABLE = re.compile(r'<table>.*?</table>', re.S)


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


def _players(body: str, held: Callable[[str], str | None]) -> str:
    """HTML in which links to sounds and films that are held are players, under the words of the link."""

    def player(found: re.Match) -> str:
        name = unquote(found[1])
        tag = 'audio' if name.endswith(SOUNDS) else 'video' if name.endswith(FILMS) else None
        source = held(found[1]) if tag else None
        if source is None:
            return found[0]
        return f'<span class="player">{found[2]} <{tag} controls src="{source}"></{tag}></span>'

    return _LINK.sub(player, body)


def of_markdown(path: AnyPath, more: Iterable[str] = (), folded: Mapping[str, str] = {}) -> str:
    """A report in markdown as one page, with its pictures, and its sounds and films as players where it links to them.

    Args:
        path: of the report.
        more: names of other pictures in its folder, shown at the end if they exist.
        folded: texts by their titles, which stand at the end and are opened by a click.
    """
    text = path.read_text()
    text += ''.join(f'\n\n![{name}]({name})' for name in more if (path.parent / name).exists())
    body = markdown.markdown(text, extensions=['tables', 'fenced_code', 'sane_lists', 'toc'])

    def held(name: str) -> str | None:
        file = path.parent / unquote(name)
        return embedded(file) if file.exists() else None

    body = _SOURCE.sub(lambda found: found[1] + (held(found[2]) or found[2]) + found[3], body)
    body = _TABLE.sub(r'<div class="wide">\g<0></div>', _players(body, held)).replace(
        ' ± ', '\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}'
    )
    title = next((line.lstrip('# ') for line in text.splitlines() if line.startswith('#')), path.stem)
    return render('markdown.html', title=title, body=body, folded=folded)


def beside(path: AnyPath, more: Iterable[str] = (), folded: Mapping[str, str] = {}) -> AnyPath:
    """Writes a report in markdown as a page as well (`of_markdown`), under the same name; returns its path."""
    page = path.with_suffix('.html')
    files.write_text(page, of_markdown(path, more, folded))
    return page
