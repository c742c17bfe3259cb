"""``odeint`` and ``odeint_adjoint`` with the signatures of torchdiffeq, whose solves a trial can measure.

A program imports them in place of torchdiffeq's. Within a trial of the task ``problem`` the trial decides the solver,
the tolerances and the gradient. Anywhere else they call torchdiffeq with what they are given, and count.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torchdiffeq
from torch import Tensor, nn

from nodebench.errors import BadInput
from nodebench.instruments import CountedField, NfeCounter
from nodebench.solvers.integrator import Integrator
from nodebench.solvers.states import Flat, PlainFunction, States, pack, unpack

Func = Callable[[Tensor, Any], Any]

_active: list[Integrator] = []  # the integrator of the trial that this process runs, if it runs one
counter = NfeCounter()  # of the solves outside trials
_by_field: list[Counter[int]] = []  # evaluations by the id of the field, where somebody counts them


def activate(solve: Integrator) -> None:
    """Have every later call of ``odeint`` solve with the integrator of a trial."""
    _active[:] = [solve]


def evaluations() -> int:
    """Return how often ``odeint`` and ``odeint_adjoint`` have evaluated vector fields outside trials."""
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
    rtol: float = 1e-7,
    atol: float = 1e-9,
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
        The states at ``t``, shape ``(T, *y0.shape)``, for each tensor of a tuple; with ``event_fn`` what torchdiffeq
        returns.

    Raises:
        BadInput: within a trial, ``event_fn`` is given.
    """
    if _active:
        return _measured(func, y0, t, event_fn)
    more = {"rtol": rtol, "atol": atol, "method": method, "options": options, "event_fn": event_fn}
    return torchdiffeq.odeint(CountedField(_module(func), counter), y0, t, **more)


def odeint_adjoint(
    func: Func,
    y0: States,
    t: Tensor,
    *,
    rtol: float = 1e-7,
    atol: float = 1e-9,
    method: str | None = None,
    options: dict[str, Any] | None = None,
    event_fn: Callable[[Tensor, Any], Tensor] | None = None,
    adjoint_rtol: float | None = None,
    adjoint_atol: float | None = None,
    adjoint_method: str | None = None,
    adjoint_options: dict[str, Any] | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
) -> Any:
    """Solve as ``odeint`` does; outside trials gradients are those of ``torchdiffeq.odeint_adjoint``.

    Within a trial the trial decides the gradient too, so that both functions do the same.
    """
    if _active:
        return _measured(func, y0, t, event_fn)
    if not isinstance(func, nn.Module) and adjoint_params is None:
        raise BadInput("odeint_adjoint: func must be a torch.nn.Module, or adjoint_params be given")
    more: dict[str, Any] = {"rtol": rtol, "atol": atol, "method": method, "options": options, "event_fn": event_fn}
    given = {
        "adjoint_rtol": adjoint_rtol,
        "adjoint_atol": adjoint_atol,
        "adjoint_method": adjoint_method,
        "adjoint_options": adjoint_options,
        "adjoint_params": adjoint_params,
    }
    more |= {name: value for name, value in given.items() if value is not None}
    return torchdiffeq.odeint_adjoint(CountedField(_module(func), counter), y0, t, **more)


def _measured(func: Func, y0: States, t: Tensor, event_fn: object) -> Any:
    if event_fn is not None:
        raise BadInput("odeint: event_fn cannot be measured in a trial")
    solve, module, start = _active[0], _module(func), pack(y0)
    shapes = None if isinstance(y0, Tensor) else tuple(one.shape for one in y0)
    before = solve.counter.forward
    states = solve(module if shapes is None else Flat(module, shapes), start, t.to(start.dtype))
    for found in _by_field:
        found[id(func)] += solve.counter.forward - before
    return states if shapes is None else unpack(states, shapes)


def _module(func: Func) -> nn.Module:
    return func if isinstance(func, nn.Module) else PlainFunction(cast(Callable[[Tensor, Tensor], Tensor], func))
