"""Measure the false-alarm rate of ``nodebench compare``, and its detection rate of a planted delay.

    python benchmarks/alarms.py [--out FILE] [--comparisons 100] [--replicates 3]

The script runs one small trial many times and compares consecutive runs in pairs, as ``nodebench compare`` does:
without a calibration and with one from twenty other runs; with the measured times, and with all times of the second run
increased by 10 % or 50 %. ``--asv N`` also measures the false-alarm rate of ``asv compare``, on runs of one benchmark.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cost import single
from scipy import stats

from nodebench.analysis.compare_runs import Outcome, compare
from nodebench.analysis.noise import Noise
from nodebench.instruments import describe_environment
from nodebench.running.engines.local import LocalEngine
from nodebench.spec import DataSource, Limits, Record

SECONDS = ("step_seconds", "forward_seconds", "backward_seconds", "first_step_seconds")
LOUD = (Outcome.WORSE, Outcome.BETTER, Outcome.DIFFERENT)
CALIBRATING = 20  # runs
Runs = list[list[Record]]


def runs_of(number: int, replicates: int) -> Runs:
    """Run a small trial ``number`` times, with one seed per replicate; return the runs."""
    trials = [
        single(task="toy/spiral", preset="smoke", gradient=["direct"], solver=["rk4"], seed=[seed], threads=1)
        for seed in range(replicates)
    ]
    records = [record for record, _ in LocalEngine(1).run(trials * number, Limits(), DataSource(), lambda t, p: None)]
    return [records[i : i + replicates] for i in range(0, len(records), replicates)]


def slower(run: Sequence[Record], factor: float) -> list[Record]:
    """Return a copy of a run with all times multiplied by a factor."""
    return [
        one.model_copy(update={"costs": {k: v * factor if k in SECONDS and v else v for k, v in one.costs.items()}})
        for one in run
    ]


def alarms(runs: Runs, noise: Mapping[str, Noise] | None, factor: float = 1.0) -> dict[str, float | int]:
    """Count the pairs of consecutive runs with a reported difference; add the share and its exact interval."""
    pairs = list(zip(runs[::2], runs[1::2], strict=True))
    loud = sum(any(c.outcome in LOUD for c in compare(a, slower(b, factor), noise).changes) for a, b in pairs)
    low, high = stats.binomtest(loud, len(pairs)).proportion_ci(0.95, "exact")
    return {"alarms": loud, "comparisons": len(pairs), "share": loud / len(pairs), "low": low, "high": high}


def noise_of(runs: Runs) -> dict[str, Noise]:
    """Return the noise that a calibration would estimate from these runs."""
    rounds = {name: [[r.costs[name] for r in run if r.costs.get(name)] for run in runs] for name in SECONDS}
    return {name: noise for name, values in rounds.items() if (noise := Noise.of(values))}


def asv_alarms(number: int) -> dict[str, float | int]:
    """Count the alarms of asv, which requires a factor of 1.1 and intervals that do not overlap."""
    suite = Path(__file__).parent / "suite"
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
        settings = {"version": 1, "project": "nodebench", "repo": str(repository), "branches": ["main"]}
        settings |= {"environment_type": "virtualenv", "benchmark_dir": str(suite)}
        settings |= {"results_dir": f"{folder}/results", "env_dir": f"{folder}/env"}
        (Path(folder) / "asv.conf.json").write_text(json.dumps(settings))
        subprocess.run(["git", "init", "-q", "-b", "main", repository], check=True)

        def asv(*words: str) -> str:
            command = [sys.executable, "-m", "asv", *words]
            return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout

        commits = []
        for i in range(2 * number):
            subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", str(i)], check=True)
            head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
            commits.append(head.stdout.strip())
            if i == 0:
                asv("machine", "--yes")
            asv(
                "run", "--python=same", f"--set-commit-hash={commits[-1]}", "-b", r"Solve.time_solve\('spiral', 'rk4'\)"
            )
        marked = r"^\| [+-] "
        pairs = zip(commits[::2], commits[1::2], strict=True)
        loud = sum(bool(re.search(marked, asv("compare", *pair), re.MULTILINE)) for pair in pairs)
    low, high = stats.binomtest(loud, number).proportion_ci(0.95, "exact")
    return {"alarms": loud, "comparisons": number, "share": loud / number, "low": low, "high": high}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/published/alarms.json"))
    parser.add_argument("--comparisons", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--asv", type=int, default=0, metavar="N", help="also make N comparisons with asv")
    arguments = parser.parse_args()
    runs = runs_of(CALIBRATING + 2 * arguments.comparisons, arguments.replicates)
    known, tried = noise_of(runs[:CALIBRATING]), runs[CALIBRATING:]
    metrics: dict[str, object] = {}
    for name, noise in (("uncalibrated", None), ("calibrated", known)):
        for factor in (1.0, 1.1, 1.5):
            metrics[f"{name}, second run × {factor:g}"] = alarms(tried, noise, factor)
    if arguments.asv:
        metrics["asv compare"] = asv_alarms(arguments.asv)
    for name, metric in metrics.items():
        print(name, json.dumps(metric))
    content = {"metrics": metrics, "replicates": arguments.replicates, "environment": describe_environment()}
    arguments.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
