"""``nodebench report``: the records as a site, for a code host, for a paper, and as data."""

import os
from pathlib import Path

from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, choose
from nodebench.report.readme import with_verdicts
from nodebench.report.site import report
from nodebench.report.writers import WRITERS, write
from nodebench.run.calibrations import calibrations
from nodebench.run.store import Run, records_of, runs_below
from nodebench.spec import Record
from nodebench.spec.trajectories import Film


def report_command(results: Path, out: Path, formats: str, readme: Path | None) -> None:
    """Write the report of all records kept in a folder, and the verdicts into a README if one is given."""
    chosen = [choose("format", name.strip(), WRITERS) for name in formats.split(",") if name.strip()]
    if not chosen:
        raise BadInput(f"--format: nothing. Allowed: {', '.join(WRITERS)}")
    runs = runs_below(results)
    of_run: dict[str, Run] = {}
    records: list[Record] = []
    for run in runs:
        for record in records_of(run):
            of_run[f"{record.id} {record.started}"] = run
            records.append(record)

    if not records:
        raise BadInput(f"no record in {results} can be read")

    def films(record: Record) -> Film:
        return of_run[f"{record.id} {record.started}"].film(record)

    pages, verdicts = report(records, films, calibrations(results))
    files = {name: content for format in chosen for name, content in WRITERS[format](pages).items()}
    write(files, out)
    if readme is not None:
        try:
            where = os.path.relpath(out, readme.parent)
            readme.write_text(with_verdicts(readme.read_text(), verdicts, records, where))
        except (OSError, ValueError) as error:
            raise BadInput(f"--readme {readme}: {error}") from error
    console = Terminal(soft_wrap=True)
    first = next((out / f"index.{name}" for name in ("html", "md") if name in chosen), out)
    console.print(f"{len(verdicts)} verdicts from {len(records):,} records, {len(pages)} pages · {first}")
