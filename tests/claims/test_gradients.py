"""The claims on exact gradients, on planted records: what the papers say is supported, the opposite refuted."""

import pytest
from evidence import evidence

from nodebench.claims import Verdict, judge
from nodebench.claims.papers import gradients
from nodebench.spec.record import Interleaved

REVERSIBLE, EXACT = gradients.CLAIMS


def records(figures, **axes):
    """Records of several gradients, with costs that vary a little over seeds."""
    return [
        evidence(
            seed,
            study=None,
            gradient=gradient,
            **axes,
            costs={name: value * (1 + 0.01 * (seed % 3)) for name, value in costs.items()},
        )
        for seed in range(10)
        for gradient, costs in figures.items()
    ]


def squeezed(**errors):
    """Records on the squeezed field; those of the reversible gradient with the coupling at which it is stable."""
    field = {"task": "toy/contracting", "model": "squeezed", "options": {"rate": 10.0, "points": 2}}
    field |= {"dtype": "float64", "first_step": 0.01}
    found = []
    for name, error in errors.items():
        coupling = 0.5 if name == "reversible" else None
        found += records({name: {"gradient_error": error}}, coupling=coupling, **field)
    return found


def by_steps(solver="rk4", **figures):
    """Peak bytes over evaluations: 100 kB, and what an evaluation adds; calls backwards for each one forwards."""
    options = {"points": 5, "steps_per_epoch": 5}
    found = []
    for step_size in (0.252, 0.063, 0.01575):
        calls = 4 * 2.52 / step_size
        costs = {
            name: {
                "tensor_peak_bytes": 1e5 + per_call * calls,
                "nfe_forward": calls,
                "nfe_backward": ratio * calls,
            }
            for name, (per_call, ratio) in figures.items()
        }
        fixed = {"solver": solver, "rtol": None, "atol": None, "step_size": step_size, "dtype": "float64"}
        found += records(costs, **fixed, options=options)
    return found


def in_turns(seconds):
    """Reversible steps that took so many times the seconds of checkpoints, with which they alternated."""
    fixed = {"solver": "rk4", "rtol": None, "atol": None, "dtype": "float64"}
    found = []
    for step_size in (0.252, 0.063, 0.01575):
        for seed in range(10):
            axes = {**fixed, "step_size": step_size}
            baseline = evidence(seed, gradient="checkpoint", **axes).trial
            ratios = {"step_seconds": seconds * (1 + 0.01 * (seed % 3))}
            paired = Interleaved(baseline=baseline, blocks=20, steps=5, ratios=ratios, spread={"step_seconds": 0.01})
            options = {"points": 5, "steps_per_epoch": 10}
            found.append(evidence(seed, gradient="reversible", interleaved=paired, options=options, study=None, **axes))
    return found


@pytest.mark.parametrize(
    ("error", "per_call", "verdict"),
    [
        (1e-4, 0.0, Verdict.SUPPORTED),
        (0.3, 0.0, Verdict.REFUTED),  # the gradient is wrong
        (1e-4, 1e3, Verdict.REFUTED),  # the memory grows as that of direct
    ],
)
def test_a_reversible_gradient_has_to_be_right_and_small(error, per_call, verdict):
    growth = by_steps(direct=(1e3, 0), checkpoint=(1e2, 1), reversible=(per_call, 1))
    (found,) = judge([REVERSIBLE], [*growth, *squeezed(reversible=error, adjoint=0.5)])
    assert found.verdict is verdict


def test_the_time_of_a_reversible_step_is_a_control():
    (found,) = judge([REVERSIBLE], in_turns(2.0))
    (slower,) = [one for one in found.controls if "checkpoints" in one.control.says]
    assert {one.verdict for one in slower.results} == {Verdict.REFUTED}
    assert found.verdict is Verdict.NOT_TESTED


@pytest.mark.parametrize(
    ("symplectic", "ratio", "verdict"),
    [(1e-3, 1.75, Verdict.SUPPORTED), (1e-2, 1.75, Verdict.REFUTED), (1e-3, 3.0, Verdict.REFUTED)],
)
def test_symplectic_gradients_have_to_be_as_exact_as_direct_ones(symplectic, ratio, verdict):
    """Half of the claim's conditions are planted to hold; the error or the calls of the symplectic adjoint decide."""
    errors = {"direct": 1e-3, "aca": 1e-3, "adjoint": 0.5}
    oscillator = records(
        {name: {"gradient_error": 1e-5} for name in ("direct", "aca", "symplectic")},
        task="toy/van-der-pol",
        dtype="float64",
        rtol=1e-5,
    )
    peaks = {"direct": 10e6, "aca": 6e6, "symplectic": 4e6}
    memory = {name: {"tensor_peak_bytes": peak} for name, peak in peaks.items()}
    block = records(memory, task="mnist", model="odenet", options={"batch_size": 8})
    flow = records(memory, task="density", model="ffjord", rtol=1e-4, options={"batch_size": 64})
    fixed = {"solver": "mali:alf", "rtol": None, "atol": None, "step_size": 0.063, "dtype": "float64"}
    leapfrog = records(
        {name: {"gradient_error": 1e-4} for name in ("direct", "reversible")},
        **fixed,
        options={"points": 5, "steps_per_epoch": 20},
    )
    growth = [
        *by_steps("mali:alf", direct=(1e3, 0), reversible=(0.0, 1)),
        *by_steps(direct=(1e3, 0), aca=(1e2, 1), symplectic=(1e2, ratio)),
    ]
    planted = [*squeezed(**errors, symplectic=symplectic), *oscillator, *block, *flow, *leapfrog, *growth]
    (found,) = judge([EXACT], planted)
    assert found.verdict is verdict
