r"""A mini version of every application, and all that comes out on one page: WORKDIR/applications.html.

    python -m experiments.applications --workdir=runs/applications --share=0.02
    python -m experiments.applications --workdir=runs/applications --only=video,fields --run=video=runs/moving_digits

Each trains, samples and is measured by a judge that is not the model. The page, WORKDIR/applications.html, has one
table over all of them, pictures, films, sounds and each program's table. Running it again goes on where it stopped, and
does nothing twice. One that fails is named on the page and in the exit code, and the others go on. --run=NAME=WORKDIR
measures and shows a finished run instead of training one.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from diffusion_jax import cli
from diffusion_jax.errors import Interrupted, UserError, nearest, one_line
from diffusion_jax.workdir import files, paths
from experiments.applications import jobs, page
from experiments.applications.application import Application, Asked
from experiments.applications.readings import Judged
from experiments.applications.records import APPLICATIONS
from experiments.running import locks

__doc__ = '\n'.join(
    [
        f'{__doc__}\nApplications, and their runs:',
        *(f'  {a.name}: {a.title} ({", ".join(a.runs)})' for a in APPLICATIONS),
    ]
)

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of all runs and of the page.', required=True)
_SHARE = flags.DEFINE_float('share', 1.0, "In (0, 1]: how much of the trainings' lengths and numbers of samples.")
_ONLY = flags.DEFINE_list('only', None, 'Names of applications. Default: all.')
_RUN = flags.DEFINE_multi_string(
    'run', [], "NAME=WORKDIR: a finished run, once for each; its application's others are left out, nothing is trained."
)
_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Folder of tensorflow-datasets.')


def chosen(only: Sequence[str] | None) -> list[Application]:
    """The applications of these names, in their own order.

    Raises:
        UserError: for an unknown name, or none at all.
    """
    by_name = {application.name: application for application in APPLICATIONS}
    for name in by_name if only is None else only:
        if name not in by_name:
            raise UserError(f'--only: there is no application {name!r}; {nearest(name, by_name)}')
    if only == []:
        raise UserError('--only= names no application: leave it out for all')
    return [application for application in APPLICATIONS if only is None or application.name in only]


def given(texts: Sequence[str], applications: Sequence[Application]) -> dict[str, dict[str, Path]]:
    """The finished runs of the command line, by application and run.

    Raises:
        UserError: for another form, a run that none of these applications has, or a folder that holds none.
    """
    owners = {run: application for application in applications for run in application.runs}
    found: dict[str, dict[str, Path]] = {}
    for text in texts:
        name, equals, workdir = text.partition('=')
        if not (equals and workdir):
            raise UserError(f'--run={text}: the form is NAME=WORKDIR')
        if name not in owners:
            raise UserError(f'--run={text}: no application that is made has a run {name!r}; {nearest(name, owners)}')
        mine, path = found.setdefault(owners[name].name, {}), paths.local(workdir)
        if name in mine:
            raise UserError(f'--run={name} is given twice')
        if not owners[name].program:
            files.load_config(path)
        elif not owners[name].tables(Asked(path, given={name: path})):
            raise UserError(f'--run={text}: there is no table of a finished run in this folder')
        mine[name] = path
    return found


def missing(application: Application, asked: Asked) -> str | None:
    """Why an application cannot be made, None if it can."""
    if application.needs is None or asked.data_dir or asked.given:
        return None
    return (
        f'it needs the data set {application.needs}: set --data_dir, the folder in which tensorflow-datasets has '
        'prepared it'
    )


def plan(workdir: Path, share: float, data_dir: str | None) -> list[tuple[Application, page.Outcome]]:
    """What the command line asks for, nothing of it done.

    Raises:
        UserError: for what does not fit.
    """
    if not 0 < share <= 1:
        raise UserError(f'--share={share} must be in (0, 1]')
    if data_dir is not None and not paths.local(data_dir).is_dir():
        raise UserError(f'--data_dir={data_dir} is no folder')
    applications, planned = chosen(_ONLY.value), []
    runs = given(_RUN.value, applications)
    for application in applications:
        asked = Asked(workdir / application.name, share, data_dir, runs.get(application.name, {}))
        why = missing(application, asked)
        if why and _ONLY.value:
            raise UserError(f'--only={application.name}: {why}')
        commands = [] if why else [job.command for job in application.jobs(asked)]
        planned.append((application, page.Outcome(asked, commands, read(application, asked)[0], left_out=why)))
    return planned


def read(application: Application, asked: Asked) -> tuple[list[Judged], str | None]:
    """The rows of an application in the overview by now; none, and why, where its tables are not as expected."""
    try:
        return application.rows(asked), None
    except (LookupError, ValueError) as error:
        return [], f'its tables cannot be read ({type(error).__name__}: {one_line(error)})'


def made(application: Application, outcome: page.Outcome, say: Callable[[str], None]) -> page.Outcome:
    """An application trained and measured, or why not.

    Raises:
        Interrupted: if this process was told to stop.
    """
    try:
        why = jobs.do(outcome.asked.folder, application.jobs(outcome.asked), say)
    except Interrupted:
        raise
    except (UserError, OSError) as error:
        why = one_line(error)
    rows, unread = read(application, outcome.asked)
    return outcome._replace(rows=rows, failed=why or unread)


def main() -> None:
    """The entry point."""
    workdir, share = paths.local(_WORKDIR.value), _SHARE.value
    outcomes = plan(workdir, share, _DATA_DIR.value)
    typed = ' '.join(['python', '-m', 'experiments.applications', *sys.argv[1:]])
    files.check_writable(workdir / 'applications.md')
    with locks.locked(workdir):
        for i, (application, outcome) in enumerate(outcomes):
            where = f'[{i + 1}/{len(outcomes)}] {application.name}'
            if not outcome.left_out:
                outcome = made(application, outcome, lambda text, a=where: print(f'{a} | {text}', flush=True))
            outcomes[i] = application, outcome
            said = f'left out, {outcome.left_out}' if outcome.left_out else f'failed, {outcome.failed}'
            print(f'{where}: {said if outcome.left_out or outcome.failed else "done"}', flush=True)
            written = page.write(workdir, outcomes, share, typed)
            print(f'{where}: wrote {written}', flush=True)
    failed = [application.name for application, outcome in outcomes if outcome.failed]
    if failed:
        raise UserError(f'{len(failed)} of {len(outcomes)} applications failed, see the page: {", ".join(failed)}')


if __name__ == '__main__':
    cli.run(main, joins=lambda: False)
