"""To how many replicates a condition is taken next, and how likely that decides it."""

import math
from dataclasses import replace

import pytest
from evidence import claim, evidence

from nodebench.analysis.readings import final
from nodebench.claims import judge
from nodebench.claims.contract import Arm, Part
from nodebench.settle.candidates import UNKNOWN_PROBABILITY, next_look

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
