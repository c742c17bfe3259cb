"""Load objects by name: ``module:name``, or ``file.py:name`` for a file outside any package."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from nodebench.errors import BadInput, nearest


def load_object(name: str, make: Callable[[Any], Any] = lambda found: found) -> Any:
    """Load the object ``module:name`` or ``file.py:name`` and return ``make(object)``, by default the object itself.

    Raises:
        BadInput: the import or ``make`` failed, or there is no such name. The message is one line.
    """
    place, colon, attribute = name.rpartition(":")
    if not (place and colon and attribute):
        raise BadInput(f"'{name}': write it as module:name or file.py:name")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        with _arguments_of(place):
            module = _import(place)
            if not hasattr(module, attribute):
                near = nearest(attribute, [one for one in vars(module) if not one.startswith("_")])
                raise BadInput(f"{place} has no '{attribute}'" + (f"; did you mean {near}?" if near else ""))
            return make(getattr(module, attribute))
    except BadInput as error:
        raise BadInput(f"{name} cannot be loaded: {error}") from error
    except SystemExit as error:
        reason = f"it exited with code {error.code}; a script does this if a required argument is missing"
        raise BadInput(f"{name} cannot be loaded: {reason}") from error
    except Exception as error:
        raise BadInput(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error


def _import(place: str) -> ModuleType:
    """Import a module by its name, or a file by its path; the file may import modules from its own folder."""
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = Path(place).absolute()
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    if (name := module_name(place)) in sys.modules:
        return sys.modules[name]
    sys.path[:] = [str(path.parent), *(folder for folder in sys.path if folder != str(path.parent))]
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsItIs(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as an import does: dataclasses and pickle look for it there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _AsItIs(SourceFileLoader):
    """Compile a file on every import.

    Python reuses cached bytecode if the file has the same size and the same modification time in whole seconds.
    Therefore it would miss a quick edit.
    """

    def get_code(self, fullname: str) -> CodeType:
        """Compile the current content of the file."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def module_name(place: str) -> str:
    """Return the name under which a module or a file is imported.

    A file is not imported under its plain name: ``problem.py`` must not clash with an installed module ``problem``.
    """
    return f"file {Path(place).absolute()}" if place.endswith(".py") else place


@contextmanager
def _arguments_of(module: str) -> Iterator[None]:
    """Hide nodebench's arguments from a module that reads the command line when it is imported."""
    before = sys.argv
    sys.argv = [module]
    try:
        yield
    finally:
        sys.argv = before
