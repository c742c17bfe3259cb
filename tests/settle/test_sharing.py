"""Trials that serve several claims are worth what they may decide of all of them."""

import pytest

from nodebench.claims import all_claims, judge
from nodebench.claims.freeze import frozen_declarations
from nodebench.running.estimate import Costs
from nodebench.settle.candidates import ASIDE, UNKNOWN_PROBABILITY, candidates


def found(*names: str):
    results = judge([one for one in all_claims() if one.id in names], [])
    return candidates(results, [], Costs(), frozen_declarations().contents)


def of(some, claim, condition):
    (one,) = [one for one in some if one.claim.startswith(claim) and one.condition.startswith(condition)]
    return one


def test_the_network_of_one_claim_serves_the_condition_of_another_one_on_it():
    """Both read ODE-Nets of the study table1. The six home conditions of one claim decide it together."""
    alone = found("error-follows-tolerance")
    assert {one.shared for one in alone} == {0.0}
    both = found("error-follows-tolerance", "reverse-reconstruct")
    assert of(both, "error", "tolerance 0.1").shared == pytest.approx(ASIDE * UNKNOWN_PROBABILITY)
    assert of(both, "reverse", "MNIST, gradient adjoint").shared == pytest.approx(UNKNOWN_PROBABILITY / 6)
    assert of(both, "reverse", "latent spirals").shared == 0.0
    assert both == sorted(both, key=lambda one: -one.rate)


def test_a_trial_with_another_baseline_arm_serves_no_ratio_to_the_wanted_one():
    """Both claims read steps of the same ODE-Nets: one over another tolerance, one over another gradient."""
    some = found("time-follows-nfe", "adjoint-cheaper")
    first, second = (set().union(*(one.trials for one in some if one.claim.startswith(name))) for name in ("t", "a"))
    assert first & second
    assert {one.shared for one in some} == {0.0}
