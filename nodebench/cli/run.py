"""``nodebench run``: from what was typed to records and a table."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from rich.console import Console

from nodebench.cli.progress import make_display
from nodebench.errors import BadInput, choose
from nodebench.spec import Grid, Limits, Record, Status, Trial
from nodebench.spec.trial import Scalar

T = TypeVar("T")

# The data folder of those tasks that take one.
DATA_VARIABLE = "NODEBENCH_DATA_DIR"

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Choices:
    """The options of ``nodebench run`` as they were typed; empty where nothing was."""

    task: str
    model: str
    solver: str
    gradient: str
    rtol: str
    atol: str
    adjoint_rtol: str
    adjoint_atol: str
    step_size: str
    preset: str
    seed: str
    seeds: int | None
    overrides: list[str]
    device: str
    dtype: str
    threads: int | None
    timeout: float | None
    max_nfe: int | None
    memory_limit: str | None

    def grid(self) -> Grid:
        """Check what was typed and make a grid of it.

        Raises:
            BadInput: something cannot be read.
        """
        if not self.task:
            raise BadInput("--task is missing; 'nodebench list tasks' says which there are")
        from nodebench.spec import Gradient, Preset

        if self.seeds is not None and self.seeds < 1:
            raise BadInput(f"--seeds {self.seeds}: at least 1")
        numbers = {
            name: [_float(name, part) for part in _parts(name, getattr(self, name))]
            for name in ("rtol", "atol", "step_size", "adjoint_rtol", "adjoint_atol")
        }
        try:
            return Grid(
                task=self.task,
                model=_parts("model", self.model),
                solver=_parts("solver", self.solver),
                gradient=[Gradient(choose("gradient", g, list(Gradient))) for g in _parts("gradient", self.gradient)],
                rtol=numbers["rtol"],
                atol=numbers["atol"],
                step_size=numbers["step_size"],
                adjoint_rtol=_at_most_one("adjoint_rtol", numbers["adjoint_rtol"]),
                adjoint_atol=_at_most_one("adjoint_atol", numbers["adjoint_atol"]),
                preset=Preset(choose("preset", self.preset, list(Preset))),
                seed=list(range(self.seeds)) if self.seeds else [_int("seed", s) for s in _parts("seed", self.seed)],
                overrides=dict(_override(text) for text in self.overrides),
                device=self.device,
                dtype=choose("dtype", self.dtype, ["float32", "float64"]),
                threads=self.threads,
            )
        except ValidationError as error:
            raise BadInput(_validation_line(error)) from None

    def limits(self) -> Limits:
        """The budgets of each trial."""
        try:
            return Limits(
                timeout=self.timeout,
                max_nfe=self.max_nfe,
                memory=None if self.memory_limit is None else _size(self.memory_limit),
            )
        except ValidationError as error:
            raise BadInput(_validation_line(error)) from None


def run_command(
    choices: Choices,
    data: Path | None,
    download: bool,
    results: Path,
    resume: str | None,
    *,
    json: bool,
    quiet: bool,
) -> int:
    """Plan, run and store; return the exit code."""
    from nodebench.run.store import Run

    limits = choices.limits()
    earlier = Run.open(results, resume) if resume else None
    grid = earlier.grid() if earlier else choices.grid()
    # Everything that needs torch comes after what can be refused without it.
    from nodebench.instruments import describe_environment
    from nodebench.run.engines.local import run_trials
    from nodebench.run.isolation import start_fork_server
    from nodebench.run.plan import plan
    from nodebench.tasks import DataSource, find_task

    start_fork_server()
    if data is None and find_task(grid.task).takes_data and (folder := os.environ.get(DATA_VARIABLE)):
        data = Path(folder)
    source = DataSource(data, download)
    planned = plan(grid, source)
    run = earlier or Run.create(results, grid, describe_environment())
    done = {record.id: record for record in run.records() if record.status is not Status.INTERRUPTED}
    todo = [trial for trial in planned.trials if trial.id not in done]
    records: list[Record] = []
    with make_display(len(todo), json=json, quiet=quiet) as display:
        for reason in planned.left_out:
            display.note(f"left out: {reason}")
        for record in run_trials(todo, limits, source, display.progress):
            run.append(record)
            records.append(record)
            display.finished(record)
            if record.status is Status.INTERRUPTED:
                break
    return _conclude(run, list(done.values()) + records, todo, json=json)


def _conclude(run: Any, records: list[Record], todo: list[Trial], *, json: bool) -> int:
    """Print the table, where it lies and how to go on; return the exit code."""
    from nodebench.cli import INTERRUPTED, OK, TRIAL_FAILED
    from nodebench.cli.show import print_run

    interrupted = bool(records) and records[-1].status is Status.INTERRUPTED
    if not json:
        print_run(run.folder, records)
    if interrupted:
        finished = sum(record.status is not Status.INTERRUPTED for record in records)
        message = f"Interrupted: {finished} finished trials are kept, {len(todo)} were planned. Go on with:"
        folder = run.folder
        command = f"nodebench run --results {folder.parent} --resume {folder.name}"
        Console(stderr=True, soft_wrap=True).print(f"{message}\n  {command}", highlight=False)
        return INTERRUPTED
    return OK if all(record.status is Status.OK for record in records) else TRIAL_FAILED


def _parts(name: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(parts):
        raise BadInput(f"--{name.replace('_', '-')} '{text}': an empty value between commas")
    return list(dict.fromkeys(parts))


def _float(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise BadInput(f"--{name.replace('_', '-')} '{text}': not a positive number; write it as 1e-3 or 0.001")
    return value


def _int(name: str, text: str) -> int:
    if not text.isdecimal():
        raise BadInput(f"--{name} '{text}': not a whole number from 0 on")
    return int(text)


def _at_most_one(name: str, values: list[T]) -> T | None:
    if len(values) > 1:
        raise BadInput(f"--{name.replace('_', '-')}: one value only, it does not multiply into trials")
    return values[0] if values else None


def _override(text: str) -> tuple[str, Scalar]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise BadInput(f"--set '{text}': write it as --set name=value")
    return name.strip(), value.strip()


def _size(text: str) -> int:
    number = text.rstrip("BKMGIbkmgi")
    unit = text[len(number) :].upper() or "B"
    unit = unit if unit.endswith("B") else unit + "B"
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise BadInput(f"--memory-limit '{text}': not a size; write it as 800MB, 2GB or 1.5GiB") from None
    return size


_OPTION_OF_FIELD = {"memory": "memory-limit", "seed": "seed", "overrides": "set"}


def _validation_line(error: ValidationError) -> str:
    first = error.errors()[0]
    field = str(first["loc"][0])
    option = _OPTION_OF_FIELD.get(field, field.replace("_", "-"))
    return f"--{option} {first['input']}: {first['msg'].lower()}"
