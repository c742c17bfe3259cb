"""Results in words."""

import math
from dataclasses import replace

import pytest
from evidence import claim, evidence

from nodebench.analysis.readings import final
from nodebench.claims import Verdict, judge
from nodebench.claims.contract import Arm, Part
from nodebench.claims.words import explanation, measured, opening

ADJOINT = Arm("adjoint", {"gradient": "adjoint"})
ERROR = Part("an error of {}", final("gradient_error"), ADJOINT, supports=(-math.inf, 1.0), conditions=("rtol",))


def result(values: dict[float, list[float]], part: Part = ERROR):
    records = [
        evidence(seed, gradient="adjoint", rtol=rtol, costs={"gradient_error": value})
        for rtol, some in values.items()
        for seed, value in enumerate(some)
    ]
    return judge([claim(part)], records)[0]


def test_one_replicate_has_an_estimate_and_no_interval():
    assert "0.5 (no interval); n = 1" in measured(result({1e-3: [0.5]}))


def test_an_exact_metric_has_no_number_of_replicates():
    exact = replace(ERROR, reading=replace(final("gradient_error"), exact=True))
    words = measured(result({1e-3: [0.5, 0.5]}, exact))
    assert words.endswith("0.5 (exact)")


def test_the_reason_is_that_of_the_condition_shown():
    found = result({1e-3: [0.2, 5.0, 0.1, 3.0, 0.9], 1e-5: [0.5]})
    assert found.verdict is Verdict.INCONCLUSIVE
    assert explanation(found) == found.headline.why.message
    assert measured(found).startswith(found.headline.label)


@pytest.mark.parametrize(
    ("text", "begun"),
    [("mnist, rtol 1e-5: …", "MNIST, rtol 1e-5: …"), ("the solve", "The solve"), ("", "")],
)
def test_a_sentence_begins_with_a_capital(text, begun):
    assert opening(text) == begun
