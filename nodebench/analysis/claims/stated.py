"""Claims of Chen et al. 2018: what the authors state of solving itself (section 6)."""

import math

from nodebench.analysis.claims.contract import (
    Arm,
    Claim,
    Control,
    Part,
    Wanted,
    axis,
    final,
    probed,
    quotient,
)
from nodebench.analysis.claims.sources import chen2018

_INF = math.inf

# --- section 6: what the authors state of their method

_FLOW: dict[str, Wanted] = {"task": "toy/flow", "dtype": "float64"}
_TRAINED_FIELDS = Arm(
    "trained field", {"task": ("toy/lotka-volterra", "toy/van-der-pol"), "model": "small", "rtol": (1e-3, 1e-5)}
)
_DIGITS_FIELD = Arm("trained MNIST block", {"task": "mnist", "model": "odenet", "solver": "dopri5", "rtol": 1e-3})


def _batch(words: str, arm: Arm, conditions: tuple[str, ...]) -> Part:
    return Part(
        words,
        final("joint_over_single"),
        arm,
        supports=(-_INF, 1.1),
        conditions=conditions,
        scale="log",
        unit="×",
    )


def _back(arm: Arm, conditions: tuple[str, ...]) -> Part:
    return Part(
        "the initial state is found again to {} the tolerance",
        quotient(probed("reverse_error"), axis("rtol")),
        arm,
        supports=(-_INF, 10.0),
        conditions=conditions,
        scale="log",
        unit="×",
    )


_OSCILLATORS: dict[str, Wanted] = {
    **_FLOW,
    "model": "van-der-pol",
    "mu": (2.0, 10.0, 25.0),
    "solver": "dopri5",
    "batching": None,
    "rtol": 1e-5,
    "starts": 32,
}

_STATED = (
    Claim(
        "batching-free",
        "default",
        "Solving a batch as one state hardly changes the number of evaluations.",
        chen2018("section 6, “Minibatching”"),
        "stated, no number",
        ("flows", "table1", "batching"),
        (
            _batch(
                "32 oscillators as one state take {} the evaluations of each alone",
                Arm("Van der Pol", _OSCILLATORS),
                ("mu",),
            ),
            _batch("16 images as one state take {} the evaluations of each alone", _DIGITS_FIELD, ()),
        ),
        (
            Control(
                "where the worst sample decides, a batch takes no fewer evaluations than where the mean does",
                Part(
                    "decided by its worst sample, a batch takes {} the evaluations",
                    final("nfe_forward"),
                    Arm("worst", {**_OSCILLATORS, "batching": "worst"}),
                    Arm("joint", _OSCILLATORS),
                    supports=(1.0, math.inf),
                    conditions=("mu",),
                    scale="log",
                    unit="×",
                ),
            ),
        ),
        traps=(
            "the norm is a mean over the batch: one hard member sets the step of all, and is diluted by the easy ones",
            "members of a batch start at random places, as they do in training",
        ),
        published_value=1.0,
    ),
    Claim(
        "reverse-reconstruct",
        "default",
        "The initial state can be found again by solving backwards in time.",
        chen2018("section 6, “Reconstructing forward trajectories”"),
        "stated",
        ("flows", "table1"),
        (_back(_TRAINED_FIELDS, ("task", "rtol")), _back(_DIGITS_FIELD, ())),
        (
            Control(
                "and where nothing was learned, on the true predator–prey system",
                _back(Arm("Lotka–Volterra", {**_FLOW, "model": "lotka-volterra", "rtol": (1e-3, 1e-5)}), ("rtol",)),
            ),
            Control(
                "and on the true oscillator",
                _back(
                    Arm("Van der Pol", _OSCILLATORS),
                    ("mu",),
                ),
            ),
        ),
        (
            "what a flow contracts forwards it expands backwards: the error grows with the length of the solve",
            "a backward solve that fails counts as an infinite error",
        ),
    ),
    Claim(
        "order-preserved",
        "default",
        "Trajectories cannot cross: a flow on a line (here: one) keeps the order of its states, numerically too.",
        chen2018("section 2; the theorem of Picard and Lindelöf"),
        "a theorem on the exact flow",
        ("flows",),
        (
            Part(
                "of 199 neighbours on a line {} change places",
                final("inversions"),
                Arm(
                    "adaptive",
                    {
                        **_FLOW,
                        "model": "line",
                        "solver": ("dopri5", "bosh3", "adaptive_heun"),
                        "rtol": (1e-3, 1e-5),
                    },
                ),
                supports=(-_INF, 0.0),
                refutes=((0.001, _INF),),
                conditions=("solver", "rtol"),
                unit="%",
            ),
        ),
        (
            Control(
                "Euler's method with a step too long does turn neighbours round",
                Part(
                    "of 199 neighbours on a line {} change places",
                    final("inversions"),
                    Arm("coarse", {**_FLOW, "model": "line", "solver": "euler", "step_size": 0.5}),
                    supports=(1e-9, _INF),
                    unit="%",
                ),
            ),
        ),
        ("one field, whose slopes are ±6 over a span of 1",),
        published_value=0.0,
    ),
)

CLAIMS = _STATED
