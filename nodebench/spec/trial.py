"""A trial: one value for each axis, such as task, model, solver, tolerance and seed."""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from nodebench.spec.axis import Axis, Part
from nodebench.spec.names import Name

Scalar = bool | int | float | str
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Coupling = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]  # 1: the states drift apart; 0: not reversible


class Gradient(StrEnum):
    """The method that computes the gradient through the solve."""

    DIRECT = "direct"
    CHECKPOINT = "checkpoint"
    ADJOINT = "adjoint"
    ADJOINT_SEMINORM = "adjoint-seminorm"
    INTERPOLATED = "interpolated"
    ACA = "aca"
    SYMPLECTIC = "symplectic"
    REVERSIBLE = "reversible"

    @property
    def solves_backwards(self) -> bool:
        """Whether the method solves a second ODE backwards in time, with its own tolerances."""
        return self in (Gradient.ADJOINT, Gradient.ADJOINT_SEMINORM, Gradient.INTERPOLATED)

    @property
    def needs_parameters(self) -> bool:
        """Whether every tensor that the field depends on must be among the field's parameters."""
        return self not in (Gradient.DIRECT, Gradient.CHECKPOINT)

    @property
    def about(self) -> str:
        """A one-line description."""
        return _GRADIENT_ABOUT[self][0]

    @property
    def source(self) -> str:
        """Where the method is described."""
        return _GRADIENT_ABOUT[self][1]


_GRADIENT_ABOUT = {
    Gradient.DIRECT: (
        "backpropagation through the solver's own operations (discretise, then optimise)",
        "Onken and Ruthotto 2020, arXiv 2005.13420",
    ),
    Gradient.CHECKPOINT: (
        "the direct gradient, with segments of the solve recomputed in the backward pass instead of stored",
        "Gholami et al. 2019, arXiv 1902.10298, section 4",
    ),
    Gradient.ADJOINT: (
        "a second ODE solved backwards in time (optimise, then discretise)",
        "Chen et al. 2018, arXiv 1806.07366, section 2",
    ),
    Gradient.ADJOINT_SEMINORM: (
        "the adjoint, with an error norm that ignores the parameter gradients",
        "Kidger et al. 2021, arXiv 2009.09457",
    ),
    Gradient.INTERPOLATED: (
        "the adjoint, with the state interpolated from the stored forward solution instead of solved again",
        "Daulbaev et al. 2020, arXiv 2003.05271",
    ),
    Gradient.ACA: (
        "the direct gradient, with each accepted step recomputed from a stored state in the backward pass",
        "Zhuang et al. 2020, arXiv 2006.02493",
    ),
    Gradient.SYMPLECTIC: (
        "the direct gradient, with the stages of each step differentiated one by one from a stored state",
        "Matsubara et al. 2021, arXiv 2102.09750",
    ),
    Gradient.REVERSIBLE: (
        "a reversible form of the method: states are recomputed from the last one, and no others are stored",
        "McCallum and Foster 2024, arXiv 2410.11648",
    ),
}


class Batching(StrEnum):
    """How an adaptive method chooses the steps of a batch."""

    JOINT = "joint"
    WORST = "worst"
    EACH = "each"

    @property
    def about(self) -> str:
        """A one-line description."""
        return _BATCHING_ABOUT[self]


_BATCHING_ABOUT = {
    Batching.JOINT: "one step size for all samples, chosen by the mean error over the batch",
    Batching.WORST: "one step size for all samples, chosen by the sample with the largest error",
    Batching.EACH: "a separate step size for each sample",
}


class Compile(StrEnum):
    """What ``torch.compile`` compiles."""

    EAGER = "eager"
    FIELD = "field"
    SOLVER = "solver"


class Autocast(StrEnum):
    """The format in which ``torch.autocast`` evaluates losses and metrics, and whether it caches cast weights."""

    NONE = "none"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    BFLOAT16_UNCACHED = "bfloat16-uncached"
    FLOAT16_UNCACHED = "float16-uncached"

    @property
    def dtype(self) -> str:
        """The name of torch's dtype."""
        return self.value.removesuffix("-uncached")

    @property
    def caches(self) -> bool:
        """Whether a weight is cast once for all its uses (the default) instead of at each use."""
        return self.dtype == self.value


class Preset(StrEnum):
    """The scale of a task."""

    SMOKE = "smoke"
    QUICK = "quick"
    PAPER = "paper"


# Floating-point formats of states and parameters. With 16-bit states, times are float32.
Dtype = Literal["float32", "float64", "bfloat16", "float16"]
USUAL_DTYPES: tuple[Dtype, ...] = ("float32", "float64")
EVERY_DTYPE: tuple[Dtype, ...] = get_args(Dtype)


_PROBLEM, _METHOD, _EXECUTION = Part.PROBLEM, Part.METHOD, Part.EXECUTION
_FIXED_STEPS = "the chosen solver takes fixed steps and has no tolerance; give --step-size"
_NO_ADJOINT = "no selected trial solves an adjoint with a tolerance"


class Trial(BaseModel):
    """An immutable description of what is run, without where or when.

    Each field declares one axis, see ``Axis`` and docs/reference/records.md. Fields of the method are None if the model
    has no ODE; a number is also None if the method or the gradient does not use it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: Annotated[Name, Axis(_PROBLEM, "task", "Data, loss and metrics.", multiple=False)]
    dataset: Annotated[Name | None, Axis(_PROBLEM, "data set", "Data set of the task, if it has any.")] = None
    model: Annotated[
        Name,
        Axis(
            _PROBLEM,
            "model",
            "Network variant of the task.",
            default_text="the task's first",
            inapplicable="no combination of the other choices can run it",
        ),
    ]
    overrides: Annotated[
        dict[Name, Scalar],
        Axis(_PROBLEM, "options", "Options of the task that differ from those of its preset.", multiple=False),
    ] = Field(default_factory=dict)
    solver: Annotated[
        Name | None,
        Axis(
            _METHOD,
            "solver",
            "Numerical method, prefixed by its library if that is not torchdiffeq, as in scipy:LSODA.",
            default_text="dopri5",
            inapplicable="the chosen model has no ODE, so it has no solver",
        ),
    ] = None
    gradient: Annotated[
        Gradient | None,
        Axis(
            _METHOD,
            "gradient",
            "Method that computes the gradient through the solve.",
            default_text="the task's",
            inapplicable="the chosen model has no ODE, so it has no gradient to choose",
        ),
    ] = None
    segments: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Axis(
            _METHOD,
            "segments",
            "Number of segments of the solve that the gradient 'checkpoint' recomputes.",
            default_text="the library's",
            inapplicable="only the gradient 'checkpoint' has segments",
            computes=False,
        ),
    ] = None
    coupling: Annotated[
        Coupling | None,
        Axis(
            _METHOD,
            "coupling",
            "Coupling λ of the two states of the gradient 'reversible'.",
            default_text="0.99",
            inapplicable="only the gradient 'reversible' of torchdiffeq's methods has a coupling",
        ),
    ] = None
    batching: Annotated[
        Literal[Batching.WORST, Batching.EACH] | None,
        Axis(
            _METHOD,
            "batching",
            "How the samples of a batch share their steps.",
            default_text="the library's",
            unset=Batching.JOINT,
            inapplicable="the chosen model has no ODE, so there is nothing to step",
        ),
    ] = None
    compile: Annotated[
        Literal[Compile.FIELD, Compile.SOLVER] | None,
        Axis(
            _METHOD,
            "compile",
            "What torch.compile compiles.",
            unset=Compile.EAGER,
            inapplicable="the chosen model has no ODE, so there is no field to compile",
            computes=False,
        ),
    ] = None
    rtol: Annotated[
        Positive | None,
        Axis(
            _METHOD,
            "rtol",
            "Relative tolerance of the forward solve.",
            default_text="the task's",
            inapplicable=_FIXED_STEPS,
        ),
    ] = None
    atol: Annotated[
        Positive | None,
        Axis(
            _METHOD,
            "atol",
            "Absolute tolerance of the forward solve.",
            default_text="in the task's ratio to rtol",
            follows="rtol",
            inapplicable=_FIXED_STEPS,
        ),
    ] = None
    step_size: Annotated[
        Positive | None,
        Axis(
            _METHOD,
            "step size",
            "Step of a fixed-step method, in the units of time.",
            default_text="the task's, or else one step per output interval",
            inapplicable="the chosen solver chooses its own steps; give --rtol and --atol",
        ),
    ] = None
    first_step: Annotated[
        Positive | None,
        Axis(
            _METHOD,
            "first step",
            "First step of an adaptive method, forwards and backwards, in the units of time.",
            default_text="the library's",
            inapplicable="the chosen solver takes fixed steps; give --step-size",
        ),
    ] = None
    adjoint_rtol: Annotated[
        Positive | None,
        Axis(
            _METHOD,
            "adjoint rtol",
            "Relative tolerance of the adjoint.",
            default_text="rtol",
            follows="rtol",
            inapplicable=_NO_ADJOINT,
        ),
    ] = None
    adjoint_atol: Annotated[
        Positive | None,
        Axis(
            _METHOD,
            "adjoint atol",
            "Absolute tolerance of the adjoint.",
            default_text="atol",
            follows="rtol",
            inapplicable=_NO_ADJOINT,
        ),
    ] = None
    dtype: Annotated[Dtype, Axis(_EXECUTION, "dtype", "Floating-point format of states and parameters.")] = "float32"
    autocast: Annotated[
        Literal[Autocast.BFLOAT16, Autocast.FLOAT16, Autocast.BFLOAT16_UNCACHED, Autocast.FLOAT16_UNCACHED] | None,
        Axis(
            _EXECUTION,
            "autocast",
            "Format in which torch.autocast computes losses and metrics (-uncached: with cache_enabled=False).",
            unset=Autocast.NONE,
        ),
    ] = None
    threads: Annotated[
        int,
        Field(ge=1),
        Axis(
            _EXECUTION,
            "threads",
            "CPU threads.",
            default_text="$OMP_NUM_THREADS, or else the faster of 1 and all cores of a job",
            computes=False,
            multiple=False,
        ),
    ] = 1
    preset: Annotated[Preset, Axis(_PROBLEM, "preset", "Scale of the task.", multiple=False)] = Preset.QUICK
    device: Annotated[
        Name, Axis(_EXECUTION, "device", "Kind of device: cpu, cuda or mps.", computes=False, multiple=False)
    ] = "cpu"
    seed: Annotated[Seed, Axis(Part.REPLICATE, "seed", "Seed of data, initial weights and batches.")] = 0

    @property
    def id(self) -> str:
        """The content id: 12 hexadecimal digits that are the same for equal trials.

        Fields that are None are left out, so that a field added later does not change the ids of old trials.
        """
        content = self.model_dump(mode="json", exclude_none=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def configuration(self) -> str:
        """The id shared by all replicates of the trial: the id of the trial with seed 0."""
        return self.model_copy(update={"seed": 0}).id

    @property
    def solver_label(self) -> str:
        """A label of the solver, the batching and the compilation: ``torchode:tsit5 each compiled``."""
        compiled = {Compile.FIELD: "compiled field", Compile.SOLVER: "compiled"}
        parts = [self.solver, self.batching, compiled.get(self.compile) if self.compile else None]
        return " ".join(part for part in parts if part) or "–"

    @property
    def step_label(self) -> str:
        """A label of the step control, for tables: ``1e-3``, ``1e-3 h0=0.1`` or ``h=0.25``."""
        if self.solver is None:
            return "–"
        tolerance = _tolerance(self.rtol, self.atol)
        if self.first_step is not None:
            return f"{tolerance} h0={self.first_step:g}"
        if self.step_size is not None:
            return f"h={self.step_size:g} {tolerance}".strip()
        return tolerance or "h=outputs"

    @property
    def gradient_label(self) -> str:
        """A label of the gradient, for tables: ``direct``, ``checkpoint × 8``, ``reversible λ=0.9``, ``adjoint 1e-6``.

        The adjoint's tolerance is shown only if it differs from the forward tolerance.
        """
        if self.gradient is None:
            return "–"
        if self.segments is not None:
            return f"{self.gradient} × {self.segments}"
        if self.coupling is not None:
            return f"{self.gradient} λ={self.coupling:g}"
        apart = self.adjoint_rtol is not None and (self.adjoint_rtol, self.adjoint_atol) != (self.rtol, self.atol)
        tolerance = _tolerance(self.adjoint_rtol, self.adjoint_atol) if apart else ""
        return f"{self.gradient} {tolerance}".strip()


def _tolerance(rtol: float | None, atol: float | None) -> str:
    """Format tolerances: ``1e-3``; ``1e-7/1e-9`` if the two differ; empty if there is none."""
    if rtol is None or atol is None:
        return ""
    return _short(rtol) if rtol == atol else f"{_short(rtol)}/{_short(atol)}"


def _short(number: float) -> str:
    """Format a number in scientific notation: ``1e-3`` for 0.001."""
    mantissa, exponent = f"{number:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
