"""Convert the options of ``nodebench run`` into a study."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from nodebench.errors import BadInput, choose, first_fault
from nodebench.spec import DataSource, Grid, Limits, Pass, Preset, Study
from nodebench.spec.axes import choices_of, value_type
from nodebench.spec.grid import replicates, task_or_problem
from nodebench.spec.request import passes_named
from nodebench.spec.trial import Scalar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

# Name of the only group of a study that is given on the command line.
TYPED = "typed"

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Choices:
    """The options of ``nodebench run`` as typed; an option that was not given is empty.

    ``axes`` holds the text of each axis that accepts several values.
    """

    task: str = ""
    axes: Mapping[str, str] = field(default_factory=dict)
    preset: str = "quick"
    seeds: int | None = None
    overrides: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int | None = None
    data: Path | None = None
    download: bool = False
    timing: bool = True

    def study(self) -> Study:
        """Return the validated study."""
        return Study(
            groups={TYPED: self.grid()},
            data=data_source(self.data, self.download),
            timing=self.timing,
        )

    def grid(self) -> Grid:
        """Validate the options and return them as a grid.

        Raises:
            BadInput: an option is missing or invalid.
        """
        if not self.task:
            raise BadInput("--task is missing; 'nodebench list tasks' lists all tasks")
        typed = {name: text for name, text in self.axes.items() if text}
        if self.seeds is not None and "seed" in typed:
            raise BadInput(f"--seed {typed['seed']} and --seeds {self.seeds}: give one of them")
        task, own = task_or_problem(self.task)
        axes: dict[str, Sequence[object]] = {name: _values(name, text) for name, text in typed.items()}
        if self.seeds is not None:
            axes["seed"] = replicates(self.seeds)
        try:
            return Grid(
                task=task,
                preset=Preset(choose("preset", self.preset, list(Preset))),
                overrides=own | overrides_of(self.overrides),
                device=self.device,
                threads=self.threads,
                **axes,
            )
        except ValidationError as error:
            raise BadInput(_validation_line(error)) from None

    def typed_options(self) -> list[str]:
        """The options that were typed."""
        return [*given(self), *(_option(name) for name, text in self.axes.items() if text)]


def given(typed: "DataclassInstance") -> list[str]:
    """Return the options that differ from their default, among those with a plain default."""
    named = [one for one in fields(typed) if one.default is not MISSING]
    return [_option(one.name) for one in named if getattr(typed, one.name) != one.default]


def _option(name: str) -> str:
    return "--" + {"overrides": "set", "timing": "no-timing", "memory": "memory-limit"}.get(
        name, name.replace("_", "-")
    )


def data_source(folder: Path | None, download: bool) -> DataSource:
    """Return the data source. A relative folder is made absolute so that a run can be resumed from any directory."""
    return DataSource(folder=folder.absolute() if folder else None, download=download)


def limits_of(timeout: float | None, max_nfe: int | None, memory: str | None) -> Limits:
    """The budgets of each trial."""
    try:
        return Limits(
            timeout=timeout, max_nfe=max_nfe, memory=None if memory is None else size_of("memory-limit", memory)
        )
    except ValidationError as error:
        raise BadInput(_validation_line(error)) from None


def passes_of(text: str) -> tuple[Pass, ...] | None:
    """Parse ``--passes``; return None if it is empty."""
    return passes_named(parts("passes", text)) if text else None


def parts(name: str, text: str) -> list[str]:
    """Split the comma-separated values of an option.

    Raises:
        BadInput: one of them is empty.
    """
    values = [part.strip() for part in text.split(",")] if text else []
    if not all(values):
        raise BadInput(f"{_option(name)} '{text}': an empty value between commas")
    return list(dict.fromkeys(values))


def _values(name: str, text: str) -> list[Any]:
    """Parse the comma-separated values of an axis."""
    kind = value_type(name)
    if issubclass(kind, StrEnum):
        return _members(name, text, kind)
    if kind in (int, float):
        return [(_int if kind is int else _float)(name, part) for part in parts(name, text)]
    values = [_solver(part) if name == "solver" else part for part in parts(name, text)]
    return [choose(name, value, choices_of(name)) for value in values] if choices_of(name) else values


def _members(name: str, text: str, kind: type[E]) -> list[E]:
    return [kind(choose(name, part, list(kind))) for part in parts(name, text)]


def _float(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise BadInput(f"{_option(name)} '{text}': not a positive number; write it as 1e-3 or 0.001")
    return value


def _solver(name: str) -> str:
    file = name.partition(":")[0]
    if file.endswith(".py") and (Path(file).is_absolute() or ".." in Path(file).parts):
        raise BadInput(f"--solver '{name}': start nodebench in the folder of the file, or in one above it")
    return name


def _int(name: str, text: str) -> int:
    if not text.isdecimal():
        raise BadInput(f"{_option(name)} '{text}': not a non-negative integer")
    return int(text)


def whole_numbers(name: str, text: str) -> list[int]:
    """Parse the comma-separated integers of an option."""
    return [_int(name, part) for part in parts(name, text)]


def overrides_of(texts: Sequence[str]) -> dict[str, list[Scalar]]:
    """Parse ``--set`` options by name.

    An option that is given several times has several values. The value of a text option may be empty.
    """
    options: dict[str, list[Scalar]] = {}
    for name, value in map(_override, texts):
        options.setdefault(name, []).append(value)
    return options


def _override(text: str) -> tuple[str, Scalar]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BadInput(f"--set '{text}': write it as --set name=value")
    return name.strip(), value.strip()


def size_of(option: str, text: str) -> int:
    """Parse a size, for example ``800MB``, into bytes."""
    number = text.rstrip("BKMGIbkmgi")
    unit = text[len(number) :].upper()
    if text.replace(".", "", 1).isdecimal():
        raise BadInput(f"--{option} '{text}': {text} has no unit; write it as {text}MB, or {text}B for bytes")
    unit = unit if unit.endswith("B") else unit + "B"
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise BadInput(f"--{option} '{text}': not a size; write it as 800MB, 2GB or 1.5GiB") from None
    return size


def _validation_line(error: ValidationError) -> str:
    fault = first_fault(error)
    return f"{_option(str(fault.path[0]))} {fault.given}: {fault.message}"
