"""The bugs that `tests.mutants` plants, a file for each part of the package."""

import importlib
import pkgutil

from tests.planted.mutant import Mutant as Mutant

_FILES = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != 'mutant')
MUTANTS = tuple(bug for name in _FILES for bug in importlib.import_module(f'tests.planted.{name}').MUTANTS)
