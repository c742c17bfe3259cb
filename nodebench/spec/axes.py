"""The axes of a trial, each declared once.

Tables, plots, estimates, comparisons and recommendations take their lists of axes from here, so that an axis that is
added to ``Trial`` and to this table is known to all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from nodebench.spec.trial import Autocast, Batching, Compile, Gradient, Preset, Scalar


class Part(StrEnum):
    """What an axis decides about a trial."""

    PROBLEM = "problem"  # what is solved
    METHOD = "method"  # how it is solved and differentiated
    EXECUTION = "execution"  # where, and in which number format
    REPLICATE = "replicate"  # which of several trials that are otherwise equal


@dataclass(frozen=True)
class Axis:
    """One field of ``Trial``.

    Attributes:
        name: of the field.
        type: of its values; None is allowed beside it where the field is optional.
        part: what it decides.
        label: a short name for tables and plots.
        help: what it is, in one sentence.
        computes: whether it can change computed values by more than rounding; an axis that cannot changes time and
            memory only.
        unset: the value that None stands for; None where it stands for "does not apply" or "the library's choice".
        follows: the axis that its default is computed from, by a factor; empty where there is none.
    """

    name: str
    type: type
    part: Part
    label: str
    help: str
    computes: bool = True
    unset: Scalar | None = None
    follows: str = ""


_AXES = (
    Axis("task", str, Part.PROBLEM, "task", "Data, loss and metrics."),
    Axis("dataset", str, Part.PROBLEM, "data set", "Data set of the task."),
    Axis("model", str, Part.PROBLEM, "model", "Network variant of the task."),
    Axis("overrides", dict, Part.PROBLEM, "options", "Options of the task that differ from those of its preset."),
    Axis("solver", str, Part.METHOD, "solver", "Numerical method, with its library."),
    Axis("batching", Batching, Part.METHOD, "batching", "How a batch is stepped.", unset=Batching.JOINT),
    Axis("compile", Compile, Part.METHOD, "compile", "What torch.compile is given.", False, Compile.EAGER),
    Axis("rtol", float, Part.METHOD, "rtol", "Relative tolerance of the forward solve."),
    Axis("atol", float, Part.METHOD, "atol", "Absolute tolerance of the forward solve.", follows="rtol"),
    Axis("step_size", float, Part.METHOD, "step size", "Step of a fixed-step method, in the units of time."),
    Axis("first_step", float, Part.METHOD, "first step", "First step of an adaptive method, in the units of time."),
    Axis("gradient", Gradient, Part.METHOD, "gradient", "How the loss reaches the parameters."),
    Axis("segments", int, Part.METHOD, "segments", "Segments of the solve that checkpointing recomputes.", False),
    Axis("coupling", float, Part.METHOD, "coupling", "Coupling λ of the reversible gradient's two states."),
    Axis("adjoint_rtol", float, Part.METHOD, "adjoint rtol", "Relative tolerance of the adjoint.", follows="rtol"),
    Axis("adjoint_atol", float, Part.METHOD, "adjoint atol", "Absolute tolerance of the adjoint.", follows="rtol"),
    Axis("dtype", str, Part.EXECUTION, "dtype", "Floating-point format of states and parameters."),
    Axis("autocast", Autocast, Part.EXECUTION, "autocast", "Format of torch.autocast.", unset=Autocast.NONE),
    Axis("threads", int, Part.EXECUTION, "threads", "CPU threads of the trial.", False),
    Axis("preset", Preset, Part.PROBLEM, "preset", "Scale of the task."),
    Axis("device", str, Part.EXECUTION, "device", "Kind of device.", False),
    Axis("seed", int, Part.REPLICATE, "seed", "Seed of data, initial weights and batches."),
)

AXES: Mapping[str, Axis] = {axis.name: axis for axis in _AXES}


def axis_names(*parts: Part, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The names of the axes of some parts, in the order of the table; of all parts where none is given."""
    return tuple(axis.name for axis in _AXES if axis.part in (parts or tuple(Part)) and axis.name not in without)


def as_stored(name: str, value: Scalar | None) -> Scalar | None:
    """A value as a trial stores it: None where it is the one that None stands for."""
    return None if name in AXES and value == AXES[name].unset else value
