"""``nodebench results``: list, verify, repair, merge and prune stored runs."""

from pathlib import Path

from nodebench.cli.exit_codes import OK, TRIAL_FAILED
from nodebench.cli.show import print_rows
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput
from nodebench.reporting.tables import status_line
from nodebench.spec.metrics import several
from nodebench.store.maintenance import ASIDE, leftover_merges, merge, prune, repair, verify
from nodebench.store.run_folder import RunFolder, list_runs, records_of


def list_results(results: Path) -> None:
    """Print the runs of a folder."""
    print_rows([("run", "trials"), *((run.folder.name, status_line(records_of(run))) for run in _runs(results))])


def verify_results(name: str | None, results: Path) -> int:
    """Print the problems of one run or of all runs; return 1 if there are any."""
    console = Terminal(soft_wrap=True)
    runs = [RunFolder.open(results, name)] if name else _runs(results)
    wrong = 0
    for run in runs:
        findings = verify(run)
        wrong += len(findings)
        for finding in findings:
            console.print(f"{run.folder.name}: {finding}")
    for folder in [] if name else leftover_merges(results):
        wrong += 1
        console.print(f"{folder.name}: left by a merge that was killed; 'nodebench results prune' removes it")
    console.print(f"{several(len(runs), 'run')}: {wrong or 'nothing'} wrong")
    return TRIAL_FAILED if wrong else OK


def repair_results(name: str, results: Path) -> None:
    """Move the bad lines of a run to ``ASIDE`` and print how many were moved."""
    run = RunFolder.open(results, name)
    kept, moved = repair(run)
    text = f"{several(moved, 'line')} set aside in {run.folder / ASIDE}" if moved else "nothing to repair"
    Terminal(soft_wrap=True).print(f"{text}; {several(kept, 'line')} kept")


def merge_results(first: str, second: str, results: Path) -> None:
    """Merge two runs into a new one and print its path."""
    merged, doubles = merge(RunFolder.open(results, first), RunFolder.open(results, second), results)
    text = f"{len(merged.records())} records, {doubles} of them in both · {merged.folder}"
    Terminal(soft_wrap=True).print(text)


def prune_results(results: Path, remove: bool) -> None:
    """Remove unneeded files, or only list them."""
    console = Terminal(soft_wrap=True)
    found = prune(results, remove)
    for line in found:
        console.print(line)
    if not found:
        console.print(f"nothing to remove in {results}")
    elif not remove:
        console.print("Nothing was removed; use --yes to remove these.")


def _runs(results: Path) -> list[RunFolder]:
    runs = list_runs(results)
    if not runs:
        raise BadInput(f"no run in {results} yet; make one with 'nodebench run', or give --results DIR")
    return runs
