"""The part of the README that is made from the records: the verdicts, and one figure."""

from collections.abc import Sequence

from nodebench.analysis.claims import Verdict, Word
from nodebench.report.document import Table
from nodebench.report.front_pages import summary, verdict_table
from nodebench.report.writers import markdown_text
from nodebench.spec import Record

BEGIN, END = "<!-- verdicts: made by nodebench report, not by hand -->", "<!-- end of verdicts -->"
_COLUMNS = ("verdict", "claim", "scope", "it says", "measured [95 % interval]")


def with_verdicts(readme: str, verdicts: Sequence[Verdict], records: Sequence[Record], reports: str) -> str:
    """A README with its verdicts as the records have them.

    Args:
        readme: the text, with the marks ``BEGIN`` and ``END`` in it.
        verdicts: of all claims.
        records: behind them.
        reports: where the report lies, from the README.

    Raises:
        ValueError: a mark is missing.
    """
    before, found, rest = readme.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"no part between {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{_block(verdicts, records, reports)}\n{END}{after}"


def _block(verdicts: Sequence[Verdict], records: Sequence[Record], reports: str) -> str:
    decided = [verdict for verdict in verdicts if verdict.word in (Word.SUPPORTED, Word.REFUTED)]
    lines = [summary(verdicts, records)[0], "", _table(verdict_table(decided), reports)]
    for word in (Word.INCONCLUSIVE, Word.NOT_TESTED):
        if names := [f"`{verdict.claim.name}`" for verdict in verdicts if verdict.word is word]:
            lines += ["", f"{word.capitalize()}: {', '.join(names)}."]
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
