"""Continuous-time consistency models, ingredient by ingredient.

python -m experiments.scm_ablation --scale=mini --workdir=runs/scm_ablation
"""

from diffusion_jax import cli
from experiments.papers import command
from experiments.scm_ablation import analyse, sweep

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
