"""DDIM's Table 2, of a trained model; trains it first in a folder without one.

python -m experiments.ddim_table2 --scale=mini --workdir=runs/mnist --data_dir=DIR
"""

from diffusion_jax import cli
from experiments.ddim_table2 import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
