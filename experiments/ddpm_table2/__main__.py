"""DDPM's Table 2.

python -m experiments.ddpm_table2 --scale=mini --workdir=runs/ddpm_table2
"""

from diffusion_jax import cli
from experiments.ddpm_table2 import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
