"""The part of the README that is made from the records: the verdicts, and one figure."""

from collections.abc import Sequence

from nodebench.claims import ClaimResult, Verdict
from nodebench.reporting.document import Table
from nodebench.reporting.front_pages import summary, verdict_table
from nodebench.reporting.question_page import findings
from nodebench.reporting.writers import markdown_text
from nodebench.spec import Record

BEGIN, END = "<!-- verdicts: made by nodebench report, not by hand -->", "<!-- end of verdicts -->"
_PICTURE = "Every measured claim: estimate, interval, region of support and published value"
_COLUMNS = ("verdict", "claim", "scope", "it says", "conditions", "measured [interval]")


def with_verdicts(readme: str, results: Sequence[ClaimResult], records: Sequence[Record], reports: str) -> str:
    """A README with its verdicts as the records have them.

    Args:
        readme: the text, with the marks ``BEGIN`` and ``END`` in it.
        results: of all claims.
        records: behind them.
        reports: where the report lies, from the README.

    Raises:
        ValueError: a mark is missing.
    """
    before, found, rest = readme.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"no part between {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{_block(results, records, reports)}\n{END}{after}"


def _block(results: Sequence[ClaimResult], records: Sequence[Record], reports: str) -> str:
    decided = [result for result in results if result.verdict.is_decided]
    lines = [summary(results, records), "", f"![{_PICTURE}]({reports}/figures/overview.svg)", ""]
    if found := findings(results):
        lines += [*(f"- {markdown_text(text)}" for text in found), ""]
    lines.append(_table(verdict_table(decided), reports))
    for verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_TESTED):
        if names := [f"`{result.claim.name}`" for result in results if result.verdict is verdict]:
            lines += ["", f"{verdict.capitalize()}: {', '.join(names)}."]
    return "\n".join(lines)


def _table(table: Table, reports: str) -> str:
    columns = [table.header.index(name) for name in _COLUMNS]
    rows = ["| " + " | ".join(markdown_text(name) for name in _COLUMNS) + " |", "| --- " * len(columns) + "|"]
    for row in table.rows:
        cells = [row[column] for column in columns]
        texts = [
            f"[{markdown_text(cell.text)}]({reports}/{cell.page}.md)" if cell.page else markdown_text(cell.text)
            for cell in cells
        ]
        rows.append("| " + " | ".join(texts) + " |")
    return "\n".join(rows)
