"""Run the studies that need an accelerator within a time limit, the most useful first.

    python benchmarks/accelerator.py [--seconds 3600] [--results results] [--data DIR] [--device cuda] [--only NAMES]

Each part gets a share of the time. A part that does not finish in its share is interrupted: the records of finished
trials are kept, and ``nodebench study run NAME --resume RUN`` runs the rest. ``nodebench results merge`` merges a run
with another one.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodebench.cli.exit_codes import INTERRUPTED
from nodebench.cores import usable_cores
from nodebench.errors import BadInput
from nodebench.trial.devices import resolve_device

NODEBENCH = [sys.executable, "-m", "nodebench"]
END_SECONDS = 30  # for an interrupted command to store its records


@dataclass(frozen=True)
class Part:
    """A run of a study.

    Attributes:
        name: name of the part.
        study: name of a nodebench study.
        share: share of the time, relative to the other parts.
        arguments: further arguments of ``nodebench study run``, without the study, the device and the results.
        on_cpu: whether it runs on the CPU of the same machine, for comparison.
        needs_data: whether it needs the full data sets.
    """

    name: str
    study: str
    share: float
    arguments: tuple[str, ...] = ("--threads", "1")
    on_cpu: bool = False
    needs_data: bool = False


# Memory and accuracy do not depend on other load, so these parts run several trials at once. Processes take turns on an
# accelerator: 14 ODE-Net trainings at once take eight times as long as one, so throughput is 1.75 times that of one.
PARTS = (
    Part("memory", "memory", 1, ("--seeds", "1", "--jobs", "8", "--threads", "1")),
    Part("devices", "devices", 4),
    Part("devices-cpu", "devices", 4, ("--threads", str(usable_cores()), "--timeout", "60"), on_cpu=True),
    Part("compile", "compile", 3),
    Part("precision", "precision", 2, ("--seeds", "1", "--jobs", "8", "--threads", "1")),
    Part("mnist", "mnist-full", 6, ("--jobs", "4", "--threads", "1", "--checkpoint-every", "60"), needs_data=True),
)


def share_of_first(parts: Sequence[Part], seconds: float) -> float:
    """Return the seconds for the first of the remaining parts."""
    return seconds * parts[0].share / sum(part.share for part in parts)


def command(part: Part, device: str, results: Path, data: str | None, preset: str) -> list[str]:
    """The command line of a part."""
    where = ["--device", "cpu" if part.on_cpu else device, "--results", str(results), "--preset", preset]
    source = ["--data", data] if part.needs_data and data else []
    return [*NODEBENCH, "study", "run", part.study, *part.arguments, *where, *source, "--yes", "--quiet"]


def run(arguments: Sequence[str], seconds: float) -> int:
    """Run a command; interrupt it when its time is over. Return its exit code.

    Raises:
        KeyboardInterrupt: this process was interrupted; the command has ended by then.
    """
    process = subprocess.Popen(arguments, start_new_session=True)  # the terminal sends Ctrl-C to this process only
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return _interrupted(process)
    except KeyboardInterrupt:
        _interrupted(process)
        raise


def _interrupted(process: subprocess.Popen[bytes]) -> int:
    process.terminate()  # a process that was started in the background may ignore SIGINT
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main() -> int:
    """Run all parts and print how long each took. Return 1 if a part failed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600, help="time limit of all parts together, in seconds")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the runs")
    parser.add_argument("--data", default=os.environ.get("NODEBENCH_DATA_DIR"), help="folder with the full MNIST")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or mps")
    parser.add_argument("--preset", default="quick", help="scale of the tasks")
    parser.add_argument("--only", help="parts to run, comma-separated: " + ", ".join(part.name for part in PARTS))
    asked = parser.parse_args()
    chosen = asked.only.split(",") if asked.only else [part.name for part in PARTS]
    if unknown := set(chosen) - {part.name for part in PARTS}:
        parser.error(f"no part named {', '.join(sorted(unknown))}")
    if asked.only and not asked.data and any(part.needs_data for part in PARTS if part.name in chosen):
        parser.error("the part mnist needs --data")
    try:
        resolve_device(asked.device)
    except BadInput as error:
        parser.error(str(error))
    parts = [part for part in PARTS if part.name in chosen and (asked.data or not part.needs_data)]
    ending, failed = time.monotonic() + asked.seconds, False
    for i, part in enumerate(parts):
        left = ending - time.monotonic() - END_SECONDS
        if left <= 0:
            print(f"no time is left for {', '.join(one.name for one in parts[i:])}")
            break
        seconds, start = share_of_first(parts[i:], left), time.monotonic()  # unused time goes to later parts
        code = run(command(part, asked.device, asked.results, asked.data, asked.preset), seconds)
        failed |= code not in (0, INTERRUPTED)
        print(f"{part.name}: {time.monotonic() - start:.0f} of {seconds:.0f} s, exit code {code}", flush=True)
    return int(failed)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
