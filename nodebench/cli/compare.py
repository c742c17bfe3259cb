"""``nodebench compare``: what has changed between two runs."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from nodebench.analysis.compare_runs import Change, Comparison, Outcome
from nodebench.analysis.environment_diff import describe_changes
from nodebench.analysis.statistics import finite
from nodebench.api.compare import compare
from nodebench.api.running import load
from nodebench.cli.exit_codes import OK, TRIAL_FAILED
from nodebench.cli.terminal import Terminal, print_json
from nodebench.errors import choose
from nodebench.spec.metrics import percent, several, short

REGRESSION, DIFFERENCE = "regression", "difference"
_FAILS = {
    REGRESSION: {Outcome.WORSE},
    DIFFERENCE: {Outcome.WORSE, Outcome.BETTER, Outcome.DIFFERENT},
}
_COLOURS = {Outcome.WORSE: "red", Outcome.BETTER: "green", Outcome.DIFFERENT: "yellow"}


def compare_command(first: str, second: str, results: Path, *, fail_on: str, as_json: bool, whole: bool) -> int:
    """Print the differences between two runs; return 1 if there is one of a kind listed in ``fail_on``."""
    unwanted = {outcome for word in _words(fail_on) for outcome in _FAILS[word]}
    runs = [load(name, results=results) for name in (first, second)]
    comparison = compare(*runs, results=results)
    if as_json:
        print_json(_as_object(comparison))
    else:
        _print(comparison, [run.name for run in runs], whole)
    return TRIAL_FAILED if unwanted & set(comparison.outcomes) else OK


def _words(fail_on: str) -> list[str]:
    return [choose("kind of change", word.strip(), _FAILS) for word in fail_on.split(",") if word.strip()]


def _print(comparison: Comparison, names: Sequence[str], whole: bool) -> None:
    console = Terminal(soft_wrap=True)
    console.print(f"{names[0]} → {names[1]}")
    console.print(f"environment: {describe_changes(comparison.environment_changes) or 'the same'}")
    for count, name in zip(comparison.only, names, strict=True):
        if count:
            console.print(f"{several(count, 'trial')} only in {name}: left out")
    for note in comparison.notes:
        console.print(note)
    for ending in comparison.endings:
        text = f"{ending.configuration} seed {ending.seed}: {ending.first} → {ending.second}"
        console.print(Text(text, _COLOURS.get(ending.outcome, "")))
    shown = [one for one in comparison.changes if whole or one.outcome in _COLOURS]
    for configuration in dict.fromkeys(one.configuration for one in shown):
        console.print(f"\n{configuration}", style="bold")
        Terminal().print(_table([one for one in shown if one.configuration == configuration]))
    counts = comparison.outcomes
    console.print(", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome]))
    unseen = [one for one in comparison.changes if one.outcome is Outcome.SAME]
    for name in dict.fromkeys(one.metric.name for one in unseen):
        console.print(_missed([one for one in unseen if one.metric.name == name]))
    if unseen and not comparison.noise_known:
        console.print(
            "Two runs can differ by more than the spread of their replicates; 'nodebench calibrate' measures by how "
            "much on this machine. Until then, 2 % is assumed, or the change of the reference load if it is larger."
        )


def _missed(unseen: Sequence[Change]) -> str:
    """Return a line with the smallest detectable change of one metric."""
    n = min(len(one.seeds) for one in unseen)
    smallest = max((one.smallest for one in unseen if one.smallest), default=float("inf"))
    if smallest == float("inf"):
        return f"{unseen[0].metric.label}: no change can be detected with n = {n}"
    return f"{unseen[0].metric.label}: smallest detectable change {percent(smallest - 1)} (n = {n}, power 0.8)"


def _table(changes: Sequence[Change]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for header in ("outcome", "metric", "before", "after", "ratio [95 % interval]", "p", "n"):
        table.add_column(header, justify="right" if header in ("before", "after", "p", "n") else "left", no_wrap=True)
    for one in sorted(changes, key=lambda one: list(Outcome).index(one.outcome)):
        table.add_row(
            Text(_SHORT.get(one.outcome, one.outcome), _COLOURS.get(one.outcome, "")),
            one.metric.label,
            *(one.metric.format(fmean(values)) for values in (one.first, one.second)),
            _ratio(one),
            short(one.p_corrected, 2) if one.shift else "exact",
            str(len(one.seeds)),
        )
    return table


_SHORT = {Outcome.SAME: "none found"}


def _ratio(one: Change) -> str:
    if one.outcome is Outcome.IDENTICAL or one.ratio is None:
        return ""
    value = short(one.ratio, 3)
    return f"{value} [{short(one.interval[0], 3)}, {short(one.interval[1], 3)}]" if one.interval else value


def _as_object(comparison: Comparison) -> dict[str, Any]:
    return {
        "environment": comparison.environment_changes,
        "outcomes": {outcome.value: count for outcome, count in comparison.outcomes.items()},
        "only": list(comparison.only),
        "notes": list(comparison.notes),
        "endings": [
            {
                "configuration": e.configuration,
                "seed": e.seed,
                "first": e.first,
                "second": e.second,
                "outcome": e.outcome,
            }
            for e in comparison.endings
        ],
        "changes": [
            {
                "configuration": one.configuration,
                "metric": one.metric.name,
                "outcome": one.outcome,
                "seeds": one.seeds,
                "first": one.first,
                "second": one.second,
                "ratio": one.ratio,
                "interval": [finite(end) for end in one.interval] if one.interval else None,
                "p_corrected": one.p_corrected if one.shift else None,
                "smallest": finite(one.smallest),
            }
            for one in comparison.changes
        ],
    }
