import math

import pytest
from evidence import ENVIRONMENT, claim, evidence

from nodebench.analysis.fairness import Point, by_installations, differing, is_flow, points_of, unreliable
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


LIBRARIES = ["torch", "torchdiffeq", "scipy", "diffrax", "jax", "torchdyn", "torchode"]
BACKENDS = {"diffrax": "diffrax", "jax": "diffrax", "torchdyn": "torchdyn", "torchode": "torchode"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_arms_that_were_measured_with_another_version_of_a_library_are_refused(name):
    solver = {"solver": f"{BACKENDS[name]}:dopri5"} if name in BACKENDS else {}
    old, new = (environment(packages=ENVIRONMENT["packages"] | {name: version}) for version in ("8.8", "9.9"))
    assert f"the arms differ in {name} " in noted(arms(old | solver, new | solver))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_library_that_a_trial_does_not_use_separates_nothing(name):
    """Replicates measured before a library was installed, or with another version of it, are one sample."""
    there, other = (environment(packages=ENVIRONMENT["packages"] | {name: version}) for version in ("8.8", "9.9"))
    pairs = [
        evidence(seed, gradient=gradient, costs={"step_seconds": 1.0 + seed / 50 * slower}, **changes)
        for seed, changes in enumerate([{}, {}, there, there, other, other])
        for gradient, slower in (("adjoint", 1), ("direct", 0))
    ]
    (found,) = judge([claim(Part("{}", SECONDS, A, B, supports=(-INF, 2.0)))], pairs)
    assert len(found.results[0].sample.values) == 6
    assert found.results[0].sample.notes == ()


def test_the_library_of_one_arm_alone_is_part_of_what_is_compared():
    diffrax = environment(packages=ENVIRONMENT["packages"] | {"diffrax": "0.7"})
    pairs = [
        evidence(seed, solver=solver, costs={"step_seconds": seconds + seed / 50}, **diffrax)
        for seed in range(5)
        for solver, seconds in (("diffrax:dopri5", 1.0), ("dopri5", 2.0))
    ]
    ours, theirs = Arm("torchdiffeq", {"solver": "dopri5"}), Arm("diffrax", {"solver": "diffrax:dopri5"})
    (found,) = judge([claim(Part("{}", SECONDS, theirs, ours, supports=(-INF, 0.9)))], pairs)
    assert found.verdict is Verdict.SUPPORTED


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
    assert noted(records) == "no usable record 10 × record left out: other trials ran on its cores"
    assert [unreliable(records[0], timed) for timed in (True, False)] == ["other trials ran on its cores", None]
    drifted = evidence(drifted=True)
    assert (unreliable(drifted, True), unreliable(drifted, False)) == (
        "the machine's speed changed during the trial",
        None,
    )
    assert unreliable(evidence(status=Status.TIMEOUT), True) is None


def test_a_setting_that_one_record_lacks_differs():
    first, second = Point.of(evidence(options={"noise": 0.5})), Point.of(evidence())
    assert differing(first.setting, second.setting) == {"noise": ("0.5", "–")}
    assert differing(second.setting, first.setting) == {"noise": ("–", "0.5")}
    assert differing(first.setting, second.setting, {"noise"}) == {}
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


@pytest.mark.parametrize("status", list(Status))
def test_an_outcome_is_a_result_or_a_failure_of_the_method(status):
    of_the_method = {"ok", "timeout", "nfe-budget", "memory-budget", "dt-underflow", "non-finite", "standstill"}
    assert Point.of(evidence(status=status)).is_outcome == (status in of_the_method)


def identified(**identities: str):
    return evidence(environment=ENVIRONMENT | {"identities": identities})


def test_two_installations_of_one_version_are_two_settings():
    """PyPI's torchdiffeq and its git HEAD have one version and different methods."""
    index, head = identified(torchdiffeq="files:" + "1" * 16), identified(torchdiffeq="git:" + "2" * 40)
    assert differing(Point.of(index).setting, Point.of(head).setting) == {
        "torchdiffeq": ("0.2 (files:11111111)", "0.2 (git:22222222)")
    }
    assert differing(*(one.setting for one in points_of([index, head]))) != {}
    assert differing(*(one.setting for one in points_of([index, identified(torchdiffeq="files:" + "1" * 16)]))) == {}
    refused = noted(arms(head.model_dump(include={"environment"}), index.model_dump(include={"environment"})))
    assert refused == "the arms differ in torchdiffeq 0.2 (git:22222222) / 0.2 (files:11111111)"


def test_records_without_identities_compare_by_version():
    old, index, head = evidence(), identified(torchdiffeq="files:1"), identified(torchdiffeq="git:2")
    assert differing(Point.of(old).setting, Point.of(old).setting) == {}
    assert differing(*(one.setting for one in points_of([old, index]))) == {}
    older = evidence(environment=ENVIRONMENT | {"packages": ENVIRONMENT["packages"] | {"torchdiffeq": "0.1"}})
    assert differing(*(one.setting for one in points_of([older, index]))) == {"torchdiffeq": ("0.1", "0.2 (files:1)")}
    # Where two installations are known, an older record could be of either, and joins neither.
    settings = {str(point.setting["torchdiffeq"]) for point in points_of([old, index, head])}
    assert len(settings) == 3


def plugged(seed=0, identity="git:" + "1" * 40, version="1.0", package="mine", **axes):
    plugins = {package: {"version": version, "commit": None, "identity": identity}} if package else {}
    known = {"solver": "mine:euler", "costs": {"step_seconds": 1.0 + seed / 50}}
    return evidence(seed, environment=ENVIRONMENT | {"plugins": plugins}, **(known | axes))


OTHER = "files:" + "2" * 16


def test_replicates_of_two_installations_of_a_plugin_are_not_pooled():
    one, other = (
        [plugged(seed, identity, gradient=gradient) for seed in seeds for gradient in ("adjoint", "direct")]
        for identity, seeds in (("git:" + "1" * 40, range(5)), (OTHER, range(5, 9)))
    )
    (found,) = judge([claim(Part("{}", SECONDS, A, B, supports=(-INF, 2.0)))], [*one, *other])
    assert sorted(found.results[0].sample.values) == [0, 1, 2, 3, 4]
    assert "plug-in mine 1.0 (git:11111111) / 1.0 (files:22222222)" in " ".join(map(str, found.results[0].sample.notes))


@pytest.mark.parametrize("changes", [{"identity": OTHER}, {"version": "2.0"}])
def test_arms_of_two_installations_of_a_plugin_are_refused(changes):
    pairs = [
        plugged(seed, gradient=gradient, **more)
        for seed in range(5)
        for gradient, more in (("adjoint", changes), ("direct", {}))
    ]
    assert "the arms differ in plug-in mine " in noted(pairs)


def test_a_plugin_that_only_one_arm_uses_is_part_of_what_is_compared():
    arm, against = Arm("mine", {"solver": "mine:euler"}), Arm("euler", {"solver": "euler"})
    part = Part("{}", SECONDS, arm, against, supports=(-INF, 2.0))
    ours = [plugged(seed, package="", solver="euler") for seed in range(5)]
    theirs = [plugged(seed, OTHER if seed == 4 else "git:1") for seed in range(5)]
    (found,) = judge([claim(part)], [*ours, *theirs])
    assert sorted(found.results[0].sample.values) == [0, 1, 2, 3]


def test_groups_of_points_hold_one_installation_of_each_plugin():
    built_in, old, new = evidence(0), plugged(1), plugged(2, OTHER)
    groups = by_installations(points_of([built_in, new, old]))
    assert [[point.seed for point in group] for group in groups] == [[0, 2], [1]]
    assert [len(group) for group in by_installations(points_of([built_in]))] == [1]


def test_a_record_without_the_identity_of_its_plugin_compares_by_version():
    named, unnamed, edited = (
        plugged(0),
        plugged(1, None),
        evidence(2, environment=ENVIRONMENT | {"plugins": {"mine": [1]}}),
    )
    points = points_of([named, unnamed, edited])
    assert points[0].own == points[1].own == {"plug-in mine": "1.0 (git:11111111)"}
    assert points[2].own == {"plug-in mine": "[1]"}
