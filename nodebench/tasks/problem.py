"""``Problem``: a user's vector field or model, with its data and its loss."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nodebench.errors import BadInput
from nodebench.solvers.states import PlainFunction, States

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem to solve and differentiate: a vector field with initial states, or a model with ODE blocks.

    Example::

        problem = nodebench.Problem(field=Decay(), y0=torch.ones(8, 2), t=torch.linspace(0, 5, 20))
        run = nodebench.run(problem, solver=["dopri5", "rk4"], gradient=["direct", "adjoint"])

    A model calls ``nodebench.odeint`` instead of ``torchdiffeq.odeint``. The trial then sets its solver, tolerances and
    gradient method.

    Attributes:
        field: vector field ``(t, y) -> dy/dt``: a module, a function, or a class or a function without arguments that
            makes a module, which is called after ``torch.manual_seed(seed)``.
        model: a module with ODE blocks, or a class or function without arguments that makes it; instead of ``field``.
        y0: initial states of ``field``: a tensor, a tuple of tensors, or a function that draws either from a
            ``torch.Generator``, once per step.
        t: output times of ``field``, from the start time on: shape ``(T,)``, or ``(B, T)`` if each sample has its own.
        data: batches, for example a ``DataLoader``: tensors or tuples of tensors. For a field, the first tensor of a
            batch is the initial state.
        loss: function that returns a scalar. For a field: ``loss(states, *rest)``, where ``states`` has shape
            ``(T, *y0.shape)`` (if ``y0`` is a tuple, ``states`` is a tuple, too) and ``rest`` is the rest of the batch;
            default: the mean square of the states after the start time. For a model: ``loss(model, *batch)``.
        metrics: function ``metrics(model)`` that returns numbers by name for the trained model. For a field,
            ``model.vector_field`` is the trained field.
        optimizer: function that makes an optimiser from parameters; None to measure steps without training.
        epochs: number of training epochs.
        steps_per_epoch: None for one pass over ``data``, or 10 steps without data.
        name: name in records and tables.
    """

    field: Any = None
    model: Any = None
    y0: States | Callable[[torch.Generator], States] | None = None
    t: Tensor | None = None
    data: Iterable[Any] | None = None
    loss: Callable[..., Tensor] | None = None
    metrics: Callable[[nn.Module], Mapping[str, float]] | None = None
    optimizer: Optimizer | None = None
    epochs: int = 1
    steps_per_epoch: int | None = None
    name: str = "problem"

    def __post_init__(self) -> None:
        if (self.field is None) == (self.model is None):
            raise BadInput("Problem: give either field or model")
        self._check_parts()
        self._check_numbers()
        if self.t is not None:
            _check_times(torch.as_tensor(self.t))

    def _check_parts(self) -> None:
        """Check that the arguments suit a field or a model."""
        needed = ("t",) if self.field is not None else ("data", "loss")
        foreign = () if self.field is not None else ("y0", "t")
        if missing := [name for name in needed if getattr(self, name) is None]:
            raise BadInput(f"Problem: {'a field' if self.field is not None else 'a model'} needs {', '.join(missing)}")
        if given := [name for name in foreign if getattr(self, name) is not None]:
            raise BadInput(f"Problem: {', '.join(given)} can be given only with a field, not with a model")
        if self.field is not None and (self.y0 is None) == (self.data is None):
            raise BadInput("Problem: a field needs either y0, or data whose batches begin with the initial state")
        for name in ("loss", "metrics", "optimizer"):
            if (value := getattr(self, name)) is not None and not callable(value):
                raise BadInput(f"Problem: {name} must be callable, not a {type(value).__name__}")

    def _check_numbers(self) -> None:
        for name in ("epochs", "steps_per_epoch"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise BadInput(f"Problem: {name}={value!r}: a whole number, at least 1")


def problem_of(found: object, name: str) -> Problem:
    """Return ``found`` if it is a problem, else the problem that the function ``found`` returns.

    Raises:
        BadInput: the result is not a problem.
    """
    made = found() if callable(found) and not isinstance(found, Problem) else found
    if not isinstance(made, Problem):
        raise BadInput(f"{name} is a {type(made).__name__}, not a nodebench.Problem nor a function that returns one")
    return made


def module_of(found: Any, name: str) -> nn.Module:
    """Return a module from a module, a class or function without arguments that makes one, or a function ``(t, y)``.

    Raises:
        BadInput: ``found`` is none of these.
    """
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise BadInput(f"{name} is a {type(found).__name__}, not a torch.nn.Module nor a function")
    if name == "field" and not inspect.isclass(found) and _needs_two(found):
        return PlainFunction(found)
    made = found()
    if not isinstance(made, nn.Module):
        raise BadInput(f"{name}() returned a {type(made).__name__}, not a torch.nn.Module")
    return made


def _needs_two(function: Callable[..., Any]) -> bool:
    """Return whether a function accepts ``(t, y)``; True if its signature cannot be read."""
    try:
        inspect.signature(function).bind(0, 0)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _check_times(t: Tensor) -> None:
    if t.ndim not in (1, 2) or t.shape[-1] < 2:
        raise BadInput(f"Problem: t has shape {tuple(t.shape)}; it needs (T,) or (B, T), with T at least 2")
    steps = t.diff(dim=-1)
    increasing, decreasing = bool((steps > 0).all()), bool((steps < 0).all())
    if not (increasing or (decreasing and t.ndim == 1)):
        which = "strictly increasing or decreasing" if t.ndim == 1 else "strictly increasing for each sample"
        raise BadInput(f"Problem: t must be {which}")
    if t.ndim == 2 and not bool((t[:, :1] == t[:1, :1]).all()):
        raise BadInput("Problem: t of shape (B, T) must have the same start time for each sample")
