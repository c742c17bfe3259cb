"""The claims on output times, Euler's method under the adjoint and fast rates, on planted records."""

import pytest
from evidence import evidence

from nodebench.claims import Verdict, judge
from nodebench.claims.papers import classical, libraries

OUTPUTS, UNION, EULER, STIFF = classical.CLAIMS
(SEMINORM,) = (claim for claim in libraries.CLAIMS if claim.id == "seminorm-saves")
SEEDS = range(10)


def outputs(forward: float, backward: float, seed: int) -> list:
    """Solves of every home condition with 2 and with 1,000 output times, which cost so many times more."""
    options = {"training": "trajectory", "steps_per_epoch": 1}
    homes = [{"solver": solver} for solver in ("dopri5", "bosh3", "dopri8")] + [{"task": "toy/hybrid-lotka-volterra"}]
    return [
        evidence(
            seed,
            **home,
            gradient="adjoint",
            rtol=1e-5,
            adjoint_rtol=1e-5,
            options=options | {"points": points},
            costs={
                "nfe_forward": 56 * (forward if points > 2 else 1),
                "nfe_backward": 68 * (backward if points > 2 else 1),
            },
        )
        for home in homes
        for points in (2, 1000)
    ]


@pytest.mark.parametrize(
    ("forward", "backward", "verdict"),
    [(1, 1, Verdict.SUPPORTED), (1, 250, Verdict.DEPENDS), (3, 250, Verdict.REFUTED)],
)
def test_outputs_are_free_forwards_backwards_or_not_at_all(forward, backward, verdict):
    (found,) = judge([OUTPUTS], [record for seed in SEEDS for record in outputs(forward, backward, seed)])
    assert found.verdict is verdict


def own_times(way: str, forward: float, backward: float, seed: int, window: int = 2):
    """A batch with times of its own, solved in one way."""
    return evidence(
        seed,
        task="toy/hybrid-lotka-volterra",
        model="hybrid",
        gradient="adjoint",
        rtol=1e-5,
        adjoint_rtol=1e-5,
        dtype="float64",
        options={"irregular": True, "own_times": way, "points": 100, "batch_size": 10, "window": window},
        costs={"nfe_forward": forward + seed % 3, "nfe_backward": backward + seed % 2},
    )


@pytest.mark.parametrize(
    ("forward", "backward", "verdict"),
    [(50, 90, Verdict.SUPPORTED), (50, 900, Verdict.DEPENDS), (150, 900, Verdict.REFUTED)],
)
def test_the_union_of_times_is_best_forwards_backwards_or_not_at_all(forward, backward, verdict):
    ways = {"union": (forward, backward), "rescaled": (100, 150)}
    (found,) = judge([UNION], [own_times(way, *cost, seed) for seed in SEEDS for way, cost in ways.items()])
    assert found.verdict is verdict


CASES = {
    ("toy/chirality", "cde", 1e-3, 1e-6): 0.1,
    ("toy/chirality", "cde", 1e-5, 1e-8): 0.4,
    ("toy/pendulum", "hamiltonian", 1e-4, 1e-4): 0.0,
    ("density", "ffjord", 1e-5, 1e-5): 0.0,
}


@pytest.mark.parametrize(
    ("saved", "verdict"),
    [
        (CASES, Verdict.DEPENDS),
        (dict.fromkeys(CASES, 0.5), Verdict.SUPPORTED),
        (dict.fromkeys(CASES, 0.0), Verdict.REFUTED),
    ],
)
def test_the_seminorm_is_judged_task_by_task(saved, verdict):
    records = [
        evidence(
            seed,
            task=task,
            model=model,
            gradient=gradient,
            rtol=rtol,
            adjoint_rtol=rtol,
            atol=atol,
            adjoint_atol=atol,
            costs={"nfe_backward": (200 + seed) * (1 - share if "seminorm" in gradient else 1)},
        )
        for seed in SEEDS
        for (task, model, rtol, atol), share in saved.items()
        for gradient in ("adjoint", "adjoint-seminorm")
    ]
    (found,) = judge([SEMINORM], records)
    assert found.verdict is verdict


def trained(gradient: str, last: float, seed: int):
    history = [{"epoch": 1.0, "loss": 0.5 + 0.01 * (seed % 3)}, {"epoch": 10.0, "loss": last * (1 + 0.02 * (seed % 4))}]
    options = {"window": 2, "points": 25}
    more = {"solver": "euler", "rtol": None, "atol": None, "step_size": 1.05}
    return evidence(seed, gradient=gradient, options=options, history=history, **more)


@pytest.mark.parametrize(
    ("adjoint", "direct", "verdict"),
    [(40.0, 0.01, Verdict.SUPPORTED), (0.02, 0.01, Verdict.REFUTED), (40.0, 40.0, Verdict.REFUTED)],
)
def test_the_adjoint_diverges_and_direct_does_not(adjoint, direct, verdict):
    records = [trained(name, last, seed) for seed in SEEDS for name, last in (("adjoint", adjoint), ("direct", direct))]
    (found,) = judge([EULER], records)
    assert found.verdict is verdict


@pytest.mark.parametrize(("power", "verdict"), [(-2.0, Verdict.SUPPORTED), (-0.5, Verdict.REFUTED)])
def test_one_method_whose_gradient_stays_refutes_the_claim(power, verdict):
    methods = dict.fromkeys(("impliciteuler", "kvaerno3", "kvaerno4"), -2.0) | {"kvaerno5": power}
    records = [
        evidence(
            seed,
            task="toy/stiff-decay",
            model="decay",
            solver=f"diffrax:{name}",
            gradient="checkpoint",
            options={"stiffness": z},
            metrics={"sensitivity": z**exponent},
        )
        for seed in range(5)
        for name, exponent in methods.items()
        for z in (1e2, 1e3, 1e4, 1e5, 1e6)
    ]
    (found,) = judge([STIFF], records)
    assert found.verdict is verdict
