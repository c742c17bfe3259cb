"""Claims on irregular series that came after the first neural ODEs: what models with an ODE are better than."""

import math

from nodebench.analysis.readings import Reading, final
from nodebench.claims.contract import SOLVING, Arm, Claim, Control, Gate, Part, Topic, ratio
from nodebench.claims.papers.sources import PHYSIOME

_INF = math.inf

_SPIRALS = Arm("latent ODE", {"task": "latent-spirals", "model": "latent-ode", "observations": (30, 100), "rtol": 1e-4})
_SINES = Arm("latent ODE", {"task": "periodic", "model": "latent-ode", "objective": "forecast", "observed": 0.5})
_BEATS = Arm("latent ODE", {"task": "ecg", "model": "latent-ode", "objective": "extrapolate", "dataset": "ecgsyn"})
_ODE_RNN = {"model": "ode-rnn", "solver": "euler", "rtol": None}
_BEYOND, _HIDDEN, _AFTER = final("extrapolation_rmse"), final("hidden_rmse"), final("extrapolation_rmse_after")


def _over(model: str, name: str, reading: Reading, ode: Arm, label: str, conditions: tuple[str, ...] = ()) -> Part:
    """The error of a baseline over that of a model with an ODE."""
    return ratio(
        f"the error of {name} is {{}} that of the {ode.name}",
        reading,
        ode.but(name, model=model, solver=None, rtol=None),
        ode,
        supports=(-_INF, 1.0),
        conditions=conditions,
        may_differ=SOLVING,
        label=f"{label}, {ode.name}",
    )


def _every(model: str, name: str) -> tuple[Part, ...]:
    return (
        _over(model, name, _BEYOND, _SPIRALS, "spirals", ("observations",)),
        _over(model, name, _BEYOND, _SPIRALS.but("ODE-RNN", **_ODE_RNN), "spirals", ("observations",)),
        _over(model, name, _HIDDEN, _SINES, "sines"),
        _over(model, name, _HIDDEN, _SINES.but("ODE-RNN", **_ODE_RNN), "sines"),
        _over(model, name, _AFTER, _BEATS, "heart beats"),
    )


CLAIMS = (
    Claim(
        id="constant-beats-ode",
        topic=Topic.SERIES,
        sentence="A forecast of a constant has a smaller error than models with an ODE on usual irregular series.",
        source=PHYSIOME,
        published="on three of four usual data sets; no number in the abstract",
        home="the source's four usual data sets, which are not shipped: no condition here is one of them",
        studies=("series",),
        parts=_every("constant", "a constant"),
        controls=(
            *(Control(f"so has the last value: {part.label}", part) for part in _every("last-value", "the last value")),
            *(
                Control(
                    f"straight lines interpolate sines better than the latent ODE, with {share:.0%} of the points",
                    _over(
                        "linear",
                        "straight lines",
                        _HIDDEN,
                        Arm(
                            "latent ODE",
                            {"task": "periodic", "model": "latent-ode", "objective": "interpolate", "observed": share},
                        ),
                        f"{share:.0%}",
                    ),
                )
                for share in (0.1, 0.2, 0.3, 0.5)
            ),
        ),
        traps=(
            "the source's data are records of patients and of the weather; here they are curves with a known law and "
            "little noise, on which the source itself finds models with an ODE at an advantage",
            "the constant is the mean of what is given of each series; the source does not say in its abstract how its "
            "constant is chosen",
            "a spiral is centred: far ahead a constant is hard to beat for a forecast that is out of phase",
            "a part of a beat is forecast from regular times",
        ),
        fairness="Models with an ODE have the widths of Chen et al. on spirals, and 40 units on sines; all learn from "
        "the same series with the same number of steps. Networks whose training loss still falls are not judged.",
        gate=Gate(_BEYOND),
    ),
)
