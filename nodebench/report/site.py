"""The whole report: from runs to pages."""

from collections.abc import Sequence

from nodebench.analysis.claims import CLAIMS, Verdict, judge
from nodebench.analysis.summary import by_study
from nodebench.report.claim_pages import claim_pages
from nodebench.report.document import Page, distinct
from nodebench.report.front_pages import index_page, method_page
from nodebench.report.study_pages import Films, study_pages
from nodebench.spec import Record
from nodebench.spec.calibration import Calibration


def report(
    records: Sequence[Record], films: Films, calibrations: Sequence[Calibration] = ()
) -> tuple[list[Page], list[Verdict]]:
    """Put the claims to the test, and lay everything out.

    Args:
        records: of all runs; their order does not matter.
        films: gives the pictures that were kept of a record, empty where there are none.
        calibrations: of the machines that made the records.

    Returns:
        tuple: the pages, the first one first, and the verdicts.
    """
    ordered = sorted(records, key=lambda record: (record.started, record.id))
    verdicts = judge(CLAIMS, ordered, calibrations)
    studies = by_study(ordered)
    of_claims, of_studies = claim_pages(verdicts, studies), study_pages(studies, films)
    first = index_page(verdicts, ordered, of_studies)
    pages = [first, *of_claims, *of_studies, method_page(verdicts, ordered, studies)]
    return distinct(pages), verdicts
