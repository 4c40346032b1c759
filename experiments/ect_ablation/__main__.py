"""Easy consistency tuning, ingredient by ingredient.

python -m experiments.ect_ablation --scale=mini --workdir=runs/ect_ablation
"""

from diffusion_jax import cli
from experiments.ect_ablation import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
