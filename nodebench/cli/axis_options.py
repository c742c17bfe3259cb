"""The options of ``nodebench run`` that are generated from the axes of a trial."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic_core import PydanticUndefined

from nodebench.cli.completion import by_comma, of_models, of_solvers
from nodebench.cli.options import WHAT, WHERE
from nodebench.spec.axes import AXES, Axis, Part, choices_of, value_type
from nodebench.spec.trial import Trial

_METAVARS = {float: "X,…", int: "N,…"}
_COMPLETED: dict[str, Callable[..., list[str]]] = {"model": of_models, "solver": of_solvers}


def with_axis_options(command: Callable[..., int]) -> Callable[..., int]:
    """Replace the ``**axes`` of a command by one option for each axis that accepts several values.

    Each option passes on the text as typed. The options come after the first two parameters, which name the task.
    """
    taken = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    names = [name for name, axis in AXES.items() if axis.multiple]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    options = [inspect.Parameter(name, kind, default="", annotation=_annotation(name)) for name in names]
    command.__signature__ = inspect.Signature([*taken[:2], *options, *taken[2:]])  # type: ignore[attr-defined]
    command.__annotations__.update({option.name: option.annotation for option in options})
    return command


def _annotation(name: str) -> Any:
    axis = AXES[name]
    return Annotated[
        str,
        typer.Option(
            metavar=_METAVARS.get(value_type(name), "NAME,…"),
            help=_help(name, axis),
            autocompletion=_COMPLETED.get(name) or by_comma(choices_of(name)),
            rich_help_panel=WHERE if axis.part is Part.EXECUTION else WHAT,
        ),
    ]


def default_of(name: str) -> str:
    """Return the default of an axis as shown in the help and the reference; empty if there is none."""
    default = AXES[name].default_text or AXES[name].unset or Trial.model_fields[name].get_default()
    return "" if default is None or default is PydanticUndefined else str(default)


def _help(name: str, axis: Axis) -> str:
    choices = f": {', '.join(choices_of(name))}." if choices_of(name) else "."
    default = default_of(name)
    return axis.help.removesuffix(".") + choices + (f" (default: {default})" if default else "")
