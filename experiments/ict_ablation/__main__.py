"""Improved consistency training, ingredient by ingredient.

python -m experiments.ict_ablation --scale=mini --workdir=runs/ict_ablation
"""

from diffusion_jax import cli
from experiments.ict_ablation import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
