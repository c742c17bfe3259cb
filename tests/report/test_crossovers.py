"""What a page says of the place from which one arm is cheaper than another."""

import pytest
from evidence import evidence

from nodebench.reporting.study_comparisons import crossovers

MU = (1.0, 10.0, 100.0)


def solves(seed: int, explicit: tuple[float, ...], implicit: tuple[float, ...]) -> list:
    """Seconds of dopri5 and of LSODA at each stiffness."""
    arms = {"dopri5": explicit, "scipy:LSODA": implicit}
    return [
        evidence(seed, solver=solver, gradient=None, options={"mu": mu}, costs={"step_seconds": seconds})
        for solver, times in arms.items()
        for mu, seconds in zip(MU, times, strict=True)
    ]


CHEAPER, DEARER, LATER = (2.0, 2.0, 2.0), (0.5, 0.5, 0.5), (0.1, 1.0, 10.0)  # explicit, with 1 s of the implicit one


@pytest.mark.parametrize(
    ("explicit", "words"),
    [
        ((CHEAPER, CHEAPER), "at all measured values of μ, 1 to 100 (n = 2)"),
        ((DEARER, DEARER), "at no measured value of μ, 1 to 100 (n = 2)"),
        ((LATER, LATER), "if μ is at least 10 [9.561, 10.46], measured from 1 to 100 (n = 2)"),
        (
            (CHEAPER, LATER, DEARER),
            "from a value of μ that differs between replicates: everywhere, 10, nowhere; "
            "measured from 1 to 100 (n = 3)",
        ),
        (((0.1, 0.9, 10.0), (0.02, 0.2, 2.0)), "[below 1, above 100], measured from 1 to 100 (n = 2)"),
    ],
)
def test_replicates_that_differ_are_told_and_no_place_lies_beyond_what_was_measured(explicit, words):
    records = [record for seed, times in enumerate(explicit) for record in solves(seed, times, (1.0, 1.0, 1.0))]
    _, bullets = crossovers("stiffness", records)
    assert bullets.items[0].startswith("SciPy's LSODA takes less time than dopri5 ")
    assert words in bullets.items[0]
