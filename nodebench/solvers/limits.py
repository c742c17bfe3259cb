"""Checks before a solve for fields that a library's adjoint cannot differentiate; the library itself fails later."""

from collections import Counter

import torch
from torch import Tensor, nn

from nodebench.spec import SolveFailed, Status


def refuse_frozen(field: nn.Module, library: str) -> None:
    """Refuse a field with a parameter that does not require a gradient.

    Raises:
        SolveFailed: the field has one; the status is ``unsupported``, and the message names the parameter.
    """
    frozen = next((name for name, value in field.named_parameters() if not value.requires_grad), None)
    if frozen is not None:
        raise _unsupported(f"the adjoint of {library} needs the gradient of every parameter, and '{frozen}' is frozen")


def refuse_unused(field: nn.Module, t: Tensor, y: Tensor, library: str) -> None:
    """Refuse a field whose value at ``t`` and ``y`` does not depend on the state or on one of its parameters.

    Evaluates the field once.

    Raises:
        SolveFailed: the status is ``unsupported``, and the message names the state or parameter without effect.
    """
    named = dict(field.named_parameters())
    with torch.enable_grad():
        state = y.detach().requires_grad_()
        value = field(t.detach(), state)
        leaves = [state, *named.values()]
        gradients = torch.autograd.grad(value.sum(), leaves, allow_unused=True) if value.requires_grad else [None]
    for name, gradient in zip(("the state", *(f"parameter '{name}'" for name in named)), gradients, strict=False):
        if gradient is None:
            raise _unsupported(f"the adjoint of {library} needs a field that depends on {name}, and this one does not")


def refuse_shared(field: nn.Module, library: str) -> None:
    """Refuse a field that registers the same submodule with parameters more than once.

    Raises:
        SolveFailed: the field has one; the status is ``unsupported``, and the message names the submodule.
    """
    places = Counter(id(module) for _, module in field.named_modules(remove_duplicate=False))
    for name, module in field.named_modules():
        if places[id(module)] > 1 and any(True for _ in module.parameters()):
            raise _unsupported(f"{library} gives a wrong gradient if a module is registered twice, and '{name}' is")


def _unsupported(message: str) -> SolveFailed:
    return SolveFailed(Status.UNSUPPORTED, message)
