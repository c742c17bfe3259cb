"""The autograd function shared by all gradient methods that compute their own backward pass."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from nodebench.spec import SolveFailed, Status

HIDDEN = (
    "this gradient requires every tensor that the field depends on to be a parameter of the field, but this field "
    "depends on others; use direct or checkpoint"
)
TIMES = "this gradient does not differentiate with respect to the output times; use direct or adjoint"


class Pullback:
    """Computes vector-Jacobian products of a field and accumulates the gradients of its parameters.

    Args:
        field: module ``(t, y) -> dy/dt``.
        parameters: tensors to differentiate with respect to, in addition to the state.

    Attributes:
        gradients: accumulated gradients of the parameters; None for a parameter without a gradient so far.
    """

    def __init__(self, field: nn.Module, parameters: Sequence[Tensor]) -> None:
        self.field = field
        self.parameters = tuple(parameters)
        self.gradients: list[Tensor | None] = [None] * len(self.parameters)
        self._checked = False

    def of(self, outputs: Sequence[Tensor], state: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """Return the gradient of a state, given the gradients of outputs that were computed from it with a graph.

        Raises:
            SolveFailed: the outputs depend on a tensor that is not among the parameters.
        """
        pairs = [pair for pair in zip(outputs, gradients, strict=True) if pair[0].requires_grad]
        if not pairs:
            return torch.zeros_like(state)
        if not self._checked:
            self._refuse_hidden([output for output, _ in pairs], state)
        roots, arriving = zip(*pairs, strict=True)
        found, *of_parameters = torch.autograd.grad(roots, (state, *self.parameters), arriving, allow_unused=True)
        for i, one in enumerate(of_parameters):
            if one is not None:
                so_far = self.gradients[i]
                self.gradients[i] = one if so_far is None else so_far + one
        return torch.zeros_like(state) if found is None else found

    def through(self, t: Tensor, y: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the field at a state; return its value, and the state's gradient given that of the value."""
        state = leaf(y)
        with torch.enable_grad():
            slope = self.field(t, state)
        return slope.detach(), self.of([slope], state, [gradient])

    def _refuse_hidden(self, outputs: Sequence[Tensor], state: Tensor) -> None:
        known = {id(one) for one in (state, *self.parameters)}
        waiting = [output.grad_fn for output in outputs]
        seen: set[Node] = set()
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            variable = getattr(node, "variable", None)  # of a node that accumulates the gradient of a leaf
            if variable is not None and id(variable) not in known:
                raise SolveFailed(Status.UNSUPPORTED, HIDDEN)
            waiting += [following for following, _ in node.next_functions]
        self._checked = True


def leaf(y: Tensor) -> Tensor:
    """Return the state as a leaf of a new graph."""
    return y.detach().requires_grad_()


class Scheme(ABC):
    """Solves without a graph and differentiates afterwards; one instance per solve."""

    field: nn.Module

    @abstractmethod
    def solve(self, y0: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the states at the output times ``(T, *S)``, and the tensors that the backward pass needs."""

    @abstractmethod
    def differentiate(self, kept: list[Tensor], gradient: Tensor, pullback: Pullback) -> Tensor:
        """Return the gradient of the initial state, given the kept tensors and the states' gradient ``(T, *S)``."""


class _Differentiated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scheme: Scheme, y0: Tensor, *parameters: Tensor) -> Tensor:
        states, kept = scheme.solve(y0.detach())
        ctx.scheme, ctx.parameters = scheme, parameters
        ctx.save_for_backward(*kept)
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        pullback = Pullback(ctx.scheme.field, ctx.parameters)
        of_y0 = ctx.scheme.differentiate(list(ctx.saved_tensors), gradient, pullback)
        return None, of_y0, *pullback.gradients


def solve_by(scheme: Scheme, y0: Tensor, times: Tensor) -> Tensor:
    """Solve by a scheme; return states ``(T, *S)`` with gradients for the initial state and the parameters.

    Raises:
        SolveFailed: the output times require a gradient.
    """
    if times.requires_grad:
        raise SolveFailed(Status.UNSUPPORTED, TIMES)
    parameters = [one for one in scheme.field.parameters() if one.requires_grad]
    states: Tensor = _Differentiated.apply(scheme, y0, *parameters)
    return states
