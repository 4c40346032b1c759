r"""Fields against their law: the spectrum of samples, and ensembles of forecasts against the exact posterior.

    python -m experiments.fields --workdir=runs/fields --sampling=heun@18 --sampling=ddim:eta=1.0@50

A row for each SAMPLER@STEPS, for a run on a Gaussian law (data.name=gaussian_fields). Spectrum and structure function:
the largest relative deviation from the law over the resolved shells and over all distances. Forecasts of the last
channel for states of the test split: by editing, the channels before it given, of a run that learnt them all; of a run
that was told them, as it draws. CRPS over the exact posterior's own, and spread over error: both are 1 for the law.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from diffusion_jax import builders, cli, editing, samplers
from diffusion_jax.builders import specs
from diffusion_jax.data import gaussian_fields
from diffusion_jax.devices import cores
from diffusion_jax.editing.operators import inpaint
from diffusion_jax.editing.travel import time_travel, travels
from diffusion_jax.errors import UserError
from diffusion_jax.evaluation import fields
from diffusion_jax.inference import runs
from diffusion_jax.workdir import files, paths
from experiments.running.tables import markdown

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of a run on gaussian_fields.', required=True)
_OUT = flags.DEFINE_string('out', None, 'Folder of the table, fields.md. Default: the workdir.')
_SAMPLING = flags.DEFINE_multi_string(
    'sampling', ['ddim:eta=1.0@50', 'ddim@10', 'ddim@50', 'heun@18'], 'SAMPLER@STEPS, once for each row.'
)
_NUM = flags.DEFINE_integer('num', 4000, 'Samples for the spectrum.', lower_bound=100)
_STATES = flags.DEFINE_integer('states', 32, 'To forecast from.', lower_bound=2)
_MEMBERS = flags.DEFINE_integer('members', 32, 'Of each ensemble.', lower_bound=2)
_REPEATS = flags.DEFINE_integer('repeats', 1, 'Passes through every step of a forecast by editing.', lower_bound=1)
_HEAD = (
    'sampler',
    'steps',
    'spectrum, largest error',
    'structure function, largest error',
    'CRPS / exact',
    'spread / error',
)


def main() -> None:
    """The entry point."""
    cores.take()
    workdir = paths.parse(_WORKDIR.value)
    run = runs.load(workdir)
    if run.config['data']['name'] != 'gaussian_fields':
        raise UserError(f'{workdir} was not trained on gaussian_fields, whose law is known')
    law = specs.make(specs.LAWS, run.config['data']['law'], {}, 'config.data.law')
    plans = [(text, *_plan(run, text)) for text in _SAMPLING.value]
    out = (paths.parse(_OUT.value) if _OUT.value else workdir) / 'fields.md'
    files.check_writable(out)
    rows = [['data', '', *_floor(law)]]
    for text, spec, n in plans:
        start = time.process_time()
        rows.append([text.rpartition('@')[0], str(n), *_row(run, spec, law)])
        print(*rows[-1], f'{time.process_time() - start:.0f} CPU s', flush=True)
    table = markdown(_HEAD, rows)
    files.write_text(out, table)
    print(f'\n{table}\nstep {run.step}, {_NUM.value} samples, {_STATES.value} states, {_MEMBERS.value} members each')


def _plan(run, text) -> tuple[dict[str, Any], int]:
    sampler, at, steps = text.rpartition('@')
    if not at or not steps.isdigit() or steps == '0':
        raise UserError(f'--sampling={text}: the form is SAMPLER@STEPS, such as ddim:eta=1.0@50')
    return runs.sample_spec(run.config['sample'], runs.Choices(sampler, int(steps))), int(steps)


def _row(run, spec, law):
    """The cells of a sampler."""
    x = runs.draw(run, spec, _NUM.value)
    y, members = _ensemble(run, spec, law)
    return [*_deviations(x, law), *_scores(members, y, law)]


def _deviations(x, law):
    """Largest relative errors of spectrum and structure function; of the last channels, where only they are drawn."""
    exact = np.asarray(law.spectrum)[..., -x.shape[-1] :, -x.shape[-1] :]
    found = fields.spectrum(x).power / fields.spectrum_of_law(exact)
    structure = fields.structure_function(x) / fields.structure_function_of_law(exact)
    return [f'{np.abs(ratio - 1).max():.3f}' for ratio in (found, structure)]


def _scores(members, y, law):
    if members is None:
        return ['', '']
    exact = fields.gaussian_crps(float(gaussian_fields.forecast(law).std))
    return [f'{fields.crps(members, y).mean() / exact:.3f}', f'{fields.spread_over_error(members, y):.3f}']


def _floor(law):
    """The same of the law's own samples: what chance alone makes of so few."""
    key, key_x, key_members = jax.random.split(jax.random.key(1), 3)
    x = np.asarray(gaussian_fields.sample(law, key_x, _NUM.value))
    if law.spectrum.shape[-1] == 1:
        return [*_deviations(x, law), '', '']
    states = gaussian_fields.sample(law, key, _STATES.value)
    exact = gaussian_fields.forecast(law)
    rest = gaussian_fields.sample(exact.remainder, key_members, _MEMBERS.value * _STATES.value)
    members = exact.mean(states[..., :-1])[None] + rest.reshape(_MEMBERS.value, *states[..., -1:].shape)
    return [*_deviations(x, law), *_scores(np.asarray(members), np.asarray(states[..., -1:]), law)]


def _ensemble(run, spec, law):
    """What followed each state `[S, H, W, 1]`, and forecasts of it `[M, S, H, W, 1]`; none of a single channel."""
    if law.spectrum.shape[-1] == 1:
        return None, None
    states = gaussian_fields.sample(law, jax.random.key(1), _STATES.value)
    told = run.experiment.source.condition is not None
    grid, make_sampler = builders.build_sampling(run.experiment, spec)
    schedule, shape = run.experiment.schedule, run.experiment.shape
    known = jnp.arange(states.shape[-1]) < states.shape[-1] - 1
    operator = inpaint(known[None, None])

    @jax.jit
    def by_editing(params, key):
        keys = jax.random.split(key, len(states))
        edit = lambda denoise: editing.project(denoise, operator, operator.A(states))  # noqa: E731
        sampler = time_travel(make_sampler(params, keys, None, edit=edit), schedule)
        path = travels(grid, repeats=_REPEATS.value)
        return editing.restore(sampler, schedule, operator, keys, operator.A(states), path)[..., -1:]

    @jax.jit
    def as_told(params, key):
        keys = jax.random.split(key, len(states))
        null = run.experiment.source.condition.null
        cond = null._replace(values=states[..., :-1], mask=jnp.ones(len(states), bool))
        x = samplers.prior(samplers.fold_in(keys, 0), schedule, (len(states), *shape), float(grid[0]))
        return samplers.sample(make_sampler(params, keys, cond), samplers.fold_in(keys, 1), x, grid)

    draw = as_told if told else by_editing
    keys = jax.random.split(jax.random.key(2), _MEMBERS.value)
    return np.asarray(states[..., -1:]), np.stack([np.asarray(draw(run.params, key)) for key in keys])


if __name__ == '__main__':
    cli.run(main)
