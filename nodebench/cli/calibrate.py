"""``nodebench calibrate``: the noise of this machine, the smallest detectable changes, and how to reduce the noise."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from nodebench.analysis.noise import Noise, noise_of
from nodebench.cli.exit_codes import INTERRUPTED, OK, RUN_ABORTED
from nodebench.cli.run import TerminalListener
from nodebench.cli.terminal import Terminal
from nodebench.errors import RunAborted
from nodebench.spec.calibration import Calibration
from nodebench.spec.metrics import metric, percent, several

REPLICATES = (3, 5, 10, 20)
_SHOWN = ("step_seconds", "forward_seconds", "backward_seconds", "first_step_seconds", "process_peak_bytes")


def calibrate_command(rounds: int, replicates: int, pause: float, threads: int | None, results: Path) -> int:
    """Measure and store the noise, and print the smallest detectable changes."""
    from nodebench.api.calibrate import calibrate

    console, watching = Terminal(soft_wrap=True), TerminalListener()
    try:
        done = calibrate(
            rounds=rounds, replicates=replicates, pause=pause, threads=threads, results=results, progress=watching
        )
    except RunAborted as error:
        console.print(f"nodebench: {error}. Nothing was stored.")
        return INTERRUPTED if watching.received else RUN_ABORTED
    console.print(_title(done.calibration, done.number))
    Terminal().print(_table(done.noise))
    for line in done.advice:
        console.print(f"- {line}")
    console.print(f"stored in {shlex.quote(str(done.path))}")
    return OK


def _title(found: Calibration, number: int) -> str:
    of_trials = sum(len(values) for values in next(iter(found.rounds.values()))["step_seconds"])
    runs = f"{of_trials} trials of each of {', '.join(found.rounds)}"
    more = f", with {number - 1} earlier" if number > 1 else ""
    return f"{found.environment.get('cpu')}, {several(found.threads, 'thread')}: {runs}{more}"


def _table(noise: Mapping[str, Noise]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_CAPTION, caption_justify="left")
    headers = ("metric", "trials", "rounds", *(f"n = {n}" for n in REPLICATES), "two runs")
    for header in headers:
        table.add_column(header, justify="left" if header == "metric" else "right", no_wrap=True)
    for name in (name for name in _SHOWN if name in noise):
        one = noise[name]
        found = [one.smallest(n, apart=False) for n in REPLICATES] + [one.smallest(5, apart=True)]
        table.add_row(
            metric(name).label, percent(one.within), percent(one.between), *(percent(ratio - 1) for ratio in found)
        )
    return table


_CAPTION = (
    "Standard deviation between trials and between rounds, and the smallest change that two arms of n replicates "
    "detect with power 0.8: in one run, in random order, or (n = 5) in two consecutive runs. Counts, bytes and errors "
    "have no noise."
)


def resolution(known: Sequence[Calibration], environment: Mapping[str, Any], threads: int, n: int) -> str:
    """Return a sentence with the smallest change that ``n`` replicates of two arms in one run detect on a machine."""
    noise = noise_of(known, environment, threads).get("step_seconds")
    on = f"{environment.get('cpu')}, {several(threads, 'thread')}"
    if noise is None:
        return f"unknown for {on}; measure it with 'nodebench calibrate --threads {threads}'"
    smallest = percent(noise.smallest(n, apart=False) - 1)
    return f"on {on}, {n} replicates detect a change in step time of {smallest} or more"
