import math

import pytest
from evidence import ENVIRONMENT, claim, evidence

from nodebench.analysis.fairness import Point, differing, is_flow, points_of, unreliable
from nodebench.analysis.readings import final
from nodebench.claims import Verdict, judge
from nodebench.claims.contract import Arm, Part
from nodebench.spec import Status
from nodebench.spec.record import Place

A, B = Arm("adjoint", {"gradient": "adjoint"}), Arm("direct", {"gradient": "direct"})
INF = math.inf

SECONDS = final("step_seconds")


def arms(adjoint=None, direct=None):
    return [
        evidence(seed, gradient=gradient, costs={"step_seconds": 1.0 + slower * seed / 50}, **(changes or {}))
        for seed in range(5)
        for gradient, slower, changes in (("adjoint", 1, adjoint), ("direct", 0, direct))
    ]


def noted(records) -> str:
    (found,) = judge([claim(Part("{}", SECONDS, A, B, supports=(-INF, 2.0)))], records)
    return " ".join(map(str, found.results[0].sample.notes)) or found.verdict


def environment(**changes) -> dict:
    return {"environment": ENVIRONMENT | changes}


@pytest.mark.parametrize("name", ["torch", "torchdiffeq", "scipy", "diffrax", "jax", "torchdyn", "torchode"])
def test_arms_that_were_measured_with_another_version_of_a_library_are_refused(name):
    packages = ENVIRONMENT["packages"] | {name: "9.9"}
    assert f"the arms differ in {name} " in noted(arms(direct=environment(packages=packages)))


def test_arms_of_another_accelerator_or_nodebench_are_refused_and_of_another_numpy_are_not():
    one, two = (environment(accelerator={"name": name, "memory_bytes": 1}) for name in ("H100", "H200"))
    assert noted(arms(one, two)) == "the arms differ in machine a processor, H100 / a processor, H200"
    assert noted(arms(None, one)) == "the arms differ in machine a processor / a processor, H100"
    assert noted(arms(None, environment(nodebench="2.0"))) == "the arms differ in nodebench 1.0 / 2.0"
    packages = ENVIRONMENT["packages"] | {"numpy": "9.9"}
    assert noted(arms(None, environment(packages=packages))) == Verdict.SUPPORTED
    assert noted(arms(environment(packages=None), environment(packages={}))) == Verdict.SUPPORTED


def test_times_of_trials_that_shared_their_cores_are_left_out():
    shared = {"place": Place(study="toys", shared=True)}
    records = [record.model_copy(update=shared) for record in arms()]
    assert noted(records) == "10 × record left out: other trials ran on its cores no usable record"
    assert [unreliable(records[0], timed) for timed in (True, False)] == ["other trials ran on its cores", None]
    drifted = evidence(drifted=True)
    assert (unreliable(drifted, True), unreliable(drifted, False)) == ("the machine's speed changed during it", None)
    assert unreliable(evidence(status=Status.TIMEOUT), True) is None


def test_a_setting_that_one_record_lacks_differs():
    first, second = Point.of(evidence(options={"noise": 0.5})), Point.of(evidence())
    assert differing(first, second) == {"noise": ("0.5", "–")}
    assert differing(second, first) == {"noise": ("–", "0.5")}
    assert differing(first, second, frozenset({"noise"})) == {}
    assert Point.of(evidence(options={"epochs": 9}, overrides={"epochs": 3, "points": 2})).axes["epochs"] == 3
    assert Point.of(evidence(overrides={"points": 2})).axes["points"] == 2


def test_the_gate_is_a_point_of_error_between_the_trained_step_and_one_four_times_finer():
    def gate(*rows):
        return is_flow(evidence(profile=[{"step_size": step, "test_error": error} for step, error in rows]))

    assert gate((0.5, 5.0), (0.25, 99.0), (0.125, 5.99)) is True
    assert gate((0.5, 5.0), (0.125, 6.0)) is False
    assert gate((0.5, 6.0), (0.125, 5.0)) is False
    assert [gate((0.125, 5.0), (0.5, None)), gate((0.5, None), (0.125, 5.0)), gate((0.5, 5.0), (0.125, None))] == [
        False
    ] * 3
    assert gate((0.5, 5.0), (0.25, 5.0)) is None
    assert is_flow(evidence(profile=[{"rtol": 1e-3, "test_error": 1.0}])) is None
    assert is_flow(evidence(profile=[{"step_size": 0.5, "growth": 1.0}, {"step_size": 0.125, "growth": 1.0}]), "growth")


@pytest.mark.parametrize("status", list(Status))
def test_an_outcome_is_a_result_or_a_failure_of_the_method(status):
    of_the_method = {"ok", "timeout", "nfe-budget", "memory-budget", "dt-underflow", "non-finite"}
    assert Point.of(evidence(status=status)).is_outcome == (status in of_the_method)


def identified(**identities: str):
    return evidence(environment=ENVIRONMENT | {"identities": identities})


def test_two_installations_of_one_version_are_two_settings():
    """PyPI's torchdiffeq and its git HEAD have one version and different methods."""
    index, head = identified(torchdiffeq="files:" + "1" * 16), identified(torchdiffeq="git:" + "2" * 40)
    assert differing(Point.of(index), Point.of(head)) == {"torchdiffeq": ("0.2 (files:11111111)", "0.2 (git:22222222)")}
    assert differing(*points_of([index, head])) != {}
    assert differing(*points_of([index, identified(torchdiffeq="files:" + "1" * 16)])) == {}
    refused = noted(arms(head.model_dump(include={"environment"}), index.model_dump(include={"environment"})))
    assert refused == "the arms differ in torchdiffeq 0.2 (git:22222222) / 0.2 (files:11111111)"


def test_records_without_identities_compare_by_version():
    old, index, head = evidence(), identified(torchdiffeq="files:1"), identified(torchdiffeq="git:2")
    assert differing(Point.of(old), Point.of(old)) == {}
    assert differing(*points_of([old, index])) == {}
    older = evidence(environment=ENVIRONMENT | {"packages": ENVIRONMENT["packages"] | {"torchdiffeq": "0.1"}})
    assert differing(*points_of([older, index])) == {"torchdiffeq": ("0.1", "0.2 (files:1)")}
    # Where two installations are known, an older record could be of either, and joins neither.
    settings = {str(point.setting["torchdiffeq"]) for point in points_of([old, index, head])}
    assert len(settings) == 3
