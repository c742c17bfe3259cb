"""``nodebench claims``: the published claims and their verdicts."""

import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from nodebench.claims import Claim, ClaimResult, Verdict, all_claims, judge
from nodebench.claims.amendments import amendments, choose_claim
from nodebench.claims.freeze import changed, frozen_again, frozen_declarations, write
from nodebench.claims.verdict_file import claim_verdict
from nodebench.claims.words import explanation, measured, p_text, rule, verdict_line
from nodebench.cli.calibrate import resolution
from nodebench.cli.exit_codes import OK, TRIAL_FAILED
from nodebench.cli.show import print_rows
from nodebench.cli.terminal import Terminal, print_json, print_plain
from nodebench.errors import BadInput, choose
from nodebench.spec import Record
from nodebench.spec.calibration import Calibration
from nodebench.store.calibrations import calibrations
from nodebench.store.published import PUBLISHED, Apart, apart
from nodebench.store.run_folder import every_run_below, records_of, runs_below

_COLOURS = {
    Verdict.SUPPORTED: "green",
    Verdict.REFUTED: "red",
    Verdict.DEPENDS: "magenta",
    Verdict.PARTLY: "cyan",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_TESTED: "dim",
}


def list_claims() -> None:
    """Print the claims."""
    rows = [(claim.id, claim.scope, claim.sentence, claim.published) for claim in all_claims()]
    print_rows([("claim", "scope", "statement", "published"), *rows])


def check_claims(results: Path, as_json: bool, fail_on: str) -> int:
    """Print the verdicts; return 1 if ``fail_on`` lists one of them."""
    unwanted = [choose("verdict", word.strip(), list(Verdict)) for word in fail_on.split(",") if word.strip()]
    kept = apart(runs_below(results), results)
    records = _records(kept)
    if not records:
        raise BadInput(f"no record in {results} can be read")
    found = judge(all_claims(), records, calibrations(results), frozen_declarations())
    if as_json:
        print_json([claim_verdict(result).model_dump(mode="json") for result in found])
    else:
        console = Terminal()
        console.print(_table(found))
        counts = Counter(result.verdict for result in found)
        console.print(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]))
        _name_those_left_out(console, kept, results)
    return TRIAL_FAILED if any(result.verdict in unwanted for result in found) else OK


def _records(kept: Apart) -> list[Record]:
    """The records that claims are judged by."""
    return [record for run in kept.judged for record in records_of(run)]


def _name_those_left_out(console: Terminal, kept: Apart, results: Path) -> None:
    """If published records were left out in favour of the user's own, print this and how to judge them."""
    if kept.beside:
        folder = results / PUBLISHED
        console.print(
            f"{folder} is left out; judge it separately with --results {shlex.quote(str(folder))}", soft_wrap=True
        )


def _table(found: Sequence[ClaimResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("verdict", "claim", "scope", "n", "result"):
        table.add_column(header, no_wrap=header in ("verdict", "claim", "scope"), overflow="fold")
    for result in found:
        words = [verdict_line(result), measured(result)]
        if (why := explanation(result)) and why not in words[0]:
            words.append(why)
        shown = result.headline
        verdict = Text(result.verdict.value, _COLOURS[result.verdict])
        text = Text(". ".join(filter(None, words)))
        table.add_row(verdict, result.claim.id, result.claim.scope, str(shown.n) if shown else "", text)
    return table


def show_claim(id: str, results: Path) -> None:
    """Print everything about a claim, at each of its scopes."""
    console = Terminal()
    chosen = choose_claim(id, _ids())
    named = [claim for claim in all_claims() if claim.id == chosen]
    kept = apart(every_run_below(results), results)
    records, known = _records(kept), calibrations(results)
    by_name = {one.claim.name: one for one in judge(all_claims(), records, known, frozen_declarations())}
    for claim in named:
        result = by_name[claim.name]
        console.print()
        console.print(Text.assemble((claim.id, "bold"), f" · {claim.scope} scope · ", (result.verdict.value, "bold")))
        for line in [*_declared(claim, result), *_found(result), *_resolution(result, records, known)]:
            console.print(f"  {line}")
    _name_those_left_out(console, kept, results)


def _ids() -> list[str]:
    return list(dict.fromkeys(claim.id for claim in all_claims()))


def _declared(claim: Claim, result: ClaimResult) -> list[str]:
    quote = f"“{claim.source.quote}” " if claim.source.quote else ""
    return [
        claim.sentence,
        f"source: {quote}{claim.source.paper}, {claim.source.place} {claim.source.link}".rstrip(),
        f"published: {claim.published}",
        f"home condition: {claim.home}",
        *dict.fromkeys(f"supported if {rule(part, [part.supports])}" for part in claim.parts),
        *dict.fromkeys(f"refuted if {rule(part, part.regions.refuting)}" for part in claim.parts),
        f"declaration: {result.declared}",
    ]


def _found(result: ClaimResult) -> list[str]:
    lines = [f"verdict: {verdict_line(result)}"]
    for one in result.conditions:
        p = "exact" if one.is_exact else f"corrected p-value {p_text(one.p_corrected)}"
        why = f" ({one.why.message})" if one.why else ""
        lines.append(f"{one.verdict}{' at home' if one.home else ''}: {one.words or '–'}; n = {one.n}; {p}{why}")
    lines += [f"control: {checked.control.says}: {checked.outcome}" for checked in result.controls]
    notes = dict.fromkeys(str(note) for one in result.results for note in one.sample.notes)
    lines += [f"note: {note}" for note in notes]
    lines += [f"other explanation: {trap}" for trap in result.claim.traps]
    lines += [f"set-up: {result.claim.fairness}"] if result.claim.fairness else []
    lines += [f"failed trials: {result.claim.failures}"]
    lines += [f"why: {why}"] if (why := explanation(result)) else []
    return [*lines, f"study: {result.claim.command}"]


def _resolution(result: ClaimResult, records: Sequence[Record], known: Sequence[Calibration]) -> list[str]:
    """For a claim on times, return a line with the smallest change that its replicates detect on their machine."""
    timed = [one for one in result.results if one.part.reading.timed and one.sample.records]
    if not timed:
        return []
    record = next(record for record in records if record.id in timed[0].sample.records)
    n = max(2, len(timed[0].sample.values))
    return [f"noise: {resolution(known, record.environment, record.trial.threads, n)}"]


def freeze_claims(check: bool) -> int:
    """Freeze the declarations of this checkout; with ``check``, only list those not frozen and return 1 if any."""
    from nodebench.settle.required_trials import contents

    claims, frozen = all_claims(), frozen_declarations()
    asked = contents(claims)
    if check:
        missing = changed(claims, asked, frozen)
        for claim in missing:
            print_plain(f"{claim.name}: its declaration or the trials of its studies differ from the frozen ones")
        return TRIAL_FAILED if missing else OK
    date = datetime.now(UTC).isoformat(timespec="seconds")
    again = frozen_again(claims, asked, frozen, amendments(), date)
    print_plain(f"{len(again.claims)} declarations frozen in {write(again)}")
    return OK
