"""Shell completion. Solvers and models need torch, whose import takes some seconds; all others are immediate."""

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer


def of_tasks(incomplete: str) -> list[str]:
    """Complete built-in tasks. Entry points use a hyphen, since they cannot contain the slash of a task name."""
    ours = [point.name for point in entry_points(group="nodebench.tasks") if point.value.startswith("nodebench.")]
    return _beginning((name.replace("toy-", "toy/", 1) for name in ours), incomplete)


def of_models(context: typer.Context, incomplete: str) -> list[str]:
    """Complete comma-separated models of the given task."""
    from nodebench.tasks import tasks

    task = tasks().get(_typed(context, "task") or _typed(context, "name"))
    return by_comma(task.models if task else [])(incomplete)


def of_solvers(incomplete: str) -> list[str]:
    """Complete comma-separated solvers."""
    from nodebench.solvers import solver_names

    return by_comma(solver_names())(incomplete)


def of_presets(incomplete: str) -> list[str]:
    """Presets."""
    from nodebench.spec import Preset

    return _beginning(Preset, incomplete)


def of_studies(incomplete: str) -> list[str]:
    """Studies that come with nodebench."""
    from nodebench.spec import shipped_studies

    return _beginning(shipped_studies(), incomplete)


def of_runs(context: typer.Context, incomplete: str) -> list[str]:
    """Complete runs in the results folder."""
    from nodebench.store.run_folder import list_runs

    folder = Path(_typed(context, "results") or "results")
    return _beginning((run.folder.name for run in list_runs(folder)), incomplete) if folder.is_dir() else []


def of_claims(incomplete: str) -> list[str]:
    """Claims."""
    from nodebench.claims import all_claims

    return _beginning(dict.fromkeys(claim.id for claim in all_claims()), incomplete)


def by_comma(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that completes the last of several comma-separated names."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in _beginning(names, last)]

    return complete


def _typed(context: typer.Context, name: str) -> str:
    value: Any = context.params.get(name)
    return "" if value is None else str(value)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [str(name) for name in names if str(name).startswith(incomplete)]
