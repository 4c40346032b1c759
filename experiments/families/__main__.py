"""DDPM, DDIM and consistency models.

python -m experiments.families --scale=mini --workdir=runs/families
"""

from diffusion_jax import cli
from experiments.families import analyse, sweep
from experiments.papers import command

main = command.define(analyse.TABLE, sweep.plan)

if __name__ == '__main__':
    cli.run(main)
