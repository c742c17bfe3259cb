"""The one door through which a model's solves pass."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.utils.checkpoint import CheckpointError

from nodebench.instruments import CountedField, NfeCounter
from nodebench.solvers.contract import Event, SolverAdapter, StepControl, check_states
from nodebench.solvers.gradients.checkpoint import COMPUTED_BEFORE, NOT_REPEATED, REACHED_TWICE
from nodebench.solvers.kept import Kept
from nodebench.solvers.precision import is_standstill
from nodebench.spec import Compile, Gradient, SolveFailed, Status

COMPLEX_ADJOINT = (
    "an adjoint solves states and gradients of parameters as one real state, and this field has complex parameters; "
    "use direct or checkpoint"
)
SECOND_DERIVATIVE = (
    "torch.compile has first derivatives only, and the field or the loss takes a second one; use --compile eager, or "
    "take the inner derivative with torch.func while torch.compiler.is_compiling() is true"
)
# What torch says then: with the buffers of the first derivative given away, and with them kept.
_TAKES_SECOND = re.compile(r"donated buffer|double backward")

# How a model solves: field, y0 and times to the states at the times, as ``Integrator`` does.
Solve = Callable[[nn.Module, Tensor, Tensor], Tensor]
Trace = list[tuple[nn.Module, Tensor, Tensor, Tensor]]
Observer = Callable[[nn.Module, Tensor, Tensor], None]  # of field, y0 and times, before the solve


class Integrator:
    """Solves for a model, by the adapter and step control now in force, under one counter.

    A model calls it as ``states = solve(field, y0, times)`` and knows nothing else. The passes of a trial
    exchange what stands behind it with ``using``, so that one trained model can be solved by a
    reference method, at other tolerances, and under a counter that the training never sees.
    """

    def __init__(self, adapter: SolverAdapter, control: StepControl, counter: NfeCounter) -> None:
        self.adapter = adapter
        self.control = control
        self.counter = counter
        self.latest = counter  # of the latest solve: where a failure stood
        self._trace: Trace | None = None
        self._observe: Observer | None = None
        self._compiled = Kept[nn.Module]()

    def __call__(self, field: nn.Module, y0: Tensor, times: Tensor) -> Tensor:
        """Return the states at ``times``, shape ``(T, *y0.shape)``; see ``SolverAdapter.solve``.

        ``field`` is a module, so that the adjoint and the float64 reference find its parameters.
        """
        counted = self._begin(field, y0, times)
        states = self.adapter.solve(counted, y0, times, self.control)
        self.counter.end_solve()
        check_states(self.adapter.backend, states, y0, times)
        if is_standstill(field, states.detach(), times):
            raise SolveFailed(
                Status.STANDSTILL,
                f"no output state differs from the initial one in {str(y0.dtype).removeprefix('torch.')}",
            )
        if self._trace is not None:
            self._trace.append((field, y0.detach(), times.detach(), states.detach()))
        return states

    def until_event(self, field: nn.Module, y0: Tensor, times: Tensor, event: Event) -> tuple[Tensor, Tensor]:
        """Return the time of an event and the states ``(2, *y0.shape)``; see ``SolverAdapter.solve_until_event``.

        Where solves are traced, this one counts as a solve from the start to the event.
        """
        counted = self._begin(field, y0, times)
        time, states = self.adapter.solve_until_event(counted, y0, times, self.control, event)
        self.counter.end_solve()
        check_states(self.adapter.backend, states, y0, times)
        if self._trace is not None:
            ends = torch.stack([times[0].detach(), time.detach().reshape(()).to(times)])
            self._trace.append((field, y0.detach(), ends, states.detach()))
        return time, states

    def _begin(self, field: nn.Module, y0: Tensor, times: Tensor) -> CountedField:
        """Begin a solve; return the field with the counter."""
        self.latest = self.counter
        if self._observe is not None:
            self._observe(field, y0.detach(), times.detach())
        if self.control.solves_backwards and any(p.is_complex() and p.requires_grad for p in field.parameters()):
            raise SolveFailed(Status.UNSUPPORTED, COMPLEX_ADJOINT)
        self.counter.begin_solve()
        return CountedField(field, self.counter, self._compile(field))

    def _compile(self, field: nn.Module) -> nn.Module | None:
        if self.control.compile is not Compile.FIELD:
            return None
        if self.control.solves_backwards:
            # An adjoint keeps the graph of an evaluation after it was differentiated, which donated buffers forbid.
            functorch_config.donated_buffer = False
        return self._compiled.get(field, "compiled", lambda: cast(nn.Module, torch.compile(field)))

    @contextmanager
    def using(
        self,
        counter: NfeCounter,
        control: StepControl | None = None,
        adapter: SolverAdapter | None = None,
        trace: Trace | None = None,
        observe: Observer | None = None,
    ) -> Iterator[None]:
        """Solve otherwise inside the context; ``trace`` collects (field, y0, times, states) of each solve.

        ``observe`` is called with field, initial state and times before each solve.
        """
        before = self.adapter, self.control, self.counter, self._trace, self._observe
        self.adapter, self.control = adapter or self.adapter, control or self.control
        self.counter, self._trace, self._observe = counter, trace, observe
        try:
            yield
        finally:
            self.adapter, self.control, self.counter, self._trace, self._observe = before

    def failure(self, error: BaseException) -> SolveFailed | None:
        """Return the failed solve behind an exception, which may have come through autograd; None if it is none."""
        if isinstance(error, SolveFailed):
            return error
        if isinstance(error, CheckpointError):
            return SolveFailed(Status.UNSUPPORTED, NOT_REPEATED)
        if self.control.gradient is Gradient.CHECKPOINT and REACHED_TWICE in str(error):
            return SolveFailed(Status.UNSUPPORTED, COMPUTED_BEFORE)
        if self.control.compile is Compile.FIELD and _TAKES_SECOND.search(str(error)):
            return SolveFailed(Status.UNSUPPORTED, SECOND_DERIVATIVE)
        status = self.adapter.classify(error)
        return SolveFailed(status, str(error)) if status else None

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Integrator":
        """A copy of a model solves through the same door."""
        return self
