"""What everybody waits for: imports, ``--help``, the start of a trial's process, verdicts and the report."""

import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from nodebench.claims import CLAIMS, judge
from nodebench.reporting.site import report
from nodebench.running.plan import plan
from nodebench.spec import DataSource, Grid, Limits, Preset, Study
from nodebench.store.run_folder import records_below

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
STUDY = "gradients"  # of which a report is made: a fifth of what is published, and of each kind of page


class Start:
    """From nothing to an answer."""

    timeout = 120.0
    version = "1"
    number = 1
    repeat = (5, 20, 20.0)

    def timeraw_import(self) -> str:
        """``import nodebench.spec``, which the command line does whatever is asked of it."""
        return "import nodebench.spec"

    def timeraw_import_solvers(self) -> str:
        """``import nodebench.solvers``, with torch."""
        return "import nodebench.solvers"

    def time_help(self) -> None:
        """``nodebench --help``, as a command."""
        subprocess.run([sys.executable, "-m", "nodebench", "--help"], check=True, capture_output=True)

    def time_trivial_run(self) -> None:
        """``nodebench run`` of one trial that takes no time, as a command: the fork server warms up meanwhile."""
        trial = ["--task", "toy/exponential", "--preset", "smoke", "--solver", "euler", "--set", "solves=1"]
        command = [sys.executable, "-m", "nodebench", "run", "--quiet", "--threads", "1", *trial]
        with TemporaryDirectory() as folder:
            subprocess.run(command, check=True, capture_output=True, cwd=folder)


class Isolation:
    """What a process of its own costs a trial."""

    timeout = 120.0
    version = "1"
    trials = 20

    def setup(self) -> None:
        """Warm the fork server up."""
        # Here, because asv runs this file with older commits too, where only this benchmark may fail for it.
        from nodebench.trial.fork_server import wait_for_fork_server

        wait_for_fork_server()
        grid = Grid(task="toy/exponential", preset=Preset.SMOKE, solver=["euler"], overrides={"solves": [1]}, threads=1)
        (self.trial,) = plan(Study(groups={"trivial": grid})).trials

    def track_overhead(self) -> float:
        """Median seconds of a trivial trial beside its setup and passes: start, two calibrations, end."""
        from nodebench.trial.isolation import run_isolated

        beside = []
        for _ in range(self.trials):
            record, _ = run_isolated(self.trial, Limits(), DataSource(), lambda progress: None)
            beside.append(record.duration_seconds - (record.costs["passes_seconds"] or 0.0))
        return median(beside)

    track_overhead.unit = "seconds"


class Report:
    """From the published records to verdicts and pages."""

    timeout = 300.0
    version = "1"
    number = 1
    repeat = (1, 5, 30.0)
    warmup_time = 0

    def setup(self) -> None:
        """Read the records."""
        self.records = records_below(PUBLISHED)
        self.some = [record for record in self.records if record.place.study == STUDY]

    def time_read(self) -> None:
        """Read every published record."""
        records_below(PUBLISHED)

    def time_verdicts(self) -> None:
        """Put every claim to the test over them."""
        judge(CLAIMS, self.records)

    def time_report(self) -> None:
        """Lay one study out as pages."""
        report(self.some, lambda record: {})

    def peakmem_report(self) -> None:
        """The process's peak, records and pages of all included."""
        report(self.records, lambda record: {})
