"""Shell completion. Typer leaves out the names that do not begin as typed.

Solvers and models need torch, whose import takes some seconds; all others are immediate.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer


def of_tasks() -> list[str]:
    """Complete built-in tasks. Entry points use a hyphen, since they cannot contain the slash of a task name."""
    ours = [point.name for point in entry_points(group="nodebench.tasks") if point.value.startswith("nodebench.")]
    return [name.replace("toy-", "toy/", 1) for name in ours]


def of_models(context: typer.Context, incomplete: str) -> list[str]:
    """Complete comma-separated models of the given task."""
    from nodebench.tasks import tasks

    task = tasks().get(_typed(context, "task") or _typed(context, "name"))
    return by_comma(task.models if task else [])(incomplete)


def of_solvers(incomplete: str) -> list[str]:
    """Complete comma-separated solvers."""
    from nodebench.solvers import solver_names

    return by_comma(solver_names())(incomplete)


def of_presets() -> list[str]:
    """Presets."""
    from nodebench.spec import Preset

    return [preset.value for preset in Preset]


def of_studies() -> list[str]:
    """Studies that come with nodebench."""
    from nodebench.spec import shipped_studies

    return list(shipped_studies())


def of_runs(context: typer.Context) -> list[str]:
    """Complete runs in the results folder."""
    from nodebench.store.run_folder import list_runs

    folder = Path(_typed(context, "results") or "results")
    return [run.folder.name for run in list_runs(folder)] if folder.is_dir() else []


def of_claims() -> list[str]:
    """Claims."""
    from nodebench.claims import all_claims

    return list(dict.fromkeys(claim.id for claim in all_claims()))


def by_comma(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that completes the last of several comma-separated names."""

    def complete(incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names]

    return complete


def _typed(context: typer.Context, name: str) -> str:
    value: Any = context.params.get(name)
    return "" if value is None else str(value)
