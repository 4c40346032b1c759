"""Consistency models' Tables 1 and 2.

python -m experiments.cm_table --scale=mini --workdir=runs/cm_table
"""

from diffusion_jax import cli
from experiments.cm_table import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
