"""The table of amendments: what each entry must say, and that git has its commits at their dates."""

import subprocess
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nodebench.claims import all_claims
from nodebench.claims.freeze import declaration_hash, frozen_declarations

ROOT = Path(__file__).parents[2]
AMENDMENTS = tomllib.loads((ROOT / "nodebench/claims/amendments.toml").read_text())["amendment"]
PARTS = {"sentence", "reading", "region", "conditions", "controls", "arms", "statistics", "name", "added", "removed"}


def test_every_entry_says_what_changed_when_and_why():
    for one in AMENDMENTS:
        assert one["what"] in PARTS
        assert isinstance(one["after_first_results"], bool)
        for key in ("claim", "date", "old", "new", "reason", "verdict_old", "verdict_new"):
            assert one[key].strip(), (key, one)


def test_no_two_entries_are_the_same():
    entries = [(one["claim"], one.get("commit"), one["what"], one["old"], one["new"]) for one in AMENDMENTS]
    assert len(set(entries)) == len(entries)


def test_git_has_each_commit_at_its_date():
    for one in AMENDMENTS:
        if one.get("commit"):
            assert datetime.fromisoformat(one["date"]) == _date(one["commit"]), one["commit"]


def test_a_change_of_the_name_changes_nothing_else_and_keeps_the_date():
    claims = {claim.name: claim for claim in all_claims()}
    frozen = frozen_declarations().claims
    named = [one for one in AMENDMENTS if one["what"] == "name"]
    renamed = [one for one in named if declaration_hash(claims[one["claim"]]) == one["to"]]  # not changed again since
    assert renamed
    for one in renamed:
        hashes = {known.hash: known.date for known in reversed(frozen[one["claim"]].history)}
        before = declaration_hash(replace(claims[one["claim"]], id=one["old"]))
        assert hashes[before] == hashes[one["to"]]


def _date(commit: str) -> datetime:
    command = ["git", "-C", str(ROOT), "show", "-s", "--format=%ct", f"{commit}^{{commit}}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        shallow = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--is-shallow-repository"],
            capture_output=True,
            text=True,
            check=False,
        )
        if shallow.returncode or shallow.stdout.strip() == "true":
            pytest.skip("no full git history")
        pytest.fail(f"git has no commit {commit}")
    return datetime.fromtimestamp(int(shown.stdout), UTC)
