"""Import a user's module named ``module:name``, and identify its code and state by hashes."""

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from nodebench.distributions import installed
from nodebench.errors import BadInput
from nodebench.objects import load_object, module_name
from nodebench.solvers.precision import plain_tensors
from nodebench.spec import Measured

_DIGITS = 16  # of each hash
# The environment in a record lists these already; a new version of torch is not a change of the user's code.
_IN_ENVIRONMENT = frozenset({"torch", "torchvision", "torchdiffeq", "numpy", "scipy", "pandas"})

_FOLDERS = {"site-packages", "dist-packages"}


def load_module(name: str) -> nn.Module:
    """Return the torch module named ``module:name`` or ``file.py:name``; a class or function is called to make it.

    Raises:
        BadInput: the object cannot be found or made, or is not a module; the message is one line.
    """
    made = load_object(name, lambda found: found if isinstance(found, nn.Module) else found())
    if not isinstance(made, nn.Module):
        raise BadInput(f"{name} is a {type(made).__name__}, not a torch.nn.Module")
    return made


def identify(name: str, made: nn.Module, data: Iterable[Tensor] = ()) -> Measured:
    """Return hashes of the code and the current state of a module from ``load_module``.

    Args:
        name: as given to ``load_module``; empty if no file or module is named.
        made: the module.
        data: tensors that belong to the state.

    The user's modules are the named module, the modules that define the classes of ``made``, and the modules that these
    import. Modules of Python, nodebench and installed packages are excluded.
    """
    starts = [module_name(name.rpartition(":")[0]), *(type(part).__module__ for part in made.modules())]
    files: dict[str, str] = {}
    packages: dict[str, str] = {}
    waiting = list(dict.fromkeys(starts))
    seen: set[str] = set()
    while waiting:
        module = sys.modules.get(current := waiting.pop())
        if module is None or current in seen:
            continue
        seen.add(current)
        top = current.partition(".")[0]
        if top in sys.stdlib_module_names or top in _IN_ENVIRONMENT or top == "nodebench":
            continue
        path = _file(module)
        if path is not None and _is_installed(path):
            packages |= _distributions(top)
            continue
        if path is not None:
            content = path.read_bytes()
            label = path.name if current.startswith("file ") else current
            files[label] = hashlib.sha256(content).hexdigest()[:_DIGITS]
            waiting += _imported(content, module)
        waiting += [current.rpartition(".")[0]]  # importing a module also runs its parent package
    return Measured(
        modules=dict(sorted(files.items())), packages=dict(sorted(packages.items())), state=_state(made, data)
    )


def _file(module: ModuleType) -> Path | None:
    """Return the file of a module; None for a built-in module or a folder without ``__init__.py``."""
    name = getattr(module, "__file__", None)
    path = Path(name) if name else None
    return path if path is not None and path.is_file() else None


def _is_installed(path: Path) -> bool:
    """Return whether a file belongs to an installed package; editable installs count as the user's code."""
    folders = {sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib", "platstdlib")}
    return any(path.is_relative_to(folder) for folder in folders) or bool(_FOLDERS & set(path.parts))


def _imported(source: bytes, module: ModuleType) -> list[str]:
    """Return the modules that a Python file may import, also inside functions; none for a compiled file."""
    names: list[str] = []
    with suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(node, module)
                names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _absolute(node: ast.ImportFrom, module: ModuleType) -> str:
    """The full name of the module that ``from … import`` reads."""
    if not node.level:
        return node.module or ""
    package = (module.__package__ or "").split(".")
    parts = package[: len(package) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


@cache
def _owners() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _distributions(top: str) -> dict[str, str]:
    """Return the installed distributions of a top-level module, with version and, if known, commit."""
    found = {name: installed(name) for name in set(_owners().get(top, ()))}
    return {name: f"{one.version}@{one.commit}" if one.commit else one.version for name, one in found.items() if one}


def _state(made: nn.Module, data: Iterable[Tensor]) -> str:
    """The hash of all tensors of a module, with their names, shapes and types, and of data."""
    tensors: Iterable[tuple[str, Tensor]] = (
        *made.named_parameters(),
        *made.named_buffers(),
        *sorted(plain_tensors(made).items()),
        *(("data", tensor) for tensor in data),
    )
    known = hashlib.sha256()
    for name, tensor in tensors:
        known.update(f"{name} {tensor.dtype}".encode())
        if not torch.nn.parameter.is_lazy(tensor):
            known.update(str(tuple(tensor.shape)).encode())
            known.update(_bytes(tensor))
    return known.hexdigest()[:_DIGITS]


def _bytes(tensor: Tensor) -> bytes:
    dense = tensor.detach().to_dense() if tensor.layout is not torch.strided else tensor.detach()
    contiguous = dense.cpu().resolve_conj().contiguous().reshape(-1)
    return bytes(contiguous.view(torch.uint8).numpy().tobytes())
