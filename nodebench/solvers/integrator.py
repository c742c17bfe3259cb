"""The integrator, which a model calls for each of its solves."""

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
from nodebench.solvers.field_cache import FieldCache
from nodebench.solvers.gradients.checkpoint import COMPUTED_BEFORE, NOT_REPEATED, REACHED_TWICE
from nodebench.solvers.precision import is_standstill
from nodebench.spec import Compile, Gradient, SolveFailed, Status

COMPLEX_ADJOINT = (
    "an adjoint solves states and parameter gradients as one real state, but this field has complex parameters; "
    "use direct or checkpoint"
)
SECOND_DERIVATIVE = (
    "torch.compile supports first derivatives only, but the field or loss needs a second one; use --compile eager, or "
    "take the inner derivative with torch.func while torch.compiler.is_compiling() is true"
)
# torch's error messages in this case: with and without donated buffers.
_TAKES_SECOND = re.compile(r"donated buffer|double backward")

# The signature of ``Integrator``: (field, y0, times) -> states at the times.
Solve = Callable[[nn.Module, Tensor, Tensor], Tensor]
Trace = list[tuple[nn.Module, Tensor, Tensor, Tensor]]
Observer = Callable[[nn.Module, Tensor, Tensor], None]  # called with field, y0 and times before each solve


class Integrator:
    """Solves for a model with the current adapter, step control and counter.

    A model only calls ``states = solve(field, y0, times)``. The passes of a trial replace the adapter, the step
    control and the counter with ``using``. A trained model can thus be solved by a reference method, at other
    tolerances, and with a counter separate from that of training.
    """

    def __init__(self, adapter: SolverAdapter, control: StepControl, counter: NfeCounter) -> None:
        self.adapter = adapter
        self.control = control
        self.counter = counter
        self.latest = counter  # counter of the latest solve; shows where a failed solve stopped
        self._trace: Trace | None = None
        self._observe: Observer | None = None
        self._compiled = FieldCache[nn.Module]()

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

        A trace records it as a solve from the start to the event.
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
        """Solve with other settings inside the context; ``trace`` collects (field, y0, times, states) of each solve.

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
        """Convert an exception, possibly raised in autograd, to a ``SolveFailed``; None if no solve failed."""
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
        """Return the same integrator, so that a copy of a model shares it."""
        return self
