"""Compare every deterministic metric of the suite with a stored baseline.

    python benchmarks/gate.py            compare; print each changed value, and exit with code 1 if there is one
    python benchmarks/gate.py --accept   store the current values as the baseline of this platform and these versions

A baseline belongs to a platform and to versions of the libraries. If there is none for the current ones, the script
uses the most similar baseline and prints each difference. In float64, neither counts nor the leading digits of an error
should depend on the machine.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))  # asv imports the suite from here as well

from suite.problems import FIELDS, GRADIENTS  # noqa: E402
from suite.tracks import metrics_of  # noqa: E402

from nodebench.spec.metrics import Kind, metric  # noqa: E402

BASELINES = ROOT / "baselines"
SOLVERS = ("dopri5", "rk4", "torchode:dopri5")  # without diffrax: its compilation would take half of the time
LIBRARIES = ("torch", "torchdiffeq", "torchode")
DIGITS = 3  # significant digits of an error; further digits depend on the order of summation

Metrics = dict[str, float]  # by "problem, solver, gradient, metric"


def measured(problems: Sequence[str], solvers: Sequence[str] = SOLVERS) -> Metrics:
    """Return every metric of the given problems and solvers; skip combinations that cannot be measured."""
    found: Metrics = {}
    for names in product(problems, solvers, GRADIENTS):
        try:
            given = metrics_of(*names)
        except NotImplementedError:
            continue
        for name, value in given.items():
            exact = metric(name).kind is not Kind.COMPUTED or name.endswith("bytes")
            found[", ".join((*names, name))] = value if exact else float(f"{value:.{DIGITS}g}")
    return found


def environment() -> dict[str, str]:
    """The platform, and the versions of the libraries that are installed."""
    found = {"platform": f"{platform.system()} {platform.machine()}"}
    for name in LIBRARIES:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
    return found


def nearest(here: dict[str, str]) -> Path | None:
    """Return the baseline with the most entries equal to ``here``; the latest versions break ties."""
    known = {path: json.loads(path.read_text())["environment"] for path in sorted(BASELINES.glob("*.json"))}

    def likeness(path: Path) -> tuple[int, list[list[int]]]:
        versions = [
            [int(part) for part in known[path].get(name, "0").split(".") if part.isdecimal()] for name in LIBRARIES
        ]
        return sum(known[path].get(name) == here[name] for name in here), versions

    return max(known, key=likeness, default=None)


def name_of(here: dict[str, str]) -> str:
    """Return the file name of a baseline."""
    libraries = [f"{name}-{version}" for name, version in here.items() if name != "platform"]
    return "-".join([here["platform"].replace(" ", "-").lower(), *libraries]) + ".json"


def main() -> int:
    """Compare with the baseline, or store a new one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="store the current values as the baseline")
    parser.add_argument("--problem", choices=list(FIELDS), help="compare only this problem")
    parser.add_argument("--solver", choices=SOLVERS, help="compare only this solver")
    arguments = parser.parse_args()
    if arguments.accept and (arguments.problem or arguments.solver):
        parser.error("--accept stores all problems and solvers; omit --problem and --solver")
    problems = [arguments.problem] if arguments.problem else list(FIELDS)
    here, now = environment(), measured(problems, [arguments.solver] if arguments.solver else SOLVERS)
    if arguments.accept:
        path = BASELINES / name_of(here)
        path.write_text(json.dumps({"environment": here, "metrics": now}, indent=1) + "\n")
        print(f"{len(now)} values stored in {path}")
        return 0
    path = nearest(here)
    if path is None:
        print(f"no baseline in {BASELINES}; make one with: python benchmarks/gate.py --accept")
        return 1
    stored = json.loads(path.read_text())
    other = {
        name: (old, here.get(name, "none")) for name, old in stored["environment"].items() if old != here.get(name)
    }
    for name, (old, new) in other.items():
        print(f"the most similar baseline has {name} {old}, this machine has {new}")
    common = [key for key in stored["metrics"] if key in now]
    drifted = [key for key in common if stored["metrics"][key] != now[key]]
    for key in drifted:
        old, new = stored["metrics"][key], now[key]
        print(f"{key}: {old:g} → {new:g}" + (f" ({new / old:.3f} ×)" if old else ""))
    gone = len(stored["metrics"]) - len(common)
    combinations = {key.rpartition(", ")[0] for key in now}
    lost = [key for key in stored["metrics"] if key not in now and key.rpartition(", ")[0] in combinations]
    for key in lost:
        print(f"{key}: {stored['metrics'][key]:g} → no longer measured")
    parts = [f"{len(drifted)} of {len(common)} values changed", f"{gone} not measured here" if gone else ""]
    print(", ".join(filter(None, [*parts, f"{len(now) - len(common)} new" if len(now) > len(common) else ""])))
    if drifted or lost:
        print("If the change is intended, accept it with: python benchmarks/gate.py --accept")
    return 1 if drifted or lost or not common else 0


if __name__ == "__main__":
    sys.exit(main())
