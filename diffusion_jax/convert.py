r"""Takes official checkpoints in, as workdirs of their own, and gives trained models out.

    python -m diffusion_jax.convert --from=diffusers --in=DIR --workdir=runs/official
    python -m diffusion_jax.convert --from=adm --in=64x64_diffusion.pt --workdir=runs/adm64 \
        --size=64 --head_channels=64 --betas=cosine_betas:T=1000
    python -m diffusion_jax.convert --to=diffusers --workdir=runs/mine --out=DIR

What comes in is sampled, measured, edited and distilled (init_from) as any run is. Every weight has its place, or the
conversion fails with the names that are left over on both sides. Nothing that is there is overwritten. See
docs/networks.md.
"""

from absl import flags

from diffusion_jax import cli
from diffusion_jax.builders import specs
from diffusion_jax.conversion import incoming, outgoing
from diffusion_jax.errors import UserError
from diffusion_jax.inference import runs
from diffusion_jax.interop import adm_unet, official
from diffusion_jax.ranges import MOST
from diffusion_jax.workdir import paths

_TO = {'diffusers': outgoing.to_diffusers, 'safetensors': outgoing.to_safetensors}
_FROM_FLAG = flags.DEFINE_enum('from', None, [*official.SOURCES], 'Whose checkpoint comes in.')
_IN = flags.DEFINE_string('in', None, 'What comes in: a folder of diffusers, or a file of weights.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run: made by --from, read by --to.', required=True)
_TO_FLAG = flags.DEFINE_enum('to', None, [*_TO], 'What goes out.')
_OUT = flags.DEFINE_string('out', None, 'Where it goes: a new folder, or a new file of safetensors.')
_STEP = flags.DEFINE_string('step', 'newest', 'Of --to: which checkpoint, newest, best or its step.')
_EMA = flags.DEFINE_float('ema', None, 'Of --to: length (sigma_rel) of the average, of a run with train.ema_every.')
_SIZE = flags.DEFINE_integer('size', None, 'Height and width of an image, where the file does not say it.', 1, MOST)
_HEADS = flags.DEFINE_integer('heads', None, 'Attention heads, which weights do not say.', 1, MOST)
_HEAD_CHANNELS = flags.DEFINE_integer('head_channels', None, "OpenAI's num_head_channels, instead.", 1, MOST)
_QKV = flags.DEFINE_enum(
    'qkv', None, [*adm_unet.ORDERS], "Order of queries, keys, values and heads in OpenAI's files. Default: --from's."
)
_BETAS = flags.DEFINE_string(
    'betas', None, "Table of betas, where the file does not say it, e.g. cosine_betas:T=1000. Default: --from's."
)
_RESCALED = flags.DEFINE_bool(
    'rescaled', None, "iDDPM's rescale_timesteps: T steps are told as 1000. Default: yes for iddpm, no for adm."
)
_DATA = flags.DEFINE_string(
    'data', None, 'The data that it was trained on, to measure by: NAME:dir=DIR,condition=label. Default: none.'
)


def main() -> None:
    """The entry point."""
    source, target = _FROM_FLAG.value, _TO_FLAG.value
    if (source is None) == (target is None):
        raise UserError('set --from, for what comes in, or --to, for what goes out')
    workdir = paths.parse(_WORKDIR.value)
    if source:
        _check_unused(_OUT, _STEP, _EMA)
        _take_in(source, workdir)
    else:
        _check_unused(_IN, _SIZE, _HEADS, _HEAD_CHANNELS, _QKV, _BETAS, _RESCALED, _DATA)
        out = paths.local(_needed(_OUT))
        run = runs.load(workdir, _STEP.value, sigma_rel=_EMA.value)
        _TO[str(target)](run, out)
        print(f'step {run.step} of {workdir}: {out}')


def _take_in(source: str, workdir: paths.AnyPath) -> None:
    betas = specs.parse_spec(_BETAS.value) if _BETAS.value else None
    asked = official.Asked(_SIZE.value, _HEADS.value, _HEAD_CHANNELS.value, _QKV.value, betas, _RESCALED.value)
    found = official.SOURCES[source](paths.local(_needed(_IN)), asked)
    data = specs.parse_spec(_DATA.value) if _DATA.value else None
    num = incoming.write(workdir, found, source, data)
    print(f'{num:,} parameters of {found.file}: {workdir}')


def _needed(flag: flags.FlagHolder) -> str:
    if not flag.value:
        raise UserError(f'set --{flag.name}, the path of what is converted')
    return flag.value


def _check_unused(*others: flags.FlagHolder) -> None:
    for flag in others:
        if flag.present:
            raise UserError(f'--{flag.name} is of the other direction: leave it out')


if __name__ == '__main__':
    cli.run(main)
