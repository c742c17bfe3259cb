"""The generated part of the README: the overview plot, the findings, and the claims by verdict."""

from collections.abc import Iterator, Sequence

from nodebench.claims import Claim, ClaimResult, Kind, Verdict
from nodebench.reporting.document import page_name
from nodebench.reporting.front_pages import summary
from nodebench.reporting.question_page import findings
from nodebench.reporting.writers import markdown_text
from nodebench.spec import Record
from nodebench.spec.metrics import several

BEGIN, END = "<!-- verdicts: made by nodebench report, not by hand -->", "<!-- end of verdicts -->"
_PICTURE = "Every measured claim: estimate, interval, region of support and published value"


def with_verdicts(readme: str, results: Sequence[ClaimResult], records: Sequence[Record], reports: str) -> str:
    """Return the README with the verdicts computed from the records.

    Args:
        readme: the text, with the marks ``BEGIN`` and ``END`` in it.
        results: of all claims.
        records: the records that the results are from.
        reports: the path of the report, relative to the README.

    Raises:
        ValueError: a mark is missing.
    """
    before, found, rest = readme.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"no text between the marks {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{_block(results, records, reports)}\n{END}{after}"


def _block(results: Sequence[ClaimResult], records: Sequence[Record], reports: str) -> str:
    lines = [summary(results, records), "", f"![{_PICTURE}]({reports}/figures/overview.svg)", ""]
    if found := findings(results):
        lines += [*(f"- {markdown_text(text)}" for text in found), ""]
    return "\n".join([*lines, "| verdict | claims |", "| --- | --- |", *_rows(results, reports)])


def _rows(results: Sequence[ClaimResult], reports: str) -> Iterator[str]:
    """Yield a row per verdict: the claims that have it, or only their number if the verdict is not a decision."""
    results = [result for result in results if result.claim.kind is not Kind.IDENTITY]
    for verdict in Verdict:
        if some := [result.claim for result in results if result.verdict is verdict]:
            counted = f"[{several(len(some), 'claim')}]({reports}/index.md)"
            yield f"| {verdict} | {', '.join(_link(one, reports) for one in some) if verdict.is_decided else counted} |"


def _link(claim: Claim, reports: str) -> str:
    """A link to the page of a claim; its scope is named unless it is the default one."""
    name = claim.id if claim.scope == "default" else claim.name
    return f"[{name}]({reports}/{page_name(f'claim-{claim.id}')}.md)"
