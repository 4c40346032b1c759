"""A study that several processes work on: a trial is one process's at a time, and no more are made than asked for."""

import contextlib
import socket
from pathlib import Path
from typing import Literal

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from diffusion_jax.errors import UserError
from experiments.sweep.taking import PATIENCE, taking

_STARTS = 3  # of one trial; a process that dies every time will go on dying
_HOST = socket.gethostname()


def open_study(
    folder: Path, url: str | None, direction: Literal['minimize', 'maximize'] = 'minimize', seed: int = 0
) -> optuna.Study:
    """The study of a folder, made if it is not there: TPE, and pruning of what is worse than the median.

    Args:
        folder: its name is the study's.
        url: of a database (`postgresql://...`) or of a proxy of one (`grpc://HOST:PORT`), for processes on several
            hosts; by default a journal file in `folder`, for one host.
        direction: 'minimize' or 'maximize'.
        seed: of the sampler; each process should have its own.
    """
    return optuna.create_study(
        storage=_storage(folder, url),
        study_name=folder.name,
        direction=direction,
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )


def _storage(folder, url):
    if url is None:
        journal = JournalFileBackend(str(folder / 'journal.log'))
        return optuna.storages.JournalStorage(journal)
    if url.startswith('grpc://'):
        host, _, port = url.removeprefix('grpc://').partition(':')
        return optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
    return optuna.storages.RDBStorage(url)


@contextlib.contextmanager
def claim(study: optuna.Study, folder: Path, trials: int):
    """Yields a trial that is this process's until the end of the block, None once there are `trials` of them.

    A trial that a process of this host left unfinished comes first; the one that left it for the third time failed.
    """
    with contextlib.ExitStack() as stack:
        with taking(folder / 'ask', PATIENCE):
            trial = _left_behind(study, folder, stack) or _new(study, folder, stack, trials)
        yield trial


def _left_behind(study, folder, stack):
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if frozen.user_attrs.get('host', _HOST) != _HOST:
            continue
        with contextlib.ExitStack() as mine, contextlib.suppress(UserError):
            mine.enter_context(taking(folder_of(folder, frozen.number)))
            starts = frozen.user_attrs.get('starts', 0)
            if starts >= _STARTS:
                study.tell(frozen.number, state=TrialState.FAIL)
                continue
            stack.enter_context(mine.pop_all())
            return _mine(Trial(study, frozen._trial_id), starts)
    return None


def _new(study, folder, stack, trials):
    if len(study.get_trials(deepcopy=False)) >= trials:
        return None
    trial = study.ask()
    stack.enter_context(taking(folder_of(folder, trial.number), PATIENCE))
    return _mine(trial, 0)


def _mine(trial, starts):
    trial.set_user_attr('host', _HOST)
    trial.set_user_attr('starts', starts + 1)
    return trial


def folder_of(folder: Path, number: int) -> Path:
    """Where a trial's run lies."""
    return folder / f'trial_{number:04d}'
