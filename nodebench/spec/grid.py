"""A grid: choices that multiply into trials."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, create_model

from nodebench.errors import BadInput
from nodebench.spec.axes import AXES, value_annotation
from nodebench.spec.frozen import Frozen
from nodebench.spec.names import Name
from nodebench.spec.trial import Scalar, Trial


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


# What an exclusion can name. Grids multiply at seed 0, and each seed is taken afterwards.
EXCLUDABLE = tuple(name for name, axis in AXES.items() if axis.multiple and name != "seed")
# What may differ between a trial and the baseline arm of its interleaved pass: all of that but the data set.
COMPARABLE = tuple(name for name in EXCLUDABLE if name != "dataset")


def _comparable(against: dict[str, Scalar]) -> dict[str, Scalar]:
    for name in against:
        if name not in COMPARABLE:
            raise ValueError(f"the baseline arm cannot differ in '{name}'; allowed: {', '.join(COMPARABLE)}")
    return against


OptionAxes = Annotated[dict[Name, list[Scalar]], BeforeValidator(_listed_options)]


def _several(name: str) -> Any:
    return Annotated[list[value_annotation(name)], BeforeValidator(_listed)]  # type: ignore[misc]


def _of_grid(name: str) -> tuple[Any, Any]:
    """The annotation and the default of an axis in a grid."""
    field = Trial.model_fields[name]
    if name == "overrides":
        return OptionAxes, {}
    if name == "threads":
        return value_annotation(name) | None, None
    if not AXES[name].multiple:
        return value_annotation(name), ... if field.is_required() else field.default
    return _several(name), [] if field.is_required() or field.default is None else [field.default]


if TYPE_CHECKING:

    class _GridAxes(BaseModel):
        """Values by the name of their axis."""

        def __getattr__(self, name: str) -> Any: ...

    class _ExclusionAxes(_GridAxes): ...

else:
    _GridAxes = create_model("_GridAxes", __base__=Frozen, **{name: _of_grid(name) for name in AXES})
    _ExclusionAxes = create_model(
        "_ExclusionAxes", __base__=Frozen, **{name: (_several(name), []) for name in EXCLUDABLE}
    )


class Exclusion(_ExclusionAxes):
    """A corner of a grid that is left out: trials that have one of the values on every axis that it names."""

    reason: str
    overrides: OptionAxes = {}


class Grid(_GridAxes):
    """What the user asked for, before the defaults of task and solver fill the gaps.

    It has the axes of ``Trial``, and several values of most. Its fields are made from those of ``Trial``: pydantic
    checks their values, mypy cannot. An empty list means "the default". Every value given must end up in at least one
    trial, or the grid is refused: ``rk4`` beside ``dopri5`` with an ``rtol`` is fine, ``rk4`` alone with an ``rtol`` is
    not.

    ``against`` names the baseline arm of an interleaved pass: the trial with these axes replaced.
    """

    exclude: list[Exclusion] = []
    against: Annotated[dict[str, Scalar], AfterValidator(_comparable)] = {}


class DataSource(Frozen):
    """Where the user's data lies; a place, and so no part of a trial."""

    folder: Path | None = None
    download: bool = False
