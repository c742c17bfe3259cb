"""The interface of a solver adapter, which wraps one backend.

A new adapter is a subclass of ``SolverAdapter`` and one entry point in the group
``nodebench.solvers``. It receives a ``nodebench.instruments.CountedField``,
which counts the evaluations.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from nodebench.instruments import CountedField
from nodebench.spec import Batching, Compile, Gradient, SolveFailed, Status
from nodebench.spec.trial import USUAL_DTYPES, Dtype

Event = Callable[[Tensor, Tensor], Tensor]  # (t, y) -> number; the solve ends where the number changes sign


@dataclass(frozen=True)
class Method:
    """A numerical method of a backend.

    Attributes:
        about: one-line description.
        order: order of accuracy; None for methods of variable order.
        adaptive: whether the method adapts its step size.
        implicit: whether it solves an equation in each step.
        alias_of: the method that this name is an alias of; None if it is not an alias.
    """

    about: str
    order: int | None
    adaptive: bool
    implicit: bool = False
    alias_of: str | None = None

    @property
    def has_tolerance(self) -> bool:
        """Whether the method uses a tolerance; an implicit fixed-step method uses it to end the inner iteration."""
        return self.adaptive or self.implicit


@dataclass(frozen=True)
class StepControl:
    """Method, step size, tolerances and gradient of a solve.

    Attributes:
        method: the name of the method within its backend.
        rtol: relative tolerance.
        atol: absolute tolerance.
        step_size: step size of a fixed-step method. With an adaptive method the step size is held constant; metrics
            such as the observed order use this, but a trial cannot set it.
        gradient: how the solve is differentiated; None if no gradient is needed.
        adjoint_rtol: relative tolerance of the backward solve.
        adjoint_atol: absolute tolerance of the backward solve.
        segments: number of segments of the gradient ``checkpoint``; None lets the library choose.
        coupling: coupling of the gradient ``reversible``; None means 0.99.
        batching: how the samples of a batch share their steps; None is ``joint``.
        compile: what is compiled; None for nothing.
        first_step: size of the first step of each adaptive solve, including the backward solve of an adjoint and each
            segment; positive even if time decreases. None lets the library choose.
        land_on_outputs: whether a step ends at each output time. Otherwise an adaptive method steps past it and
            interpolates with a lower order than its own (torchdiffeq: a quartic, even for ``dopri8``). Only references
            use it; a trial cannot set it.
    """

    method: str
    rtol: float | None = None
    atol: float | None = None
    step_size: float | None = None
    gradient: Gradient | None = None
    adjoint_rtol: float | None = None
    adjoint_atol: float | None = None
    segments: int | None = None
    coupling: float | None = None
    batching: Batching | None = None
    compile: Compile | None = None
    first_step: float | None = None
    land_on_outputs: bool = False

    @property
    def solves_backwards(self) -> bool:
        """Whether a second ODE is solved for the gradient."""
        return self.gradient is not None and self.gradient.solves_backwards

    @property
    def needs_parameters(self) -> bool:
        """Whether the gradient requires every tensor that the field depends on to be a parameter of the field."""
        return self.gradient is not None and self.gradient.needs_parameters

    @property
    def adjoint_tolerances_differ(self) -> bool:
        """Whether the adjoint has tolerances other than those of the forward solve."""
        own = (self.adjoint_rtol, self.adjoint_atol)
        return self.adjoint_rtol is not None and own != (self.rtol, self.atol)


def takes_one(field: nn.Module, t: Tensor, y: Tensor) -> bool:
    """Return whether a field can be evaluated on the samples ``y`` alone; one with per-sample state cannot."""
    try:
        with torch.no_grad():
            return bool(field(t, y).shape == y.shape)
    except Exception:  # a user's field may raise anything for an unexpected batch size
        return False


def check_states(backend: str, states: Any, y0: Tensor, times: Tensor) -> None:
    """Check that a solve returned states ``(T, *S)`` with the dtype and device of ``y0``.

    Raises:
        SolveFailed: it did not, which is a bug in the adapter.
    """
    wanted = (len(times), *y0.shape), y0.dtype, y0.device
    found = (tuple(states.shape), states.dtype, states.device) if isinstance(states, Tensor) else (type(states),)
    if found != wanted:
        given, expected = (", ".join(map(str, one)) for one in (found, wanted))
        raise SolveFailed(Status.ERROR, f"the adapter of backend {backend} returned {given}; expected {expected}")


BOUND = "the field stores per-sample state, so its samples cannot be solved one by one"


def written(number: float | None) -> str:
    """A number as it is typed in a program: ``0.25``, ``1e-05``, ``None``."""
    return "None" if number is None else f"{number:g}"


def written_tolerances(rtol: float | None, atol: float | None, suffix: str = "") -> str:
    """Tolerances as arguments of a call: ``rtol=1e-05, atol=1e-05``."""
    return f"rtol{suffix}={written(rtol)}, atol{suffix}={written(atol)}"


def adapter_code(solver: str, control: StepControl) -> str:
    """Return Python code that solves through an adapter, for methods and gradients that no library offers."""
    given = {field.name: getattr(control, field.name) for field in fields(control)[1:]}
    settings = [
        f"{name}={type(value).__name__}.{value.name}" if isinstance(value, Enum) else f"{name}={value!r}"
        for name, value in given.items()
        if value not in (None, False)
    ]
    lines = [
        "from nodebench.instruments import CountedField, NfeCounter",
        "from nodebench.solvers import StepControl, find_solver",
        "from nodebench.spec import Batching, Compile, Gradient",
        "",
        f"control = StepControl({', '.join([repr(control.method), *settings])})",
        f"adapter = find_solver({solver!r})[0]",
        "states = adapter.solve(CountedField(field, NfeCounter()), y0, times, control)",
    ]
    return "\n".join(lines)


class SolverAdapter(ABC):
    """Base class of the adapters; each wraps one backend.

    Attributes:
        backend: the name before the colon in ``scipy:LSODA``.
        source: URL of its documentation.
        gradients: the gradient methods it supports.
        batchings: the batchings it supports, the default first.
        compiles: what can be compiled, the default first.
        package: the package it needs in addition to nodebench; None if there is none.
        dtypes: the dtypes it supports for states.
        takes_first_step: whether its adaptive methods can be given their first step.
        holds_steps: whether its adaptive methods can keep a constant step size.
        couples: whether its gradient ``reversible`` has a coupling.
        in_torch: whether users of the backend write their fields in torch.
    """

    backend: Annotated[str, Field(pattern=r"^[^\s,:/]+$")]
    source: str
    gradients: frozenset[Gradient]
    batchings: Annotated[tuple[Batching, ...], Field(min_length=1)] = (Batching.JOINT,)
    compiles: Annotated[tuple[Compile, ...], Field(min_length=1)] = (Compile.EAGER, Compile.FIELD)
    package: str | None = None
    dtypes: Annotated[tuple[Dtype, ...], Field(min_length=1)] = USUAL_DTYPES
    takes_first_step: bool = False
    holds_steps: bool = True
    couples: bool = False
    in_torch: bool = True

    @abstractmethod
    def methods(self) -> Mapping[str, Method]:
        """Return the methods of the installed library by the library's own names."""

    @abstractmethod
    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Solve ``dy/dt = field(t, y)`` from ``y(times[0]) = y0``.

        Args:
            field: the counted vector field. It receives a scalar time; a method that steps each sample
                separately passes times ``(B, 1, …)`` with as many dimensions as the state.
            y0: initial state, any shape ``S``, floating point.
            times: output times, shape ``(T,)``, strictly monotone, starting at the initial time.
            control: method, tolerances and gradient.

        Returns:
            The states at ``times``, shape ``(T, *S)``, with the dtype and device of ``y0``; otherwise the trial ends
            with an error.
        """

    def solve_until_event(
        self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl, event: Event
    ) -> tuple[Tensor, Tensor]:
        """Solve until an event, if the backend supports events.

        Args:
            field: the counted vector field.
            y0: initial state, any shape ``S``.
            times: the initial time and a second time that sets the direction, shape ``(2,)``.
            control: method, tolerances and gradient.
            event: maps time and state to a number.

        Returns:
            The time of the event, a scalar, and the states at the start and at the event, shape ``(2, *S)``.

        Raises:
            SolveFailed: the backend or the gradient does not support events.
        """
        whose = f"backend {self.backend} with gradient {control.gradient}"
        raise SolveFailed(Status.UNSUPPORTED, f"{whose} supports no events; use torchdiffeq with direct or adjoint")

    def unseen(self, control: StepControl) -> Mapping[str, str]:
        """Return the metrics of a training step that cannot be measured here, each with the reason."""
        if control.compile is None:
            return {}
        # A dispatch mode disables torch.compile, so the meters would measure the eager field.
        return dict.fromkeys(("tensor_peak_bytes", "saved_bytes"), "compiled code does not pass torch's dispatcher")

    def code(self, control: StepControl) -> str:
        """Return Python code that solves with the library itself, given ``field``, ``y0`` and ``times``."""
        return f"# {self.backend}, method {control.method}, gradient {control.gradient}: see {self.source}"

    def classify(self, error: BaseException) -> Status | None:
        """Return the status for an exception raised by this backend; None for an unknown exception."""
        return None
