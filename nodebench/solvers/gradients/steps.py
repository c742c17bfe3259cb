"""The accepted steps of a solve by torchdiffeq, recorded while the library takes them."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from nodebench.instruments import CountedField
from nodebench.solvers.gradients.tableau import Tableau, tableau_of
from nodebench.spec import SolveFailed, Status

LibrarySolve = Callable[[Tensor, Tensor], Tensor]  # (y0, times) -> states, for a fixed field


@dataclass(frozen=True)
class TakenStep:
    """One accepted step.

    Attributes:
        t: time at its start.
        dt: its size, negative where time decreases.
        outputs: index of each output time in the step, and its position as a fraction of the step.
    """

    t: float
    dt: float
    outputs: tuple[tuple[int, float], ...]


def replayable(method: str) -> Tableau:
    """Return the tableau of a method whose steps can be recomputed one by one.

    Raises:
        SolveFailed: a step of the library's method depends on the step before.
    """
    tableau = tableau_of(method)
    if tableau.error is not None and not tableau.reuses:
        message = (
            f"torchdiffeq starts each step of {method} with the last stage of the previous step, which was evaluated "
            "at another state than the start of the step; its steps cannot be recomputed one by one"
        )
        raise SolveFailed(Status.UNSUPPORTED, message)
    return tableau


def recorded(
    solve: LibrarySolve, field: CountedField, y0: Tensor, times: Tensor, adaptive: bool
) -> tuple[Tensor, list[TakenStep], list[Tensor]]:
    """The library's states at ``times``, its accepted steps, and the state at the start of each."""
    starts: list[tuple[float, float]] = []
    states: list[Tensor] = []

    def note(t: Tensor, y: Tensor, dt: Tensor) -> None:
        starts.append((float(t), float(dt)))
        states.append(y)

    def begin(t: Tensor, y: Tensor, dt: Tensor) -> None:
        field.counter.on_step(t, y, dt)
        note(t, y, dt)

    field.__dict__.update({"callback_accept_step": note} if adaptive else {"callback_step": begin})
    found = solve(y0, times)
    return found, with_outputs(starts, times), states


def with_outputs(starts: list[tuple[float, float]], times: Tensor) -> list[TakenStep]:
    """Build steps from start times and positive sizes; each output time belongs to the first step that reaches it."""
    wanted = times.tolist()
    sign = 1.0 if wanted[-1] > wanted[0] else -1.0
    ends = [t for t, _ in starts[1:]] + [wanted[-1]]
    taken, index = [], 1
    for (t, dt), end in zip(starts, ends, strict=True):
        outputs = []
        while index < len(wanted) and (wanted[index] - end) * sign <= 0:
            outputs.append((index, min(1.0, (wanted[index] - t) * sign / dt)))
            index += 1
        taken.append(TakenStep(t, sign * dt, tuple(outputs)))
    return taken
