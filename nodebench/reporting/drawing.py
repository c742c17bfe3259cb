"""Plots of the report, as inline SVG and as PDF.

A plot is drawn when its SVG or PDF is first read; ``draw_all`` draws many in parallel processes.
"""

import ctypes
import io
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cached_property
from html import escape
from multiprocessing import get_context

from matplotlib.figure import Figure

from nodebench.escapes import visible
from nodebench.reporting import plots
from nodebench.reporting.colours import MUTED, TRUE

# Placeholder that is replaced by ``currentColor``, so that plots follow light and dark pages.
INK = "#010203"

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "pdf.fonttype": 42,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    "legend.frameon": False,
    "path.simplify_threshold": 0.5,
}

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Tooltips = Mapping[str, Sequence[str]]  # by the gid of a line, one text per point


class Drawing:
    """A plot as inline SVG, which takes the colours of the page, and as PDF for a paper; equal plots give equal bytes.

    Args:
        name: of the plot; it makes the ids of the SVG unique on a page.
        draw: draws the figure, and returns it with its tooltips.

    Attributes:
        name: of the plot.
    """

    def __init__(self, name: str, draw: Callable[[], tuple[Figure, Tooltips]]) -> None:
        self.name, self._draw = name, draw

    @cached_property
    def svg(self) -> str:
        """The plot as SVG."""
        with self._drawn() as (drawn, titles):
            return _with_titles(_svg(drawn), titles)

    def pdf(self) -> bytes:
        """Return the plot as PDF."""
        with self._drawn() as (drawn, _):
            file = io.BytesIO()
            drawn.savefig(file, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
            return file.getvalue()

    @contextmanager
    def _drawn(self) -> Iterator[tuple[Figure, Tooltips]]:
        """Draw the figure, and keep the style of the report until it is saved."""
        with plots.style(self.name, **_STYLE):
            drawn, titles = self._draw()
            plots.lay_out(drawn)
            yield drawn, titles


def draw_all(drawings: Sequence[Drawing], jobs: int) -> None:
    """Draw the SVG of each plot in parallel processes on Linux, where a process can be forked safely.

    Args:
        drawings: the plots.
        jobs: number of processes.
    """
    waiting = [one for one in drawings if "svg" not in vars(one)]
    jobs = min(jobs, len(waiting))
    if jobs < 2 or sys.platform != "linux":
        return
    # A forked process inherits the plots; only their numbers and the finished SVG pass between the processes.
    with ProcessPoolExecutor(jobs, get_context("fork"), _inherit, (waiting,)) as pool:
        try:
            for one, svg in zip(waiting, pool.map(_svg_of, range(len(waiting))), strict=True):
                one.svg = svg
        except BrokenProcessPool:  # a process was killed; this one draws the rest
            return


_inherited: Sequence[Drawing] = ()


def _inherit(drawings: Sequence[Drawing]) -> None:
    global _inherited  # noqa: PLW0603 - of a process that only draws
    _inherited = drawings
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # The parent may end without ending its children, and they would wait for it forever.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _svg_of(number: int) -> str:
    return _inherited[number].svg


def _with_titles(svg: str, titles: Mapping[str, Sequence[str]]) -> str:
    """Return the SVG with a title for each point. A line with points outside the axes gets no titles."""
    for gid, words in titles.items():
        line = re.search(rf'<g id="{re.escape(gid)}">.*?</g>\s*</g>', svg, re.S)
        parts = re.split(r"(<use [^>]*)/>", line.group()) if line else []
        if line and len(parts) == 2 * len(words) + 1:
            for place, text in enumerate(words):
                title = escape(visible(text, keep="\n"))
                parts[2 * place + 1] += f"><title>{title}</title></use>"
            svg = svg[: line.start()] + "".join(parts) + svg[line.end() :]
    return svg


def _svg(drawn: Figure) -> str:
    svg = io.StringIO()
    drawn.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    text = svg.getvalue()
    text = text[text.index("<svg") :]
    for ink in (INK, TRUE, MUTED):
        text = text.replace(ink, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"\s*<!--.*?-->", "", text, flags=re.S).replace(' target="_blank"', "")
    # The page sets the width; two decimals are precise enough for a screen.
    text = re.sub(r' (?:width|height)="[^"]*pt"', "", text, count=2)
    return re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d+\.\d{2})\d+", r"\1", tag.group()), text)
