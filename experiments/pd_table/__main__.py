"""Progressive distillation's results.

python -m experiments.pd_table --scale=mini --workdir=runs/pd_table
"""

from diffusion_jax import cli
from experiments.papers import command
from experiments.pd_table import analyse, sweep

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
