"""MeanFlow's Table 1.

python -m experiments.meanflow_table1 --scale=mini --workdir=runs/meanflow_table1
"""

from diffusion_jax import cli
from experiments.meanflow_table1 import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
