"""A study that several processes work on: a trial is one process's at a time, and no more are made than asked for."""

import contextlib
import socket
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from diffusion_jax.errors import UserError, one_line
from experiments.running.locks import PATIENCE, locked

_STARTS = 3  # of one trial; a process that dies every time will go on dying
_HOST = socket.gethostname()


class Shared(NamedTuple):
    """A study, where it is stored, and its workdir."""

    study: optuna.Study
    storage: BaseStorage
    workdir: Path


def open_study(
    workdir: Path,
    url: str | None,
    direction: Literal['minimize', 'maximize'] = 'minimize',
    seed: tuple[int, ...] = (0,),
) -> Shared:
    """The study of a workdir, made if it is not there: TPE, and pruning of what is worse than the median.

    Args:
        workdir: its name is the study's.
        url: of a database (`postgresql://...`) or of a proxy of one (`grpc://HOST:PORT`), for processes on several
            hosts; by default a journal file in it, for one host.
        direction: 'minimize' or 'maximize'.
        seed: of the search, each process with its own; the trials that are there change it, so that a process that
            takes another's place does not draw once more what that one drew.

    Raises:
        UserError: if the storage at `url` cannot be used.
    """
    try:
        storage = _storage(workdir, url)
        study = optuna.create_study(
            storage=storage,
            study_name=workdir.name,
            direction=direction,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        )
    except Exception as error:  # every driver of a database has its own
        if url is None:
            raise
        raise UserError(f'--storage={url}: {one_line(error)}') from error
    drawn = np.random.SeedSequence((*seed, len(study.get_trials(deepcopy=False)))).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(drawn[0]), constant_liar=True)
    return Shared(study, storage, workdir)


def _storage(workdir, url):
    if url is None:
        return optuna.storages.JournalStorage(JournalFileBackend(str(workdir / 'journal.log')))
    if url.startswith('grpc://'):
        host, _, port = url.removeprefix('grpc://').partition(':')
        return optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
    return optuna.storages.RDBStorage(url)


def left(shared: Shared, trials: int) -> int:
    """How many of `trials` this host has still to do: those that another one is at are not counted."""
    made = _made(shared.study)
    return max(trials - len(made), 0) + sum(not t.state.is_finished() and _is_ours(t) for t in made)


def _made(study):
    """The trials that have a host; one without has just been asked for, or its process ended there: it is nobody's."""
    return [trial for trial in study.get_trials(deepcopy=False) if 'host' in trial.user_attrs]


def _is_ours(trial):
    return trial.user_attrs.get('host') == _HOST


@contextlib.contextmanager
def claim(shared: Shared, trials: int):
    """Yields a trial that is this process's until the end of the block, None once there are `trials` of them.

    A trial that a process of this host left unfinished comes first; the one that left it for the third time failed.
    Processes of one host ask one after another. Hosts do not wait for each other: two that ask for the last trial at
    the same moment make one each.
    """
    with contextlib.ExitStack() as stack:
        with locked(shared.workdir / 'ask', PATIENCE):
            trial = _left_behind(shared, stack) or _new(shared, stack, trials)
        yield trial


def _left_behind(shared, stack):
    study, storage, workdir = shared
    for frozen in filter(_is_ours, study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))):
        with contextlib.ExitStack() as mine, contextlib.suppress(UserError):
            mine.enter_context(locked(workdir_of(workdir, frozen.number)))
            starts = frozen.user_attrs.get('starts', 0)
            if starts >= _STARTS:
                study.tell(frozen.number, state=TrialState.FAIL)
                continue
            stack.enter_context(mine.pop_all())
            of = storage.get_study_id_from_name(study.study_name)
            return _mine(Trial(study, storage.get_trial_id_from_study_id_trial_number(of, frozen.number)), starts)
    return None


def _new(shared, stack, trials):
    study, _, workdir = shared
    if len(_made(study)) >= trials:
        return None
    trial = study.ask()
    stack.enter_context(locked(workdir_of(workdir, trial.number), PATIENCE))
    return _mine(trial, 0)


def _mine(trial, starts):
    trial.set_user_attr('host', _HOST)
    trial.set_user_attr('starts', starts + 1)
    return trial


def workdir_of(workdir: Path, number: int) -> Path:
    """Where a trial's run lies."""
    return workdir / f'trial_{number:04d}'
