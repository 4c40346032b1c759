"""EDM's Table 2.

python -m experiments.edm_table2 --scale=mini --workdir=runs/edm_table2
"""

from diffusion_jax import cli
from experiments.edm_table2 import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
