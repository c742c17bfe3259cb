"""Check the user's code and data before a run begins, and compare them with those of existing records.

A command never imports user code into its own process: each check runs in a separate process, with a trial's limits.
"""

from collections.abc import Iterable, Sequence

from nodebench.errors import BadInput
from nodebench.spec import DataSource, Limits, Measured, Record, Status, Trial
from nodebench.spec.record import differing
from nodebench.tasks import data_card_of, find_task
from nodebench.trial.isolation import check_isolated
from nodebench.trial.options import options_of


def check_user_code(trials: Iterable[Trial], limits: Limits) -> dict[str, Measured]:
    """Build and check one trial of each distinct problem; return the hashes of its code and state, by content id.

    Trials of tasks that run no user code are skipped.

    Raises:
        BadInput: the code cannot be imported, or its object cannot be created or called.
    """
    problems = {problem.id: problem for trial in trials if (problem := _problem(trial)) is not None}
    return {id: _checked(problem, limits) for id, problem in problems.items()}


def check_before_run(trials: Sequence[Trial], limits: Limits, finished: Iterable[Record], run: str = "") -> None:
    """Check the user's code of trials that are about to run, one seed of each problem.

    Args:
        trials: the trials to run.
        limits: limits of each check.
        finished: existing records of the run.
        run: name of the run.

    Raises:
        BadInput: the code cannot be used, or a record was made with other code.
    """
    present = check_user_code([_of_first_seed(trial) for trial in trials], limits)
    for record in finished:
        problem = _problem(_of_first_seed(record.trial))
        now = present.get(problem.id) if problem is not None else None
        if now is not None and record.measured is not None and record.measured.code != now.code:
            what = differing(record.measured, now)
            raise BadInput(f"the user's code has changed since run {run} was made: {what}. Start a new run")


def refuse_changed_data(trials: Iterable[Trial], source: DataSource, finished: Iterable[Record], run: str) -> None:
    """Refuse to continue a run if the user's data have changed since its records were made.

    Raises:
        BadInput: the data have changed, or cannot be read.
    """
    present = {}
    for trial in trials:
        if (key := _data_of(trial)) not in present:
            present[key] = data_card_of(find_task(trial.task), trial.dataset, options_of(trial), source)
    for record in finished:
        now = present.get(_data_of(record.trial))
        if now is not None and record.data is not None and record.data.sha256 != now.sha256:
            raise BadInput(f"the data in {source.folder} have changed since run {run} was made. Start a new run")


def data_summaries(trials: Iterable[Trial], source: DataSource) -> list[str]:
    """Summarise the user's own data, one line for each distinct use."""
    by_use = {_data_of(trial): trial for trial in trials}
    found = []
    for trial in by_use.values():
        task = find_task(trial.task)
        if task.datasets:
            found.append(task.data_summary(trial.dataset, options_of(trial), source))
    return [text for text in dict.fromkeys(found) if text]


def _data_of(trial: Trial) -> str:
    """Return the fields that determine the data of a trial, as JSON."""
    return trial.model_dump_json(include={"task", "dataset", "preset", "overrides"})


def of_present_code(records: Iterable[Record], limits: Limits) -> list[Record]:
    """Return the records made with the current version of the user's code and the same initial weights.

    Raises:
        BadInput: see ``check_user_code``.
    """
    by_problem: dict[str, list[Record]] = {}
    for record in records:
        if (problem := _problem(record.trial)) is not None:
            by_problem.setdefault(problem.id, []).append(record)
    present = check_user_code([found[0].trial for found in by_problem.values()], limits)
    return [record for id, found in by_problem.items() for record in found if record.measured == present[id]]


def _problem(trial: Trial) -> Trial | None:
    """Return the trial with only the fields that a check depends on; None if its task runs no user code."""
    if not find_task(trial.task).runs_user_code:
        return None
    return Trial(**trial.model_dump(include={"task", "model", "device", "dtype", "preset", "overrides", "seed"}))


def _of_first_seed(trial: Trial) -> Trial:
    return trial.model_copy(update={"seed": 0})


def _checked(problem: Trial, limits: Limits) -> Measured:
    record = check_isolated(problem, limits, DataSource())
    if record.status is Status.NO_DEVICE:  # the trials run on another machine
        record = check_isolated(problem.model_copy(update={"device": "cpu"}), limits, DataSource())
    if record.status is Status.OK and record.measured is not None:
        return record.measured
    failure = record.failure
    name = str(problem.overrides.get("field") or problem.overrides.get("problem") or problem.task)
    message = failure.message if failure else str(record.status)
    if name in message:  # the check itself says what was wrong
        raise BadInput(message)
    if record.status is Status.TIMEOUT:
        message = f"it did not end within {limits.timeout:g} s, the time limit of a trial"
    last = f"; its last output: {failure.stderr[-1]}" if failure and failure.stderr else ""
    raise BadInput(f"{name} failed while it was imported and called once: {message}{last}")
