"""``nodebench doctor``: check this installation and suggest how to fix problems."""

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from rich.text import Text

from nodebench import __version__
from nodebench.cli.exit_codes import OK, TRIAL_FAILED
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, first_line
from nodebench.running.session import DATA_VARIABLE
from nodebench.spec import DataSource, Grid, Preset, Status, Study
from nodebench.spec.metrics import metric


class Level(StrEnum):
    """Result level of a check."""

    FINE = "✓"
    NOTE = "·"
    FAILS = "✗"


_COLOURS = {Level.FINE: "green", Level.NOTE: "yellow", Level.FAILS: "red"}


@dataclass(frozen=True)
class Check:
    """Result of one check; ``remedy`` says how to fix a problem."""

    level: Level
    name: str
    message: str
    remedy: str = ""


def doctor_command(results: Path) -> int:
    """Run all checks; return 1 if a requirement of every trial is not met."""
    console = Terminal(soft_wrap=True)
    worst = OK
    for check in _checks(results):
        console.print(Text.assemble((check.level, _COLOURS[check.level]), f" {check.name}: {check.message}"))
        if check.remedy:
            console.print(f"    {check.remedy}")
        if check.level is Level.FAILS:
            worst = TRIAL_FAILED
    return worst


def _checks(results: Path) -> Iterator[Check]:
    yield Check(Level.FINE, "nodebench", f"{__version__}, Python {platform.python_version()}, {sys.executable}")
    yield from _packages()
    yield from _accelerator()
    yield from _machine()
    yield _clock()
    yield _process_peak()
    yield _writable(results, f"runs in {results}", "choose another folder with --results DIR")
    yield _writable(Path(tempfile.gettempdir()), "temporary files", "set TMPDIR to a writable folder")
    yield from _libraries()
    yield from _datasets()
    yield _trial()


def _packages() -> Iterator[Check]:
    from nodebench.instruments.environment import software

    known = software()["packages"]
    found = ", ".join(f"{name} {version}" for name, version in known.items() if version)
    yield Check(Level.FINE, "packages", found)
    try:
        import torchvision  # noqa: F401 - imported only to check that it can be
    except Exception as error:
        remedy = f"It was built for another torch: {_reinstall(known)}"
        yield Check(Level.NOTE, "torchvision", f"cannot be imported ({first_line(error)})", remedy)
    code = software()["code"]
    if code is None:
        yield Check(Level.NOTE, "code", "no git checkout: records will not contain the commit")
    elif code["dirty"]:
        yield Check(
            Level.NOTE,
            "code",
            f"commit {code['commit'][:8]} with changes",
            "Commit before you publish: records mark uncommitted changes.",
        )
    else:
        yield Check(Level.FINE, "code", f"commit {code['commit'][:8]}")


def _reinstall(known: dict[str, str | None]) -> str:
    return f"pip install --force-reinstall torch=={known.get('torch')} torchvision"


def _accelerator() -> Iterator[Check]:
    from nodebench.instruments.environment import accelerators

    found = accelerators()
    for device, name in found.items():
        without = " (no float64, so errors against a reference are null)" if device == "mps" else ""
        yield Check(Level.FINE, "accelerator", f"{name}: --device {device}{without}")
    if not found:
        yield Check(Level.NOTE, "accelerator", "none that this torch build can use; trials run on the CPU")


def _machine() -> Iterator[Check]:
    from nodebench.cores import usable_cores
    from nodebench.instruments import describe_environment

    known = describe_environment()
    cores = usable_cores()
    yield Check(Level.FINE, "processor", f"{known['cpu']}, {cores} usable of {known['cores']['logical']} cores")
    governor = known["governor"]
    if governor not in (None, "performance"):
        yield Check(
            Level.NOTE, "frequency", f"governor '{governor}'", "Times vary; run: cpupower frequency-set -g performance"
        )
    limit = known["container"]["memory_max"]
    bounded = int(limit) if limit and limit.isdecimal() else known["memory_bytes"]
    size = metric("process_peak_bytes").format(min(bounded, known["memory_bytes"]))
    if bounded < 4e9:
        yield Check(Level.NOTE, "memory", size, "mnist and ecg need about 2 GB at preset quick: use --preset smoke")
    else:
        yield Check(Level.FINE, "memory", size)
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > 0.5 * cores:
        yield Check(
            Level.NOTE, "load", f"{busy:.1f} over the last minute", "Stop other programs before you measure times."
        )


def _clock() -> Check:
    known = time.get_clock_info("perf_counter")
    ticks = [time.perf_counter() for _ in range(1000)]
    tick = min((b - a for a, b in pairwise(ticks) if b > a), default=float("inf"))
    found = f"ticks of {1e9 * tick:.0f} ns, {'monotonic' if known.monotonic else 'NOT monotonic'}"
    if tick > 1e-5 or not known.monotonic:
        return Check(Level.NOTE, "clock", found, "Steps of less than a millisecond cannot be timed here.")
    return Check(Level.FINE, "clock", found)


def _process_peak() -> Check:
    from nodebench.instruments.memory import process_peak_of

    size = 64 * 2**20
    peak = process_peak_of(size)
    if peak.bytes is None:
        return Check(Level.NOTE, "process peak", f"{peak.reason}: process_peak_bytes will be null")
    if abs(peak.bytes / size - 1) > 0.2:
        found = f"{peak.bytes / 1e6:.0f} MB measured after allocating {size / 1e6:.0f} MB"
        return Check(
            Level.NOTE, "process peak", found, "Do not trust process_peak_bytes here; tensor_peak_bytes is exact."
        )
    return Check(Level.FINE, "process peak", "can be read from /proc and reset")


def _writable(folder: Path, name: str, remedy: str) -> Check:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing) as file:
            file.write(b"nodebench")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Check(Level.FAILS, name, f"cannot be written: {error.strerror or error}", remedy)
    free = shutil.disk_usage(existing).free
    if free < 1e9:
        return Check(Level.NOTE, name, f"{metric('saved_bytes').format(free)} free", remedy)
    return Check(Level.FINE, name, f"{metric('saved_bytes').format(free)} free")


def _libraries() -> Iterator[Check]:
    from nodebench.solvers import adapters, install_hint, is_installed, methods_of

    for adapter in adapters().values():
        if adapter.package is None:
            continue
        if not is_installed(adapter):
            yield Check(Level.NOTE, f"solvers {adapter.backend}:…", "not installed", install_hint(adapter))
            continue
        try:
            yield Check(Level.FINE, f"solvers {adapter.backend}:…", f"{len(methods_of(adapter))} methods")
        except Exception as error:
            yield Check(
                Level.NOTE,
                f"solvers {adapter.backend}:…",
                f"cannot be imported ({first_line(error)})",
                install_hint(adapter),
            )


def _datasets() -> Iterator[Check]:
    from nodebench.tasks import dataset_of, tasks

    folder = os.environ.get(DATA_VARIABLE)
    sources = [DataSource(), *([DataSource(folder=Path(folder))] if folder else [])]
    for task in tasks().values():
        for name in task.datasets:
            why = ""
            for source in sources:
                try:
                    dataset_of(task, name, source, Preset.QUICK)
                    yield Check(Level.FINE, f"data {name}", f"found, for {task.name}")
                    break
                except BadInput as error:
                    why = str(error)
            else:
                remedy = f"Set {DATA_VARIABLE} to the folder that holds it, or give --data DIR or --download."
                yield Check(Level.NOTE, f"data {name}", f"not found ({why.partition(':')[2].strip() or why})", remedy)


def _trial() -> Check:
    """Run a complete trial in its own process, as an end-to-end check."""
    from nodebench.running.plan import plan
    from nodebench.trial.fork_server import wait_for_fork_server
    from nodebench.trial.isolation import run_isolated

    wait_for_fork_server()  # its start does not count as trial time
    study = Study(groups={"trivial": Grid(task="toy/exponential", preset=Preset.SMOKE, threads=1)})
    record, _ = run_isolated(plan(study).trials[0], study.limits, study.data, lambda progress: None)
    if record.status is Status.OK and record.passes_agree:
        return Check(Level.FINE, "a trial", f"ran in a process of its own, in {record.duration_seconds:.1f} s")
    lines = record.failure.stderr[-1:] if record.failure else []
    why = record.failure.message if record.failure else "its passes disagree"
    return Check(Level.FAILS, "a trial", f"{record.status}: {why}", " ".join(lines))
