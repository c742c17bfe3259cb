"""The whole report: from runs to pages."""

from collections.abc import Sequence

from nodebench.analysis.summary import by_study
from nodebench.claims import ClaimResult, all_claims, judge
from nodebench.claims.amendments import amendments
from nodebench.claims.freeze import frozen_declarations
from nodebench.report.amendment_page import amendment_page
from nodebench.report.claim_pages import claim_pages
from nodebench.report.document import Page
from nodebench.report.front_pages import index_page, method_page
from nodebench.report.study_pages import Films, study_pages
from nodebench.spec import Record
from nodebench.spec.calibration import Calibration


def report(
    records: Sequence[Record], films: Films, calibrations: Sequence[Calibration] = ()
) -> tuple[list[Page], list[ClaimResult]]:
    """Put the claims to the test, and lay everything out.

    Args:
        records: of all runs; their order does not matter.
        films: gives the pictures that were kept of a record, empty where there are none.
        calibrations: of the machines that made the records.

    Returns:
        tuple: the pages, the first one first, and the result of each claim.
    """
    ordered = sorted(records, key=lambda record: (record.started, record.id))
    results = judge(all_claims(), ordered, calibrations, frozen_declarations())
    changes = amendments()
    studies = by_study(ordered)
    of_claims, of_studies = claim_pages(results, studies, changes), study_pages(studies, films)
    first = index_page(results, ordered, of_studies)
    last = [method_page(results, ordered, studies), amendment_page(results, changes)]
    return [first, *of_claims, *of_studies, *last], results
