"""The axes of a trial, as its fields declare them.

Grids, exclusions, the options of ``nodebench run``, tables, plots, estimates, comparisons and recommendations take
their axes from here, so that a field that is added to ``Trial`` is known to all of them.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from nodebench.spec.axis import Axis, Part
from nodebench.spec.trial import Scalar, Trial

__all__ = [
    "AXES",
    "FORWARD_OF",
    "UNLABELLED",
    "Axis",
    "Part",
    "as_stored",
    "axis_names",
    "choices_of",
    "value_annotation",
    "value_type",
]


def _declared(name: str) -> Axis:
    (axis,) = (one for one in Trial.model_fields[name].metadata if isinstance(one, Axis))
    return axis


AXES: Mapping[str, Axis] = {name: _declared(name) for name in Trial.model_fields}


def axis_names(*parts: Part, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the axes of the given parts, in the order of ``Trial``; of all parts if none is given."""
    return tuple(name for name, axis in AXES.items() if axis.part in (parts or tuple(Part)) and name not in without)


# Axes of the method that the labels of a trial show.
LABELLED = (
    "solver",
    "batching",
    "compile",
    "rtol",
    "atol",
    "step_size",
    "first_step",
    "gradient",
    "adjoint_rtol",
    "adjoint_atol",
    "segments",
    "coupling",
)
# Axes of the method that the labels of a trial do not show.
UNLABELLED = axis_names(Part.METHOD, without=LABELLED)

# The forward tolerance that is the default of each adjoint tolerance.
FORWARD_OF: Mapping[str, str] = {"adjoint_rtol": "rtol", "adjoint_atol": "atol"}


def as_stored(name: str, value: Scalar | None) -> Scalar | None:
    """Return a value as a trial stores it: None if it is the ``unset`` value of its axis."""
    return None if name in AXES and value == AXES[name].unset else value


def _without_none(name: str) -> Any:
    """The annotation of a field, without None."""
    annotation = Trial.model_fields[name].annotation
    kinds = get_args(annotation)
    return next(kind for kind in kinds if kind is not NoneType) if NoneType in kinds else annotation


def value_type(name: str) -> type:
    """Return the type of the values of an axis, such as ``float`` or ``Gradient``, without None."""
    kind = _without_none(name)
    if get_origin(kind) is Literal:
        return type(get_args(kind)[0])
    return get_args(kind)[0] if get_origin(kind) is Annotated else get_origin(kind) or kind


def value_annotation(name: str) -> Any:
    """Return the type of an axis in a grid, with its bounds; an enumeration has all its members."""
    kind, metadata = value_type(name), Trial.model_fields[name].metadata
    return kind if issubclass(kind, StrEnum) else Annotated[_without_none(name), *metadata]


def choices_of(name: str) -> tuple[str, ...]:
    """Return the values that an axis may have; empty if any value of its type is allowed."""
    kind = value_type(name)
    if issubclass(kind, StrEnum):
        return tuple(kind)
    return get_args(_without_none(name)) if get_origin(_without_none(name)) is Literal else ()
