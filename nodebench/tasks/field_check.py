"""Check that a user's vector field can be called and returns a derivative."""

from typing import Any

import torch
from torch import Tensor, nn

from nodebench.errors import BadInput, first_line


def evaluate(field: nn.Module, t: Tensor, states: Tensor, name: str) -> Any:
    """Call a field once, without gradients, and return its output.

    Args:
        field: module ``(t, y) -> dy/dt``.
        t: time, a scalar.
        states: states of any shape.
        name: name of the field for the error message.

    Raises:
        BadInput: the call fails.
    """
    try:
        with torch.no_grad():
            return field(t, states)
    except (Exception, SystemExit) as error:
        called = f"{name}, called with states {tuple(states.shape)}"
        raise BadInput(f"{called}: {type(error).__name__}: {first_line(error)}") from error


def check_field(field: nn.Module, t: Tensor, states: Tensor, name: str) -> None:
    """Call a field once; the derivative must have the shape of the states and hold real numbers.

    Raises:
        BadInput: the call fails, or the output is not a real tensor of the states' shape.
    """
    found = evaluate(field, t, states, name)
    if not isinstance(found, Tensor):
        raise BadInput(f"{name} returns a {type(found).__name__}, not a tensor")
    expected, derivative = tuple(states.shape), tuple(found.shape)
    if derivative != expected:
        raise BadInput(f"{name} maps states {expected} to {derivative}; the shapes must be equal")
    if not found.is_floating_point():
        raise BadInput(f"{name} maps states of {states.dtype} to {found.dtype}; it must return real numbers")
