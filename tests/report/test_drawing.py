"""Plots that are drawn when they are needed, many of them by several processes."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from matplotlib.figure import Figure

from nodebench.reporting.drawing import Drawing, Tooltips, draw_all


def plot(text: str) -> tuple[Figure, Tooltips]:
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().set_title(text)
    return drawn, {}


def plots(count: int) -> list[Drawing]:
    return [Drawing(f"plot-{i}", lambda i=i: plot(f"number {i}")) for i in range(count)]


def test_several_processes_draw_what_one_draws():
    together = plots(5)
    draw_all(together, 2)
    assert [one.svg for one in together] == [one.svg for one in plots(5)]


def test_the_plots_are_drawn_in_other_processes_and_only_once():
    found = [Drawing(f"plot-{i}", lambda: plot(f"process {os.getpid()}.")) for i in range(4)]
    draw_all(found, 2)
    first = [one.svg for one in found]
    assert not any(f"process {os.getpid()}." in svg for svg in first)
    draw_all(found, 2)
    assert [one.svg for one in found] == first


def test_a_plot_is_drawn_here_if_the_process_that_draws_it_was_killed():
    parent = os.getpid()

    def deadly() -> tuple[Figure, Tooltips]:
        if os.getpid() != parent:
            os._exit(9)
        return plot("drawn after all")

    found = [*plots(2), Drawing("deadly", deadly)]
    draw_all(found, 2)
    assert "drawn after all" in found[2].svg
    assert "number 1" in found[1].svg


def test_an_error_of_a_plot_is_raised():
    def wrong() -> tuple[Figure, Tooltips]:
        raise ValueError("no such series")

    with pytest.raises(ValueError, match="no such series"):
        draw_all([*plots(2), Drawing("wrong", wrong)], 2)


def test_a_plot_is_a_pdf_too():
    assert plots(1)[0].pdf().startswith(b"%PDF")


_ENDLESS = """
import os
import time
from matplotlib.figure import Figure
from nodebench.reporting.drawing import Drawing, draw_all

def slow():
    os.write(1, b"drawing\\n")  # as one piece, since two processes write
    time.sleep(600)
    return Figure(), {}

draw_all([Drawing(f"slow-{i}", slow) for i in range(2)], 2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a killed process")
def test_no_process_outlives_the_one_that_asked_for_the_plots():
    parent = subprocess.Popen([sys.executable, "-c", _ENDLESS], stdout=subprocess.PIPE, text=True)
    assert [parent.stdout.readline() for _ in range(2)] == ["drawing\n"] * 2
    children = psutil.Process(parent.pid).children()
    assert len(children) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
