"""Claims of later papers."""

import math

from nodebench.analysis.claims.contract import Arm, Claim, Control, Part, at_tolerance, change, final
from nodebench.analysis.claims.costs import BARELY_TRAINED, RESTARTS, each_task
from nodebench.analysis.claims.sources import ANODE, DISCRETISE, RESNET_AFTER_ALL

_INF = math.inf

_COARSE = Arm("Euler, 2 steps", {"task": "mnist", "solver": "euler", "step_size": 0.5, "train_images": 2000})


def _refined(arm: Arm, supports: tuple[float, float]) -> Part:
    """How a network trained with fixed steps classifies when it is solved by dopri5."""
    return Part(
        "solved by dopri5 in place of its own steps it misclassifies {} more",
        change(at_tolerance("test_error", 1e-5), final("test_error")),
        arm,
        supports=supports,
        unit="points",
    )


_FORCED = Arm(
    "adjoint",
    {
        "task": "toy/contracting",
        "gradient": "adjoint",
        "rate": 10.0,
        "rtol": 1e-3,
        "training": "trajectory",
        "points": 2,
    },
)


_CHECKPOINTED = _FORCED.but("checkpoint", gradient="checkpoint")


def _gradient_error(words: str, arm: Arm, supports: tuple[float, float]) -> Part:
    return Part(words + " by {} of its size", final("gradient_error"), arm, supports=supports, scale="log", unit="%")


CLAIMS = (
    Claim(
        "coarse-solver-collapse",
        "default",
        "A network trained with a coarse solver is no ODE: under a finer one it loses a point of accuracy or more.",
        RESNET_AFTER_ALL,
        "figures per data set",
        ("coarse",),
        (_refined(_COARSE, (1.0, _INF)),),
        (
            Control(
                "one trained with four steps of rk4 loses less than a point",
                _refined(
                    Arm("rk4", {"task": "mnist", "solver": "rk4", "step_size": 0.25, "train_images": 2000}),
                    (-1.0, 1.0),
                ),
            ),
            Control(
                "one trained with eight Euler steps loses less than a point",
                _refined(_COARSE.but("Euler, 8 steps", step_size=0.125), (-1.0, 1.0)),
            ),
        ),
        ("two steps only; the study has four and eight beside",),
    ),
    Claim(
        "discretise-then-optimise",
        "default",
        "Differentiating through the solver takes 39 % less time than the adjoint, or better.",
        DISCRETISE,
        "39 to 97 % less time",
        ("gradients",),
        tuple(
            Part(
                "a step through the solver takes {} the time of one through the adjoint",
                final("step_seconds"),
                arm,
                arm.but("adjoint", gradient="adjoint"),
                supports=(-_INF, 0.61),
                conditions=("task", "rtol"),
                scale="log",
                unit="×",
            )
            for arm in each_task("direct")
        ),
        traps=(
            "the paper's figures are of whole trainings of its own time-series and flow models, on a GPU too",
            RESTARTS,
            BARELY_TRAINED,
            "per step: nothing is said of the number of steps to a given loss",
        ),
        published_value=0.61,
    ),
    Claim(
        "anode-memory-gradient",
        "default",
        "Where a field cannot be solved backwards (here: exp(20) of squeezing), its adjoint gradient is a tenth off; "
        "checkpoints give it back for less memory than keeping all.",
        ANODE,
        "examples",
        ("gradients-all",),
        (
            _gradient_error("the adjoint's gradient is wrong", _FORCED, (0.1, _INF)),
            _gradient_error("with checkpoints it is wrong", _CHECKPOINTED, (-_INF, 0.01)),
            Part(
                "with checkpoints a step peaks at {} of what it does without",
                final("tensor_peak_bytes"),
                _CHECKPOINTED,
                _FORCED.but("direct", gradient="direct"),
                supports=(-_INF, 1.0),
                scale="log",
                unit="×",
            ),
        ),
        (
            Control(
                "the direct gradient of a network trained from the same seed is right to a hundredth",
                _gradient_error(
                    "the direct gradient is wrong", _FORCED.but("direct", gradient="direct"), (-_INF, 0.01)
                ),
            ),
            Control(
                "a field that is hardly squeezed leaves the adjoint right to a hundredth",
                _gradient_error("the adjoint's gradient is wrong", _FORCED.but("adjoint", rate=1.0), (-_INF, 0.01)),
            ),
            Control(
                "a tolerance a thousand times tighter mends the adjoint to a hundredth",
                _gradient_error("the adjoint's gradient is wrong", _FORCED.but("adjoint", rtol=1e-6), (-_INF, 0.01)),
            ),
        ),
        (
            "a field made for it; trained fields need not be so",
            "squeezed by exp(10), the state is lost backwards too, and the gradient is wrong by a few hundredths only",
            "relative to the gradient's size, which shrinks as the network fits",
        ),
    ),
)
