"""The autograd function behind every gradient that computes its own backward pass."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from nodebench.spec import SolveFailed, Status

HIDDEN = (
    "this gradient needs every tensor that the field depends on among the field's parameters, and this field depends "
    "on others; use direct or checkpoint"
)
TIMES = "this gradient has no derivative by the output times; use direct or adjoint"


class Pullback:
    """Vector-Jacobian products of a field, with the gradients of its parameters added up.

    Args:
        field: module ``(t, y) -> dy/dt``.
        parameters: what is differentiated beside the state.

    Attributes:
        gradients: of the parameters so far; None where nothing has arrived.
    """

    def __init__(self, field: nn.Module, parameters: Sequence[Tensor]) -> None:
        self.field = field
        self.parameters = tuple(parameters)
        self.gradients: list[Tensor | None] = [None] * len(self.parameters)
        self._checked = False

    def of(self, outputs: Sequence[Tensor], state: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """The gradient of a state, from those of outputs that were computed from it with a graph.

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
        """One evaluation at a state, and the gradient of the state from that of the evaluation."""
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
    """A state at which a graph begins."""
    return y.detach().requires_grad_()


class Scheme(ABC):
    """A way to solve without a graph and to differentiate afterwards; one object for one solve."""

    field: nn.Module

    @abstractmethod
    def solve(self, y0: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the states at the output times ``(T, *S)``, and the tensors that the backward pass needs."""

    @abstractmethod
    def differentiate(self, kept: list[Tensor], gradient: Tensor, pullback: Pullback) -> Tensor:
        """Return the gradient of the initial state, from what was kept and the gradient ``(T, *S)`` of the states."""


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
    """States ``(T, *S)`` whose gradient is that of a scheme, by the initial state and the field's parameters.

    Raises:
        SolveFailed: the times need a gradient.
    """
    if times.requires_grad:
        raise SolveFailed(Status.UNSUPPORTED, TIMES)
    parameters = [one for one in scheme.field.parameters() if one.requires_grad]
    states: Tensor = _Differentiated.apply(scheme, y0, *parameters)
    return states
