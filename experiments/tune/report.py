"""What a study found: report.md, history.png and importances.png."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as plots

from diffusion_jax.pages import html
from diffusion_jax.workdir import files
from experiments.running.tables import label, markdown

_SHOWN = 10  # of the best trials


class Setting(NamedTuple):
    """Values of one setting."""

    name: str
    overrides: Mapping[str, Any]
    values: list[float]  # one for each seed


class Confirmed(NamedTuple):
    """Settings measured with seeds that no trial has seen."""

    seeds: list[int]
    rows: list[Setting]


def write(study: optuna.Study, workdir: Path, confirmed: Confirmed) -> None:
    """Writes report.md, its plots and both as one page; plots that need more trials than there are are left out."""
    files.write_text(workdir / 'report.md', to_markdown(study, confirmed))
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if done:
        _save(workdir / 'history.png', plots.plot_optimization_history, study)
    # Those that some trials do not have are left out by Optuna.
    if len({t.value for t in done}) > 1 and set.intersection(*(set(t.params) for t in done)):
        _save(workdir / 'importances.png', plots.plot_param_importances, study)
    html.beside(workdir / 'report.md', ['history.png', 'importances.png'])


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """The completed trials, the best first."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    return sorted(done, key=lambda trial: sign * (np.inf if trial.value is None else trial.value))


def to_markdown(study: optuna.Study, confirmed: Confirmed) -> str:
    """How many trials there were, the best ones, and how the best does with other seeds."""
    trials = study.get_trials(deepcopy=False)
    counts = {s.name.lower(): n for s in TrialState if (n := sum(trial.state == s for trial in trials))}
    best = ranked(study)[:_SHOWN]
    fields = list(dict.fromkeys(field for trial in best for field in trial.user_attrs['overrides']))
    said = ', '.join(f'{n} {state}' for state, n in counts.items())
    rows = []
    for trial in best:
        overrides = trial.user_attrs['overrides']
        set_to = [label(overrides.get(field, '')) for field in fields]
        rows.append([str(trial.number), f'{trial.value:.5g}', *set_to])
    parts = [
        f'# Study {study.study_name}\n\n{len(trials)} trials: {said}.\n',
        markdown(['trial', 'value', *fields], rows),
    ]
    if confirmed.rows:
        parts.append(f'With seeds that no trial has seen ({", ".join(map(str, confirmed.seeds))}):\n')
        head = ['', 'mean', 'standard error', 'each', 'setting']
        parts.append(markdown(head, [_confirmed(*row) for row in confirmed.rows]))
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    parts += [f'Trial {t.number} failed: {t.user_attrs.get("error", "its process died")}\n' for t in failed]
    return '\n'.join(parts)


def _confirmed(name, overrides, values):
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    setting = ', '.join(f'{field}={label(value)}' for field, value in overrides.items()) or "the run's own"
    return [name, f'{np.mean(values):.5g}', f'{error:.2g}', ', '.join(f'{v:.4g}' for v in values), setting]


def _save(path: Path, plot: Callable[..., Any], study: optuna.Study) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Optuna calls its plots experimental
        figure = plot(study).figure
    figure.savefig(path, dpi=110, bbox_inches='tight')
    plt.close(figure)
