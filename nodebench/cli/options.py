"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from nodebench.cli.completion import of_claims, of_presets, of_runs, of_studies

WHAT, WHERE, LIMITS, OUTPUT = "What", "Where and how", "Limits", "Output"

Results = Annotated[
    Path,
    typer.Option("--results", metavar="DIR", help="Folder of the runs.", rich_help_panel=WHERE),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR|FILE",
        help="Folder of the full data set, or your time-series file. (default: $NODEBENCH_DATA_DIR)",
        rich_help_panel=WHERE,
    ),
]
Download = Annotated[bool, typer.Option("--download", help="Allow the data loader to download.", rich_help_panel=WHERE)]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="[RUN]",
        help="Resume an earlier run, by default the latest.",
        autocompletion=of_runs,
        rich_help_panel=WHERE,
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="With --resume: run failed trials again.", rich_help_panel=WHERE)
]
Jobs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Concurrent trials. (default: 1 if times are measured)", rich_help_panel=WHERE),
]
Dask = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS|local|slurm", help="Run the trials on Dask workers.", rich_help_panel=WHERE),
]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="CPU threads per trial. (default: $OMP_NUM_THREADS, else the faster of 1 and all cores of a job)",
        rich_help_panel=WHERE,
    ),
]
StudyDevice = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:N or mps. (default: the study's)", rich_help_panel=WHERE),
]
Seeds = Annotated[int | None, typer.Option(metavar="N", help="Replicates. (default: the study's)")]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Time limit of one trial.", rich_help_panel=LIMITS)
]
MaxNfe = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Maximum evaluations of a forward solve, and of the backward solves of a step.",
        rich_help_panel=LIMITS,
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Maximum resident memory of one trial: 800MB, 2GB.", rich_help_panel=LIMITS),
]
CheckpointEvery = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Time between training checkpoints; 0: none. (default: 600, or the study's)",
        rich_help_panel=WHERE,
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="Start more than 100,000 trials or 12 hours without asking.", rich_help_panel=WHERE),
]
Passes = Annotated[
    str,
    typer.Option(
        metavar="NAME,…",
        help="What to measure: training, memory, numerics. (default: all, or the study's)",
        rich_help_panel=WHERE,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print records as JSON lines, nothing else.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not show progress.", rich_help_panel=OUTPUT)]
Figures = Annotated[
    bool, typer.Option("--figures", help="Save plots of each trial at the end.", rich_help_panel=OUTPUT)
]
PresetName = Annotated[
    str,
    typer.Option(metavar="NAME", help="Scale: smoke, quick, paper.", autocompletion=of_presets, rich_help_panel=WHAT),
]
StudyName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A study's name, or the path of its .toml file.", autocompletion=of_studies),
]
RunName = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="Name or path of a run; the latest by default.", autocompletion=of_runs),
]
ClaimId = Annotated[
    str, typer.Argument(metavar="ID", help="A claim; see 'nodebench claims list'.", autocompletion=of_claims)
]
