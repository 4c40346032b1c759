"""For the site: files that pages link to, such as tests, become pages; a package on a page of the API, its modules;
links to sounds, players."""

import re
from pathlib import Path, PurePosixPath

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).parents[1]
LINK = re.compile(r'(\]\()((?:\.\./)+[^)#\s]+)((?:#[^)]*)?\))')
SOUND = re.compile(r'<a href="([^"]+\.wav)">(.*?)</a>', re.S)
PACKAGE = re.compile(r'^::: diffusion_jax\.(\w+)$', re.M)
LANGUAGES = {'.py': 'python', '.sh': 'sh', '.toml': 'toml', '.txt': 'text'}


def outside(page: str, link: str) -> str | None:
    """The path in the repository that a link of a page leads to, if it is a file outside of `docs`."""
    parts = [*PurePosixPath('docs', page).parent.parts]
    for part in PurePosixPath(link).parts:
        parts = parts[:-1] if part == '..' and parts else [*parts, part]
    path = '/'.join(parts)
    return path if parts[0] not in ('docs', '..') and (ROOT / path).is_file() else None


def shown_at(path: str) -> str:
    """Where the site shows a file of the repository."""
    return f'source/{path.removesuffix(".md")}{"" if path.endswith(".md") else ".source"}.md'


def content(path: str) -> str:
    """The page of a file."""
    text = (ROOT / path).read_text(encoding='utf-8')
    if path.endswith('.md'):
        return text
    language = LANGUAGES.get(PurePosixPath(path).suffix, '')
    return f'---\nsearch: {{exclude: true}}\n---\n# {path}\n\n````{language} linenums="1"\n{text}````\n'


def modules(found: re.Match) -> str:
    """A package as what it says of itself and its modules, each name once, where it is defined."""
    folder = ROOT / 'diffusion_jax' / found[1]
    if not folder.is_dir():
        return found[0]
    names = sorted(path.stem for path in folder.glob('*.py') if path.stem != '__init__')
    # A package that is a file by itself has its functions there; others gather those of their modules.
    options = '    options: {members: false, show_if_no_docstring: true}\n' if names else ''
    each = [f'{found[0]}.{name}\n    options: {{heading_level: 3}}\n' for name in names]
    return '\n'.join([f'{found[0]}\n{options}', *each])


def on_files(files, config):
    """Adds a page for every file that is linked, and for those that these link to."""
    waiting = [(file.src_uri, file.content_string) for file in files if file.src_uri.endswith('.md')]
    while waiting:
        page, text = waiting.pop()
        for link in LINK.finditer(text):
            path = outside(page, link[2])
            if path and not files.get_file_from_path(shown_at(path)):
                files.append(
                    File.generated(config, shown_at(path), content=content(path), inclusion=InclusionLevel.NOT_IN_NAV)
                )
    return files


def on_page_markdown(markdown, page, config, files):
    """Links to these pages instead of files that the site does not have; the modules of a package."""
    here = PurePosixPath(page.file.src_uri)

    def mended(link):
        path = outside(str(here), link[2])
        up = '../' * (len(here.parts) - 1)
        return f'{link[1]}{up}{shown_at(path)}{link[3]}' if path else link[0]

    return LINK.sub(mended, PACKAGE.sub(modules, markdown))


def on_page_content(html, page, config, files):
    """Players in the place of links to sounds, under the words of the link."""
    player = '<audio controls preload="none" src="\\1" style="height: 2rem; vertical-align: middle"></audio>'
    return SOUND.sub(rf'<span style="white-space: nowrap">\2 {player}</span>', html)
