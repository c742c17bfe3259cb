"""A grid: choices that multiply into trials."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from nodebench.errors import BadInput
from nodebench.spec.frozen import Frozen
from nodebench.spec.names import Name
from nodebench.spec.trial import Autocast, Batching, Compile, Coupling, Dtype, Gradient, Positive, Preset, Scalar, Seed


def _listed(value: Any) -> Any:
    """One value stands for a list of one."""
    return [value] if isinstance(value, str | bool | int | float) else value


def _listed_options(value: Any) -> Any:
    return {name: _listed(item) for name, item in value.items()} if isinstance(value, dict) else value


MOST_TRIALS = 1_000_000  # of one study


def replicates(count: int) -> list[int]:
    """The seeds of so many replicates: 0 to ``count`` - 1.

    Raises:
        BadInput: there are more than a study may have trials.
    """
    if count > MOST_TRIALS:
        raise BadInput(f"{count:,} seeds: a study has at most {MOST_TRIALS:,} trials")
    return list(range(count))


def task_or_problem(text: str) -> tuple[str, dict[str, Scalar]]:
    """The task that was typed, with the options that this sets: ``file.py:NAME`` is a problem of the user's own.

    Raises:
        BadInput: it looks like a problem, and is not written as one; no task has a colon in its name.
    """
    file, colon, name = text.rpartition(":")
    if name and file.endswith(".py"):
        return "problem", {"problem": text}
    if colon or text.endswith(".py"):
        raise BadInput(f"--task {text}: write a problem of your own as FILE.py:NAME, as in pendulum.py:pendulum")
    return text, {}


# What may differ between a trial and the baseline arm of its interleaved pass.
COMPARABLE = (
    "model",
    "solver",
    "gradient",
    "segments",
    "coupling",
    "batching",
    "compile",
    "rtol",
    "atol",
    "adjoint_rtol",
    "adjoint_atol",
    "step_size",
    "first_step",
    "dtype",
    "autocast",
)


def _comparable(against: dict[str, Scalar]) -> dict[str, Scalar]:
    for name in against:
        if name not in COMPARABLE:
            raise ValueError(f"the baseline arm cannot differ in '{name}'; allowed: {', '.join(COMPARABLE)}")
    return against


T = TypeVar("T")
Axis = Annotated[list[T], BeforeValidator(_listed)]
OptionAxes = Annotated[dict[Name, list[Scalar]], BeforeValidator(_listed_options)]


class Exclusion(Frozen):
    """A corner of a grid that is left out: trials that have one of the values on every axis named here."""

    reason: str
    model: Axis[Name] = []
    dataset: Axis[Name] = []
    solver: Axis[Name] = []
    gradient: Axis[Gradient] = []
    batching: Axis[Batching] = []
    compile: Axis[Compile] = []
    rtol: Axis[Positive] = []
    step_size: Axis[Positive] = []
    first_step: Axis[Positive] = []
    overrides: OptionAxes = {}


class Grid(BaseModel):
    """What the user asked for, before the defaults of task and solver fill the gaps.

    An empty list means "the default". Every value given must end up in at least one trial, or the grid is
    refused: ``rk4`` beside ``dopri5`` with an ``rtol`` is fine, ``rk4`` alone with an ``rtol`` is not.

    ``against`` names the baseline arm of an interleaved pass: the trial with these axes replaced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Name
    dataset: Axis[Name] = []
    model: Axis[Name] = []
    solver: Axis[Name] = []
    gradient: Axis[Gradient] = []
    segments: Axis[Annotated[int, Field(ge=1)]] = []
    coupling: Axis[Coupling] = []
    batching: Axis[Batching] = []
    compile: Axis[Compile] = []
    rtol: Axis[Positive] = []
    atol: Axis[Positive] = []
    adjoint_rtol: Axis[Positive] = []
    adjoint_atol: Axis[Positive] = []
    step_size: Axis[Positive] = []
    first_step: Axis[Positive] = []
    seed: Axis[Seed] = [0]
    preset: Preset = Preset.QUICK
    overrides: OptionAxes = {}
    device: Name = "cpu"
    dtype: Axis[Dtype] = ["float32"]
    autocast: Axis[Autocast] = []
    threads: Annotated[int, Field(ge=1)] | None = None
    exclude: list[Exclusion] = []
    against: Annotated[dict[str, Scalar], AfterValidator(_comparable)] = {}


class DataSource(Frozen):
    """Where the user's data lies; a place, and so no part of a trial."""

    folder: Path | None = None
    download: bool = False
