"""Modules and tensors in another precision. Complex tensors stay complex."""

import copy
import io
from collections.abc import Iterator
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

_COMPLEX = {torch.float64: torch.complex128}  # of any other precision: complex64
_DEPTH = 4  # levels of nested containers that are searched for tensors
_REGISTERED = ("_parameters", "_buffers", "_modules")  # what torch itself converts and copies


class NoCopy(Exception):
    """Raised if a module cannot be copied. The message is one line and names the attribute."""


def time_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of times for a state dtype: float32 for 16 bits, which cannot represent small steps."""
    return torch.float32 if dtype.itemsize < torch.float32.itemsize else dtype


def is_standstill(field: nn.Module, states: Tensor, times: Tensor) -> bool:
    """Whether all 16-bit output states equal the initial one although the field is not zero there.

    The usual cause is that each update is rounded to zero; a solution that is at its initial state at every output time
    looks the same. The evaluation of the field is not counted.
    """
    if states.dtype.itemsize >= torch.float32.itemsize or len(times) < 2 or not bool((states == states[0]).all()):
        return False
    with torch.no_grad():
        return bool(field(times[0], states[0]).any())


def converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a real tensor in ``dtype``, a complex one in complex128 for float64 and in complex64 otherwise."""
    if tensor.is_complex():
        return tensor.to(_COMPLEX.get(dtype, torch.complex64))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def convert(module: M, dtype: torch.dtype, device: torch.device | None = None) -> M:
    """Convert the parameters and buffers of a module in place, and return it.

    ``nn.Module.to`` drops the imaginary part of complex tensors, and ``nn.Module.double`` leaves their precision.
    """
    convert_one = partial(_placed, dtype=dtype, device=device)
    module._apply(convert_one)  # type: ignore[no-untyped-call]  # what Module.to calls
    return module


def _placed(tensor: Tensor, dtype: torch.dtype, device: torch.device | None) -> Tensor:
    return converted(tensor if device is None else tensor.to(device), dtype)


def flat_double(tensor: Tensor) -> Tensor:
    """Return a tensor as a real vector in float64; a complex one gives two numbers for each of its elements."""
    parts = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return parts.double().reshape(-1)


def plain_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that a module and its submodules keep as plain attributes, by dotted name.

    Lists, tuples and dictionaries are searched too. Parameters and buffers are left out.
    """
    registered = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    found = {name: tensor for path, value in _attributes(module) for name, tensor in _tensors(path, value)}
    return {name: tensor for name, tensor in found.items() if id(tensor) not in registered}


def copy_in_float64(module: M) -> M:
    """Return a copy of a module in float64, its plain tensors included.

    A plain tensor that was computed from others, such as a kept activation, is detached.

    Raises:
        NoCopy: an attribute cannot be copied.
    """
    copies: dict[int, Any] = {}
    for tensor in plain_tensors(module).values():
        double = converted(tensor.detach().clone(), torch.float64)
        copies[id(tensor)] = double.requires_grad_(tensor.requires_grad and tensor.is_leaf)
    try:
        for part in module.modules():
            if isinstance(part, torch.jit.ScriptModule):
                # deepcopy would tie the copy's parameters to the graph of the originals.
                copies[id(part)] = _copy_of_script(part)
        copied = copy.deepcopy(module, dict(copies))
    except Exception as error:
        raise NoCopy(f"{_culprit(module, copies)} cannot be copied: {type(error).__name__}: {error}") from None
    return convert(copied, torch.float64)


def _copy_of_script(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    file = io.BytesIO()
    torch.jit.save(module, file)
    file.seek(0)
    copied: torch.jit.ScriptModule = torch.jit.load(file)
    return copied.train(module.training)


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield dotted names and plain attributes; skips TorchScript modules, which have no Python attributes."""
    for prefix, part in module.named_modules():
        if not isinstance(part, torch.jit.ScriptModule):
            names = (name for name in vars(part) if name not in _REGISTERED)
            yield from ((f"{prefix}.{name}".lstrip("."), vars(part)[name]) for name in names)


def _tensors(path: str, value: Any, depth: int = _DEPTH) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, list | tuple | dict) and depth:
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from _tensors(f"{path}[{key!r}]", part, depth - 1)


def _culprit(module: nn.Module, copies: dict[int, Any]) -> str:
    """Return the name of the first attribute that cannot be copied, or the module's class if all can."""
    for path, value in _attributes(module):
        try:
            copy.deepcopy(value, dict(copies))
        except Exception:
            return f"the attribute '{path}'"
    return type(module).__name__
