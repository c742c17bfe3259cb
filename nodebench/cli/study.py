"""``nodebench study``: list, show, plan and run studies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.progress import track
from rich.table import Table
from rich.text import Text

from nodebench.cli.calibrate import resolution
from nodebench.cli.exit_codes import LATEST
from nodebench.cli.heartbeat import waiting
from nodebench.cli.progress import duration
from nodebench.cli.run import RunOptions, refuse_changes, resume
from nodebench.cli.run_arguments import data_source, given
from nodebench.cli.show import print_rows
from nodebench.cli.terminal import Terminal
from nodebench.errors import BadInput, at_least, choose
from nodebench.running.session import jobs_of, with_data, with_threads
from nodebench.spec import DataSource, Grid, Preset, Study, Trial, load_study, shipped_studies
from nodebench.spec.grid import replicates
from nodebench.store.calibrations import calibrations
from nodebench.store.run_folder import RunFolder, list_runs

if TYPE_CHECKING:
    from nodebench.running.estimate import Costs, Estimate
    from nodebench.running.plan import Planned


@dataclass(frozen=True)
class StudyOverrides:
    """Command-line options that override a study's file; None keeps the value of the file."""

    seeds: int | None = None
    device: str | None = None
    threads: int | None = None
    data: Path | None = None
    download: bool = False

    @property
    def of_grids(self) -> dict[str, Any]:
        """The values to replace in each grid of the study."""
        at_least(1, threads=self.threads)
        seeds = None if self.seeds is None else replicates(self.seeds)
        axes = {"seed": seeds, "device": self.device, "threads": self.threads}
        return {name: value for name, value in axes.items() if value is not None}


def read_study(name: str, preset: str, typed: StudyOverrides) -> Study:
    """Load a study and apply the command-line options."""
    study = load_study(name, Preset(choose("preset", preset, list(Preset)))).with_axes(**typed.of_grids)
    data = data_source(typed.data, typed.download)
    return study if data == DataSource() else study.model_copy(update={"data": data})


def resume_study(study: Study, run_options: RunOptions, typed: StudyOverrides) -> int:
    """Resume the latest run of a study at its preset, or a named run."""
    refuse_changes(given(typed))
    results = run_options.execution.results
    run = latest_run(study, results) if run_options.resume == LATEST else RunFolder.open(results, run_options.resume)
    if run is None:
        raise BadInput(
            f"no run of study '{study.name}' at preset {_preset(study)} in {results} yet; "
            "leave out --resume to make one"
        )
    if (run.study_name(), _preset(run.study())) != (study.name, _preset(study)):
        raise BadInput(f"run {run.folder.name} is not of study '{study.name}' at preset {_preset(study)}")
    return resume(run, run_options)


def latest_run(study: Study, results: Path) -> RunFolder | None:
    """Return the latest run of a study at its preset, or None."""
    named = (run for run in reversed(list_runs(results)) if run.study_name() == study.name)
    return next((run for run in named if _preset(run.study()) == _preset(study)), None)


def _preset(study: Study) -> Preset:
    return next(iter(study.groups.values())).preset


def list_studies() -> None:
    """Print the studies that come with nodebench."""
    studies = [load_study(name, Preset.QUICK) for name in shipped_studies()]
    print_rows([("study", "question", "source"), *((study.name, study.about, study.source) for study in studies)])


def show_study(study: Study) -> None:
    """Print what a study consists of."""
    console = Terminal()
    console.print(Text.assemble((study.name, "bold"), f" · preset {_preset(study)} · {study.about}"))
    console.print(f"source: {study.source or '–'}")
    console.print(f"claims: {', '.join(study.claims) or '–'}")
    console.print(f"passes: {', '.join(study.passes)}")
    for name, grid in study.groups.items():
        console.print(f"\n{name}", style="bold")
        for line in _axes(grid):
            console.print(f"  {line}")


def _axes(grid: Grid) -> list[str]:
    shown = grid.model_dump(mode="json", exclude_defaults=True, exclude={"overrides", "exclude", "preset", "against"})
    lines = [f"{name}: {_listed(value)}" for name, value in shown.items()]
    lines += [f"{name} = {_listed(values)}" for name, values in grid.overrides.items()]
    if grid.against:
        baseline = ", ".join(f"{name} {_listed(value)}" for name, value in grid.against.items())
        lines.append(f"interleaved with: {baseline}")
    return lines + [f"left out: {exclusion.reason}" for exclusion in grid.exclude]


SHOWN = 20  # values of an axis


def _listed(value: object) -> str:
    values = value if isinstance(value, list) else [value]
    texts = [f"{v:g}" if isinstance(v, float) else str(v) for v in values[:SHOWN]]
    return ", ".join(texts) + (f", … {values[-1]} ({len(values):,} values)" if len(values) > SHOWN else "")


def plan_study(study: Study, results: Path, jobs: int | None, probe: bool) -> None:
    """Print how many trials a study has, which are left out, how many are done, and the time left."""
    from nodebench.cores import default_threads
    from nodebench.instruments import describe_environment
    from nodebench.running.estimate import costs_on, estimate
    from nodebench.running.plan import plan
    from nodebench.running.sweep import missing

    run = latest_run(study, results)
    study = with_data(with_threads(_with_threads_of(run, study), default_threads(jobs_of(study, jobs))))
    with waiting("planning the trials"):
        planned = plan(study)
    todo = missing(planned.planned, run.records() if run else [])
    costs = costs_on(describe_environment(), results)
    if probe:
        with waiting("probing"):
            _probe([one.trial for one in todo if not costs.knows(one.configuration)], study.data, costs)
    console = Terminal(soft_wrap=True)
    console.print(_groups(study, planned.planned, todo, costs))
    for reason in planned.left_out:
        console.print(f"left out: {reason}")
    there = len(planned.planned) - len(todo)
    console.print(
        f"{len(planned.planned)} trials" + (f", {there} of them in {run.folder.name}" if run and there else "")
    )
    if todo:  # estimated by configuration: the seed does not change the time
        console.print(_time(estimate((one.configuration for one in todo), costs), jobs_of(study, jobs)))
    if study.timing and planned.planned:
        n = len({one.seed for one in planned.planned})
        here = describe_environment(), max(one.configuration.threads for one in planned.planned)
        console.print(f"noise: {resolution(calibrations(results), *here, n)}")


def _with_threads_of(run: RunFolder | None, study: Study) -> Study:
    """Fill in missing thread counts from the run, since a trial with another thread count is another trial."""
    known = run.study().groups if run else {}
    groups = {
        name: grid.model_copy(update={"threads": grid.threads or known[name].threads}) if name in known else grid
        for name, grid in study.groups.items()
    }
    return study.model_copy(update={"groups": groups})


def _groups(study: Study, planned: "Sequence[Planned]", todo: "Sequence[Planned]", costs: "Costs") -> Table:
    """Return a table of the groups: number of trials, how many are done, and the time of the others."""
    from nodebench.running.estimate import estimate

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("group", "trials", "done", "time"):
        table.add_column(header, justify="left" if header == "group" else "right", no_wrap=True)
    for name in study.groups:
        every, left = (sum(name in one.groups for one in some) for some in (planned, todo))
        found = estimate((one.configuration for one in todo if name in one.groups), costs)
        time = "–" if not left else duration(found.seconds) if found.known + found.guessed else "unknown"
        table.add_row(name, str(every), str(every - left), time)
    return table


def _time(found: "Estimate", at_once: int) -> str:
    if found.known + found.guessed == 0:
        return "Run times are unknown: this machine has no record of similar trials. Estimate them with --probe."
    sources = {"known": found.known, "guessed from others": found.guessed, "unknown": found.unknown}
    origin = ", ".join(f"{count} {how}" for how, count in sources.items() if count)
    together = f", {at_once} at a time" if at_once > 1 else ""
    return f"about {duration(found.seconds / at_once)} to go{together} ({origin})"


def _probe(trials: list[Trial], source: DataSource, costs: "Costs") -> None:
    """Estimate the cost of trials by a short run of one trial per configuration."""
    from nodebench.running.estimate import probe

    shown = track(trials, "probing", console=Terminal(stderr=True), transient=True)
    for trial, seconds in probe(shown, source):
        if seconds is not None:
            costs.learn(trial, seconds)
