"""Measuring the noise of this machine."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from nodebench.analysis.noise import Noise, noise_of
from nodebench.api.running import listener
from nodebench.errors import BadInput, at_least
from nodebench.running.listener import Listener
from nodebench.spec.calibration import Calibration, machine_of
from nodebench.spec.metrics import percent

LONGEST_PAUSE = 3600  # seconds
# Above this share of busy cores, other programs affect the measurements.
BUSY = 0.2
# ``advice`` mentions a step time that varies by more than this from trial to trial (LOUD) or round to round (SLOW).
LOUD, SLOW = 0.05, 0.03


@dataclass(frozen=True)
class Calibrated:
    """A calibration of this machine.

    Attributes:
        calibration: the measured values of each load, by metric and round.
        noise: noise of each metric, from this calibration and the earlier ones of this machine.
        number: number of calibrations that ``noise`` uses.
        advice: problems found, and what would help.
        path: the file in which the calibration is stored.
    """

    calibration: Calibration
    noise: Mapping[str, Noise]
    number: int
    advice: Sequence[str]
    path: Path


def calibrate(
    *,
    rounds: int = 6,
    replicates: int = 3,
    pause: float = 5.0,
    threads: int | None = None,
    results: str | Path = "results",
    progress: bool | Listener = True,
) -> Calibrated:
    """Measure how much identical trials differ, and store the result for later comparisons.

    Args:
        rounds: number of rounds of trials.
        replicates: trials of each load per round.
        pause: seconds between two rounds.
        threads: CPU threads of each trial; None for ``OMP_NUM_THREADS`` if it is set, else all cores.
        results: folder in which the calibration is stored.
        progress: whether to show a progress bar, or a ``Listener`` that shows the progress.

    Raises:
        BadInput: a number is out of range.
        RunAborted: a trial failed, or the calibration was stopped; nothing was stored.
    """
    at_least(2, rounds=rounds, replicates=replicates)
    at_least(0, pause=pause)
    if not pause <= LONGEST_PAUSE:
        raise BadInput(f"--pause {pause:g}: at most {LONGEST_PAUSE}")
    from nodebench.trial.fork_server import start_fork_server

    load_before = _load()
    start_fork_server()
    from nodebench.running.engines.local import LocalEngine
    from nodebench.running.estimate import Costs
    from nodebench.running.noise import loads, measure_noise
    from nodebench.store.calibrations import calibrations, keep

    trials, engine, shown = loads(threads), LocalEngine(1), listener(progress)
    every = [*trials] * (rounds * replicates)
    with shown.interruption(engine.stop) as received, shown.display(every, Costs()) as display:
        found = measure_noise(
            trials, rounds, replicates, pause, engine, display.progress, display.finished, lambda: received
        )
    path = keep(Path(results), found)
    same = machine_of(found.environment), found.threads
    known = [one for one in calibrations(Path(results)) if (machine_of(one.environment), one.threads) == same]
    noise = noise_of(known, found.environment, found.threads)
    return Calibrated(found, noise, len(known), advice(found, noise, load_before), path)


def advice(found: Calibration, noise: Mapping[str, Noise], load: float) -> Sequence[str]:
    """Return the problems found, and what would help."""
    findings = []
    cores = (found.environment.get("cores") or {}).get("usable") or 1
    governor = found.environment.get("governor")
    step = noise.get("step_seconds")
    if found.unequal:
        findings.append(
            f"different in identical trials: {', '.join(found.unequal)}. Counts and errors cannot be compared exactly "
            "on this machine: check for a non-deterministic library or faulty memory"
        )
    if load > BUSY * (os.cpu_count() or 1):
        findings.append(f"other programs were running ({load:.1f} cores busy before the first trial): stop them")
    if governor not in (None, "performance"):
        findings.append(
            f"the frequency governor is '{governor}': 'cpupower frequency-set -g performance' makes times more stable"
        )
    if found.threads >= cores > 1:
        findings.append(f"the trials use all {cores} cores: --threads {cores - 1} leaves one core for the system")
    if step and step.within > LOUD:
        findings.append(
            f"the step time differs by {percent(step.within)} from trial to trial: use more replicates or longer trials"
        )
    if step and step.between > SLOW:
        findings.append(
            f"the step time differs by {percent(step.between)} from round to round, and replicates within one run do "
            "not show this: compare arms within one run, not across two runs"
        )
    return findings or ["no problems found"]


def _load() -> float:
    """Return the number of cores that are busy before the calibration starts."""
    return psutil.cpu_percent(interval=1.0) / 100 * (os.cpu_count() or 1)
