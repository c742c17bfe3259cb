"""To how many replicates a condition is taken next, and how likely that decides it."""

import math
from dataclasses import replace

import pytest
from evidence import claim, evidence

from nodebench.analysis.forecast import decision_probabilities
from nodebench.analysis.readings import final
from nodebench.claims import Kind, Verdict, judge
from nodebench.claims.contract import Arm, Part
from nodebench.settle.candidates import ASIDE, UNKNOWN_PROBABILITY, next_look, worth_of

DIRECT = Arm("direct", {"gradient": "direct"})
BYTES = Part("{} bytes", replace(final("tensor_peak_bytes"), exact=True), DIRECT, supports=(-math.inf, 100.0))


def condition(values: list[float]):
    records = [
        evidence(seed, gradient="direct", costs={"tensor_peak_bytes": value}) for seed, value in enumerate(values)
    ]
    return judge([claim(BYTES)], records)[0].conditions[0]


@pytest.mark.parametrize(
    ("values", "looked"),
    [
        ([50.0], (2, 1.0)),  # a second equal value makes it exact
        ([50.0, 51.0], (5, UNKNOWN_PROBABILITY)),  # two that differ are not exact
        ([50.0, 51.0, 49.0], (5, UNKNOWN_PROBABILITY)),
    ],
)
def test_a_figure_declared_exact_needs_two_replicates_unless_they_differ(values, looked):
    assert next_look(condition(values)) == looked


SHARE = replace(BYTES, reading=final("test_loss"), scale="share", supports=(-math.inf, 0.25), refutes=((0.5, 1.0),))


def test_a_look_that_cannot_decide_is_passed_over():
    """One of ten: the interval of 20 replicates still reaches beyond a quarter, that of 40 may not."""
    records = [evidence(seed, gradient="direct", metrics={"test_loss": float(seed == 0)}) for seed in range(10)]
    found = judge([claim(SHARE)], records)[0].conditions[0]
    chances = decision_probabilities(found.parts[0].replicates, SHARE.regions)
    assert chances[20] < 0.01
    assert chances[40] > 0.2
    assert next_look(found) == (40, chances[40])


LOSS = replace(BYTES, reading=final("test_loss"), conditions=("rtol",))


@pytest.mark.parametrize(
    ("home", "kind", "worth"),
    [
        ({"rtol": 1e-3}, Kind.CONDITIONAL, {"0.001": 1.0, "1e-5": ASIDE}),
        ({}, Kind.CONDITIONAL, {"0.001": 1 / 2, "1e-5": 1 / 2}),
        (None, Kind.UNIVERSAL, {"0.001": 1 / 2, "1e-5": 1 / 2}),
    ],
)
def test_a_condition_that_cannot_decide_its_claim_is_worth_less(home, kind, worth):
    records = [
        evidence(seed, gradient="direct", rtol=rtol, metrics={"test_loss": 50.0 + 60 * seed})
        for seed in range(5)
        for rtol in (1e-3, 1e-5)
    ]
    result = judge([claim(replace(LOSS, home=home), kind=kind)], records)[0]
    assert {one.label.split()[-1]: worth_of(result, one) for one in result.conditions} == worth


def test_the_rest_of_a_decided_claim_is_worth_less():
    records = [
        evidence(seed, gradient="direct", rtol=rtol, metrics={"test_loss": value + seed})
        for seed in range(5)
        for rtol, value in ((1e-3, 50.0), (1e-5, 98.0))
    ]
    result = judge([claim(replace(LOSS, home={"rtol": 1e-3}))], records)[0]
    assert result.verdict is Verdict.SUPPORTED
    assert [worth_of(result, one) for one in result.conditions if not one.verdict.is_decided] == [ASIDE]
