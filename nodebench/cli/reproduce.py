"""``nodebench reproduce``: rerun trials from their records alone."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from nodebench.analysis.environment_diff import describe_changes
from nodebench.analysis.reproduction import Repeated, Reproduction, ReproductionOutcome
from nodebench.api.reproduce import Choice, Judged, reproduce
from nodebench.api.result import Run
from nodebench.claims.words import explanation, measured
from nodebench.cli.exit_codes import INTERRUPTED, OK, RUN_ABORTED, TRIAL_FAILED
from nodebench.cli.run import TerminalListener
from nodebench.cli.terminal import Terminal, print_json
from nodebench.spec import DataSource
from nodebench.spec.metrics import percent

_COLOURS = {
    ReproductionOutcome.IDENTICAL: "green",
    ReproductionOutcome.WITHIN: "green",
    ReproductionOutcome.DIFFERENT: "red",
    ReproductionOutcome.UNKNOWN: "yellow",
}


def reproduce_command(
    what: str, results: Path, out: Path, choice: Choice, data: DataSource, *, as_json: bool, quiet: bool
) -> int:
    """Rerun trials; return 1 if a metric differs and no change of the environment could explain it."""
    progress = TerminalListener(quiet=quiet or as_json)
    done = reproduce(what, results=results, out=out, choice=choice, data=data, progress=progress)
    if as_json:
        print_json(_as_object(done.trials, done.verdicts, done.run))
    else:
        _print(done.trials, done.verdicts, done.run)
    if done.failure:
        Terminal(stderr=True, soft_wrap=True).print(f"nodebench: {done.failure}")
        return RUN_ABORTED
    if done.stopped:
        return INTERRUPTED
    return OK if done.holds else TRIAL_FAILED


def _print(repeated: Sequence[Reproduction], verdicts: Sequence[Judged], run: Run) -> None:
    console = Terminal(soft_wrap=True)
    for name, count in Counter(describe_changes(one.environment_changes) or "the same" for one in repeated).items():
        console.print(f"environment of {count} of {len(repeated)} trials: {name}")
    for one in repeated:
        if not one.same_end:
            console.print(Text(f"{one.record.id}: {one.record.status} → {one.again.status}", "red"))
    Terminal().print(_table(repeated))
    different = [
        metric for one in repeated for metric in one.metrics if metric.outcome is ReproductionOutcome.DIFFERENT
    ]
    if causes := dict.fromkeys(cause for metric in different for cause in metric.explained_by):
        console.print(f"Possible causes of the differences: {', '.join(causes)}")
    for one in repeated:
        for metric in one.unexplained:
            first, second = (metric.metric.format(value) for value in (metric.first, metric.second))
            text = f"{one.record.id} {metric.metric.label}: {first} → {second}, no change explains it"
            console.print(Text(text, "red"))
    for judged in verdicts:
        console.print(f"{judged.whole.claim.name}: {judged.whole.verdict} from all records. From the rerun records:")
        for when, result in (("before", judged.before), ("now", judged.now)):
            words = [result.verdict.value, measured(result), explanation(result)]
            console.print(f"  {when}: {'; '.join(filter(None, words))}")
    console.print(f"{len(repeated)} run again · {run.folder / 'records.jsonl'}")


def _table(repeated: Sequence[Reproduction]) -> Table:
    """Return a table with the outcomes of each metric and its largest relative change."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for header in ("metric", *(_SHORT.get(outcome, outcome) for outcome in ReproductionOutcome), "largest change"):
        table.add_column(header, justify="left" if header == "metric" else "right", no_wrap=True)
    for name in dict.fromkeys(metric.metric.name for one in repeated for metric in one.metrics):
        found = [metric for one in repeated for metric in one.metrics if metric.metric.name == name]
        counts = Counter(metric.outcome for metric in found)
        largest = max(map(_apart, found))
        table.add_row(
            found[0].metric.label,
            *(Text(str(counts[outcome] or ""), _COLOURS[outcome]) for outcome in ReproductionOutcome),
            percent(largest) if largest else "",
        )
    return table


_SHORT = {ReproductionOutcome.WITHIN: "in interval"}


def _apart(one: Repeated) -> float:
    """The relative difference of two values."""
    scale = max(abs(one.first), abs(one.second))
    return abs(one.first - one.second) / scale if scale else 0.0


def _as_object(repeated: Sequence[Reproduction], verdicts: Sequence[Judged], run: Run) -> dict[str, Any]:
    return {
        "run": str(run.folder),
        "records": [
            {
                "id": one.record.id,
                "status": [one.record.status, one.again.status],
                "environment": one.environment_changes,
                "metrics": {
                    metric.metric.name: {
                        "kind": metric.metric.kind,
                        "first": metric.first,
                        "second": metric.second,
                        "outcome": metric.outcome,
                        "interval": list(metric.interval) if metric.interval else None,
                        "explained_by": metric.explained_by,
                    }
                    for metric in one.metrics
                },
            }
            for one in repeated
        ],
        "verdicts": [
            {
                "claim": one.whole.claim.id,
                "scope": one.whole.claim.scope,
                "verdict": one.whole.verdict,
                "before": one.before.verdict,
                "now": one.now.verdict,
            }
            for one in verdicts
        ],
    }
