"""The options of a task, as a trial sets them."""

from typing import Literal

from pydantic import ValidationError

from nodebench.errors import BadInput, choose, first_fault
from nodebench.spec import Preset, Trial
from nodebench.spec.trial import Scalar
from nodebench.tasks import Options, Task, calling_task, find_task


def options_of(trial: Trial) -> Options:
    """The task's options of a trial: its preset with its overrides."""
    preset = find_task(trial.task).presets[trial.preset]
    return preset.model_copy(update=trial.overrides)


def options_with(task: Task, preset: Preset, given: dict[str, Scalar]) -> Options:
    """The options of a preset with some of them changed, checked.

    Raises:
        BadInput: the task has no such preset or option, a value is refused, or the check itself fails.
    """
    base = preset_of(task, preset)
    for name in given:
        choose(f"option of task {task.name}", name, task.options.model_fields)
    with calling_task(task, "the check of its options"):
        try:
            return task.options.model_validate(described(task, base) | given)
        except ValidationError as error:
            typed = f"--set {', '.join(f'{k}={v}' for k, v in given.items())}" if given else f"task {task.name}"
            raise BadInput(f"{typed}: {first_fault(error)}") from None


def preset_of(task: Task, preset: Preset) -> Options:
    """The options of a preset.

    Raises:
        BadInput: the task has no such preset.
    """
    if preset not in task.presets:
        raise BadInput(f"task {task.name} has no preset '{preset}'. Allowed: {', '.join(task.presets)}")
    return task.presets[preset]


def described(task: Task, options: Options, mode: Literal["python", "json"] = "python") -> dict[str, Scalar]:
    """Return options as plain values by name; with mode ``json``, in the format of records.

    Raises:
        BadInput: ``model_dump()`` of the options fails.
    """
    with calling_task(task, "model_dump() of its options"):
        return options.model_dump(mode=mode)
