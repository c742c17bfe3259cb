"""Declarations are frozen: a changed one without an amendment is found."""

import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from evidence import claim

from nodebench.analysis.readings import at_epoch, final
from nodebench.claims import CLAIMS, Kind
from nodebench.claims.amendments import Amendment, amendments
from nodebench.claims.content import Content
from nodebench.claims.contract import Arm, Gate, Part
from nodebench.claims.freeze import (
    Frozen,
    changed,
    declaration_hash,
    extends,
    frozen_again,
    frozen_declarations,
)
from nodebench.errors import BadInput

PART = Part("{}", final("test_loss"), Arm("small", {"model": "small"}), supports=(-math.inf, 1.0))
FIRST = claim(PART)
CONTENT = Content(fixed={"task": "toy/spiral", "epochs": 5}, varied={"rtol": [1e-3, 1e-5]}, neutral={"epochs": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"sentence": "It is not so."},
        {"kind": Kind.UNIVERSAL},
        {"home": "nowhere"},
        {"fairness": "as its authors advise"},
        {"gate": Gate(final("test_error"), limit=1.0)},
        {"parts": (replace(PART, supports=(-math.inf, 1.1)),)},
        {"parts": (replace(PART, reading=at_epoch("test_loss", -1)),)},
        {"parts": (replace(PART, arm=Arm("small", {"model": "deep"})),)},
        {"parts": (replace(PART, conditions=("rtol",)),)},
    ],
)
def test_whatever_is_declared_changes_the_hash(changes):
    assert declaration_hash(replace(FIRST, **changes)) != declaration_hash(FIRST)


def test_the_hash_is_the_same_in_another_process():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from claims.test_freeze import FIRST\n"
        "from nodebench.claims.freeze import declaration_hash; print(declaration_hash(FIRST))"
    )
    root = Path(__file__).parents[2]
    import sys

    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == declaration_hash(FIRST)


def frozen(*claims, amended=None, before=None, content=CONTENT, date="2026-01-01"):
    asked = {one.name: [content] for one in claims}
    return frozen_again(claims, asked, before or Frozen(), amended or [], date)


def amendment(of, date):
    return Amendment(
        claim=of.name,
        date=date,
        what="sentence",
        old="",
        new="",
        reason="",
        after_first_results=False,
        to=declaration_hash(of),
    )


def test_a_frozen_declaration_has_a_date_and_a_changed_one_has_none():
    known = frozen(FIRST)
    assert known.date(FIRST) == "2026-01-01"
    asked = {FIRST.name: [CONTENT]}
    assert changed([FIRST, replace(FIRST, sentence="other")], asked, known) == [replace(FIRST, sentence="other")]


def test_a_change_needs_an_amendment_and_keeps_the_history():
    known, second = frozen(FIRST), replace(FIRST, sentence="It is not so.")
    with pytest.raises(BadInput, match=f"to = '{declaration_hash(second)}'"):
        frozen(second, before=known)
    again = frozen(second, before=known, amended=[amendment(second, "2026-02-01")], date="2026-02-02")
    assert [one.date for one in again.claims[second.name].history] == ["2026-01-01", "2026-02-02"]
    assert again.date(second) == "2026-02-02"
    assert again.date(FIRST) is None


def test_other_trials_are_a_change_too_and_a_new_neutral_option_is_none():
    known = frozen(FIRST)
    more = CONTENT.model_copy(update={"fixed": CONTENT.fixed | {"epochs": 8}})
    assert changed([FIRST], {FIRST.name: [more]}, known) == [FIRST]
    for older in (
        [],
        [amendment(FIRST, "2025-12-31")],
    ):  # the second describes an earlier change
        with pytest.raises(BadInput, match="changed"):
            frozen(FIRST, before=known, content=more, amended=older)
    again = frozen(FIRST, before=known, content=more, amended=[amendment(FIRST, "2026-01-02")])
    assert again.claims[FIRST.name].contents == (more,)
    neutral = Content(
        fixed=CONTENT.fixed | {"stable": False}, varied=CONTENT.varied, neutral=CONTENT.neutral | {"stable": False}
    )
    assert frozen(FIRST, before=known, content=neutral).claims[FIRST.name].contents == (neutral,)
    assert not extends([CONTENT], [neutral.model_copy(update={"fixed": CONTENT.fixed | {"stable": True}})])


# --- the declarations that come with nodebench


def test_every_declaration_is_frozen():
    from nodebench.settle.required_trials import (
        contents,  # not at the top: another process imports this file for its claims
    )

    assert [one.name for one in changed(CLAIMS, contents(CLAIMS), frozen_declarations())] == []


def test_every_change_since_the_first_freezing_has_an_amendment():
    amended = {(one.claim, one.to) for one in amendments() if one.to}
    for name, known in frozen_declarations().claims.items():
        for later in known.history[1:]:
            assert (name, later.hash) in amended


def test_every_amendment_is_of_a_claim_or_of_all_and_in_order():
    known = {one.name for one in CLAIMS} | {"all"}
    dates = [one.date for one in amendments()]
    assert dates == sorted(dates)
    gone = {one.claim for one in amendments() if one.what == "removed"}
    assert {one.claim for one in amendments()} <= known | gone


def test_no_commit_has_rewritten_the_history_of_a_declaration():
    """Each version of the file that git holds is a beginning of the one in force."""
    root = Path(__file__).parents[2]
    path = "nodebench/claims/frozen.json"
    if not (root / ".git").exists():
        pytest.skip("no git history")

    def git(*arguments):
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout

    now = json.loads((root / path).read_text())["claims"]
    renamed = {f"{one.old} {one.claim.partition(' ')[2]}": one.claim for one in amendments() if one.what == "name"}
    for commit in git("log", "--format=%H", "--", path).split():
        for name, known in json.loads(git("show", f"{commit}:{path}"))["claims"].items():
            hashes = [one["hash"] for one in known["history"]]
            assert [one["hash"] for one in now[renamed.get(name, name)]["history"]][: len(hashes)] == hashes
