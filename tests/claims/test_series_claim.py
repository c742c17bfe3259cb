"""The claim on constant forecasts, on planted records."""

import pytest
from evidence import evidence

from nodebench.claims import Verdict, judge
from nodebench.claims.papers.series import CLAIMS

(CONSTANT,) = CLAIMS


def forecasts(constant: float, latent_ode: float, falls: bool = False) -> list:
    """Records of sines: the error of a constant and of a latent ODE, which vary a little over seeds."""
    options = {"objective": "forecast", "observed": 0.5}
    return [
        evidence(
            seed,
            task="periodic",
            model=model,
            study=None,
            options=options,
            metrics={"hidden_rmse": error * (1 + 0.02 * (seed % 3))},
            **({} if model == "latent-ode" else dict.fromkeys(("solver", "rtol", "atol", "gradient"))),
            history=[{"epoch": float(i), "loss": 10.0 / (i if falls else min(i, 5))} for i in range(1, 11)],
        )
        for seed in range(10)
        for model, error in (("constant", constant), ("latent-ode", latent_ode))
    ]


def condition(records):
    (found,) = judge([CONSTANT], records)
    (one,) = [part for part in found.conditions if part.label == "sines, latent ODE"]
    return found, one


@pytest.mark.parametrize(
    ("constant", "latent_ode", "verdict"), [(0.5, 0.8, Verdict.SUPPORTED), (0.8, 0.2, Verdict.REFUTED)]
)
def test_the_smaller_error_decides_a_condition_and_no_condition_is_at_home(constant, latent_ode, verdict):
    found, one = condition(forecasts(constant, latent_ode))
    assert one.verdict is verdict
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "home" in found.why.message


def test_a_network_that_still_learns_is_not_judged():
    _, one = condition(forecasts(0.5, 0.8, falls=True))
    assert one.verdict is Verdict.NOT_TESTED
