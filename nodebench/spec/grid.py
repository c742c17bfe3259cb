"""A grid: values of each axis, expanded into all combinations (one trial each)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, create_model

from nodebench.errors import BadInput, at_least
from nodebench.spec.axes import AXES, value_annotation
from nodebench.spec.frozen import Frozen
from nodebench.spec.names import Name
from nodebench.spec.trial import Scalar, Trial


def _listed(value: Any) -> Any:
    """Wrap a single value in a list."""
    return [value] if isinstance(value, str | bool | int | float) else value


def _listed_options(value: Any) -> Any:
    return {name: _listed(item) for name, item in value.items()} if isinstance(value, dict) else value


MOST_TRIALS = 1_000_000  # maximum per study


def replicates(count: int) -> list[int]:
    """Return the seeds of ``count`` replicates: 0 to ``count`` - 1.

    Raises:
        BadInput: ``count`` is less than 1 or exceeds the maximum number of trials of a study.
    """
    at_least(1, seeds=count)
    if count > MOST_TRIALS:
        raise BadInput(f"{count:,} seeds: a study has at most {MOST_TRIALS:,} trials")
    return list(range(count))


def task_or_problem(text: str) -> tuple[str, dict[str, Scalar]]:
    """Return the task of ``--task`` and the options that it sets: ``file.py:NAME`` is the user's own problem.

    Raises:
        BadInput: the text looks like a problem but is not ``FILE.py:NAME``; no task has a colon in its name.
    """
    file, colon, name = text.rpartition(":")
    if name and file.endswith(".py"):
        return "problem", {"problem": text}
    if colon or text.endswith(".py"):
        raise BadInput(f"--task {text}: write your own problem as FILE.py:NAME, for example pendulum.py:pendulum")
    return text, {}


# Axes that an exclusion can name. Grids are expanded at seed 0; the other seeds are added afterwards.
EXCLUDABLE = tuple(name for name, axis in AXES.items() if axis.multiple and name != "seed")
# Axes that may differ between a trial and the baseline arm of its interleaved pass: the same without the data set.
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
        """Values by axis name."""

        def __getattr__(self, name: str) -> Any: ...

    class _ExclusionAxes(_GridAxes): ...

else:
    _GridAxes = create_model("_GridAxes", __base__=Frozen, **{name: _of_grid(name) for name in AXES})
    _ExclusionAxes = create_model(
        "_ExclusionAxes", __base__=Frozen, **{name: (_several(name), []) for name in EXCLUDABLE}
    )


class Exclusion(_ExclusionAxes):
    """Trials that are left out of a grid: those with a listed value on every axis that the exclusion names."""

    reason: str
    overrides: OptionAxes = {}


class Grid(_GridAxes):
    """The values that the user requests, before the defaults of task and solver are filled in.

    It has the axes of ``Trial``, most of them with a list of values. Its fields are generated from those of ``Trial``,
    so pydantic checks their values but mypy cannot. An empty list means "the default". Each given value must be used by
    at least one trial, otherwise the grid is rejected: ``rk4`` and ``dopri5`` with an ``rtol`` are accepted, ``rk4``
    alone with an ``rtol`` is not.

    ``against`` names the baseline arm of an interleaved pass: the trial with these axes replaced.
    """

    exclude: list[Exclusion] = []
    against: Annotated[dict[str, Scalar], AfterValidator(_comparable)] = {}


class DataSource(Frozen):
    """Where the user's data is stored; this is not part of a trial."""

    folder: Path | None = None
    download: bool = False
