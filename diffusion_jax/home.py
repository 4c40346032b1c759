"""The home folder: in paths that a shell has not seen, as in --workdir=~/runs/x, and what is kept there."""

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with a leading ~ or ~user as the folder that it stands for."""
    return Path(os.path.expanduser(path))


def compile_cache() -> Path:
    """Where programs are kept so that a second run need not compile again; a user's own setting comes first."""
    return Path(os.environ.get('JAX_COMPILATION_CACHE_DIR') or Path.home() / '.cache' / 'diffusion_jax')


def data_sets() -> Path:
    """Where tensorflow-datasets prepares sets, unless it is told another folder."""
    return expanded(os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets')
