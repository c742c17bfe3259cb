import math
from dataclasses import replace

import pytest
from evidence import ENVIRONMENT, claim, evidence

from nodebench.analysis.readings import at_tolerance, axis, change, final
from nodebench.claims import Verdict, judge
from nodebench.claims.contract import Arm, Fit, Match, Part
from nodebench.spec import Status

A, B = Arm("adjoint", {"gradient": "adjoint"}), Arm("direct", {"gradient": "direct"})
SECONDS = Part("{}", final("step_seconds"), A, B, supports=(-math.inf, 1.0), scale="log", unit="×")


def pairs(n: int, ratio: float = 2.0, adjoint=None, direct=None) -> list:
    """A pair of records for each seed; the second arm is faster by a ratio that varies a little."""
    records = []
    for seed in range(n):
        slow = ratio * (1 + 0.02 * seed)
        records.append(evidence(seed, gradient="adjoint", costs={"step_seconds": slow}, **(adjoint or {})))
        records.append(evidence(seed, gradient="direct", costs={"step_seconds": 1.0}, **(direct or {})))
    return records


def verdict(records, part=SECONDS, **changes):
    return judge([claim(part, **changes)], records)[0]


def notes(found) -> str:
    return " ".join(str(note) for result in found.results for note in result.sample.notes)


def estimate(found):
    return found.results[0].estimate


def estimated(found) -> tuple:
    return (estimate(found).n, estimate(found).value) if estimate(found) else (0, None)


def test_arms_that_differ_in_an_axis_differ_in_what_goes_along_with_it():
    """The tolerances of an adjoint; the steps, the tolerances and the batching of a solver."""
    backwards = {"adjoint_rtol": 1e-3, "adjoint_atol": 1e-5}
    assert verdict(pairs(5, adjoint=backwards)).verdict is Verdict.REFUTED
    solvers = replace(SECONDS, arm=Arm("rk4", {"solver": "rk4"}), against=Arm("dopri5", {"solver": "dopri5"}))
    stepped = {"solver": "rk4", "rtol": None, "atol": None, "step_size": 0.1}
    records = [evidence(seed, costs={"step_seconds": 2.0 + seed / 100}, **stepped) for seed in range(5)]
    records += [evidence(seed, costs={"step_seconds": 1.0}, batching="each", **backwards) for seed in range(5)]
    assert verdict(records, solvers).verdict is Verdict.REFUTED


def test_along_an_axis_goes_what_goes_with_it():
    """A line over tolerances, whose atol and adjoint's tolerances are other ones at each of its places."""
    part = Part("{}", final("solution_error"), A, supports=(0.9, 1.1), fit=Fit("rtol", axis("rtol"), logs=True))
    records = [
        evidence(
            seed,
            gradient="adjoint",
            metrics={"solution_error": (2 + seed / 10) * rtol ** (1 + seed / 1000)},
            rtol=rtol,
            atol=rtol / 100,
            adjoint_rtol=rtol,
            adjoint_atol=rtol / 100,
        )
        for seed in range(5)
        for rtol in (1e-3, 1e-5, 1e-7)
    ]
    assert verdict(records, part).verdict is Verdict.SUPPORTED


def test_what_both_arms_ask_for_alike_is_no_difference_between_them():
    """Both may be of two tasks, but not each of another one."""
    tasks = {"task": ("toy/spiral", "toy/mlp")}
    part = replace(SECONDS, arm=A.but("adjoint", **tasks), against=B.but("direct", **tasks))
    assert verdict(pairs(5), part).verdict is Verdict.REFUTED
    found = verdict(pairs(5, direct={"task": "toy/mlp"}), part)
    assert found.verdict is Verdict.NOT_TESTED
    assert "the arms differ in task toy/spiral / toy/mlp" in notes(found)


def test_what_one_arm_alone_asks_for_tells_it_from_the_other():
    compiled = replace(SECONDS, against=B.but("compiled", compile="field"))
    records = pairs(5, direct={"compile": "field"})
    assert verdict(records, compiled).verdict is Verdict.REFUTED
    assert verdict(records, replace(compiled, arm=compiled.against, against=A)).verdict is Verdict.SUPPORTED


def test_no_seed_in_common_is_said_and_so_is_a_part_that_nobody_measured():
    adjoint = [evidence(seed, gradient="adjoint", costs={"step_seconds": 1.0}) for seed in range(5)]
    direct = [evidence(seed, gradient="direct", costs={"step_seconds": 1.0}) for seed in range(5, 10)]
    assert notes(verdict(adjoint + direct)) == "the arms have no seed in common"
    assert notes(verdict([])) == "no usable record"


def test_a_refusal_names_the_least_that_differs_and_no_more_than_four():
    one = {"threads": 2}
    many = {"threads": 2, "options": dict.fromkeys("abcde", 1)}
    first = [record for record in pairs(2) if record.trial.gradient == "adjoint"]
    others = pairs(2, direct=one)[1::2] + pairs(2, direct=many)[1::2]
    assert notes(verdict(first + others)) == "the arms differ in threads 1 / 2"
    shown = notes(verdict(pairs(2, direct=many)))
    assert shown == "the arms differ in threads 1 / 2, a – / 1, b – / 1, c – / 1 and 2 more"
    four = {"options": dict.fromkeys("abcd", 1)}
    assert notes(verdict(pairs(2, direct=four))).endswith("d – / 1")


def test_an_empty_setting_is_told_by_a_dash():
    empty, given = {"options": {"decay_epochs": ""}}, {"options": {"decay_epochs": "60"}}
    assert notes(verdict(pairs(2, adjoint=empty, direct=given))).endswith("decay_epochs – / 60")
    assert notes(verdict(pairs(2, adjoint=given, direct=empty))).endswith("decay_epochs 60 / –")


def test_options_are_the_same_in_any_order():
    there, back = {"options": {"a": 1, "b": 2}}, {"options": {"b": 2, "a": 1}}
    assert verdict(pairs(5, adjoint=there, direct=back)).verdict is Verdict.REFUTED


def test_records_of_two_commits_are_told():
    other = ENVIRONMENT | {"code": {"commit": "deadbeef", "dirty": False}}
    assert notes(verdict(pairs(5))) == ""
    assert notes(verdict(pairs(5, adjoint={"environment": other}))) == "the records are from 2 commits of the code"
    assert (
        notes(verdict(pairs(5, adjoint={"environment": other | {"code": None}})))
        == "the records are from 2 commits of the code"
    )


def test_the_records_behind_a_verdict_are_in_the_order_of_their_seeds():
    records = pairs(5)
    wanted = [record.id for record in sorted(records, key=lambda record: (record.trial.seed, record.id))]
    assert list(verdict(records[::-1]).records) == wanted


def test_a_note_says_how_often_only_where_something_was_left_out():
    again = [evidence(0, gradient="adjoint", costs={"step_seconds": 2.0}, started="2027")]
    assert notes(verdict([*pairs(5), *again])) == "a trial was measured more than once: its latest record counts"
    failed = [evidence(seed, gradient=g, status=Status.TIMEOUT) for seed in (5, 6) for g in ("adjoint", "direct")]
    found = verdict([*pairs(5), *again, *failed])
    assert estimate(found).n == 5
    assert [str(note) for note in found.results[0].sample.notes] == [
        "a trial was measured more than once: its latest record counts",
        "2 × replicate left out: both arms failed",
    ]


def test_what_is_left_aside_is_told_by_its_latest_whatever_the_order():
    def other(threads: int, started: str) -> list:
        changes = {"threads": threads, "started": started}
        return pairs(2, adjoint=changes, direct=changes)

    records = [*pairs(5), *other(3, "2028"), *other(2, "2027")]
    for given in (records, records[::-1]):
        assert notes(verdict(given)) == "8 × record excluded: different settings (threads 1 / 3)"


def test_a_condition_of_one_value_that_nobody_measured_is_a_gap():
    part = replace(SECONDS, arm=A.but("adjoint", rtol=1e-5), conditions=("rtol",))
    assert [found.sample.condition for found in verdict([], part).results] == [{"rtol": 1e-5}]


def test_a_ratio_to_nothing_is_left_out():
    free = [evidence(5, gradient=g, costs={"step_seconds": 1.0 * (g == "adjoint")}) for g in ("adjoint", "direct")]
    found = verdict([*pairs(5), *free])
    assert (estimate(found).n, notes(found)) == (5, "replicate left out: the ratio divides by 0")
    used = [point.seed for side in found.results[0].sample.points for point in side]
    assert used == [*range(5), *range(5)]  # a replicate that is left out is no evidence, for example of a gate
    less = verdict([*pairs(5), *free], replace(SECONDS, combine="difference", scale="linear"))
    assert (less.results[0].replicates.n, sum(less.results[0].replicates.values)) == (6, pytest.approx(6.4))


def test_a_difference_of_two_failed_solves_is_left_out():
    """A solve of the profile that fails reads as infinite; the difference of two has no value."""
    reading = change(at_tolerance("nfe", 1e-1), at_tolerance("nfe", 1e-3))
    part = Part("{}", reading, B)
    solved = [{"rtol": 1e-1, "nfe": 14.0}, {"rtol": 1e-3, "nfe": 26.0}]
    failed = [{"rtol": 1e-1, "nfe": None}, {"rtol": 1e-3, "nfe": None}]
    records = [evidence(seed, gradient="direct", profile=failed if seed == 5 else solved) for seed in range(6)]
    found = verdict(records, part)
    assert estimated(found) == (5, -12)
    assert "replicate left out: both solves that are compared failed" in notes(found)


# --- conditions


def findings(records, *conditions: str) -> list[str]:
    part = Part("{}", final("test_loss"), B, conditions=conditions)
    return [found.sample.label for found in verdict(records, part).results]


def test_conditions_are_in_the_order_of_their_numbers():
    def with_(**changes):
        return evidence(gradient="direct", metrics={"test_loss": 1.0}, **changes)

    rtols = [with_(rtol=rtol) for rtol in (1e-3, 1e-5, 1e-1)]
    assert findings(rtols, "rtol") == ["rtol 1e-5", "rtol 0.001", "rtol 0.1"]
    points = [with_(options={"points": n}) for n in (100, 9, 30)]
    assert findings(points, "points") == ["points 9", "points 30", "points 100"]
    mixed = [with_(rtol=rtol, atol=rtol, step_size=step) for rtol, step in ((None, 0.1), (1e-3, None), (1e-5, None))]
    assert findings(mixed, "rtol") == ["no rtol", "rtol 1e-5", "rtol 0.001"]


def test_a_condition_is_told_as_a_person_would():
    def with_(**options):
        return evidence(gradient="direct", metrics={"test_loss": 1.0}, options=options)

    assert findings([with_(irregular=value) for value in (False, True)], "irregular") == ["not irregular", "irregular"]
    assert findings([with_(variant="script")], "task", "model", "solver", "variant") == [
        "toy/spiral, small, dopri5, script"
    ]
    assert findings([with_(noise=noise) for noise in (0.1 + 0.2, 0.3)], "noise") == ["noise 0.3"]


# --- lines and curves


def along(values: dict[float, float | None], gradient: str = "direct", seeds: int = 5, shift: float = 0.0) -> list:
    """A figure at each of several tolerances."""
    return [
        evidence(seed, gradient=gradient, rtol=rtol, metrics={} if value is None else {"growth": value + shift * seed})
        for seed in range(seeds)
        for rtol, value in values.items()
    ]


def fitted(records, against=None, combine="difference", **fit):
    part = Part("{}", final("growth"), B, against, combine, fit=Fit("rtol", axis("rtol"), **fit))
    return verdict(records, part)


def test_what_is_read_off_a_line():
    line = {1.0: 3.0, 2.0: 7.0, 3.0: 5.0, 4.0: 9.0}  # slope 1.6, intercept 2, mean 6
    assert estimate(fitted(along(line))).value == pytest.approx(1.6)
    assert estimate(fitted(along(line), take="offset")).value == pytest.approx(2.0 / 6.0)
    assert estimate(fitted(along(line), take="r_squared")).value == pytest.approx(0.64)
    below = {x: y - 4.0 for x, y in line.items()}
    assert estimate(fitted(along(below), take="offset")).value == pytest.approx(1.0)


def test_three_places_make_a_line_and_two_do_not():
    assert estimated(fitted(along({1.0: 1.0, 2.0: 2.0, 4.0: 4.0}))) == (5, pytest.approx(1.0))
    found = fitted(along({1.0: 1.0, 2.0: 2.0, 4.0: None}))
    assert notes(found) == (
        "5 × record left out: no value of “growth” 5 × replicate left out: too few records for a line"
    )


def test_on_logarithms_a_line_leaves_out_what_has_none():
    power = {1.0: 3.0, 2.0: 12.0, 4.0: 48.0}
    assert estimate(fitted(along(power | {8.0: 0.0, 16.0: -1.0}), logs=True)).value == pytest.approx(2.0)
    assert estimate(fitted(along({1.0: -1.0, 2.0: 0.0, 3.0: 1.0}))).value == pytest.approx(1.0)


def test_a_place_that_one_arm_lacks_is_on_no_line():
    line = {1.0: 1.0, 2.0: 2.0, 3.0: 3.0}
    both = [*along(line), *along({x: 3 * y for x, y in line.items()}, "adjoint")]
    assert (estimated(fitted(both, A)), notes(fitted(both, A))) == ((5, pytest.approx(-2.0)), "")
    for gradient in ("direct", "adjoint"):
        found = fitted([*both, *along({9.0: 100.0}, gradient)], A)
        assert estimated(found) == (5, pytest.approx(-2.0))
        assert notes(found) == "5 × values of rtol that only one arm has are left out of its line"


def test_the_latest_record_of_a_place_is_on_the_line():
    old = along({1.0: 1.0, 2.0: 2.0, 3.0: 3.0})
    new = [
        evidence(r.trial.seed, gradient="direct", rtol=3.0, metrics={"growth": 5.0}, started="2027") for r in old[::3]
    ]
    assert estimate(fitted([*new, *old])).value == pytest.approx(2.0)


def test_curves_that_achieve_no_error_in_common_are_left_out_and_nothing_else_is_said():
    def curve(gradient: str, finest: float) -> list:
        return [
            evidence(
                seed,
                gradient=gradient,
                rtol=rtol,
                costs={"solution_error": rtol * finest, "step_seconds": (rtol * finest) ** -0.2},
            )
            for seed in range(5)
            for rtol in (1e-3, 1e-5)
        ]

    part = replace(SECONDS, match=Match("rtol", final("solution_error")))
    assert notes(verdict([*curve("adjoint", 1.0), *curve("direct", 1.0)], part)) == ""
    apart = verdict([*curve("adjoint", 1.0), *curve("direct", 1e-6)], part)
    assert notes(apart).startswith("5 × replicate left out: the arms share no range of ")


def test_a_record_that_lacks_either_figure_is_no_point():
    """Neither of a line nor of a curve; nor is what has no logarithm, of a line on logarithms."""

    def costs(seed: int, rtol: float, gradient: str, **lacks) -> dict:
        known = {"solution_error": rtol, "step_seconds": (2.0 if gradient == "adjoint" else 1.0) * rtol**-0.5}
        return evidence(seed, gradient=gradient, rtol=rtol, costs=known | lacks)

    rtols = (1e-3, 1e-5, 1e-7)
    good = [costs(seed, rtol, g) for seed in range(5) for rtol in rtols for g in ("adjoint", "direct")]
    match = replace(SECONDS, match=Match("rtol", final("solution_error")))
    fit = Part("{}", SECONDS.reading, B, fit=Fit("rtol", final("solution_error"), logs=True))
    for lacks in ({"solution_error": None}, {"step_seconds": None}, {"solution_error": 0.0}, {"solution_error": -1.0}):
        bad = [costs(seed, 1e-4, gradient, **lacks) for seed in range(5) for gradient in ("adjoint", "direct")]
        assert estimated(verdict([*good, *bad], match)) == (5, pytest.approx(2.0))
        assert estimated(verdict([*good, *bad], fit)) == (5, pytest.approx(-0.5))


def test_a_home_condition_without_a_record_is_named():
    """``rtol 1e-5``, not "no rtol", so that it can be measured."""
    part = replace(SECONDS, conditions=("rtol",), home={"rtol": 1e-5})
    assert [condition.label for condition in verdict([], part).conditions] == ["rtol 1e-5"]
    measured = verdict(pairs(5), part).conditions
    assert [(one.label, one.home, one.n) for one in measured] == [("rtol 1e-5", True, 0), ("rtol 0.001", False, 5)]
