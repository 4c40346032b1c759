"""One file per run, each with `get_config(arg)`; its docstring is the command, the cost and the expected result."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)  # files of yours in a folder of this name are found beside these
