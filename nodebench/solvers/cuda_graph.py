"""A vector field replayed as CUDA graphs: one launch for all kernels of an evaluation, and one for its gradient."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nodebench.instruments import Evaluate
from nodebench.solvers.field_cache import FieldCache
from nodebench.spec import SolveFailed, Status

LOOSE_TENSOR = (
    "a CUDA graph replays the values that a field had when it was captured, but this field has a tensor that is "
    "neither a parameter nor a buffer: {}; use --compile eager"
)
OVERWRITTEN = "a CUDA graph keeps the activations of its latest evaluation only, but an earlier one is differentiated"
WARM_UPS = 3  # evaluations before a capture, as in torch.cuda.make_graphed_callables


class GraphedFields:
    """The captured evaluations of fields, by field, shape and mode."""

    def __init__(self) -> None:
        self._captured = FieldCache[_Evaluation]()

    def of(self, field: nn.Module) -> Evaluate:
        """Return a function with the values and the gradients of ``field``.

        It captures the field when it is called with a new shape. Its result may be differentiated once, before the
        next call; this is what an adjoint does.

        Raises:
            SolveFailed: the field has a tensor that a graph would not follow.
        """
        if (name := loose_tensor(field)) is not None:
            raise SolveFailed(Status.UNSUPPORTED, LOOSE_TENSOR.format(name))

        def evaluate(t: Tensor, y: Tensor) -> Tensor:
            key = (y.shape, y.dtype, t.shape, t.dtype, t.requires_grad, field.training)
            captured = self._captured.get(field, key, lambda: _Evaluation(field, t, y))
            slope: Tensor = _Replay.apply(captured, t, y, *captured.parameters)
            return slope

        return evaluate


def loose_tensor(field: nn.Module) -> str | None:
    """Return the name of a tensor attribute that is neither a parameter nor a buffer; None if there is none."""
    for path, module in field.named_modules():
        for name, value in vars(module).items():
            held = value.values() if type(value) is dict else value if isinstance(value, list | tuple) else [value]
            if not name.startswith("_") and any(isinstance(one, Tensor) for one in held):
                return f"{path}.{name}".lstrip(".")
    return None


class _Evaluation:
    """The graphs of one evaluation and of its vector–Jacobian product, with their inputs and outputs.

    Args:
        field: the field, on a CUDA device.
        t: a time; its gradient is computed if it requires one.
        y: a state, of the shape of all later ones.
    """

    def __init__(self, field: nn.Module, t: Tensor, y: Tensor) -> None:
        self.parameters = [one for one in field.parameters() if one.requires_grad]
        self.evaluations = 0
        self._t = t.detach().clone().requires_grad_(t.requires_grad)
        self._y = y.detach().clone().requires_grad_()
        self._inputs = (*([self._t] if t.requires_grad else []), self._y, *self.parameters)
        self._adjoint = torch.ones_like(y)
        self._forward, self._backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        buffers = [(one, one.clone()) for one in field.buffers()]
        with torch.enable_grad():
            self._warm_up(field)
            with torch.cuda.graph(self._forward):
                self._slope = field(self._t, self._y)
            with torch.cuda.graph(self._backward, pool=self._forward.pool()):
                self._gradients = self._differentiate(self._slope)
        for buffer, before in buffers:
            buffer.copy_(before)

    def slope(self, t: Tensor, y: Tensor) -> Tensor:
        """Evaluate the field."""
        self.evaluations += 1
        with torch.no_grad():
            self._t.copy_(t)
            self._y.copy_(y)
        self._forward.replay()
        return self._slope.detach().clone()

    def gradients(self, adjoint: Tensor) -> list[Tensor | None]:
        """Gradients with respect to time, state and parameters, of the latest evaluation; None where there is none."""
        self._adjoint.copy_(adjoint)
        self._backward.replay()
        found = [None if one is None else one.clone() for one in self._gradients]
        return found if self._t.requires_grad else [None, *found]

    def _warm_up(self, field: nn.Module) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._differentiate(field(self._t, self._y))
        torch.cuda.current_stream().wait_stream(stream)

    def _differentiate(self, slope: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(slope, self._inputs, self._adjoint, allow_unused=True)


class _Replay(torch.autograd.Function):
    """One evaluation by replay, and its gradient by a second replay."""

    @staticmethod
    def forward(ctx: Any, captured: _Evaluation, t: Tensor, y: Tensor, *_parameters: Tensor) -> Tensor:
        slope = captured.slope(t, y)
        ctx.captured, ctx.evaluation = captured, captured.evaluations
        return slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, adjoint: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.evaluation != ctx.captured.evaluations:
            raise SolveFailed(Status.UNSUPPORTED, OVERWRITTEN)
        return None, *ctx.captured.gradients(adjoint)
