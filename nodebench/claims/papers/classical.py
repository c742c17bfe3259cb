"""Claims on solving itself that users meet: output times, Euler's method under the adjoint, stiff fields."""

import math
from typing import Any

from nodebench.analysis.readings import Reading, at_epoch, axis, final, quotient
from nodebench.claims.contract import Arm, Claim, Control, Fit, Kind, Part, Topic, Wanted, Where, ratio
from nodebench.claims.papers.sources import EULER_ADJOINT, MORE_OUTPUTS, STIFF_GRADIENT, UNION_OF_TIMES

_INF = math.inf

_ONE_STEP: dict[str, Wanted] = {"training": "trajectory", "steps_per_epoch": 1, "gradient": "adjoint"}
_MANY = Arm("solve with 1,000 output times", {**_ONE_STEP, "task": "toy/spiral", "points": 1000, "rtol": 1e-5})
_MOVING = _MANY.but(_MANY.name, task="toy/hybrid-lotka-volterra", solver="dopri5")
_TORCHDIFFEQ = ("dopri5", "bosh3", "dopri8")
_COUNTED_BACKWARD = (*_TORCHDIFFEQ, "torchode:dopri5", "scipy:RK45", "scipy:LSODA")
_ANY = ("adjoint", "direct")  # torchdyn has no plain adjoint
_EVERY = _MANY.but(_MANY.name, solver=(*_COUNTED_BACKWARD, "diffrax:dopri5", "torchdyn:dopri5"), gradient=_ANY)
_FIXED = Arm(_MANY.name, {**_ONE_STEP, "task": "toy/spiral", "points": 1000, "solver": "rk4", "step_size": 0.1})


def _more_evaluations(
    words: str, reading: Reading, arm: Arm, label: str, conditions: tuple[str, ...] = (), home: Where | None = None
) -> Part:
    """Evaluations with 1,000 output times over those with the two that any solve has."""
    return ratio(
        words,
        reading,
        arm,
        arm.but("solve with 2", points=2),
        supports=(-_INF, 1.01),
        conditions=conditions,
        home=home,
        label=label,
    )


_FORWARD = "with 1,000 output times, the solve takes {} the evaluations of one with 2"
_BACKWARD = "with 1,000 output times, the backward solve takes {} the evaluations of one with 2"

_OUTPUTS_ARE_FREE = Claim(
    id="outputs-are-free",
    topic=Topic.EVALUATIONS,
    sentence="More output times cost no evaluations: with 1,000 of them a solve takes at most 1 % more than with 2.",
    source=MORE_OUTPUTS,
    published="none",
    published_value=1.0,
    home="the forward solve by an adaptive method of torchdiffeq",
    studies=("outputs",),
    parts=(
        _more_evaluations(
            _FORWARD,
            final("nfe_forward"),
            _EVERY,
            "forward",
            ("solver",),
            {"solver": _TORCHDIFFEQ},
        ),
        _more_evaluations(_FORWARD, final("nfe_forward"), _MOVING, "forward, Lotka–Volterra", home={}),
        _more_evaluations(_FORWARD, final("nfe_forward"), _FIXED, "forward, rk4 with steps of 0.1"),
        _more_evaluations(
            _BACKWARD,
            final("nfe_backward"),
            _MANY.but(_MANY.name, solver=_COUNTED_BACKWARD),
            "backward",
            ("solver",),
        ),
        _more_evaluations(_BACKWARD, final("nfe_backward"), _MOVING, "backward, Lotka–Volterra"),
    ),
    controls=(
        Control(
            "the direct gradient changes nothing in the forward solve",
            _more_evaluations(_FORWARD, final("nfe_forward"), _MOVING.but(_MANY.name, gradient="direct"), "direct"),
        ),
        Control(
            "without a step size a fixed-step method takes a step to each output time",
            ratio(
                _FORWARD,
                final("nfe_forward"),
                _FIXED.but(_MANY.name, step_size=None),
                _FIXED.but("solve with 2", step_size=None, points=2),
                supports=(100.0, _INF),
                label="rk4, a step an output",
            ),
        ),
    ),
    traps=(
        "evaluations alone: an output that is interpolated takes time and memory",
        "at the initial weights, from which both arms start; on the spiral the field is small there",
        "an adjoint jumps at each output time, where its solver starts again",
        "an output that is interpolated has the error of the interpolation",
        "torchdyn is called with its defaults, which step to each output time; with its option interpolator='4th' "
        "outputs are free there too",
    ),
    fairness="One solve of one field over one span at one tolerance in float64; only the output times differ.",
)

_OWN: dict[str, Wanted] = {
    "task": "toy/hybrid-lotka-volterra",
    "model": "hybrid",
    "solver": "dopri5",
    "rtol": 1e-5,
    "dtype": "float64",
    "irregular": True,
    "points": 100,
    "batch_size": 10,
    "window": (2, 5),
    "gradient": "adjoint",
}
_UNION = Arm("the union", {**_OWN, "own_times": "union"})
_RESCALED = Arm("rescaled intervals", {**_OWN, "own_times": "rescaled"})
_ALONE = Arm("each sample alone", {**_OWN, "own_times": "alone"})


def _own_times(words: str, metric: str, label: str, arm: Arm = _UNION, against: Arm = _RESCALED, **rest: Any) -> Part:
    """A metric of one way to solve a batch with times of its own over that of another way."""
    return ratio(words, final(metric), arm, against, label=label, conditions=("window",), **rest)


_UNION_OF_TIMES = Claim(
    id="union-of-times",
    topic=Topic.EVALUATIONS,
    sentence="Where each sample has output times of its own, one solve with outputs at the union of all times takes at "
    "most 1 % more evaluations than rescaling each sample's intervals to a common one.",
    source=UNION_OF_TIMES,
    published="none",
    published_value=1.0,
    home="the forward solve of samples with a start and an end each",
    studies=("own-times",),
    parts=(
        _own_times(
            "the forward solve of the union takes {} the evaluations of rescaled intervals",
            "nfe_forward",
            "forward",
            supports=(-_INF, 1.01),
            home={"window": 2},
        ),
        _own_times(
            "the backward solve of the adjoint through the union takes {} the evaluations of rescaled intervals",
            "nfe_backward",
            "backward",
            supports=(-_INF, 1.01),
        ),
    ),
    controls=(
        Control(
            "each sample alone takes more evaluations than the union, forward",
            _own_times(
                "each sample alone takes {} the evaluations of the union",
                "nfe_forward",
                "alone, forward",
                _ALONE,
                _UNION,
                supports=(1.0, _INF),
            ),
        ),
        Control(
            "the gradient through the union has at most three times the error of the one through rescaled intervals",
            _own_times(
                "the gradient through the union has {} the error of the gradient through rescaled intervals",
                "gradient_error",
                "error of the direct gradient",
                _UNION.but(_UNION.name, gradient="direct"),
                _RESCALED.but(_RESCALED.name, gradient="direct"),
                supports=(-_INF, 3.0),
            ),
        ),
    ),
    traps=(
        "the comparison with rescaled intervals is ours: the author says that further output times take no "
        "evaluations, and in issue 122 calls the union the brute-force solution",
        "the adjoint restarts at each time of the union, up to 40 for windows of 5, and once a rescaled interval",
        "one evaluation covers ten samples in a batched solve, and one sample where each is solved alone",
        "the solve of the union stores the state of every sample at every time of the batch",
        "evaluations are compared at equal tolerance, not at equal error",
    ),
    fairness="One field, batch and tolerance; the rescaled intervals are the change of variables that the same author "
    "advises in issue 122.",
)

_COARSE = Arm("adjoint", {"task": "toy/spiral", "solver": "euler", "gradient": "adjoint", "window": 2, "points": 25})
_STEPS = (1.05, 0.525, 0.2625, 0.13125)
_WINDOWS = Arm("adjoint", {"task": "toy/spiral", "solver": "euler", "gradient": "adjoint", "window": 10})
_CONTROL = _COARSE.but("adjoint, dopri5", solver="dopri5", rtol=1e-5)
_FALL = quotient(at_epoch("loss", -1), at_epoch("loss", 1))


def _trained(
    arm: Arm, diverges: bool, label: str = "", conditions: tuple[str, ...] = (), home: Where | None = None
) -> Part:
    """The loss of the last epoch over that of the first; parts of one label hold or fail together."""
    return ratio(
        f"through the {arm.name} the last epoch has {{}} the loss of the first",
        _FALL,
        arm,
        supports=(1.0, _INF) if diverges else (-_INF, 1.0),
        conditions=conditions,
        home=home,
        label=label,
        joint=label,
    )


def _apart(arm: Arm, label: str, conditions: tuple[str, ...] = (), home: Where | None = None) -> tuple[Part, Part]:
    """The adjoint diverges, direct does not."""
    direct = arm.but("solver", gradient="direct")
    return _trained(arm, True, label, conditions, home), _trained(direct, False, label, conditions, home)


_EULER_ADJOINT = Claim(
    id="euler-adjoint-diverges",
    topic=Topic.GRADIENTS,
    sentence="With steps of Euler's method, training through the adjoint diverges where training through the "
    "solver's operations does not.",
    source=EULER_ADJOINT,
    published="a plot of the loss",
    home="one Euler step to the only output time of a window",
    studies=("euler-adjoint",),
    parts=(
        *_apart(_COARSE.but("adjoint", step_size=_STEPS), "one interval", ("step_size",), {"step_size": 1.05}),
        *_apart(_WINDOWS, "nine intervals of one step"),
    ),
    controls=(
        Control("with dopri5 the loss through the adjoint falls", _trained(_CONTROL, False)),
        Control(
            "with one step, direct ends with at most half the loss of the adjoint",
            ratio(
                "direct ends with {} the loss of the adjoint",
                at_epoch("loss", -1),
                _COARSE.but("direct", gradient="direct", step_size=1.05),
                _COARSE.but("adjoint", step_size=1.05),
                supports=(-_INF, 0.5),
            ),
        ),
    ),
    traps=(
        "diverges means that the last epoch has a larger mean loss than the first, or that the training failed",
        "direct fits the Euler map, which is no flow: it may end low and be wrong under a finer solver",
        "RMSprop bounds each step, so that a wrong gradient drifts where plain gradient descent would run away",
        "a similar report, issue 211, is about images; here there is a field of two dimensions",
        "the source has one step; the finer steps are ours",
    ),
    fairness="Both arms have the same weights, batches and steps; the learning rate was not tuned for either.",
)

_L_STABLE = ("diffrax:impliciteuler", "diffrax:kvaerno3", "diffrax:kvaerno4", "diffrax:kvaerno5")
_ONE = Arm("implicit step", {"task": "toy/stiff-decay", "solver": _L_STABLE})
_FAST = Fit("stiffness", axis("stiffness"), "slope", logs=True)


def _power(words: str, arm: Arm, supports: tuple[float, float], home: Where | None = None) -> Part:
    """The power of |hλ| that the derivative of one step follows."""
    return Part(
        words,
        final("sensitivity"),
        arm,
        supports=supports,
        conditions=("solver",),
        fit=_FAST,
        home=home,
    )


_STIFF_GRADIENT_VANISHES = Claim(
    id="stiff-gradient-vanishes",
    kind=Kind.UNIVERSAL,
    topic=Topic.GRADIENTS,
    sentence="Under every L-stable method the gradient of a fast rate vanishes: the derivative of a step in λ "
    "falls at least as fast as 1 / |hλ|, here from 1e2 to 1e6.",
    source=STIFF_GRADIENT,
    published="at least as fast as 1 / |hλ|; (hλ)⁻² for implicit Euler",
    published_value=-1.0,
    home="one step of the linear test equation y' = λ y by an implicit method",
    studies=("stiff-gradient",),
    parts=(_power("it follows the power {} of |hλ|", _ONE, (-_INF, -1.0), home={}),),
    controls=(
        Control(
            "under explicit methods, which are unstable there, it does not fall",
            _power(
                "it follows the power {} of |hλ|",
                _ONE.but("explicit step", solver=("euler", "rk4")),
                (-0.01, _INF),
            ),
        ),
    ),
    traps=(
        "the exact gradient h exp(hλ) vanishes too, and much faster: at |hλ| = 100 it is 4e-44 of h",
        "a decay that fast leaves nothing in the data from which its rate could be learned, under any method",
        "one step over the whole decay; a solver that resolves the decay has steps of |hλ| near 1",
        "four methods of one library are measured, with real rates; for every other L-stable method the sentence rests "
        "on the source's proof",
        "the source speaks of methods that are A-stable only, too: none of the libraries that nodebench measures "
        "has one with a gradient",
    ),
    fairness="Each method takes one step of one length from one state in float64; the gradient is the library's own.",
)

CLAIMS = (_OUTPUTS_ARE_FREE, _UNION_OF_TIMES, _EULER_ADJOINT, _STIFF_GRADIENT_VANISHES)
