"""Consistency models' Figure 3.

python -m experiments.cm_figure3 --scale=mini --workdir=runs/cm_figure3
"""

from diffusion_jax import cli
from experiments.cm_figure3 import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
