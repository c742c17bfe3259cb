"""The records that come with nodebench stand apart from the user's own: one verdict never rests on both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodebench.run.store import Run, every_run_below, records_of
from nodebench.spec import Record

# The folder, in that of the results, of the records that come with nodebench.
PUBLISHED = "published"


@dataclass(frozen=True)
class Apart:
    """Runs below a folder of results.

    Attributes:
        judged: the user's own; the published ones where there are no others.
        beside: the published ones where ``judged`` are the user's own, else none.
    """

    judged: Sequence[Run]
    beside: Sequence[Run]


def apart(runs: Iterable[Run], results: Path) -> Apart:
    """Part the runs below a folder of results."""
    own: list[Run] = []
    published: list[Run] = []
    for run in runs:
        (published if _is_published(run, results) else own).append(run)
    return Apart(own, published) if own else Apart(published, [])


def records_to_judge(results: Path) -> list[Record]:
    """The user's own records below a folder, the published ones where there are no others; none where no run is."""
    return [record for run in apart(every_run_below(results), results).judged for record in records_of(run)]


def own_records(results: Path) -> list[Record]:
    """The records below a folder but for the published ones in it."""
    runs = [run for run in every_run_below(results) if not _is_published(run, results)]
    return [record for run in runs for record in records_of(run)]


def _is_published(run: Run, results: Path) -> bool:
    return results / PUBLISHED in run.folder.parents
