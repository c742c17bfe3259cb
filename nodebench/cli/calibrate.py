"""``nodebench calibrate``: the noise of this machine, what can be found in spite of it, and what would lessen it."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from rich import box
from rich.table import Table

from nodebench.analysis.noise import Noise, noise_of
from nodebench.cli.conventions import CANNOT_GO_ON, INTERRUPTED, OK
from nodebench.cli.interrupt import ctrl_c
from nodebench.cli.progress import make_display
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, CannotGoOn, at_least
from nodebench.spec.calibration import Calibration, machine_of
from nodebench.spec.figures import figure, percent, several

REPLICATES = (3, 5, 10, 20)
LONGEST_PAUSE = 3600  # seconds
_SHOWN = ("step_seconds", "forward_seconds", "backward_seconds", "first_step_seconds", "process_peak_bytes")
# Beyond this share of the cores, other programs take part of what is measured.
BUSY = 0.2
# A step time that jumps by this much from trial to trial, or from round to round, is worth a word.
LOUD, SLOW = 0.05, 0.03


def calibrate_command(rounds: int, replicates: int, pause: float, threads: int | None, results: Path) -> int:
    """Measure, store, and print what replicates can find here."""
    from nodebench.running.engines.local import LocalEngine
    from nodebench.running.estimate import Costs
    from nodebench.running.noise import loads, measure_noise
    from nodebench.store.calibrations import calibrations, keep
    from nodebench.trial.fork_server import start_fork_server

    at_least(2, rounds=rounds, replicates=replicates)
    at_least(0, pause=pause)
    if not pause <= LONGEST_PAUSE:
        raise BadInput(f"--pause {pause:g}: at most {LONGEST_PAUSE}")
    load_before = _load()
    start_fork_server()
    trials = loads(threads)
    engine = LocalEngine(1)
    display = make_display([*trials] * (rounds * replicates), Costs(), json=False, quiet=False)
    console = Terminal(soft_wrap=True)
    try:
        with display, ctrl_c(engine.stop) as pressed:
            found = measure_noise(
                trials, rounds, replicates, pause, engine, display.progress, display.finished, lambda: pressed
            )
    except CannotGoOn as error:
        console.print(f"nodebench: {error}. Nothing was stored.")
        return INTERRUPTED if pressed else CANNOT_GO_ON
    path = keep(results, found)
    same = machine_of(found.environment), found.threads
    known = [one for one in calibrations(results) if (machine_of(one.environment), one.threads) == same]
    noise = noise_of(known, found.environment, found.threads)
    console.print(_title(found, len(known)))
    Terminal().print(_table(noise))
    for line in advice(found, noise, load_before):
        console.print(f"- {line}")
    console.print(f"stored in {shlex.quote(str(path))}")
    return OK


def _title(found: Calibration, number: int) -> str:
    of_trials = sum(len(values) for values in next(iter(found.rounds.values()))["step_seconds"])
    runs = f"{of_trials} trials of each of {', '.join(found.rounds)}"
    more = f", with {number - 1} earlier" if number > 1 else ""
    return f"{found.environment.get('cpu')}, {several(found.threads, 'thread')}: {runs}{more}"


def _table(noise: Mapping[str, Noise]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_CAPTION, caption_justify="left")
    headers = ("figure", "trials", "rounds", *(f"n = {n}" for n in REPLICATES), "two runs")
    for header in headers:
        table.add_column(header, justify="left" if header == "figure" else "right", no_wrap=True)
    for name in (name for name in _SHOWN if name in noise):
        one = noise[name]
        found = [one.smallest(n, apart=False) for n in REPLICATES] + [one.smallest(5, apart=True)]
        table.add_row(
            figure(name).label, percent(one.within), percent(one.between), *(percent(ratio - 1) for ratio in found)
        )
    return table


_CAPTION = (
    "By how much trials and rounds differ, and from which change on two arms of n replicates find it four times in "
    "five: in one run, in random order, or (n = 5) in two runs, one after the other. Counts, bytes and errors have no "
    "noise."
)


def resolution(known: Sequence[Calibration], environment: Mapping[str, Any], threads: int, n: int) -> str:
    """What so many replicates of two arms in one run can tell apart on a machine, in a sentence."""
    noise = noise_of(known, environment, threads).get("step_seconds")
    on = f"{environment.get('cpu')}, {several(threads, 'thread')}"
    if noise is None:
        return f"that of {on} is not known: 'nodebench calibrate --threads {threads}' measures it"
    smallest = percent(noise.smallest(n, apart=False) - 1)
    return f"on {on}, {n} replicates find a change of the step time by {smallest} or more"


def advice(found: Calibration, noise: Mapping[str, Noise], load: float) -> Sequence[str]:
    """What stands out, and what would help."""
    told = []
    cores = (found.environment.get("cores") or {}).get("usable") or 1
    governor = found.environment.get("governor")
    step = noise.get("step_seconds")
    if found.unequal:
        told.append(
            f"not the same each time, though nothing changed: {', '.join(found.unequal)}. Counts and errors cannot be "
            "compared exactly here: look for a library that is not deterministic, or for failing memory"
        )
    if load > BUSY * (os.cpu_count() or 1):
        told.append(f"other programs were running ({load:.1f} cores busy before the first trial): stop them")
    if governor not in (None, "performance"):
        told.append(f"the frequency governor is '{governor}': 'cpupower frequency-set -g performance' steadies it")
    if found.threads >= cores > 1:
        told.append(f"the trials use all {cores} cores: --threads {cores - 1} leaves one to the system")
    if step and step.within > LOUD:
        told.append(
            f"the step time differs by {percent(step.within)} from trial to trial: more replicates, or longer trials"
        )
    if step and step.between > SLOW:
        told.append(
            f"it differs by {percent(step.between)} from round to round, which no number of replicates in one run "
            "shows: compare arms in one run, not in two"
        )
    return told or ["nothing stands out"]


def _load() -> float:
    """Cores that are busy now, with what is not ours."""
    return psutil.cpu_percent(interval=1.0) / 100 * (os.cpu_count() or 1)
