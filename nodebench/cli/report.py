"""``nodebench report``: write the report as a site, Markdown, LaTeX and CSV."""

import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from nodebench.api.report import FORMATS, LATEST_REPORT, report, report_run
from nodebench.cli.exit_codes import LATEST
from nodebench.cli.heartbeat import waiting
from nodebench.cli.terminal import Terminal
from nodebench.cores import usable_cores
from nodebench.errors import BadInput
from nodebench.store.run_folder import RunFolder

LOOPBACK = "127.0.0.1"


def report_command(results: Path, out: Path | None, formats: str, readme: Path | None, *, with_published: bool) -> Path:
    """Write the report, print where it is, and return its first page."""
    with waiting("judging claims and drawing plots"):
        done = report(
            results,
            out=out or LATEST_REPORT,
            formats=_names(formats) or FORMATS,
            readme=readme,
            with_published=with_published,
            jobs=usable_cores(),
        )
    console = Terminal(soft_wrap=True)
    if done.left_out:
        console.print(f"{done.left_out} is left out; include it with --with-published")
    console.print(f"{len(done.verdicts)} verdicts from {done.records:,} records, {done.pages} pages · {done.path}")
    return done.path


def report_run_command(name: str, results: Path, out: Path | None, formats: str) -> Path:
    """Write the page of a run, print where it is, and return it."""
    run = RunFolder.open(results, None if name == LATEST else name)
    with waiting("drawing plots"):
        page = report_run(run, out, _names(formats) or ("html",))
    Terminal(soft_wrap=True).print(f"{run.folder.name} · {page}")
    return page


def show_page(page: Path, *, open_: bool, port: int | None) -> None:
    """Open a page in the browser, or serve its folder on this machine alone, until Ctrl-C."""
    if port is None:
        if open_:
            webbrowser.open(page.absolute().as_uri())
        return
    folder = page if page.is_dir() else page.parent
    handler = partial(_Quiet, directory=str(folder))
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise BadInput(f"--serve {port}: {getattr(error, 'strerror', None) or error}") from error
    with server:
        address = f"http://{LOOPBACK}:{server.server_address[1]}/{'' if page.is_dir() else page.name}"
        Terminal(soft_wrap=True).print(f"{address} · Ctrl-C ends it")
        if open_:
            webbrowser.open(address)
        server.serve_forever()


class _Quiet(SimpleHTTPRequestHandler):
    """Request handler that logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
