"""The whole report: from runs to pages."""

from collections.abc import Mapping, Sequence

from nodebench.analysis.summary import by_study
from nodebench.claims import ClaimResult, all_claims, judge
from nodebench.claims.amendments import amendments
from nodebench.claims.freeze import frozen_declarations
from nodebench.reporting.amendment_page import amendment_page
from nodebench.reporting.choice_page import choice_page
from nodebench.reporting.claim_pages import claim_pages
from nodebench.reporting.document import Page, distinct
from nodebench.reporting.front_pages import index_page, method_page
from nodebench.reporting.question_page import question_page
from nodebench.reporting.study_charts import Sides
from nodebench.reporting.study_pages import SnapshotLoader, study_pages
from nodebench.spec import Record, shipped_studies
from nodebench.spec.calibration import Calibration

# Label of the records that come with nodebench when they are shown next to the user's own.
PUBLISHED = "published records"


def report(
    records: Sequence[Record],
    load_snapshots: SnapshotLoader,
    calibrations: Sequence[Calibration] = (),
    beside: Sequence[Record] = (),
    results_folder: str = "results",
) -> tuple[list[Page], list[ClaimResult]]:
    """Judge the claims and return all pages of the report.

    Args:
        records: of all runs; their order does not matter.
        load_snapshots: returns the stored snapshots of a record, empty if there are none.
        calibrations: of the machines that made the records.
        beside: records that are shown next to the others under the name ``PUBLISHED``, and never mixed with them.
        results_folder: folder of the records, for the commands on the pages.

    Returns:
        tuple: the pages, index page first, and the result of each claim from ``records``.
    """
    ordered, others = (sorted(some, key=lambda record: (record.started, record.id)) for some in (records, beside))
    frozen, changes = frozen_declarations(), amendments()
    results = judge(all_claims(), ordered, calibrations, frozen)
    published = judge(all_claims(), others, calibrations, frozen) if others else []
    own = by_study(ordered)
    studies = _sides(own, by_study(others))
    of_claims = claim_pages(results, studies, changes, published)
    of_studies = study_pages(studies, load_snapshots)
    first = index_page(results, ordered, of_studies, published)
    asked, chosen = question_page(results, studies), choice_page(ordered, results_folder)
    last = [method_page(results, [*ordered, *others], own), amendment_page(results, changes)]
    return distinct([first, asked, chosen, *of_claims, *of_studies, *last]), results


def _sides(own: Mapping[str, Sequence[Record]], others: Mapping[str, Sequence[Record]]) -> dict[str, Sides]:
    """Return the records of each study by origin; shipped studies come first, in their usual order."""
    known = [name for name in shipped_studies() if name in own or name in others]
    return {
        name: {side: some[name] for side, some in (("", own), (PUBLISHED, others)) if name in some}
        for name in dict.fromkeys([*known, *own, *others])
    }
