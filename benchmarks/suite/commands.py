"""Cost of common operations: imports, ``--help``, the start of a trial's process, verdicts and the report."""

import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from nodebench.claims import CLAIMS, judge
from nodebench.reporting.site import report
from nodebench.running.plan import plan
from nodebench.spec import DataSource, Grid, Limits, Preset, Study
from nodebench.store.run_folder import kept_records

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
STUDY = "gradients"  # the study in the report: a fifth of the published records, and every kind of page


class Start:
    """Start-up times."""

    timeout = 120.0
    version = "1"
    number = 1
    repeat = (5, 20, 20.0)

    def timeraw_import(self) -> str:
        """``import nodebench.spec``, which every command does."""
        return "import nodebench.spec"

    def timeraw_import_solvers(self) -> str:
        """``import nodebench.solvers``, with torch."""
        return "import nodebench.solvers"

    def time_help(self) -> None:
        """``nodebench --help``, as a command."""
        subprocess.run([sys.executable, "-m", "nodebench", "--help"], check=True, capture_output=True)

    def time_trivial_run(self) -> None:
        """``nodebench run`` with one trivial trial, as a command; includes the start of the fork server."""
        trial = ["--task", "toy/exponential", "--preset", "smoke", "--solver", "euler", "--set", "solves=1"]
        command = [sys.executable, "-m", "nodebench", "run", "--quiet", "--threads", "1", *trial]
        with TemporaryDirectory() as folder:
            subprocess.run(command, check=True, capture_output=True, cwd=folder)


class Isolation:
    """Overhead of running a trial in its own process."""

    timeout = 120.0
    version = "1"
    trials = 20

    def setup(self) -> None:
        """Warm the fork server up."""
        # Imported here: asv also runs this file on older commits, where only this benchmark may fail for it.
        from nodebench.trial.fork_server import wait_for_fork_server

        wait_for_fork_server()
        grid = Grid(task="toy/exponential", preset=Preset.SMOKE, solver=["euler"], overrides={"solves": [1]}, threads=1)
        (self.trial,) = plan(Study(groups={"trivial": grid})).trials

    def track_overhead(self) -> float:
        """Median seconds of a trivial trial without its setup and passes: start, two reference loads, end."""
        from nodebench.trial.isolation import run_isolated

        beside = []
        for _ in range(self.trials):
            record, _ = run_isolated(self.trial, Limits(), DataSource(), lambda progress: None)
            beside.append(record.duration_seconds - (record.costs["passes_seconds"] or 0.0))
        return median(beside)

    track_overhead.unit = "seconds"


class Report:
    """Cost of verdicts and report pages from the published records."""

    timeout = 300.0
    version = "1"
    number = 1
    repeat = (1, 5, 30.0)
    warmup_time = 0

    def setup(self) -> None:
        """Read the records."""
        self.records = kept_records(PUBLISHED)
        self.some = [record for record in self.records if record.place.study == STUDY]

    def time_read(self) -> None:
        """Read every published record."""
        kept_records(PUBLISHED)

    def time_verdicts(self) -> None:
        """Judge every claim on the published records."""
        judge(CLAIMS, self.records)

    def time_report(self) -> None:
        """Build the report pages of one study."""
        report(self.some, lambda record: {})

    def peakmem_report(self) -> None:
        """Peak memory of the process for the report on all records, records included."""
        report(self.records, lambda record: {})
