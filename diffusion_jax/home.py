"""The home folder in paths that a shell has not seen, as in --workdir=~/runs/x."""

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """The path with a leading ~ or ~user as the folder that it stands for."""
    return Path(os.path.expanduser(path))
