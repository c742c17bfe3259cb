"""What a verdict does with records that are missing, repeated, failed or not comparable."""

import math
from dataclasses import replace

import pytest
from evidence import ENVIRONMENT, claim, evidence
from scipy import stats

from nodebench.analysis.readings import at_epoch, at_tolerance, change, final, relative
from nodebench.analysis.statistics import benjamini_hochberg
from nodebench.claims import Control, Kind, Verdict, judge
from nodebench.claims.contract import SOLVING, Arm, Fit, Part
from nodebench.claims.outcome import WhyCode
from nodebench.claims.words import measured, verdict_line
from nodebench.plugins import PluginWarning
from nodebench.spec import Status
from nodebench.spec.calibration import Calibration
from nodebench.spec.record import Interleaved

A, B = Arm("adjoint", {"gradient": "adjoint"}), Arm("direct", {"gradient": "direct"})
SECONDS = Part("{}", final("step_seconds"), A, B, supports=(-math.inf, 1.0), scale="log", unit="×")
LOSS = Part("a loss of {}", final("test_loss"), B, supports=(-math.inf, 1.0))
BETWEEN = replace(LOSS, refutes=((2.0, math.inf),))


def pairs(n: int, ratio: float = 2.0, adjoint=None, direct=None) -> list:
    """A pair of records for each seed; the second arm is faster by a ratio that varies a little."""
    records = []
    for seed in range(n):
        slow = ratio * (1 + 0.02 * seed)
        records.append(evidence(seed, gradient="adjoint", costs={"step_seconds": slow}, **(adjoint or {})))
        records.append(evidence(seed, gradient="direct", costs={"step_seconds": 1.0}, **(direct or {})))
    return records


def of(values, metric="test_loss", **axes) -> list:
    """One record a value, of one arm."""
    return [evidence(seed, gradient="direct", metrics={metric: value}, **axes) for seed, value in enumerate(values)]


def around(centre: float, by: float = 1.0, n: int = 5) -> list[float]:
    return [centre + by * 0.01 * (seed - n // 2) for seed in range(n)]


def at(values: dict[float, list[float]]) -> list:
    """Losses of one arm at each tolerance."""
    return [record for rtol, some in values.items() for record in of(some, rtol=rtol)]


def judged(records, part=SECONDS, **changes):
    return judge([claim(part, **changes)], records)[0]


def estimate(found):
    return found.results[0].estimate


def notes(found) -> str:
    return " ".join(str(note) for result in found.results for note in result.sample.notes)


# --- replicates and arms


def test_the_first_planned_look_is_at_five_replicates():
    assert judged(pairs(5)).verdict is Verdict.REFUTED
    four = judged(pairs(4))
    assert (four.verdict, four.why.code) == (Verdict.INCONCLUSIVE, WhyCode.TOO_FEW)
    assert four.why.message == "4 replicates; at least 5 needed"


def test_replicates_after_a_look_wait_for_the_next_one():
    """A ninth replicate changes nothing; the tenth is the next look."""
    assert estimate(judged(pairs(9))).n == 5
    assert estimate(judged(pairs(10))).n == 10


def test_no_record_is_not_tested_with_a_typed_reason():
    found = judged([])
    assert (found.verdict, found.why.code) == (Verdict.NOT_TESTED, WhyCode.NO_RECORDS)


def test_a_missing_arm_is_named():
    found = judged([record for record in pairs(5) if record.trial.gradient == "adjoint"])
    assert found.verdict is Verdict.NOT_TESTED
    assert "no usable record of direct" in notes(found)


def test_a_seed_without_its_pair_is_left_out_and_named():
    found = judged([*pairs(5), evidence(7, gradient="adjoint", costs={"step_seconds": 99.0})])
    assert estimate(found).n == 5
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
    found = judged(pairs(5, direct=differs))
    assert found.verdict is Verdict.NOT_TESTED
    assert "the arms differ in" in notes(found)
    assert name in notes(found)


def test_arms_that_saw_other_data_are_refused_seed_by_seed():
    found = judged(pairs(5, adjoint={"data": "a"}, direct={"data": "b"}))
    assert found.verdict is Verdict.NOT_TESTED
    assert "5 × replicate left out: the arms used different data" in notes(found)


def test_another_preset_is_another_claim():
    assert judged(pairs(5, adjoint={"preset": "smoke"}, direct={"preset": "smoke"})).verdict is Verdict.NOT_TESTED


def test_times_of_two_machines_are_not_mixed():
    other = {"environment": ENVIRONMENT | {"cpu": "another"}}
    found = judged([*pairs(6), *pairs(5, ratio=0.1, adjoint=other, direct=other)])
    assert (found.verdict, len(found.results[0].sample.values)) == (Verdict.REFUTED, 6)
    assert "10 × record excluded: different settings (machine" in notes(found)


def test_other_figures_are_pooled_over_machines_but_the_arms_of_a_replicate_share_one():
    other = {"environment": ENVIRONMENT | {"cpu": "another"}}
    errors = Part("{}", final("test_loss"), A, B, "difference", supports=(-math.inf, 1.0))

    def pair(seed, first, second):
        return [
            evidence(seed, gradient="adjoint", metrics={"test_loss": 0.5 + seed / 100}, **first),
            evidence(seed, gradient="direct", metrics={"test_loss": 0.1}, **second),
        ]

    records = [r for seed in range(5) for r in pair(seed, {}, {})] + [
        r for seed in range(5, 10) for r in pair(seed, other, other)
    ]
    assert estimate(judged(records, errors)).n == 10
    mixed = judged([*records, *pair(10, {}, other)], errors)
    assert "its arms ran on different machines" in notes(mixed)
    assert len(mixed.results[0].sample.values) == 10


def test_a_replicate_is_read_on_the_latest_machine_that_measured_both_arms():
    other = {"environment": ENVIRONMENT | {"cpu": "another"}, "started": "2027"}
    again = [*pairs(5, ratio=3.0, adjoint=other, direct=other)]
    slower = Part("{}", final("nfe_forward"), A, B, supports=(-math.inf, 1.0), scale="log", unit="×")

    def counted(records):
        return [one.model_copy(update={"costs": {"nfe_forward": one.costs["step_seconds"]}}) for one in records]

    found = judged(counted([*pairs(5), *again]), slower)
    assert estimate(found).value == pytest.approx(math.exp(sum(math.log(3 * (1 + 0.02 * s)) for s in range(5)) / 5))
    one_arm = [one for one in again if one.trial.gradient == "adjoint"]
    assert estimate(judged(counted([*pairs(5), *one_arm]), slower)).value < 2.2


def test_records_without_the_reading_do_not_hide_those_with_it():
    without = pairs(20, adjoint={"started": "2027"}, direct={"started": "2027"})
    without = [one.model_copy(update={"costs": {}, "options": {"points": 5}}) for one in without]
    found = judged([*pairs(10), *without])
    assert estimate(found).n == 10
    assert "40 × record left out: no value of “step" in notes(found)
    later = [one.model_copy(update={"options": {}}) for one in without]
    assert estimate(judged([*pairs(10), *later])).n == 10


def test_a_trial_that_is_there_twice_counts_once():
    doubled = [*pairs(5), *pairs(5, ratio=3.0, adjoint={"started": "2027"}, direct={"started": "2027"})]
    found = judged(doubled)
    assert estimate(found).n == 5
    assert estimate(found).value == pytest.approx(3.0 * 1.04, rel=0.01)
    assert "more than once" in notes(found)


def test_an_arm_that_fails_half_the_time_does_not_win():
    records = pairs(10, ratio=0.5)
    failing = {record.id for record in records if record.trial.gradient == "adjoint" and record.trial.seed % 2}
    failed = [
        evidence(record.trial.seed, gradient="adjoint", status=Status.TIMEOUT) if record.id in failing else record
        for record in records
    ]
    assert judged(records).verdict is Verdict.SUPPORTED
    found = judged(failed)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert (estimate(found).n, estimate(found).high) == (10, math.inf)


def test_a_failure_that_is_no_outcome_of_the_method_is_left_out_and_named():
    found = judged([*pairs(6)[:-1], evidence(5, gradient="direct", status=Status.INTERRUPTED)])
    assert len(found.results[0].sample.values) == 5
    assert "record left out: status interrupted is not caused by the method" in notes(found)


def test_times_of_a_machine_that_drifted_are_left_out_and_errors_are_not():
    records = pairs(6, adjoint={"drifted": True})
    assert judged(records).verdict is Verdict.NOT_TESTED
    errors = Part("{}", final("test_loss"), A, B, supports=(-math.inf, 1.0))
    kept = [r.model_copy(update={"metrics": {"test_loss": r.costs["step_seconds"]}}) for r in records]
    assert len(judged(kept, errors).results[0].sample.values) == 6


def test_an_arm_is_of_one_setting_even_where_the_arms_may_differ():
    """A later experiment at another tolerance must not replace some of an arm's seeds."""
    part = replace(
        SECONDS, arm=Arm("ODE", {"model": "small"}), against=Arm("GRU", {"model": "gru-dt"}), may_differ=SOLVING
    )
    none = {"model": "gru-dt", "solver": None, "rtol": None, "atol": None, "gradient": None}
    records = [evidence(seed, costs={"step_seconds": 1.0}, **none) for seed in range(5)]
    records += [evidence(seed, costs={"step_seconds": 0.5 + seed / 100}) for seed in range(5)]
    later = [evidence(seed, rtol=1e-1, costs={"step_seconds": 9.0}, started="2027") for seed in range(3)]
    found = judged([*records, *later], part)
    assert (found.verdict, estimate(found).n) == (Verdict.SUPPORTED, 5)
    assert "3 × record excluded: different settings" in notes(found)


def test_a_ratio_of_interleaved_times_is_read_only_against_its_baseline():
    part = Part("{}", relative(gradient="direct"), A, supports=(-math.inf, 1.0), scale="log", unit="×")
    baseline = evidence(gradient="direct").trial

    def timed(seed, ratio, trial):
        paired = Interleaved(baseline=trial, blocks=10, steps=1, ratios={"step_seconds": ratio})
        return evidence(seed, gradient="adjoint", interleaved=paired)

    assert judged([timed(seed, 2 + seed / 50, baseline) for seed in range(5)], part).verdict is Verdict.REFUTED
    other = baseline.model_copy(update={"gradient": "checkpoint"})
    assert judged([timed(seed, 2 + seed / 50, other) for seed in range(5)], part).verdict is Verdict.NOT_TESTED


@pytest.mark.parametrize(
    ("reading", "verdict"),
    [
        (relative(gradient="direct"), Verdict.REFUTED),
        (final("step_seconds"), Verdict.NOT_TESTED),
    ],
)
def test_a_machine_that_changes_its_speed_spoils_times_and_not_ratios_of_interleaved_ones(reading, verdict):
    part = Part("{}", reading, A, supports=(-math.inf, 1.0), scale="log", unit="×")

    def drifted(seed):
        baseline = evidence(gradient="direct").trial
        paired = Interleaved(baseline=baseline, blocks=10, steps=1, ratios={"step_seconds": 2 + seed / 50})
        record = evidence(seed, gradient="adjoint", interleaved=paired, costs={"step_seconds": 2 + seed / 50})
        return record.model_copy(update={"drifted": True})

    assert judged([drifted(seed) for seed in range(5)], part).verdict is verdict


# --- failures on lines and in profiles


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
    assert judged(good, part).verdict is Verdict.SUPPORTED
    failed = [r for seed in range(5) for r in (*line_of("adjoint", seed, failing=2), *line_of("direct", seed))]
    found = judged(failed, part)
    assert (found.verdict, estimate(found).value) == (Verdict.INCONCLUSIVE, math.inf)


def test_what_a_failed_trial_gave_before_it_failed_is_no_result():
    history = [{"epoch": 0.0, "nfe_probe": 20.0}, {"epoch": 1.0, "nfe_probe": 20.0}]
    grows = Part("{}", at_epoch("nfe_probe", -1), B, supports=(25.0, math.inf))
    records = [evidence(seed, history=history, status=Status.NFE_BUDGET) for seed in range(6)]
    assert estimate(judged(records, grows)).value == math.inf


def test_a_network_that_a_finer_solver_cannot_solve_is_worse_not_missing():
    worse = Part("{}", change(at_tolerance("test_error", 1e-5), final("test_error")), B, supports=(1.0, math.inf))
    rows = [{"rtol": 1e-5, "test_error": None}]
    found = judged([evidence(seed, metrics={"test_error": 5.0}, profile=rows) for seed in range(20)], worse)
    assert (found.verdict, estimate(found).n) == (Verdict.SUPPORTED, 20)


# --- regions


@pytest.mark.parametrize(
    ("centre", "verdict"),
    [(0.5, Verdict.SUPPORTED), (1.5, Verdict.PARTLY), (2.5, Verdict.REFUTED), (1.0, Verdict.INCONCLUSIVE)],
)
def test_there_is_no_dead_zone(centre, verdict):
    assert judged(of(around(centre)), BETWEEN).verdict is verdict


def test_an_exact_figure_needs_two_processes_and_has_no_p_value():
    part = replace(SECONDS, reading=final("tensor_peak_bytes"), supports=(-math.inf, 0.75))

    def peaks(n):
        return [
            evidence(seed, gradient=g, costs={"tensor_peak_bytes": 49 if g == "adjoint" else 100})
            for seed in range(n)
            for g in ("adjoint", "direct")
        ]

    one, two = judged(peaks(1), part), judged(peaks(2), part)
    assert (one.verdict, one.why.message) == (Verdict.INCONCLUSIVE, "1 replicate; at least 2 needed")
    assert (two.verdict, two.is_exact) == (Verdict.SUPPORTED, True)
    assert two.results[0].number == "0.49 × (exact)"


def test_an_interval_ends_where_no_value_can_be():
    values = [0.1, 0.9, 0.2, 0.8, 0.5]
    cut = estimate(judged(of(values), replace(LOSS, within=(0.2, 0.8))))
    assert (cut.low, cut.high, cut.value) == (0.2, 0.8, 0.5)


def test_a_part_on_logarithms_is_taken_as_it_is_where_a_value_has_none():
    logs = replace(LOSS, scale="log")
    assert estimate(judged(of([0.0, 0.5, 0.4, 0.3, 0.2]), logs)).value == pytest.approx(1.4 / 5)
    assert estimate(judged(of([0.1, 0.2, 0.4, 0.8, 1.6]), logs)).value == pytest.approx(0.4)


# --- conditions


TOLERANCES = replace(LOSS, conditions=("rtol",))


def test_a_conditional_claim_depends_where_conditions_disagree_and_says_which():
    found = judged(at({1e-3: around(0.5), 1e-5: around(2.0), 1e-7: around(0.4)}), TOLERANCES)
    assert found.verdict is Verdict.DEPENDS
    assert verdict_line(found) == (
        "supported in 2 of 3 conditions (rtol 1e-7; rtol 0.001); refuted in 1 of 3 conditions (rtol 1e-5)"
    )
    shown = measured(found).split(". ")
    assert [one.partition(":")[0].lower() for one in shown] == ["rtol 1e-7", "rtol 1e-5"]  # one of either kind
    assert found.headline is found.shown[0]  # a decided one, whatever is measured at home


def test_a_conditional_claim_needs_its_home_condition():
    home = replace(TOLERANCES, home={"rtol": 1e-5})
    assert judged(at({1e-3: around(0.5), 1e-5: around(0.4)}), home).verdict is Verdict.SUPPORTED
    unclear = judged(at({1e-3: around(0.5), 1e-5: around(1.0)}), home)
    assert (unclear.verdict, unclear.why.code) == (Verdict.INCONCLUSIVE, WhyCode.HOME_OPEN)
    elsewhere = judged(at({1e-3: around(0.5), 1e-7: around(1.0)}), home)
    assert (elsewhere.verdict, elsewhere.why.code) == (Verdict.INCONCLUSIVE, WhyCode.HOME_OPEN)
    other = judged(at({1e-3: around(1.0), 1e-5: around(0.5)}), home)
    assert (other.verdict, other.headline.label) == (Verdict.SUPPORTED, "rtol 1e-5")


def test_a_conditional_claim_needs_every_home_condition():
    several = replace(TOLERANCES, home={"rtol": (1e-3, 1e-5)})
    agreed = judged(at({1e-3: around(0.5), 1e-5: around(0.4), 1e-7: around(1.0)}), several)
    assert agreed.verdict is Verdict.SUPPORTED  # the undecided condition is no home condition
    unclear = judged(at({1e-3: around(0.5), 1e-5: around(1.0)}), several)
    assert (unclear.verdict, unclear.why.code) == (Verdict.INCONCLUSIVE, WhyCode.HOME_OPEN)
    assert unclear.why.message == "not decided: 1 of 2 home conditions (rtol 1e-5)"
    differing = judged(at({1e-3: around(0.5), 1e-5: around(1.0), 1e-7: around(2.0)}), several)
    assert differing.verdict is Verdict.DEPENDS


def test_a_condition_between_the_regions_makes_the_claim_partly_true():
    part = replace(BETWEEN, conditions=("rtol",))
    found = judged(at({1e-3: around(0.5), 1e-5: around(1.5)}), part)
    assert found.verdict is Verdict.PARTLY
    assert [one.label for one in found.shown] == ["rtol 1e-5"]
    at_home = replace(part, home={"rtol": 1e-3})
    both = judged(at({1e-3: around(0.5), 1e-5: around(1.5)}), at_home)
    assert [(one.label, one.verdict) for one in both.shown] == [  # the source's own setting first
        ("rtol 0.001", Verdict.SUPPORTED),
        ("rtol 1e-5", Verdict.PARTLY),
    ]
    assert both.headline is both.shown[1]  # a single value has the verdict of the claim


def test_one_condition_refutes_a_universal_claim_after_holm():
    records = at({1e-3: around(0.5), 1e-5: around(2.0)})
    found = judged(records, TOLERANCES, kind=Kind.UNIVERSAL)
    assert found.verdict is Verdict.REFUTED
    alone = judged(at({1e-5: around(2.0)}), TOLERANCES, kind=Kind.UNIVERSAL)
    of_both = next(one for one in found.conditions if one.label == "rtol 1e-5")
    assert of_both.p == pytest.approx(min(1.0, 2 * alone.conditions[0].p))
    still_open = judged(at({1e-3: around(0.5), 1e-5: around(1.0)}), TOLERANCES, kind=Kind.UNIVERSAL)
    assert (still_open.verdict, still_open.why.code) == (Verdict.INCONCLUSIVE, WhyCode.CONDITIONS_OPEN)
    assert "rtol 1e-5" in still_open.why.message


def test_a_named_condition_without_a_record_is_a_gap():
    part = replace(LOSS, arm=B.but("direct", rtol=(1e-3, 1e-5)), conditions=("rtol",))
    found = judged(at({1e-3: around(0.5)}), part, kind=Kind.UNIVERSAL)
    assert (found.verdict, [one.verdict.value for one in found.conditions]) == (
        Verdict.INCONCLUSIVE,
        ["not tested", "supported"],
    )


def test_parts_that_hold_together_are_one_condition():
    second = replace(LOSS, words="an error of {}", reading=final("test_error"), home={}, joint="both")
    parts = (replace(LOSS, home={}, joint="both"), second)

    def records(loss, error):
        return [
            evidence(seed, gradient="direct", metrics={"test_loss": first, "test_error": other})
            for seed, (first, other) in enumerate(zip(around(loss), around(error), strict=True))
        ]

    def verdict(loss, error):
        found = judged(records(loss, error), LOSS, parts=parts)
        assert len(found.conditions) == 1
        return found.verdict

    assert verdict(0.5, 0.5) is Verdict.SUPPORTED
    assert verdict(0.5, 2.0) is Verdict.REFUTED
    assert verdict(0.5, 1.0) is Verdict.INCONCLUSIVE
    apart = judged(records(0.5, 2.0), LOSS, parts=(replace(LOSS, home={}), replace(second, joint="")))
    assert (len(apart.conditions), apart.verdict) == (2, Verdict.DEPENDS)


# --- corrections


def unsure(n: int) -> list[float]:
    """Values whose mean supports the claim with a p-value a little under 5 %."""
    return [0.36, 0.42, 0.45, 0.48, 0.54][:n]


def test_p_values_are_corrected_over_all_conditions_of_a_report():
    records = of(unsure(5))
    (alone,) = judge([claim(LOSS)], records)
    p = alone.conditions[0].p
    assert 0.01 < p < 0.05
    assert (alone.verdict, alone.conditions[0].p_corrected) == (Verdict.SUPPORTED, pytest.approx(p))
    untrue = replace(LOSS, reading=final("test_error"))
    noise = [r.model_copy(update={"metrics": r.metrics | {"test_error": 1.0 + (-1) ** r.trial.seed}}) for r in records]
    many = judge([claim(LOSS), *(claim(untrue, id=f"other-{i}") for i in range(9))], noise)
    ps = [one.conditions[0].p for one in many]
    assert [one.conditions[0].p_corrected for one in many] == pytest.approx(benjamini_hochberg(ps))
    assert (many[0].verdict, many[0].why.code) == (Verdict.INCONCLUSIVE, WhyCode.CORRECTED)


def test_a_claim_that_reads_the_same_records_adds_nothing_to_the_correction():
    untrue = replace(LOSS, reading=final("test_error"))
    records = [
        evidence(s, gradient="direct", metrics={"test_loss": v, "test_error": 1.0 + (-1) ** s})
        for s, v in enumerate(unsure(5))
    ]
    first, other = claim(LOSS), claim(untrue, id="other")
    plain = judge([first, other], records)[0].conditions[0].p_corrected
    again = judge([first, other, claim(untrue, id="reciprocal", counts_with="other (default)")], records)
    assert again[0].conditions[0].p_corrected == pytest.approx(plain)
    counted = judge([first, other, claim(untrue, id="third")], records)
    assert counted[0].conditions[0].p_corrected > plain


def test_untested_conditions_exact_figures_and_identities_take_no_part_in_the_correction():
    never = claim(replace(LOSS, reading=final("kl")), id="never")
    few = claim(replace(LOSS, arm=B.but("few", rtol=1e-5)), id="few")
    identity = claim(LOSS, id="identity", kind=Kind.IDENTITY)
    records = [*of(unsure(5)), *of(unsure(5)[:3], rtol=1e-5)]
    alone = judge([claim(LOSS)], of(unsure(5)))[0].conditions[0]
    found = judge([claim(LOSS), never, identity], of(unsure(5)))
    assert found[0].conditions[0].p_corrected == pytest.approx(alone.p_corrected)
    assert judge([claim(LOSS), few], records)[0].conditions[0].p_corrected >= alone.p_corrected


# --- controls and noise


def test_a_control_does_not_change_the_verdict():
    failing = Control("the arms are equally fast", replace(SECONDS, supports=(0.9, 1.1)))
    found = judged(pairs(5), controls=(failing,))
    assert found.verdict is Verdict.REFUTED
    assert [checked.outcome for checked in found.controls] == ["not as expected"]
    assert [checked.outcome for checked in judged([], controls=(failing,)).controls] == ["not measured"]


LOUD = Calibration(
    started="2026",
    environment=ENVIRONMENT,
    threads=1,
    # A trial differs by half from the next one, and rounds by nothing.
    rounds={"toy/spiral": {"step_seconds": [[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]}},
)


def test_replicates_that_agree_by_chance_are_believed_no_more_than_the_machine_allows():
    records = pairs(5, ratio=1.5)
    assert judge([claim(SECONDS)], records)[0].verdict is Verdict.REFUTED
    (doubted,) = judge([claim(SECONDS)], records, [LOUD])
    assert doubted.verdict is Verdict.INCONCLUSIVE
    error = math.log(2) / math.sqrt(2) * math.sqrt(2 / 5)
    assert doubted.results[0].replicates.least_error == pytest.approx(error)
    found = estimate(doubted)
    quiet = estimate(judge([claim(SECONDS)], records)[0])
    own = stats.sem([math.log(1.5 * (1 + 0.02 * seed)) for seed in range(5)])
    assert math.log(found.high / found.low) / math.log(quiet.high / quiet.low) == pytest.approx(error / own)


def test_noise_of_another_machine_and_figures_that_are_no_times_are_left_alone():
    records = pairs(5, ratio=1.2)
    elsewhere = LOUD.model_copy(update={"environment": ENVIRONMENT | {"cpu": "another"}})
    assert judge([claim(SECONDS)], records, [elsewhere])[0] == judge([claim(SECONDS)], records)[0]
    bytes_ = replace(SECONDS, reading=final("tensor_peak_bytes"))
    of_bytes = [r.model_copy(update={"costs": {"tensor_peak_bytes": r.costs["step_seconds"]}}) for r in records]
    assert judge([claim(bytes_)], of_bytes, [LOUD])[0].verdict is Verdict.REFUTED


def test_a_claim_of_another_package_whose_code_fails_leaves_the_others():
    def fails(record):
        raise KeyError("mine")

    broken = claim(replace(LOSS, reading=replace(LOSS.reading, get=fails)), id="broken")
    whole = claim(LOSS, id="whole")
    with pytest.warns(PluginWarning, match="claim broken .* is not judged: its code failed: KeyError: 'mine'"):
        first, second = judge([broken, whole], of(around(0.5)))
    assert (first.verdict, first.why.code) == (Verdict.NOT_TESTED, WhyCode.BROKEN)
    assert second.verdict is Verdict.SUPPORTED
