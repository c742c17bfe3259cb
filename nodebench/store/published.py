"""Separate the records published with nodebench from the user's own records: a verdict never uses both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodebench.spec import Record
from nodebench.store.run_folder import RunFolder, every_run_below, records_of

# Subfolder of the results folder that contains the records published with nodebench.
PUBLISHED = "published"


@dataclass(frozen=True)
class Apart:
    """The runs below a results folder, split by origin.

    Attributes:
        judged: the user's own runs; the published runs if there are no others.
        beside: the published runs if ``judged`` contains the user's own runs, else empty.
    """

    judged: Sequence[RunFolder]
    beside: Sequence[RunFolder]


def apart(runs: Iterable[RunFolder], results: Path) -> Apart:
    """Split the runs below a results folder into the user's own and the published ones."""
    own: list[RunFolder] = []
    published: list[RunFolder] = []
    for run in runs:
        (published if _is_published(run, results) else own).append(run)
    return Apart(own, published) if own else Apart(published, [])


def records_to_judge(results: Path) -> list[Record]:
    """Return the user's own records below a folder; the published records if the user has no runs there."""
    return [record for run in apart(every_run_below(results), results).judged for record in records_of(run)]


def own_records(results: Path) -> list[Record]:
    """Return the records below a folder, without the published ones."""
    runs = [run for run in every_run_below(results) if not _is_published(run, results)]
    return [record for run in runs for record in records_of(run)]


def _is_published(run: RunFolder, results: Path) -> bool:
    return results / PUBLISHED in run.folder.parents
