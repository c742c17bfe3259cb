"""What a solver adapter is: one backend behind one small protocol.

A new adapter is a subclass of ``SolverAdapter`` and one entry point in the group
``nodebench.solvers``. It takes a ``nodebench.instruments.CountedField``, so it counts nothing itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from nodebench.instruments import CountedField
from nodebench.spec import Batching, Compile, Gradient, SolveFailed, Status
from nodebench.spec.trial import USUAL_DTYPES, Dtype

Event = Callable[[Tensor, Tensor], Tensor]  # of time and state; the solve ends where its value changes its sign


@dataclass(frozen=True)
class Method:
    """A numerical method of a backend.

    Attributes:
        about: one line for a person.
        order: of accuracy; None for methods that change it as they go.
        adaptive: whether it chooses its steps.
        implicit: whether it solves an equation in each step.
        alias_of: the method of which this is another name; None if it is none.
    """

    about: str
    order: int | None
    adaptive: bool
    implicit: bool = False
    alias_of: str | None = None

    @property
    def has_tolerance(self) -> bool:
        """An implicit fixed-step method uses its tolerance to end the inner iteration."""
        return self.adaptive or self.implicit


@dataclass(frozen=True)
class StepControl:
    """How a solve steps and how it is differentiated.

    Attributes:
        method: the name of the method within its backend.
        rtol: relative tolerance.
        atol: absolute tolerance.
        step_size: of a fixed-step method. An adaptive method holds its step at it, which is how its order is observed;
            no trial does that.
        gradient: how the solve is differentiated; None where no gradient is needed.
        adjoint_rtol: relative tolerance of the backward solve.
        adjoint_atol: absolute tolerance of the backward solve.
        segments: of the gradient ``checkpoint``; None leaves their number to the library.
        coupling: of the gradient ``reversible``; None is 0.99.
        batching: how the samples of a batch share their steps; None is ``joint``.
        compile: what is compiled; None for nothing.
        first_step: of each solve by an adaptive method, also of an adjoint's and of each segment; positive whatever the
            direction of time. None leaves it to the library.
        land_on_outputs: whether a step ends at each output time, where an adaptive method would step past it and
            interpolate at an order below its own (in torchdiffeq a quartic, also for ``dopri8``). No trial asks for it.
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
        """Whether the gradient needs all that the field depends on among the field's parameters."""
        return self.gradient is not None and self.gradient.needs_parameters

    @property
    def adjoint_tolerances_differ(self) -> bool:
        """Whether the adjoint has tolerances other than those of the forward solve."""
        own = (self.adjoint_rtol, self.adjoint_atol)
        return self.adjoint_rtol is not None and own != (self.rtol, self.atol)


def takes_one(field: nn.Module, t: Tensor, y: Tensor) -> bool:
    """Whether a field can be evaluated at the members ``y`` alone; one that holds something for each cannot."""
    try:
        with torch.no_grad():
            return bool(field(t, y).shape == y.shape)
    except Exception:  # whatever a user's field raises at a batch that it was not written for
        return False


def check_states(backend: str, states: Any, y0: Tensor, times: Tensor) -> None:
    """Check that a solve gave ``(T, *S)`` states of the dtype and on the device of ``y0``.

    Raises:
        SolveFailed: it did not; the error is the adapter's.
    """
    wanted = (len(times), *y0.shape), y0.dtype, y0.device
    found = (tuple(states.shape), states.dtype, states.device) if isinstance(states, Tensor) else (type(states),)
    if found != wanted:
        given, expected = (", ".join(map(str, one)) for one in (found, wanted))
        raise SolveFailed(Status.ERROR, f"the adapter of backend {backend} returned {given}; expected {expected}")


BOUND = "the field holds something for each member of its batch, and so cannot be solved one by one"


def written(number: float | None) -> str:
    """A number as it is typed in a program: ``0.25``, ``1e-05``, ``None``."""
    return "None" if number is None else f"{number:g}"


def written_tolerances(rtol: float | None, atol: float | None, suffix: str = "") -> str:
    """Tolerances as arguments of a call: ``rtol=1e-05, atol=1e-05``."""
    return f"rtol{suffix}={written(rtol)}, atol{suffix}={written(atol)}"


def adapter_code(solver: str, control: StepControl) -> str:
    """Lines of Python that do a solve through its adapter, for what no library has."""
    given = {field.name: getattr(control, field.name) for field in fields(control)[1:]}
    told = [
        f"{name}={type(value).__name__}.{value.name}" if isinstance(value, Enum) else f"{name}={value!r}"
        for name, value in given.items()
        if value not in (None, False)
    ]
    lines = [
        "from nodebench.instruments import CountedField, NfeCounter",
        "from nodebench.solvers import StepControl, find_solver",
        "from nodebench.spec import Batching, Compile, Gradient",
        "",
        f"control = StepControl({', '.join([repr(control.method), *told])})",
        f"adapter = find_solver({solver!r})[0]",
        "states = adapter.solve(CountedField(field, NfeCounter()), y0, times, control)",
    ]
    return "\n".join(lines)


class SolverAdapter(ABC):
    """One backend.

    Attributes:
        backend: the name before the colon in ``scipy:LSODA``.
        source: where its documentation lies.
        gradients: what it can differentiate by.
        batchings: how it can step a batch, its default first.
        compiles: what of it can be compiled, its default first.
        package: what has to be installed for it, beside nodebench itself.
        dtypes: those that the states can have.
        takes_first_step: whether its adaptive methods can be given their first step.
        holds_steps: whether its adaptive methods can be held at a constant step.
        couples: whether its gradient ``reversible`` has a coupling.
        in_torch: whether its own users write their fields in torch.
    """

    backend: str
    source: str
    gradients: frozenset[Gradient]
    batchings: tuple[Batching, ...] = (Batching.JOINT,)
    compiles: tuple[Compile, ...] = (Compile.EAGER, Compile.FIELD)
    package: str | None = None
    dtypes: tuple[Dtype, ...] = USUAL_DTYPES
    takes_first_step: bool = False
    holds_steps: bool = True
    couples: bool = False
    in_torch: bool = True

    @abstractmethod
    def methods(self) -> Mapping[str, Method]:
        """What the installed library offers, by the library's own names."""

    @abstractmethod
    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Solve ``dy/dt = field(t, y)`` from ``y(times[0]) = y0``.

        Args:
            field: the counted vector field. Its time is a scalar; a method that steps each sample on its own
                gives it times ``(B, 1, …)``, of as many dimensions as the state.
            y0: initial state, any shape ``S``, floating point.
            times: output times, shape ``(T,)``, strictly monotone, the first one the start.
            control: method, tolerances and gradient.

        Returns:
            The states at ``times``, shape ``(T, *S)``, of the dtype and on the device of ``y0``; the trial ends as an
            error otherwise.
        """

    def solve_until_event(
        self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl, event: Event
    ) -> tuple[Tensor, Tensor]:
        """Solve until an event, for backends that can.

        Args:
            field: the counted vector field.
            y0: initial state, any shape ``S``.
            times: the start and another time, which gives the direction, shape ``(2,)``.
            control: method, tolerances and gradient.
            event: maps time and state to a number.

        Returns:
            The time of the event, a scalar, and the states at the start and at the event, shape ``(2, *S)``.

        Raises:
            SolveFailed: the backend or the gradient has no events.
        """
        whose = f"backend {self.backend} with gradient {control.gradient}"
        raise SolveFailed(Status.UNSUPPORTED, f"{whose} has no events; use a solver of torchdiffeq, direct or adjoint")

    def unseen(self, control: StepControl) -> Mapping[str, str]:
        """Figures of a training step that the meters cannot see here, each with the reason."""
        if control.compile is None:
            return {}
        # Under a dispatch mode the compiler steps aside, and what is measured is the eager field.
        return dict.fromkeys(("tensor_peak_bytes", "saved_bytes"), "compiled code does not pass torch's dispatcher")

    def code(self, control: StepControl) -> str:
        """Lines of Python that do this solve in the library itself, of ``field``, ``y0`` and ``times``."""
        return f"# {self.backend}, method {control.method}, gradient {control.gradient}: see {self.source}"

    def classify(self, error: BaseException) -> Status | None:
        """Name the status behind an exception that this backend raised; None if it is not its kind."""
        return None
