"""``nodebench run``: from a study to records and a table."""

import os
import shlex
import signal
from pathlib import Path

from rich.console import Console

from nodebench.cli.choices import Choices
from nodebench.cli.progress import Display, make_display
from nodebench.errors import BadInput
from nodebench.run.store import Run
from nodebench.spec import DataSource, Record, Status, Study, Trial

# The data folder of those tasks that take one.
DATA_VARIABLE = "NODEBENCH_DATA_DIR"


def run_command(choices: Choices, results: Path, resume: str | None, *, json: bool, quiet: bool, figures: bool) -> int:
    """Plan, run, store and draw; return the exit code."""
    if resume and (given := choices.given()):
        raise BadInput(f"--resume takes everything from the run it goes on with: leave out {', '.join(given)}")
    earlier = Run.open(results, resume) if resume else None
    study = earlier.study() if earlier else choices.study()
    # Everything that needs torch comes after what can be refused without it.
    from nodebench.instruments import describe_environment
    from nodebench.run.isolation import start_fork_server
    from nodebench.run.plan import plan

    start_fork_server()
    if not earlier:
        study = _with_surroundings(study)
    planned = plan(study.grid, study.data)
    run = earlier or Run.create(results, study, describe_environment(planned.trials[0].device))
    done = [record for record in run.records() if record.status is not Status.INTERRUPTED]
    finished = {record.id for record in done}
    todo = [trial for trial in planned.trials if trial.id not in finished]
    with make_display(len(todo), json=json, quiet=quiet) as display:
        for reason in planned.left_out:
            display.note(f"left out: {reason}")
        interrupted = _run_all(todo, study, run, display, done)
    code = _conclude(run, done, len(planned.trials), interrupted, json=json)
    if figures:
        from nodebench.cli.figures import draw_figures

        draw_figures(run, done, animate=False, quiet=json)
    return code


def _with_surroundings(study: Study) -> Study:
    """Fix what depends on where one is, so that a resumed run has the same trials."""
    from nodebench.instruments.environment import usable_cores
    from nodebench.tasks import find_task

    grid, data = study.grid, study.data
    folder = os.environ.get(DATA_VARIABLE)
    if folder and data == DataSource() and find_task(grid.task).datasets:
        data = DataSource(folder=Path(folder).absolute())
    grid = grid.model_copy(update={"threads": grid.threads or usable_cores()})
    return study.model_copy(update={"grid": grid, "data": data})


def _run_all(todo: list[Trial], study: Study, run: Run, display: Display, records: list[Record]) -> bool:
    """Run the trials, adding to ``records`` and to the store as each ends; tell whether Ctrl-C stopped it."""
    from nodebench.run.engines.local import run_trials

    signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on Ctrl-C leaves a record
    try:
        for record, film in run_trials(todo, study.limits, study.data, display.progress):
            run.append(record, film)
            records.append(record)
            display.finished(record)
            if record.status is Status.INTERRUPTED:
                return True
    except KeyboardInterrupt:
        return True
    return False


def _conclude(run: Run, records: list[Record], planned: int, interrupted: bool, *, json: bool) -> int:
    """Print the table, where it lies and how to go on; return the exit code."""
    from nodebench.cli import INTERRUPTED, OK, TRIAL_FAILED
    from nodebench.cli.show import print_run

    if not json:
        print_run(run.folder, records)
    if interrupted:
        finished = sum(record.status is not Status.INTERRUPTED for record in records)
        folder = run.folder
        command = f"nodebench run --results {shlex.quote(str(folder.parent))} --resume {folder.name}"
        message = f"Interrupted: {finished} of {planned} trials are finished and kept. Go on with:\n  {command}"
        Console(stderr=True, soft_wrap=True, markup=False).print(message, highlight=False)
        return INTERRUPTED
    return OK if all(record.status is Status.OK for record in records) else TRIAL_FAILED
