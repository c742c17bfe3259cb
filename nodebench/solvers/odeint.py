"""Drop-in replacements for torchdiffeq's functions, whose solves a trial can measure.

A program imports them instead of torchdiffeq's. Within a trial of the task ``problem`` the trial sets the solver, the
tolerances and the gradient. Outside a trial they pass their arguments to torchdiffeq and count the evaluations.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torchdiffeq
from torch import Tensor, nn
from torchdiffeq._impl.adjoint import find_parameters
from torchdiffeq._impl.misc import _all_adjoint_callback_names, _all_callback_names

from nodebench.errors import BadInput
from nodebench.instruments import CountedField, NfeCounter
from nodebench.solvers.contract import Event
from nodebench.solvers.integrator import Integrator
from nodebench.solvers.states import Flat, PlainFunction, Shapes, States, WithParameters, pack, unpack
from nodebench.spec import SolveFailed, Status

Func = Callable[[Tensor, Any], Any]

HIDDEN_PARAMETERS = (
    "the gradient needs the parameters of the field, but this field is a plain function that uses some; make it a"
    " torch.nn.Module, or pass its torch.nn.Parameters to odeint_adjoint as adjoint_params"
)

_active: list[Integrator] = []  # the integrator of the trial that this process runs, if it runs one
counter = NfeCounter()  # of the solves outside trials
_by_field: list[Counter[int]] = []  # one per open counting_by_field(): evaluations by the id of the field


def activate(solve: Integrator) -> None:
    """Make all later calls of ``odeint`` solve with the integrator of a trial."""
    _active[:] = [solve]


def evaluations() -> int:
    """Return how often the functions of this module have evaluated vector fields outside trials."""
    return counter.forward + counter.backward


@contextmanager
def counting_by_field() -> Iterator[Counter[int]]:
    """Count the evaluations of forward solves within a trial by the ``id`` of the field that ``odeint`` was given."""
    found: Counter[int] = Counter()
    _by_field.append(found)
    try:
        yield found
    finally:
        _by_field.remove(found)


def odeint(
    func: Func,
    y0: States,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
) -> Any:
    """Solve dy/dt = func(t, y), y(t[0]) = y0.

    Within a trial of the task ``problem``, ``rtol``, ``atol``, ``method`` and ``options`` are those of the trial.

    Args:
        func: vector field, a module or a function.
        y0: initial state, a tensor of any shape or a tuple of tensors.
        t: output times, shape ``(T,)``, strictly increasing or decreasing.
        rtol, atol, method, options, event_fn: see ``torchdiffeq.odeint``.

    Returns:
        The states at ``t``, shape ``(T, *y0.shape)``, for each tensor of a tuple; with ``event_fn`` the time of the
        event and the states at the start and at the event.
    """
    if _active:
        return _measured(func, y0, t, event_fn)
    more = {"rtol": rtol, "atol": atol, "method": method, "options": options, "event_fn": event_fn}
    return torchdiffeq.odeint(_counted(func), y0, t, **more)


def odeint_adjoint(
    func: Func,
    y0: States,
    t: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
    adjoint_rtol: Any = None,
    adjoint_atol: Any = None,
    adjoint_method: str | None = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
) -> Any:
    """Solve as ``odeint`` does; outside trials gradients are those of ``torchdiffeq.odeint_adjoint``.

    Within a trial the trial also sets the gradient, so both functions behave the same. Every parameter of ``func``
    and every ``torch.nn.Parameter`` in ``adjoint_params`` gets a gradient.
    """
    adjoint_params = None if adjoint_params is None else tuple(adjoint_params)
    if _active:
        return _measured(func, y0, t, event_fn, adjoint_params or ())
    if adjoint_params is None and isinstance(func, nn.Module):
        adjoint_params = tuple(find_parameters(func))  # of func: a wrapper would hide those of a DataParallel replica
    return torchdiffeq.odeint_adjoint(
        func if adjoint_params is None else _counted(func),  # torchdiffeq refuses a function without parameters
        y0,
        t,
        rtol=rtol,
        atol=atol,
        method=method,
        options=options,
        event_fn=event_fn,
        adjoint_rtol=adjoint_rtol,
        adjoint_atol=adjoint_atol,
        adjoint_method=adjoint_method,
        adjoint_options=adjoint_options,
        adjoint_params=adjoint_params,
    )


def odeint_event(
    func: Func,
    y0: States,
    t0: Tensor,
    *,
    event_fn: Callable[[Tensor, Any], Tensor],
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **more: Any,
) -> Any:
    """Solve until an event, whose time has a gradient; see ``torchdiffeq.odeint_event``.

    The one evaluation of ``func`` in the backward pass, for the gradient of the time, is not counted.

    Args:
        func: see ``odeint``.
        y0: see ``odeint``.
        t0: start time, a scalar tensor.
        event_fn: maps time and state to a number; the solve ends where it is zero.
        reverse_time: whether time decreases.
        odeint_interface: ``odeint`` or ``odeint_adjoint`` of nodebench.
        more: arguments of ``odeint_interface``.

    Returns:
        The time of the event, and the states at the start and at the event.
    """
    given = {"event_fn": event_fn, "reverse_time": reverse_time, "odeint_interface": odeint_interface}
    return torchdiffeq.odeint_event(func, y0, t0, **given, **more)


def odeint_dense(
    func: Func,
    y0: Tensor,
    t0: Tensor,
    t1: Tensor,
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
) -> Callable[[Tensor], Tensor]:
    """Solve with dopri5 and return the solution as a function of time; see ``torchdiffeq.odeint_dense``.

    Raises:
        BadInput: called within a trial, whose solver may not support dense output.
    """
    if _active:
        raise BadInput("odeint_dense cannot be measured in a trial; call odeint with the times that are needed")
    more = {"rtol": rtol, "atol": atol, "method": method, "options": options}
    found: Callable[[Tensor], Tensor] = torchdiffeq.odeint_dense(_counted(func), y0, t0, t1, **more)
    return found


def _counted(func: Func) -> CountedField:
    """A field whose calls are counted, with the callbacks that torchdiffeq looks for."""
    counted = CountedField(_module(func), counter)
    names = (*_all_callback_names, *_all_adjoint_callback_names)
    counted.__dict__.update({name: getattr(func, name) for name in names if hasattr(func, name)})
    return counted


def _of_vector(event_fn: Callable[[Tensor, Any], Tensor], shapes: Shapes | None) -> Event:
    """Convert an event function of tuples of tensors to one of packed vectors."""
    return event_fn if shapes is None else lambda t, y: event_fn(t, unpack(y, shapes))


def _measured(
    func: Func,
    y0: States,
    t: Tensor,
    event_fn: Callable[[Tensor, Any], Tensor] | None,
    parameters: Sequence[Tensor] = (),
) -> Any:
    """Solve with the integrator of the trial."""
    solve, module, start = _active[0], _module(func, parameters), pack(y0)
    shapes = None if isinstance(y0, Tensor) else tuple(one.shape for one in y0)
    if solve.control.needs_parameters and not isinstance(func, nn.Module):
        _refuse_hidden_parameters(func, module, y0, t)
    field, times = module if shapes is None else Flat(module, shapes), t.to(start.dtype)
    before = solve.counter.forward
    if event_fn is None:
        time, states = None, solve(field, start, times)
    else:
        time, states = solve.until_event(field, start, times[:2], _of_vector(event_fn, shapes))
    for found in _by_field:
        found[id(func)] += solve.counter.forward - before
    unpacked = states if shapes is None else unpack(states, shapes)
    return unpacked if time is None else (time, unpacked)


def _refuse_hidden_parameters(func: Func, module: nn.Module, y0: States, t: Tensor) -> None:
    """Refuse a function whose derivative depends on parameters that the gradient would not find.

    Raises:
        SolveFailed: the derivative depends on parameters that the field does not register.
    """
    if next(module.parameters(), None) is not None:
        return
    states = y0.detach() if isinstance(y0, Tensor) else tuple(one.detach() for one in y0)
    derivative: States = func(t[0].detach(), states)
    parts = (derivative,) if isinstance(derivative, Tensor) else derivative
    if any(part.requires_grad for part in parts):
        raise SolveFailed(Status.UNSUPPORTED, HIDDEN_PARAMETERS)


def _module(func: Func, parameters: Sequence[Tensor] = ()) -> nn.Module:
    """Return a field as a module, with ``parameters`` registered in addition to its own."""
    module = func if isinstance(func, nn.Module) else PlainFunction(cast(Callable[[Tensor, Tensor], Tensor], func))
    own = set(map(id, module.parameters()))
    more = [one for one in parameters if isinstance(one, nn.Parameter) and id(one) not in own]
    return WithParameters(module, more) if more else module
