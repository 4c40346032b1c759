"""Programs built on the package: the quickstart, benchmarks, paper tables."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)  # files of yours in a folder of this name are found beside these
