"""Adapter for torchdiffeq: all explicit and implicit methods of the installed version."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
import torchdiffeq
from torch import Tensor
from torchdiffeq._impl.fixed_adams import AdamsBashforthMoulton
from torchdiffeq._impl.odeint import SOLVERS
from torchdiffeq._impl.solvers import AdaptiveStepsizeODESolver, FixedGridODESolver

from nodebench.instruments import CountedField
from nodebench.solvers.contract import (
    Event,
    Method,
    SolverAdapter,
    StepControl,
    adapter_code,
    written,
    written_tolerances,
)
from nodebench.solvers.gradients.aca import AdaptiveCheckpoint
from nodebench.solvers.gradients.checkpoint import SEGMENTS, checkpointed
from nodebench.solvers.gradients.function import Scheme, solve_by
from nodebench.solvers.gradients.interpolated import InterpolatedAdjoint
from nodebench.solvers.gradients.reversible import Reversible
from nodebench.solvers.gradients.symplectic import SymplecticAdjoint
from nodebench.spec import Batching, Gradient, Status
from nodebench.spec.trial import EVERY_DTYPE

# Metadata that torchdiffeq does not provide.
_ABOUT = {
    "dopri5": "Dormand–Prince 5(4), first same as last",
    "dopri8": "Dormand–Prince 8(7)",
    "bosh3": "Bogacki–Shampine 3(2), first same as last",
    "fehlberg2": "Fehlberg 2(1)",
    "adaptive_heun": "Heun 2(1)",
    "euler": "explicit Euler",
    "midpoint": "explicit midpoint",
    "heun2": "Heun's second-order method",
    "heun3": "Heun's third-order method",
    "rk4": "Runge–Kutta of order 4, by the 3/8 rule",
    "explicit_adams": "Adams–Bashforth, order rising with the steps taken to 11",
    "implicit_adams": "Adams–Moulton, order rising with the steps taken to 12",
}

_ADJOINTS = (Gradient.ADJOINT, Gradient.ADJOINT_SEMINORM)
_LIBRARYS = (Gradient.DIRECT, *_ADJOINTS)  # the gradients that are the library's own
_CALLBACKS = ("callback_step", "callback_step_adjoint")


class TorchdiffeqAdapter(SolverAdapter):
    """torchdiffeq's ``odeint`` and ``odeint_adjoint`` (adjoint, adjoint-seminorm).

    The other gradients come from ``nodebench.solvers.gradients`` and are based on the steps that ``odeint`` takes;
    ``reversible`` takes its own steps with the library's tableau and step-size control.

    Source: https://github.com/rtqichen/torchdiffeq
    """

    backend = "torchdiffeq"
    source = "https://github.com/rtqichen/torchdiffeq"
    gradients = frozenset(Gradient)
    batchings = (Batching.JOINT, Batching.WORST)
    dtypes = EVERY_DTYPE
    takes_first_step = True
    couples = True

    @cache  # noqa: B019 - one adapter lives as long as the process
    def methods(self) -> Mapping[str, Method]:
        """Return the library's methods; a second name of the same class is an alias."""
        found: dict[str, Method] = {}
        first_name: dict[type, str] = {}
        for name, solver in SOLVERS.items():
            if not issubclass(solver, AdaptiveStepsizeODESolver | FixedGridODESolver):
                continue  # the SciPy wrapper, which has an adapter of its own
            alias = first_name.setdefault(solver, name)
            found[name] = Method(
                about=_ABOUT.get(alias, solver.__name__) if alias == name else f"the same as {alias}",
                order=None if issubclass(solver, AdamsBashforthMoulton) else getattr(solver, "order", None),
                adaptive=issubclass(solver, AdaptiveStepsizeODESolver),
                implicit="implicit" in alias,
                alias_of=alias if alias != name else None,
            )
        return found

    def solve(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Tensor:
        """Call ``odeint`` or ``odeint_adjoint`` with exactly the settings of the trial."""
        solve = self._call(field, y0, times, control)
        if control.gradient is Gradient.CHECKPOINT:
            return checkpointed(solve, y0, times, control, self.methods()[control.method].adaptive)
        if scheme := self._scheme(field, solve, y0, times, control):
            return solve_by(scheme, y0, times)
        states: Tensor = solve(y0, times)
        return states

    def solve_until_event(
        self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl, event: Event
    ) -> tuple[Tensor, Tensor]:
        """Call ``odeint`` or ``odeint_adjoint`` with ``event_fn``."""
        if control.gradient not in (None, *_LIBRARYS):
            return super().solve_until_event(field, y0, times, control, event)
        time, states = self._call(field, y0, times, control)(y0, times, event_fn=event)
        return time, states

    def _scheme(
        self, field: CountedField, solve: Callable[..., Any], y0: Tensor, times: Tensor, control: StepControl
    ) -> Scheme | None:
        """Return the scheme that differentiates the solve; None if torchdiffeq's own solve is used.

        The reversible form of a method has a different solution, so its scheme is used even if no gradient is needed.
        """
        method = self.methods()[control.method]
        options = self._options(y0, times, control, method)
        if control.gradient is Gradient.REVERSIBLE:
            return Reversible(field, times, control, options.get("norm"))
        if control.gradient in (None, *_LIBRARYS) or not torch.is_grad_enabled():
            return None
        if control.gradient is Gradient.INTERPOLATED:
            return InterpolatedAdjoint(field, times, control, options)
        replay = {Gradient.ACA: AdaptiveCheckpoint, Gradient.SYMPLECTIC: SymplecticAdjoint}[control.gradient]
        return replay(field, solve, times, control.method)

    def _call(self, field: CountedField, y0: Tensor, times: Tensor, control: StepControl) -> Callable[..., Any]:
        """Return the library's function for a gradient, with all arguments bound except ``y0`` and ``times``."""
        method = self.methods()[control.method]
        field.__dict__.update(dict.fromkeys(_CALLBACKS, field.counter.on_step))
        options = self._options(y0, times, control, method)
        arguments: dict[str, Any] = {"method": control.method, "options": options}
        if control.rtol is not None and control.atol is not None:
            arguments |= {"rtol": control.rtol, "atol": control.atol}
        if control.gradient not in _ADJOINTS:
            return partial(torchdiffeq.odeint, field, **arguments)
        arguments |= {"adjoint_rtol": control.adjoint_rtol, "adjoint_atol": control.adjoint_atol}
        if control.gradient is Gradient.ADJOINT_SEMINORM and method.adaptive:
            # A copy of the options: without adjoint_options the library shares the dictionary itself.
            arguments["adjoint_options"] = {**options, "norm": "seminorm"}
        return partial(torchdiffeq.odeint_adjoint, field, **arguments)

    @staticmethod
    def _options(y0: Tensor, times: Tensor, control: StepControl, method: Method) -> dict[str, Any]:
        """The options of the library's method."""
        options: dict[str, Any] = {}
        if control.step_size is not None:
            constant = ("first_step", "min_step", "max_step") if method.adaptive else ("step_size",)
            options = dict.fromkeys(constant, control.step_size)
        elif control.first_step is not None:
            options = {"first_step": control.first_step}
        if y0.device.type == "mps" and method.adaptive:
            options["dtype"] = torch.float32  # otherwise the library's time is float64, which MPS does not support
        if control.land_on_outputs and method.adaptive:
            options["step_t"] = times[1:]
        if control.batching is Batching.WORST:
            options["norm"] = _worst_sample
        return options

    def code(self, control: StepControl) -> str:
        """A call of ``odeint`` or ``odeint_adjoint``."""
        if control.gradient not in (None, Gradient.CHECKPOINT, *_LIBRARYS):
            return adapter_code(control.method, control)
        name = "odeint_adjoint" if control.solves_backwards else "odeint"
        options = {}
        if control.step_size is not None:
            options["step_size"] = written(control.step_size)
        if control.first_step is not None:
            options["first_step"] = written(control.first_step)
        if control.batching is Batching.WORST:
            options["norm"] = "lambda e: e.reshape(len(e) if e.ndim > 1 else 1, -1).square().mean(1).sqrt().max()"
        arguments = [f'method="{control.method}"']
        if control.rtol is not None:
            arguments.append(written_tolerances(control.rtol, control.atol))
        if options:
            arguments.append("options={" + ", ".join(f'"{k}": {v}' for k, v in options.items()) + "}")
        if control.solves_backwards and control.adjoint_tolerances_differ:
            rtol, atol = written(control.adjoint_rtol), written(control.adjoint_atol)
            arguments.append(f"adjoint_rtol={rtol}, adjoint_atol={atol}")
        if control.gradient is Gradient.ADJOINT_SEMINORM:
            arguments.append('adjoint_options={"norm": "seminorm"}')
        keywords = ", ".join(arguments)
        lines = [f"from torchdiffeq import {name}"]
        if control.gradient is Gradient.CHECKPOINT:
            fixed = f"fixed_steps(times, {written(control.step_size)})"
            steps = "None" if self.methods()[control.method].adaptive else fixed
            lines += ["from nodebench.solvers.gradients.checkpoint import fixed_steps, solve_in_segments", ""]
            segments = control.segments or SEGMENTS
            lines += [f"solve = lambda y0, times: odeint(field, y0, times, {keywords})"]
            lines += [f"states = solve_in_segments(solve, y0, times, {segments}, {steps})"]
        else:
            lines += ["", f"states = {name}(field, y0, times, {keywords})"]
        return "\n".join(lines)

    def classify(self, error: BaseException) -> Status | None:
        """Return the status for an assertion error; torchdiffeq reports failures by assertions only.

        A step of exactly zero means that the error estimate was NaN.
        """
        message = str(error)
        if not isinstance(error, AssertionError):
            return None
        if message.startswith("non-finite values in state") or message == "underflow in dt 0.0":
            return Status.NON_FINITE
        if message.startswith("underflow in dt"):
            return Status.DT_UNDERFLOW
        return None


def _worst_sample(error: Tensor) -> Tensor:
    """Return the largest root mean square of any sample, used instead of that of the whole batch."""
    rows = error.reshape(len(error), -1) if error.ndim > 1 else error.reshape(1, -1)
    return rows.square().mean(1).sqrt().max()
