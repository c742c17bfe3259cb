"""The page of amendments: what changed in the declarations, when, and why."""

from collections.abc import Sequence

from nodebench.claims import ClaimResult
from nodebench.claims.amendments import Amendment
from nodebench.reporting.document import Block, Cell, Heading, Page, Paragraph, Table, number

_CORRECTION = (
    "Correction: the changes of 2026-11-25 state that they were written before any record that tests the claim. For "
    "many claims this is not so: they are also judged on records of 2026-11-24 whose trials did not change."
)


def amendment_page(results: Sequence[ClaimResult], amendments: Sequence[Amendment]) -> Page:
    """Return the page with all amendments and the date on which each current declaration was frozen."""
    late = sum(one.after_first_results for one in amendments)
    blocks: list[Block] = [
        Paragraph(
            f"The declarations of claims were changed {len(amendments)} times; {late} of these changes were made after "
            "first results for the claim existed. Every change is listed here."
        ),
        Paragraph(_CORRECTION),
        _table(amendments),
        Heading("Current declarations"),
        _in_force(results),
    ]
    return Page("amendments", "Amendments", "What changed in the declarations of claims, when and why", blocks)


def _table(amendments: Sequence[Amendment]) -> Table:
    rows = [
        [
            Cell(one.date[:16].replace("T", " ")),
            Cell(one.claim),
            Cell(one.what),
            Cell(one.old),
            Cell(one.new),
            Cell(one.reason),
            Cell("yes" if one.after_first_results else "no"),
            Cell(f"{one.verdict_old} → {one.verdict_new}"),
        ]
        for one in amendments
    ]
    header = ("date", "claim", "what", "old", "new", "reason", "after first results", "verdict, old → new")
    return Table("amendments", "Changes of declarations, oldest first", header, rows, filters=True)


def _in_force(results: Sequence[ClaimResult]) -> Table:
    rows = [
        [
            Cell(result.claim.name),
            Cell(result.frozen[:10] if result.frozen else "not frozen"),
            number(str(len(result.records)), len(result.records)),
            number(str(result.older), result.older),
        ]
        for result in results
    ]
    header = ("claim", "last changed on", "records used", "of them older")
    return Table("declarations", "Date of the last change of each declaration, of its wording too", header, rows)
