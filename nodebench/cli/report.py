"""``nodebench report``: the records as a site, for a code host, for a paper, and as data."""

from pathlib import Path

from nodebench.api.report import report
from nodebench.cli.heartbeat import waiting
from nodebench.cli.terminal import Terminal


def report_command(results: Path, out: Path, formats: str, readme: Path | None, *, with_published: bool) -> None:
    """Write the report and print where it is."""
    chosen = [name.strip() for name in formats.split(",") if name.strip()]
    with waiting("judging claims and drawing plots"):
        done = report(results, out=out, formats=chosen, readme=readme, with_published=with_published)
    console = Terminal(soft_wrap=True)
    if done.left_out:
        console.print(f"{done.left_out} left out; --with-published shows it beside the other records")
    console.print(f"{len(done.verdicts)} verdicts from {done.records:,} records, {done.pages} pages · {done.path}")
