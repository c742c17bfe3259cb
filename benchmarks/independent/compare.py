"""Compare the numbers of the scripts in this folder with nodebench's numbers for the same claims.

    python benchmarks/independent/compare.py                              run the trials in a temporary folder
    python benchmarks/independent/compare.py backward-half                the same for one claim
    python benchmarks/independent/compare.py --results results/published  read stored records instead

Prints for each number the claim, the condition, the script's number, nodebench's number (the replicate of seed 0 behind
the verdict) and their relative difference. A number without a record in nodebench is None, or null with --json. With
--json, each line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

from nodebench.claims import CLAIMS, PartResult, judge
from nodebench.claims.freeze import frozen_declarations
from nodebench.spec import Record
from nodebench.store.run_folder import kept_records

HERE = Path(__file__).parent
SEED = 0
STEP_SIZES = (0.126, 0.063, 0.0315, 0.01575)  # the defaults of memory_constant.py


@dataclass(frozen=True)
class Check:
    """A number that a script computes, and its counterpart in nodebench.

    Attributes:
        script: file of the script, which prints one JSON object.
        claim: name of the claim.
        arm, label: arm and label of the part of the claim.
        trials: arguments of ``nodebench run``, one entry per run.
        number: the script's name of the number if the part has no condition.
    """

    script: str
    claim: str
    arm: str
    label: str
    trials: tuple[str, ...]
    number: str = ""


def _each(option: str, values: Sequence[float]) -> str:
    return " ".join(f"--set {option}={value:g}" for value in values)


_OSCILLATORS = "--task toy/flow --model van-der-pol --rtol 1e-5 --dtype float64 --set solves=5 --solver "
CHECKS = {
    "batching-free": Check(
        "batching_free.py",
        "batching-free (default)",
        "Van der Pol",
        "Van der Pol",
        (_OSCILLATORS + "dopri5 " + _each("mu", (2, 10, 25)),),
    ),
    "torchode-batching": Check(
        "torchode_batching.py",
        "torchode-batching (default)",
        "torchode, a step for each",
        "random starts",
        (
            _OSCILLATORS + "dopri5 --passes training " + _each("mu", (10, 25, 50)),
            _OSCILLATORS + "torchode:dopri5 --batching each --passes training " + _each("mu", (10, 25, 50)),
        ),
    ),
    "backward-half": Check(
        "backward_half.py",
        "backward-half (default)",
        "output intervals",
        "",
        (
            "--task toy/spiral --model small --solver dopri5 --rtol 1e-3 --gradient adjoint --set training=trajectory "
            "--set epochs=1 --set steps_per_epoch=20 --passes training " + _each("points", (2, 5, 10, 30, 100)),
        ),
    ),
    "memory-constant": Check(
        "memory_constant.py",
        "memory-constant (paper)",
        "adjoint",
        "spiral",
        (
            "--task toy/spiral --solver rk4 --gradient direct,adjoint --set epochs=1 --set steps_per_epoch=2 "
            "--passes training,memory --step-size " + ",".join(map(str, STEP_SIZES)),
        ),
        "adjoint / direct",
    ),
    "anode-memory-gradient": Check(
        "anode_memory_gradient.py",
        "anode-memory-gradient (default)",
        "adjoint",
        "contracting field, exp(20)",
        (
            "--task toy/contracting --gradient adjoint --rtol 1e-3 --set rate=10 --set training=trajectory "
            "--set points=2 --set epochs=1 --set steps_per_epoch=20",
        ),
        "gradient error",
    ),
}


def run_trials(trials: Sequence[str], results: Path) -> None:
    """Run trials with the command line of nodebench."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    common = ["--seed", str(SEED), "--threads", "1", "--results", str(results), "--quiet"]
    for trial in trials:
        command = [sys.executable, "-m", "nodebench", "run", *trial.split(), *common]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"nodebench run {trial}: exit code {done.returncode}\n{done.stderr}")


def numbers_of_script(check: Check) -> dict[str, float]:
    """Run a script; return the numbers that it prints."""
    command = [sys.executable, HERE / check.script, "--seed", str(SEED)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def numbers_of_nodebench(check: Check, records: Sequence[Record]) -> dict[str, float]:
    """Return the replicate of ``SEED`` for each condition; for a line fit also the slope of the baseline arm."""
    kept = [r for r in records if r.trial.seed == SEED and r.trial.step_size in (None, *STEP_SIZES)]
    claim = next(claim for claim in CLAIMS if claim.name == check.claim)
    found: dict[str, float] = {}
    for result in judge([claim], kept, frozen=frozen_declarations())[0].results:
        if (result.part.arm.name, result.part.label) != (check.arm, check.label) or SEED not in result.sample.values:
            continue
        condition = ", ".join(f"{axis} {value:g}" for axis, value in result.sample.condition.items())
        found.setdefault(condition or check.number, result.sample.values[SEED])
        if result.part.fit:
            found.setdefault("direct", _slope(result))
    return found


def _slope(result: PartResult) -> float:
    """Return the slope of the line fitted to the baseline arm."""
    fit, reading = result.part.fit, result.part.reading
    assert fit is not None
    records = [point.record for point in result.sample.points[-1]]
    return linear_regression([fit.x.get(r) for r in records], [reading.get(r) for r in records]).slope


def compared(name: str, results: Path | None) -> Iterator[dict[str, object]]:
    """Yield a row for each number of a claim's script."""
    check = CHECKS[name]
    with tempfile.TemporaryDirectory() as folder:
        if results is None:
            run_trials(check.trials, Path(folder))
        ours = numbers_of_nodebench(check, kept_records(results or Path(folder)))
    for condition, script in numbers_of_script(check).items():
        known = ours.get(condition)
        apart = None if known is None else abs(known - script) / abs(script)
        yield {"claim": name, "condition": condition, "script": script, "nodebench": known, "difference": apart}


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"one of {', '.join(CHECKS)} (default: all)")
    parser.add_argument("--results", type=Path, help="folder with stored records (default: run the trials)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.claims if name not in CHECKS]:
        parser.error(f"no script for {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    for name in arguments.claims or CHECKS:
        for row in compared(name, arguments.results):
            print(json.dumps(row) if arguments.json else "  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
