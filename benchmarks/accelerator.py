"""Measure what needs an accelerator, the most useful first, in the time that there is.

    python benchmarks/accelerator.py [--seconds 3600] [--results results] [--data DIR] [--device cuda] [--only NAMES]

Each part has a share of the time. A part that is not done by then is interrupted: what it has finished is stored, and
``nodebench study run … --resume`` goes on. Send the folder back, or add it to another with ``nodebench results merge``.
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

NODEBENCH = [sys.executable, "-m", "nodebench"]
END_SECONDS = 30  # in which an interrupted command stores what it has


@dataclass(frozen=True)
class Part:
    """A run of a study.

    Attributes:
        name: of this part.
        study: of nodebench.
        share: of the time, relative to the other parts.
        arguments: of ``nodebench study run``, beside the study, the device and the results.
        on_cpu: whether it is measured on the CPU of the same machine, to compare.
        needs_data: whether it needs the full data sets.
    """

    name: str
    study: str
    share: float
    arguments: tuple[str, ...] = ("--threads", "1")
    on_cpu: bool = False
    needs_data: bool = False


# Memory and accuracy do not depend on what else runs, so that these parts run several trials at once.
PARTS = (
    Part("memory", "memory", 1, ("--seeds", "1", "--jobs", "8", "--threads", "1")),
    Part("devices", "devices", 4),
    Part("devices-cpu", "devices", 4, ("--threads", str(os.cpu_count() or 1), "--timeout", "60"), on_cpu=True),
    Part("compile", "compile", 3),
    Part("precision", "precision", 2, ("--seeds", "1", "--jobs", "8", "--threads", "1")),
    Part("mnist", "mnist-full", 6, ("--jobs", "8", "--threads", "1", "--checkpoint-every", "60"), needs_data=True),
)


def shares(parts: Sequence[Part], seconds: float) -> list[float]:
    """Seconds of each part."""
    whole = sum(part.share for part in parts)
    return [seconds * part.share / whole for part in parts]


def command(part: Part, device: str, results: Path, data: Path | None, preset: str) -> list[str]:
    """What runs a part."""
    where = ["--device", "cpu" if part.on_cpu else device, "--results", str(results), "--preset", preset]
    source = ["--data", str(data)] if part.needs_data and data else []
    return [*NODEBENCH, "study", "run", part.study, *part.arguments, *where, *source, "--yes", "--quiet"]


def run(arguments: Sequence[str], seconds: float) -> int:
    """Run a command; interrupt it when its time is over, as Ctrl-C does. Return its exit code."""
    process = subprocess.Popen(arguments)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def main() -> None:
    """Run all parts, and say how long each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600, help="for all parts together")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where runs are kept")
    parser.add_argument("--data", type=Path, help="folder with the full MNIST")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or mps")
    parser.add_argument("--preset", default="quick", help="scale of the tasks")
    parser.add_argument("--only", help="names of parts, by comma: " + ", ".join(part.name for part in PARTS))
    asked = parser.parse_args()
    chosen = asked.only.split(",") if asked.only else [part.name for part in PARTS]
    if unknown := set(chosen) - {part.name for part in PARTS}:
        parser.error(f"no part named {', '.join(sorted(unknown))}")
    parts = [part for part in PARTS if part.name in chosen and (asked.data or not part.needs_data)]
    ending = time.monotonic() + asked.seconds
    for i, part in enumerate(parts):
        seconds = shares(parts[i:], ending - time.monotonic())[0]  # what others left unused is shared out
        start = time.monotonic()
        code = run(command(part, asked.device, asked.results, asked.data, asked.preset), max(0.0, seconds))
        print(f"{part.name}: {time.monotonic() - start:.0f} of {seconds:.0f} s, exit code {code}", flush=True)


if __name__ == "__main__":
    main()
