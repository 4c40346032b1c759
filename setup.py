"""Which folders the wheel holds; all else is in pyproject.toml.

`configs` and `experiments` go into `diffusion_jax/shipped`, see there: names so common have no place at the top.
"""

from setuptools import find_namespace_packages, setup

INSIDE = 'diffusion_jax.shipped'
beside = find_namespace_packages(include=['configs', 'experiments', 'experiments.*'])

setup(
    packages=[
        *find_namespace_packages(include=['diffusion_jax', 'diffusion_jax.*']),
        *(f'{INSIDE}.{p}' for p in beside),
    ],
    package_dir={f'{INSIDE}.{top}': top for top in ('configs', 'experiments')},
)
