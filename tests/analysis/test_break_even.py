"""When a slow first step has paid for itself, against adding up the steps one by one."""

import math
from itertools import count

import pytest
from evidence import evidence

from nodebench.analysis.break_even import break_even, steps_until_even
from nodebench.reporting.study_comparisons import break_evens


@pytest.mark.parametrize(
    ("first", "later", "other_first", "other_later"),
    [(10.0, 0.1, 0.3, 0.2), (2.05, 0.5, 0.5, 0.6), (1.0, 0.5, 0.75, 0.75), (0.2, 0.1, 0.3, 0.2)],
)
def test_it_is_the_first_step_at_which_the_sums_meet(first, later, other_first, other_later):
    mine, other = 0.0, 0.0
    for n in count(1):
        mine += later if n > 1 else first
        other += other_later if n > 1 else other_first
        if mine <= other + 1e-9:
            break
    assert steps_until_even(first, later, other_first, other_later) == n


@pytest.mark.parametrize("times", [(10.0, 0.2, 0.3, 0.2), (10.0, 0.3, 0.3, 0.2), (0.1, 0.3, 0.3, 0.2)])
def test_an_arm_whose_later_steps_are_no_faster_never_pays(times):
    assert steps_until_even(*times) == math.inf


def records(later: float, seeds: int = 5) -> list:
    return [
        evidence(
            seed,
            gradient="direct",
            compile=compiled,
            study="compile",
            groups=("spiral",),
            costs={
                "first_step_seconds": 20.0 + seed if compiled else 0.5,
                "step_seconds": later if compiled else 0.1,
            },
        )
        for seed in range(seeds)
        for compiled in (None, "field")
    ]


def test_replicates_are_paired_by_seed():
    found = break_even(records(0.05), {"compile": "field"}, {"compile": None})
    assert found.first == 22.0
    assert found.ratio.value == pytest.approx(0.5)
    assert 391 <= found.steps.low <= found.steps.value <= found.steps.high <= 471 * 1.1
    assert found.steps.n == 5


def test_without_a_counterpart_there_is_nothing_to_compare():
    alone = [record for record in records(0.05) if record.trial.compile]
    assert break_even(alone, {"compile": "field"}, {"compile": None}) is None


def test_the_page_says_when_compiling_has_paid_or_that_it_never_does():
    _, note, table = break_evens("compile", records(0.05))
    assert "includes compilation" in note.text
    (row,) = table.rows
    assert [cell.text for cell in row][:2] == ["torchdiffeq, compiled field", "22 s"]
    assert 391 <= row[3].value <= 471
    *_, table = break_evens("compile", records(0.2))
    assert table.rows[0][3].text.startswith("∞")
    *_, table = break_evens("compile", records(0.05, seeds=1))
    assert table.rows[0][3].text.endswith("[1, ∞], n = 1")
    assert break_evens("memory", records(0.05)) == []
