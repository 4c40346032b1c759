r"""Consistency distillation of scenes_text: a picture of a caption in one network evaluation, or two.

    python -m diffusion_jax.train --config=configs/scenes_text_cd.py --workdir=runs/scenes_text_cd \
        --config.init_from=runs/scenes_text
    python -m diffusion_jax.sample --workdir=runs/scenes_text_cd --num=16 --steps=2 \
        --cond=prompts:text='a small red circle left of a blue square'

Cost: not run at its length yet.
Expected: not measured yet; `python -m experiments.scenes` measures it with one step and with two.
"""

from configs import common, methods, scenes_text


def get_config(arg=''):
    """The config of this file; `arg` is '' or 'runlocal'."""
    config = methods.cd(methods.briefly(scenes_text.get_config(), steps=600), {'name': 'l2'}, mu=0.95)
    return common.runlocal(config) if arg == 'runlocal' else config
