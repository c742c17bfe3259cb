"""``nodebench report``: the records as a site, for a code host, for a paper, and as data."""

import os
from pathlib import Path

from nodebench.cli.heartbeat import waiting
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, choose
from nodebench.report.readme import with_verdicts
from nodebench.report.site import report
from nodebench.report.writers import WRITERS, write
from nodebench.run.calibrations import calibrations
from nodebench.run.published import PUBLISHED, apart
from nodebench.run.store import Run, records_of, runs_below
from nodebench.spec import Record
from nodebench.spec.trajectories import Film


def report_command(results: Path, out: Path, formats: str, readme: Path | None, *, with_published: bool) -> None:
    """Write the report of the records kept in a folder, and the verdicts into a README if one is given.

    The published records stand apart from the user's own: they are reported where there are no others, and beside the
    others with ``with_published``.
    """
    chosen = [choose("format", name.strip(), WRITERS) for name in formats.split(",") if name.strip()]
    if not chosen:
        raise BadInput(f"--format: nothing. Allowed: {', '.join(WRITERS)}")
    kept_apart = apart(runs_below(results), results)
    of_run: dict[str, Run] = {}
    records: list[Record] = []
    beside: list[Record] = []
    for runs, kept in ((kept_apart.judged, records), (kept_apart.beside if with_published else [], beside)):
        for run in runs:
            for record in records_of(run):
                of_run[f"{record.id} {record.started}"] = run
                kept.append(record)

    if not records:
        raise BadInput(f"no record in {results} can be read")

    def films(record: Record) -> Film:
        return of_run[f"{record.id} {record.started}"].film(record)

    with waiting("judging claims and drawing plots"):
        pages, verdicts = report(records, films, calibrations(results), beside)
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
    if kept_apart.beside and not with_published:
        console.print(f"{results / PUBLISHED} left out; --with-published shows it beside the other records")
    console.print(f"{len(verdicts)} verdicts from {len(records):,} records, {len(pages)} pages · {first}")
