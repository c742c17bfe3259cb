"""Every value belongs to supported, partly or refuted."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodebench.analysis.regions import Outcome, Regions

INF = math.inf


def outcome(regions: Regions, low: float, high: float):
    """The outcome whose region contains an interval."""
    within = (one for one, ranges in regions.ranges.items() if any(a <= low and high <= b for a, b in ranges))
    return next(within, None)


def test_what_does_not_support_refutes_unless_regions_leave_a_band():
    plain = Regions((-INF, 1.0))
    assert (plain.refuting, plain.partly) == (((1.0, INF),), ())
    band = Regions((-INF, 0.1), ((0.5, INF),))
    assert band.partly == ((0.1, 0.5),)
    assert [outcome(band, *ends) for ends in ((0, 0.1), (0.1, 0.5), (0.5, 9), (0.05, 0.2), (0.2, 0.6))] == [
        Outcome.SUPPORTED,
        Outcome.PARTLY,
        Outcome.REFUTED,
        None,
        None,
    ]


def test_a_margin_refutes_on_both_sides():
    margin = Regions((-0.25, 0.25))
    assert margin.refuting == ((-INF, -0.25), (0.25, INF))
    assert [outcome(margin, *ends) for ends in ((-0.2, 0.2), (-9, -0.3), (0.3, 9), (0.2, 0.3))] == [
        Outcome.SUPPORTED,
        Outcome.REFUTED,
        Outcome.REFUTED,
        None,
    ]


def test_an_exact_value_on_an_edge_has_the_outcome_nearer_to_support():
    band = Regions((-INF, 0.1), ((0.5, INF),))
    assert (outcome(band, 0.1, 0.1), outcome(band, 0.5, 0.5)) == (Outcome.SUPPORTED, Outcome.REFUTED)
    assert outcome(Regions((2.0, INF)), 2.0, 2.0) is Outcome.SUPPORTED


edges = st.lists(st.floats(-10, 10), min_size=4, max_size=4, unique=True).map(sorted)


@given(edges, st.floats(-20, 20), st.booleans())
def test_there_is_no_dead_zone(four, value, sides):
    first, second, third, fourth = four
    regions = Regions((second, third), ((-INF, first), (fourth, INF)) if sides else ((fourth, INF),))
    assert outcome(regions, value, value) is not None


def test_regions_without_values_or_that_overlap_are_refused():
    with pytest.raises(ValueError, match="without values"):
        Regions((1.0, 1.0))
    with pytest.raises(ValueError, match="overlap"):
        Regions((0.0, 1.0), ((0.5, INF),))
