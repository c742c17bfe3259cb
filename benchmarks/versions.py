"""Time first and later training steps with several versions of a library, each in its own environment.

    python benchmarks/versions.py diffrax==0.7.0 diffrax==0.7.1 diffrax==0.7.2 torchdiffeq==0.2.4 torchdiffeq==0.2.5

Each environment installs one version of the library and takes all other packages from the current environment, so only
the library differs. diffrax uses the gradient ``checkpoint``, torchdiffeq ``direct``. Run the script on an idle
machine. It downloads the packages.
"""

import argparse
import os
import site
import subprocess
import sys
import venv
from pathlib import Path

from nodebench import load
from nodebench.analysis.readings import final
from nodebench.analysis.statistics import median
from nodebench.spec import Status

ROOT = Path(__file__).parents[1]
SOLVERS = {"diffrax": ("diffrax:dopri5", "checkpoint"), "torchdiffeq": ("dopri5", "direct")}
READ = ("first_step_seconds", "step_seconds", "nfe_forward")


def environment(folder: Path, requirement: str) -> Path:
    """Create an environment with one requirement, which precedes the current packages; return its interpreter."""
    venv.create(folder, with_pip=False)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), requirement]
    subprocess.run(command, check=True)
    return folder / "bin" / "python"


def run(python: Path, library: str, results: Path, seeds: int, task: str) -> None:
    """Train for a few steps with a library's solver."""
    solver, gradient = SOLVERS[library]
    command = [
        *(str(python), "-m", "nodebench", "run", "--task", task, "--solver", solver, "--gradient", gradient),
        *("--rtol", "1e-5", "--passes", "training", "--set", "epochs=1", "--set", "steps_per_epoch=30"),
        *("--seeds", str(seeds), "--threads", "1", "--quiet", "--results", str(results)),
    ]
    done = subprocess.run(command, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{python}: nodebench run ended with exit code {done.returncode}")


def main() -> None:
    """Measure each version, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requirements", nargs="+", metavar="LIBRARY==VERSION")
    parser.add_argument(
        "--out", type=Path, default=Path("versions"), help="environments and records (default: versions)"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--task", default="toy/spiral")
    given = parser.parse_args()
    asked = [requirement.partition("==")[::2] for requirement in given.requirements]
    if wrong := [name for name, version in asked if name not in SOLVERS or not version]:
        parser.error(f"{wrong[0]}: give one of {', '.join(SOLVERS)} with its version, as in diffrax==0.7.2")
    print(f"{'':22}{'first step (s)':>24}{'later step (ms)':>24}{'NFE':>8}")
    for library, version in asked:
        folder = given.out / f"{library}-{version}"
        python = environment(folder / "environment", f"{library}=={version}")
        run(python, library, folder / "results", given.seeds, given.task)
        records = load(results=folder / "results").records
        if any(record.status is not Status.OK for record in records):
            sys.exit(f"{library} {version}: a trial failed; see {folder / 'results'}")
        if {record.environment["packages"][library] for record in records} != {version}:
            sys.exit(f"{library} {version}: another version was imported")
        first, later, nfe = ([v for one in records if (v := final(name).get(one)) is not None] for name in READ)
        print(
            f"{library:14}{version:8}{spread(first):>24}{spread([1e3 * one for one in later]):>24}{median(nfe):>8.0f}"
        )


def spread(values: list[float]) -> str:
    """Format values as ``0.14 [0.12, 0.18]``: median, minimum and maximum."""
    return f"{median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


if __name__ == "__main__":
    main()
