r"""Runs side by side as one page for a browser, or a report in markdown as one.

    python -m diffusion_jax.report --workdir=runs/a --workdir=runs/b --out=comparison.html
    python -m diffusion_jax.report --markdown=runs/quickstart/report.md

The page needs no other file: curves with what they are under the pointer, tables that a click sorts, samples of the
same noises beside each other, the fields in which configs differ. Runs are only read, and may be training.
"""

from pathlib import Path

from absl import flags

from diffusion_jax import cli
from diffusion_jax.errors import UserError
from diffusion_jax.pages import comparison, folder, html
from diffusion_jax.workdir import files, paths

_WORKDIRS = flags.DEFINE_multi_string('workdir', [], 'Folder of a run; once for each.')
_MARKDOWN = flags.DEFINE_string('markdown', None, 'Instead: a report.md, which becomes report.html beside it.')
_OUT = flags.DEFINE_string('out', None, "The page. Default: report.html in the run's folder, if there is one run.")
_TITLE = flags.DEFINE_string('title', None, 'What stands over the page. Default: the names of the runs.')


def main() -> None:
    """The entry point."""
    if bool(_WORKDIRS.value) == bool(_MARKDOWN.value):
        raise UserError('set --workdir, once for each run, or --markdown, a report of this program')
    if _MARKDOWN.value:
        print(f'wrote {_of_markdown(paths.local(_MARKDOWN.value))}')
        return
    runs = folder.read_all(paths.local(workdir) for workdir in _WORKDIRS.value)
    if not _OUT.value and len(runs) > 1:
        raise UserError('of several runs: set --out, the page to write')
    out = paths.local(_OUT.value) if _OUT.value else runs[0].path / 'report.html'
    files.check_writable(out)
    files.write_text(out, comparison.page(runs, _TITLE.value or ', '.join(run.name for run in runs)))
    print(f'wrote {out}')


def _of_markdown(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f'--markdown={path} is no file')
    out = paths.local(_OUT.value) if _OUT.value else path.with_suffix('.html')
    if out.resolve() == path.resolve():
        raise UserError(f'--out={out} is the report itself: choose another name')
    files.check_writable(out)
    files.write_text(out, html.of_markdown(path))
    return out


if __name__ == '__main__':
    cli.run(main, joins=lambda: False)
