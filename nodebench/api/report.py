"""The report of the records of a folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodebench.api.verdicts import Verdicts
from nodebench.claims.verdict_file import verdicts_json
from nodebench.errors import BadInput, choose
from nodebench.reporting.document import Page
from nodebench.reporting.drawing import draw_all
from nodebench.reporting.readme import with_verdicts
from nodebench.reporting.site import report as report_pages
from nodebench.reporting.writers import WRITERS, Files, write
from nodebench.spec import Record
from nodebench.spec.trajectories import Snapshots
from nodebench.store.calibrations import calibrations
from nodebench.store.published import PUBLISHED, apart
from nodebench.store.run_folder import RunFolder, records_of, runs_below

LATEST_REPORT = Path("reports/latest")
FORMATS = tuple(WRITERS)


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        path: the first page, or the folder if the format has no first page.
        verdicts: the verdicts on every claim.
        records: number of records that were judged.
        pages: number of pages.
        left_out: the folder of the published records if there are any that are not shown; else None.
    """

    path: Path
    verdicts: Verdicts
    records: int
    pages: int
    left_out: Path | None

    def _repr_html_(self) -> str:
        return f"<p><code>{self.path}</code>: {self.pages} pages</p>{self.verdicts._repr_html_()}"


def report(
    results: str | Path = "results",
    *,
    out: str | Path = LATEST_REPORT,
    formats: Sequence[str] = FORMATS,
    readme: str | Path | None = None,
    with_published: bool = False,
    jobs: int = 1,
) -> Report:
    """Judge the claims, and write tables, plots, a page for each claim and study, and ``verdicts.json`` for programs.

    Published records are kept separate from the user's own. They are reported if there are no other records, and in
    addition to the others with ``with_published``.

    Args:
        results: folder of the runs.
        out: folder to write.
        formats: ``html``, ``md``, ``latex``, ``csv``.
        readme: a README to write the verdicts into.
        with_published: whether ``results/published`` is shown beside the other records.
        jobs: number of processes that draw the plots; more than one are forked from this process, on Linux only.

    Raises:
        BadInput: there is no record, a format does not exist, or a file cannot be written.
    """
    chosen = _formats(formats)
    folder, target = Path(results), Path(out)
    kept = apart(runs_below(folder), folder)
    of_run: dict[str, RunFolder] = {}
    records = _records(kept.judged, of_run)
    if not records:
        raise BadInput(f"no record in {folder} can be read")
    beside = _records(kept.beside if with_published else [], of_run)

    def load_snapshots(record: Record) -> Snapshots:
        return of_run[_key(record)].snapshots(record)

    # The folder of the published records in a clone, wherever this one lies.
    of_records = f"results/{PUBLISHED}" if folder.name == PUBLISHED else str(results)
    pages, found = report_pages(records, load_snapshots, calibrations(folder), beside, of_records)
    if {"html", "md"} & set(chosen):
        draw_all([chart.drawing for page in pages for chart in page.charts], jobs)
    first = _write(pages, target, chosen, {"verdicts.json": verdicts_json(found)})
    if readme is not None:
        path = Path(readme)
        try:
            where = os.path.relpath(target, path.parent)
            path.write_text(with_verdicts(path.read_text(), found, records, where))
        except (OSError, ValueError) as error:
            raise BadInput(f"--readme {path}: {error}") from error
    left_out = folder / PUBLISHED if kept.beside and not with_published else None
    return Report(first, Verdicts(found), len(records), len(pages), left_out)


def report_run(run: RunFolder, out: Path | None = None, formats: Sequence[str] = ("html",)) -> Path:
    """Write the page of one run: work-precision plots, training, trajectories and every configuration.

    Args:
        run: the run.
        out: folder to write; None for ``report`` in the run directory.
        formats: as in ``report``.

    Returns:
        Path: the page, or the folder if the formats have no page.

    Raises:
        BadInput: there is no record, a format does not exist, or a file cannot be written.
    """
    from nodebench.reporting.run_page import run_page

    chosen = _formats(formats)
    records = run.records()
    if not records:
        raise run.no_record()
    if out is None:
        run.refuse_link()
    return _write([run_page(run.folder.name, records, run.snapshots)], out or run.folder / "report", chosen)


def _formats(names: Sequence[str]) -> list[str]:
    chosen = [choose("format", name, WRITERS) for name in names]
    if not chosen:
        raise BadInput(f"--format: no format given. Allowed: {', '.join(WRITERS)}")
    return chosen


def _write(pages: Sequence[Page], target: Path, formats: Sequence[str], beside: Files | None = None) -> Path:
    """Write pages and additional files; return the first page, or the folder if the formats have no first page."""
    files = {name: content for format in formats for name, content in WRITERS[format](pages).items()}
    write(files | (beside or {}), target)
    return next((target / f"index.{name}" for name in ("html", "md") if name in formats), target)


def _records(runs: Sequence[RunFolder], of_run: dict[str, RunFolder]) -> list[Record]:
    """Return the records of runs, and store the run of each record in ``of_run``."""
    records = []
    for run in runs:
        for record in records_of(run):
            of_run[_key(record)] = run
            records.append(record)
    return records


def _key(record: Record) -> str:
    return f"{record.id} {record.started}"
