"""What a verdict does with records that are missing, double, failed or not comparable."""

import math
from dataclasses import replace

import pytest
from evidence import ENVIRONMENT, claim, evidence
from scipy import stats

from nodebench.analysis.claims import CLAIMS, Word, judge
from nodebench.analysis.claims.contract import (
    SOLVING,
    Arm,
    Control,
    Fit,
    Part,
    Source,
    at_epoch,
    at_tolerance,
    change,
    final,
)
from nodebench.analysis.fairness import Point, is_flow
from nodebench.spec import Preset, Status, load_study, shipped_studies
from nodebench.spec.calibration import Calibration
from nodebench.spec.figures import FIGURES

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
    return " ".join(note for finding in found.findings for note in finding.sample.notes)


def test_five_pairs_decide_and_four_do_not():
    assert verdict(pairs(5)).word is Word.REFUTED
    four = verdict(pairs(4))
    assert four.word is Word.INCONCLUSIVE
    assert "4 replicates; 5 are the least" in four.why


def test_no_record_is_not_tested_and_names_the_command():
    found = verdict([])
    assert found.word is Word.NOT_TESTED
    assert "nodebench study run toys" in found.why


def test_a_missing_arm_is_named():
    found = verdict([record for record in pairs(5) if record.trial.gradient == "adjoint"])
    assert found.word is Word.NOT_TESTED
    assert "no record of direct" in notes(found)


def test_a_seed_without_its_pair_is_left_out_and_named():
    found = verdict([*pairs(5), evidence(7, gradient="adjoint", costs={"step_seconds": 99.0})])
    assert found.deciding.estimate.n == 5
    assert "no record of direct at seed 7" in notes(found)


@pytest.mark.parametrize(
    ("differs", "name"),
    [
        ({"threads": 2}, "threads 1 / 2"),
        ({"dtype": "float64"}, "dtype"),
        ({"rtol": 1e-5}, "rtol"),
        ({"options": {"epochs": 9}}, "epochs"),
        ({"environment": ENVIRONMENT | {"cpu": "another"}}, "machine a processor / another"),
        ({"environment": ENVIRONMENT | {"packages": {"torch": "3.0", "torchdiffeq": "0.2", "scipy": "1.0"}}}, "torch"),
    ],
)
def test_arms_that_differ_in_something_else_are_refused_by_name(differs, name):
    found = verdict(pairs(5, direct=differs))
    assert found.word is Word.NOT_TESTED
    assert "refused: the arms differ in" in notes(found)
    assert name in notes(found)


def test_arms_that_saw_other_data_are_refused_seed_by_seed():
    found = verdict(pairs(5, adjoint={"data": "a"}, direct={"data": "b"}))
    assert found.word is Word.NOT_TESTED
    assert "5 × refused, since the arms saw other data" in notes(found)


def test_another_preset_is_another_claim():
    assert verdict(pairs(5, adjoint={"preset": "smoke"}, direct={"preset": "smoke"})).word is Word.NOT_TESTED


def test_records_of_two_machines_are_not_mixed():
    other = {"environment": ENVIRONMENT | {"cpu": "another"}}
    found = verdict([*pairs(6), *pairs(5, ratio=0.1, adjoint=other, direct=other)])
    assert (found.word, found.deciding.estimate.n) == (Word.REFUTED, 6)
    assert "10 records were measured otherwise (machine" in notes(found)


def test_a_trial_that_is_there_twice_counts_once():
    doubled = [*pairs(5), *pairs(5, ratio=3.0, adjoint={"started": "2027"}, direct={"started": "2027"})]
    found = verdict(doubled)
    assert found.deciding.estimate.n == 5
    assert found.deciding.estimate.value == pytest.approx(3.0 * 1.04, rel=0.01)
    assert "more than once" in notes(found)


def test_an_arm_that_fails_half_the_time_does_not_win():
    records = pairs(10, ratio=0.5)
    failing = {record.id for record in records if record.trial.gradient == "adjoint" and record.trial.seed % 2}
    failed = [
        evidence(record.trial.seed, gradient="adjoint", status=Status.TIMEOUT) if record.id in failing else record
        for record in records
    ]
    assert verdict(records).word is Word.SUPPORTED
    found = verdict(failed)
    assert found.word is Word.INCONCLUSIVE
    assert (found.deciding.estimate.n, found.deciding.estimate.high) == (10, math.inf)


def test_a_failure_that_tells_nothing_of_the_method_is_left_out_and_counted():
    found = verdict([*pairs(6)[:-1], evidence(5, gradient="direct", status=Status.INTERRUPTED)])
    assert found.deciding.estimate.n == 5
    assert "1 × left out, since its end tells nothing of the method: interrupted" in notes(found)


def test_times_of_a_machine_that_drifted_are_left_out_and_errors_are_not():
    records = pairs(6, adjoint={"drifted": True})
    assert verdict(records).word is Word.NOT_TESTED
    errors = Part("{}", final("test_loss"), A, B, supports=(-math.inf, 1.0))
    kept = [r.model_copy(update={"metrics": {"test_loss": r.costs["step_seconds"]}}) for r in records]
    assert verdict(kept, errors).deciding.estimate.n == 6


def test_a_record_whose_passes_disagree_is_left_out():
    assert "its passes disagree" in notes(verdict([r.model_copy(update={"passes_agree": False}) for r in pairs(5)]))


def test_a_claim_holds_only_if_each_condition_that_it_names_was_measured():
    part = replace(SECONDS, arm=A.but("adjoint", rtol=(1e-3, 1e-5)), against=B, conditions=("rtol",))
    measured = pairs(5, ratio=0.5)
    assert verdict(measured, part).word is Word.INCONCLUSIVE
    both = [*measured, *pairs(5, ratio=0.5, adjoint={"rtol": 1e-5}, direct={"rtol": 1e-5})]
    assert verdict(both, part).word is Word.SUPPORTED
    stray = [evidence(seed, gradient="adjoint", rtol=1e-1, costs={"step_seconds": 1.0}) for seed in range(5)]
    assert len(verdict([*both, *stray], replace(part, arm=A)).findings) == 2
    one_off = [*measured, *pairs(5, ratio=2.0, adjoint={"rtol": 1e-5}, direct={"rtol": 1e-5})]
    refuted = verdict(one_off, part)
    assert (refuted.word, refuted.deciding.sample.label) == (Word.REFUTED, "rtol 1e-5")


def test_p_values_are_corrected_over_the_claims_of_a_paper():
    values = [0.7, 0.8, 1.02, 0.75, 0.7, 0.9]
    records = [
        evidence(seed, gradient=gradient, costs={"step_seconds": value if gradient == "adjoint" else 1.0})
        for seed, value in enumerate(values)
        for gradient in ("adjoint", "direct")
    ]
    (alone,) = judge([claim(SECONDS)], records)
    assert alone.word is Word.SUPPORTED
    many = judge([claim(SECONDS, id=f"claim-{i}") for i in range(8)], records)
    assert many[0].p_corrected == pytest.approx(min(1.0, 8 * alone.p))
    assert {v.word for v in many} == {Word.INCONCLUSIVE}
    assert "correction" in many[0].why


def test_records_of_another_study_do_not_count():
    """A short training made for its costs is no evidence on accuracy."""
    assert verdict(pairs(5, adjoint={"study": "gradients"}, direct={"study": "gradients"})).word is Word.NOT_TESTED


def test_a_typed_run_counts_where_the_study_would_ask_for_it():
    typed = {"study": None, "rtol": 1e-7}
    errors = Part("{}", final("trajectory_error"), Arm("small", {"model": "small"}), supports=(-math.inf, 0.1))
    records = [evidence(seed, metrics={"trajectory_error": 0.01 + seed / 1000}, **typed) for seed in range(5)]
    assert verdict(records, errors).word is Word.SUPPORTED
    other = [
        record.model_copy(update={"trial": record.trial.model_copy(update={"overrides": {"epochs": 1}})})
        for record in records
    ]
    assert verdict(other, errors).word is Word.NOT_TESTED


def test_an_arm_is_of_one_setting_even_where_the_arms_may_differ():
    """A later experiment at another tolerance must not replace some of an arm's seeds."""
    part = replace(
        SECONDS, arm=Arm("ODE", {"model": "small"}), against=Arm("GRU", {"model": "gru-dt"}), may_differ=SOLVING
    )
    none = {"model": "gru-dt", "solver": None, "rtol": None, "atol": None, "gradient": None}
    records = [evidence(seed, costs={"step_seconds": 1.0}, **none) for seed in range(5)]
    records += [evidence(seed, costs={"step_seconds": 0.5 + seed / 100}) for seed in range(5)]
    later = [evidence(seed, rtol=1e-1, costs={"step_seconds": 9.0}, started="2027") for seed in range(3)]
    found = verdict([*records, *later], part)
    assert (found.word, found.deciding.estimate.n) == (Word.SUPPORTED, 5)
    assert "3 records were measured otherwise" in notes(found)


def test_a_condition_that_is_named_and_not_measured_is_a_gap_beside_axes_that_are_open():
    arm = Arm("adjoint", {"gradient": "adjoint", "task": ("toy/spiral", "toy/mlp")})
    part = replace(SECONDS, arm=arm, against=arm.but("direct", gradient="direct"), conditions=("task", "rtol"))
    found = verdict(pairs(5, ratio=0.5), part)
    assert (found.word, len(found.findings)) == (Word.INCONCLUSIVE, 2)
    assert "nothing could be measured of toy/mlp" in found.why


def test_a_refuted_part_refutes_where_another_was_not_measured():
    unmeasured = replace(SECONDS, words="other {}", reading=final("test_loss"))
    assert judge([claim(SECONDS, parts=(SECONDS, unmeasured))], pairs(5))[0].word is Word.REFUTED
    assert judge([claim(SECONDS, parts=(SECONDS, unmeasured))], pairs(5, ratio=0.5))[0].word is Word.NOT_TESTED


def line_of(gradient: str, seed: int, failing: int = 0) -> list:
    """Bytes at four steps; the finest ones fail."""
    rows = []
    for i in range(4):
        status = Status.MEMORY_BUDGET if i >= 4 - failing else Status.OK
        costs = {"nfe_forward": 10.0 * 2**i, "tensor_peak_bytes": 1e3 * (1 if gradient == "adjoint" else 2**i)}
        fixed = {"solver": "rk4", "rtol": None, "atol": None, "step_size": 0.1 / 2**i}
        rows.append(evidence(seed, gradient=gradient, costs=costs, status=status, **fixed))
    return rows


def test_a_failure_on_a_line_is_no_flat_line():
    fit = Fit("step_size", final("nfe_forward"))
    part = Part("{}", final("tensor_peak_bytes"), A, B, supports=(-math.inf, 0.05), fit=fit)
    good = [record for seed in range(5) for gradient in ("adjoint", "direct") for record in line_of(gradient, seed)]
    assert verdict(good, part).word is Word.SUPPORTED
    failed = [
        record for seed in range(5) for record in (*line_of("adjoint", seed, failing=2), *line_of("direct", seed))
    ]
    found = verdict(failed, part)
    assert (found.word, found.deciding.estimate.value) == (Word.INCONCLUSIVE, math.inf)


def test_what_a_failed_trial_gave_before_it_failed_is_no_result():
    history = [{"epoch": 0.0, "nfe_probe": 20.0}, {"epoch": 1.0, "nfe_probe": 20.0}]
    grows = Part("{}", at_epoch("nfe_probe", -1), B, supports=(25.0, math.inf))
    records = [evidence(seed, history=history, status=Status.NFE_BUDGET) for seed in range(6)]
    assert verdict(records, grows).deciding.estimate.value == math.inf


def test_an_error_that_was_not_finite_lies_beyond_all_others():
    errors = Part("{}", final("trajectory_error"), B, supports=(-math.inf, 0.1))
    records = [evidence(seed, metrics={"trajectory_error": None if seed % 2 else 0.01}) for seed in range(10)]
    found = verdict(records, errors)
    assert (found.word, found.deciding.estimate.high) == (Word.INCONCLUSIVE, math.inf)


def test_a_network_that_a_finer_solver_cannot_solve_is_worse_not_missing():
    worse = Part("{}", change(at_tolerance("test_error", 1e-5), final("test_error")), B, supports=(1.0, math.inf))
    rows = [{"rtol": 1e-5, "test_error": None}]
    found = verdict([evidence(seed, metrics={"test_error": 5.0}, profile=rows) for seed in range(6)], worse)
    assert (found.word, found.deciding.estimate.n) == (Word.SUPPORTED, 6)


def test_a_control_stands_beside_the_verdict_and_does_not_change_it():
    failing = Control("the arms are equally fast", replace(SECONDS, supports=(0.9, 1.1)))
    found = verdict(pairs(5), controls=(failing,))
    assert found.word is Word.REFUTED
    assert [checked.outcome for checked in found.controls] == ["does not hold"]
    assert [checked.outcome for checked in verdict([], controls=(failing,)).controls] == ["not measured"]


@pytest.mark.parametrize(("errors", "holds"), [((5.0, 5.4, 5.9), True), ((5.0, 20.0, 60.0), False)])
def test_a_network_of_fixed_steps_passes_the_gate_if_finer_steps_leave_its_error(errors, holds):
    rows = [{"step_size": 0.5 / 2**i, "test_error": error} for i, error in enumerate(errors)]
    assert is_flow(evidence(solver="euler", rtol=None, atol=None, step_size=0.5, profile=rows)) is holds
    assert is_flow(evidence()) is None
    assert is_flow(evidence(profile=[{"step_size": 0.5 / 2**i, "trajectory_error": 1.0} for i in range(3)])) is None
    assert is_flow(evidence(profile=[*rows[:2], rows[2] | {"test_error": None}])) is False


# --- the declarations


def test_every_claim_names_a_study_that_feeds_it_and_figures_that_exist():
    studies = shipped_studies()
    names = [known.name for known in CLAIMS]
    assert len(set(names)) == len(names)
    for known in CLAIMS:
        for name in known.studies:
            assert name in studies
            assert known.id in load_study(name, Preset.QUICK).claims, f"{known.id} is no claim of study {name}"
        for part in (*known.parts, *(control.part for control in known.controls)):
            assert "{}" in part.words
            assert part.reading.figure in FIGURES or part.reading.figure in ("nfe", "nfe_probe")


def test_every_claim_that_a_study_names_exists():
    ids = {known.id for known in CLAIMS}
    for name in shipped_studies():
        assert set(load_study(name, Preset.QUICK).claims) <= ids


def test_every_arm_finds_trials_in_its_study():
    """An arm that no trial of its study matches would leave a claim untested for ever."""
    from nodebench.analysis.claims.gather import is_of
    from nodebench.errors import BadInput
    from nodebench.run.multiply import options_of
    from nodebench.run.plan import plan

    axes = {}
    for name in shipped_studies():
        for preset in (Preset.QUICK, Preset.PAPER):
            try:
                trials = plan(load_study(name, preset), elsewhere=True).trials
            except BadInput:  # the full data set, or a task without that scale
                continue
            axes[name, preset] = [
                t.model_dump(mode="json", exclude={"overrides"}) | options_of(t).model_dump()
                for t in trials
                if not t.seed
            ]
    for known in CLAIMS:
        for part in known.parts:
            for arm in filter(None, (part.arm, part.against)):
                found = [axes.get((name, Preset(known.preset))) for name in known.studies]
                if None not in found:
                    assert any(is_of(arm, known.preset, one) for some in found for one in some), (known.name, arm.name)


def test_a_point_knows_options_that_were_not_overridden():
    point = Point.of(evidence(options={"noise": 0.1, "epochs": 3}, overrides={"epochs": 3}))
    assert (point.axes["noise"], point.axes["epochs"], point.axes["task"]) == (0.1, 3, "toy/spiral")


A, B = Arm("adjoint", {"gradient": "adjoint"}), Arm("direct", {"gradient": "direct"})


def of(values, figure="test_loss", **axes) -> list:
    """One record a value, of one arm."""
    return [evidence(seed, gradient="direct", metrics={figure: value}, **axes) for seed, value in enumerate(values)]


LOSS = Part("a loss of {}", final("test_loss"), B, supports=(-math.inf, 1.0))


AT = {"conditions": ("rtol",)}


def at(values: dict[float, list[float]]) -> list:
    """Losses of one arm at each tolerance."""
    return [record for rtol, some in values.items() for record in of(some, rtol=rtol)]


SPREAD = (-0.02, -0.01, 0.0, 0.01, 0.02)


def around(centre: float, by: float = 1.0) -> list[float]:
    return [centre + by * step for step in SPREAD]


def test_each_finding_has_its_own_word():
    words = [
        verdict(of(values), LOSS).findings[0].word for values in (around(0.5), around(2.0), around(1.0), [0.5] * 4)
    ]
    assert words == [Word.SUPPORTED, Word.REFUTED, Word.INCONCLUSIVE, Word.INCONCLUSIVE]
    assert verdict(of(around(0.5)[:4]), LOSS).findings[0].word is Word.INCONCLUSIVE
    assert verdict([], LOSS).findings[0].word is Word.NOT_TESTED


def test_a_finding_tells_its_number_in_plain_words():
    (found,) = verdict(at({1e-3: around(0.5)}), replace(LOSS, **AT)).findings
    assert found.number == "0.5 [0.48, 0.52]"
    assert found.told == "rtol 0.001: a loss of 0.5 [0.48, 0.52]"
    assert verdict(of([0.5] * 6), LOSS).findings[0].told == "a loss of 0.5 (the same in all 6)"
    assert verdict(of([0.5]), LOSS).findings[0].number == "0.5 [−∞, ∞]"
    nothing = verdict([], LOSS).findings[0]
    assert (nothing.number, nothing.words, nothing.told) == ("–", "", "")


@pytest.mark.parametrize(
    ("values", "outcome"), [((0.5, 0.5), "holds"), ((0.5, 1.0), "unclear"), ((0.5, 2.0), "does not hold")]
)
def test_a_control_holds_where_it_does_under_every_condition(values, outcome):
    records = at({rtol: around(value) for rtol, value in zip((1e-3, 1e-5), values, strict=True)})
    (checked,) = verdict(records, LOSS, controls=(Control("it is small", replace(LOSS, **AT)),)).controls
    assert checked.outcome == outcome


def test_claims_that_are_not_tested_or_of_another_paper_take_no_part_in_the_correction():
    few = replace(LOSS, arm=B.but("few", rtol=1e-5))
    records = [*of(around(0.5)), *of(around(0.5)[:4], rtol=1e-5)]
    others = [claim(few, id="few"), claim(replace(LOSS, reading=final("test_error")), id="none")]
    other_paper = claim(LOSS, id="other", source=Source("another paper", "", ""))
    tested, seldom, never, other = judge([claim(LOSS), *others, other_paper], records)
    assert (tested.is_tested, seldom.is_tested, never.is_tested, other.is_tested) == (True, False, False, True)
    assert tested.p_corrected == tested.p > 0
    assert (other.word, other.p_corrected) == (Word.SUPPORTED, other.p)
    assert (seldom.p_corrected, never.p, never.p_corrected) == (1.0, 1.0, 1.0)


def test_a_refutation_too_must_stand_the_correction():
    records = of([1.3, 1.2, 0.98, 1.25, 1.3, 1.1])
    (alone,) = judge([claim(LOSS)], records)
    assert alone.word is Word.REFUTED
    many = judge([claim(LOSS, id=f"claim-{i}") for i in range(8)], records)
    assert {found.word for found in many} == {Word.INCONCLUSIVE}
    assert many[0].p_corrected == pytest.approx(8 * alone.p)


def test_a_claim_of_two_parts_is_supported_where_both_are():
    other = replace(LOSS, words="no more than {}", supports=(-math.inf, 2.0))
    found = judge([claim(LOSS, parts=(LOSS, other))], of(around(0.5)))[0]
    assert (found.word, len(found.findings)) == (Word.SUPPORTED, 2)


def test_the_least_certain_finding_stands_for_a_claim_that_is_supported():
    part = replace(LOSS, **AT)
    for order in ((1e-3, 1e-5), (1e-5, 1e-3)):
        records = at(dict(zip(order, (around(0.5), around(0.8, by=5.0)), strict=True)))
        found = verdict(records, part)
        assert (found.word, found.deciding.sample.condition) == (Word.SUPPORTED, {"rtol": order[1]})
        assert found.p == max(one.p_supports for one in found.findings)


def test_what_stands_in_the_way_of_an_inconclusive_claim_stands_for_it():
    """The condition measured too seldom; and of two that decide nothing, the one nearer to refutation."""
    part = replace(LOSS, **AT)
    seldom = verdict(at({1e-3: around(0.5)[:4], 1e-5: around(0.5)}), part)
    assert (seldom.word, seldom.deciding.sample.condition) == (Word.INCONCLUSIVE, {"rtol": 1e-3})
    unclear = verdict(at({1e-3: around(1.001), 1e-5: around(1.01)}), part)
    assert (unclear.word, unclear.deciding.sample.condition) == (Word.INCONCLUSIVE, {"rtol": 1e-5})
    assert unclear.p == min(one.p_refutes for one in unclear.findings) * 2  # Holm's
    assert unclear.p < 1


def test_the_mildest_finding_stands_for_a_claim_that_is_refuted():
    within = replace(LOSS, supports=(0.9, 1.1), **AT)
    mild = {1e-3: around(0.5), 1e-5: around(1.4)}  # by 44 % of the edge below, by 27 % of that above
    for values in (mild, dict(zip(mild, reversed(mild.values()), strict=True))):
        found = verdict(at(values), within)
        assert found.word is Word.REFUTED
        assert found.deciding.estimate.value == pytest.approx(1.4)
    below = {1e-3: around(0.8), 1e-5: around(1.35)}  # by 11 %, and by 23 %
    assert verdict(at(below), within).deciding.estimate.value == pytest.approx(0.8)


@pytest.mark.parametrize("edge", [0.0, -1.0])
def test_the_mildest_is_found_at_edges_that_are_not_positive(edge):
    found = verdict(
        at({1e-3: around(edge + 0.5), 1e-5: around(edge + 2.0)}), replace(LOSS, supports=(-math.inf, edge), **AT)
    )
    assert found.word is Word.REFUTED
    assert found.deciding.estimate.value == pytest.approx(edge + 0.5)


def test_how_mild_a_refutation_is_is_told_by_the_size_of_its_edge():
    large = replace(LOSS, words="an error of {}", reading=final("test_error"), supports=(-math.inf, 100.0))
    records = [
        evidence(seed, gradient="direct", metrics={"test_loss": 2.0 + step, "test_error": 110.0 + step})
        for seed, step in enumerate(SPREAD)
    ]
    assert judge([claim(LOSS, parts=(LOSS, large))], records)[0].deciding.part is large


def test_an_inconclusive_claim_says_what_would_decide_it():
    wide = verdict(of([0.2, 1.3, 0.4, 1.2, 0.9]), LOSS)
    assert wide.why == f"its interval crosses an edge; about {wide.deciding.needed} replicates would decide"
    between = replace(LOSS, refutes=((2.0, math.inf),))
    assert "more replicates would not decide" in verdict(of(around(1.5)), between).why
    assert verdict(of([0.5]), LOSS).why == "1 replicate; 5 are the least for a verdict"
    assert verdict(of([0.5, 0.6]), LOSS).why.startswith("2 replicates; ")


def test_a_claim_that_is_not_tested_says_what_was_looked_at():
    found = verdict([record for record in pairs(5) if record.trial.gradient == "adjoint"])
    assert found.why == "no record of direct. To test it: nodebench study run toys"


def test_an_interval_ends_where_no_value_can_lie():
    values = [0.1, 0.9, 0.2, 0.8, 0.5]
    free = verdict(of(values), LOSS).deciding.estimate
    cut = verdict(of(values), replace(LOSS, within=(0.2, 0.8))).deciding.estimate
    assert (free.low < 0.2, free.high > 0.8) == (True, True)
    assert (cut.low, cut.high, cut.value, cut.n) == (0.2, 0.8, free.value, 5)
    assert verdict(of(values), replace(LOSS, within=(-9.0, 9.0))).deciding.estimate == free


def test_a_part_on_logarithms_is_taken_as_it_is_where_a_value_has_none():
    logs = replace(LOSS, scale="log")
    for least in (0.0, -0.5):
        found = verdict(of([least, 0.5, 0.4, 0.3, 0.2]), logs)
        assert found.deciding.estimate.value == pytest.approx((1.4 + least) / 5)
    assert verdict(of([0.1, 0.2, 0.4, 0.8, 1.6]), logs).deciding.estimate.value == pytest.approx(0.4)


def test_a_failure_of_the_second_arm_leaves_the_others_on_logarithms():
    """It lies below every ratio, which has nothing to do with the scale; between 1 and 4 the middle is 2."""
    ratios = (1.0, 1.0, 4.0, 4.0, 9.0)
    records = [evidence(seed, gradient="adjoint", costs={"step_seconds": r}) for seed, r in enumerate((*ratios, 1.0))]
    records += [evidence(seed, gradient="direct", costs={"step_seconds": 1.0}) for seed in range(5)]
    records.append(evidence(5, gradient="direct", status=Status.TIMEOUT))
    found = verdict(records).deciding.estimate
    assert (found.value, found.low, found.n) == (pytest.approx(2.0), -math.inf, 6)


def test_a_share_with_nothing_in_it_is_a_share_still():
    found = verdict(of([1.0, 0.0, 1.0, 1.0, 1.0, 1.0]), replace(LOSS, scale="share")).deciding.estimate
    assert (found.low, found.high) == pytest.approx(tuple(stats.binomtest(5, 6).proportion_ci(0.95, "exact")))


LOUD = Calibration(
    started="2026",
    environment=ENVIRONMENT,
    threads=1,
    # A trial differs by half from the next one, and rounds by nothing.
    rounds={"toy/spiral": {"step_seconds": [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]}},
)


def test_replicates_that_agree_by_luck_are_believed_no_more_than_the_machine_allows():
    records = pairs(5, ratio=1.2)
    assert judge([claim(SECONDS)], records)[0].word is Word.REFUTED
    (doubted,) = judge([claim(SECONDS)], records, [LOUD])
    assert doubted.word is Word.INCONCLUSIVE
    error = LOUD_DEVIATION * math.sqrt(2 / 5)
    low, high = doubted.deciding.estimate.low, doubted.deciding.estimate.high
    assert math.log(high / low) == pytest.approx(2 * error * stats.t.ppf(0.975, 4))
    assert doubted.p == pytest.approx(2 * stats.t.sf(math.log(doubted.deciding.estimate.value) / error, 4), rel=0.06)


# Of three rounds of two, one degree of freedom each.
LOUD_DEVIATION = math.log(2) / math.sqrt(2)


def test_another_machines_noise_and_what_is_no_time_are_left_alone():
    records = pairs(5, ratio=1.2)
    elsewhere = LOUD.model_copy(update={"environment": ENVIRONMENT | {"cpu": "another"}})
    assert judge([claim(SECONDS)], records, [elsewhere])[0] == judge([claim(SECONDS)], records)[0]
    quiet = LOUD.model_copy(update={"rounds": {"toy/spiral": {"step_seconds": [[1.0, 1.001], [1.0, 1.001]]}}})
    assert judge([claim(SECONDS)], records, [quiet])[0] == judge([claim(SECONDS)], records)[0]
    bytes_ = replace(SECONDS, reading=final("tensor_peak_bytes"))
    of_bytes = [r.model_copy(update={"costs": {"tensor_peak_bytes": r.costs["step_seconds"]}}) for r in records]
    assert judge([claim(bytes_)], of_bytes, [LOUD])[0].word is Word.REFUTED
