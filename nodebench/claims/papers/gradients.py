"""Claims on gradients that are exact at less memory than backpropagation: reversible, ACA, MALI, symplectic adjoint."""

import math
from dataclasses import replace

from nodebench.analysis.readings import final, quotient, relative
from nodebench.claims.contract import Arm, Claim, Control, Fit, Kind, Part, Topic, Where, ratio
from nodebench.claims.papers.sources import REVERSIBLE, SYMPLECTIC

_INF = math.inf
_PEAK, _ERROR = final("tensor_peak_bytes"), final("gradient_error")
# The arms that it is read of have fixed steps, so that the counts have no sampling error.
_BACKWARD = replace(quotient(final("nfe_backward"), final("nfe_forward")), exact=True)

# In float32 the trainings of two arms diverge through rounding, so that their errors are those of different fields.
# Without a given first step, direct differentiates the solver's choice of it, and the other gradients do not.
_SQUEEZED_32 = Arm(
    "direct",
    {"task": "toy/contracting", "rate": 10.0, "rtol": 1e-3, "dtype": "float32", "gradient": "direct", "points": 2},
)
_SQUEEZED = _SQUEEZED_32.but("direct", dtype="float64", first_step=0.01)
_OSCILLATOR = Arm("direct", {"task": "toy/van-der-pol", "rtol": 1e-5, "dtype": "float64", "gradient": "direct"})
_RK4 = Arm(
    "direct",
    {
        "task": "toy/spiral",
        "solver": "rk4",
        "dtype": "float64",
        "points": 5,
        "steps_per_epoch": 5,
        "gradient": "direct",
    },
)
_COUPLED = _RK4.but(
    "reversible rk4", gradient="reversible", dtype="float32", coupling=0.99, steps_per_epoch=20, step_size=0.063
)
_LEAPFROG = _RK4.but("direct", solver="mali:alf")
_BLOCK = Arm("direct", {"task": "mnist", "rtol": 1e-3, "batch_size": 8, "gradient": "direct"})
_FLOW = Arm("direct", {"task": "density", "model": "ffjord", "rtol": 1e-4, "batch_size": 64, "gradient": "direct"})
_BEATS = Arm("direct", {"task": "ecg", "dataset": "ecgsyn", "gradient": "direct"})
_STEPS = Fit("step_size", final("nfe_forward"))


def _by(arm: Arm, gradient: str) -> Arm:
    return arm.but(gradient, gradient=gradient)


def _as_exact(gradient: str, arm: Arm, label: str, home: Where | None = None) -> Part:
    """The error of a gradient over that of direct, which has the error of the forward solve and rounding."""
    return ratio(
        "the gradient's error is {} that of direct",
        _ERROR,
        _by(arm, gradient),
        arm,
        supports=(-_INF, 1.1),
        refutes=((1.5, _INF),),
        home=home,
        label=f"{gradient}, {label}",
    )


def _lower_peak(gradient: str, arm: Arm, label: str, home: Where | None = None) -> Part:
    return ratio(
        "a training step peaks at {} the memory of direct",
        _PEAK,
        _by(arm, gradient),
        arm,
        supports=(-_INF, 1.0),
        refutes=((1.0, _INF),),
        home=home,
        label=f"{gradient}, memory, {label}",
    )


def _flat(gradient: str, arm: Arm, label: str) -> Part:
    """The growth of the peak with the steps, over that of direct."""
    return Part(
        "a further evaluation adds {} of the bytes that it adds with direct",
        _PEAK,
        _by(arm, gradient),
        arm,
        supports=(-_INF, 0.05),
        refutes=((0.25, _INF),),
        fit=_STEPS,
        unit="%",
        label=f"{gradient}, growth of memory, {label}",
    )


def _faster(baseline: str, steps: int, **at: float) -> Part:
    """The time of a step over that of another gradient, with which it ran interleaved."""
    return ratio(
        f"a training step takes {{}} the time of {baseline}",
        relative("step_seconds", gradient=baseline),
        _by(_RK4, "reversible").but("reversible", steps_per_epoch=steps, **at),
        supports=(-_INF, 1.0),
        refutes=((1.0, _INF),),
        conditions=() if at else ("step_size",),
        label=f"time against {baseline}",
    )


def _wrong(arm: Arm, label: str = "") -> Part:
    """The error of the reversible gradient at the coupling that suits the squeezed field best."""
    return Part(
        "the reversible gradient has an error of {} of its size",
        _ERROR,
        arm.but("reversible, coupling 0.5", gradient="reversible", coupling=0.5),
        supports=(-_INF, 0.01),
        refutes=((0.1, _INF),),
        scale="log",
        unit="%",
        label=label,
    )


def _calls(gradient: str, arm: Arm, supports: tuple[float, float]) -> Part:
    return Part(
        "a training step makes {} calls of the field backwards for each one forwards",
        _BACKWARD,
        _by(arm, gradient),
        supports=supports,
        conditions=("step_size",),
        scale="log",
        label=f"{gradient}, calls",
    )


_FIRST = "training goes on from slightly other weights in each arm, since rounding differs"

_REVERSIBLE_EXACT = Claim(
    id="reversible-exact",
    kind=Kind.UNIVERSAL,
    topic=Topic.GRADIENTS,
    sentence="A reversible form of a Runge–Kutta method has a gradient that is right to 1 % where the adjoint's is "
    "not, and memory that does not grow with the steps.",
    source=REVERSIBLE,
    published="gradients: stated, no number",
    home="ours: a field on which the adjoint's gradient is wrong, and RK4 with many steps; the source's problems are "
    "not measured",
    studies=("pareto",),
    parts=(
        _wrong(_SQUEEZED, "field squeezed by exp(20), coupling 0.5"),
        _flat("reversible", _RK4, "spiral"),
    ),
    controls=(
        Control(
            "the adjoint's gradient is wrong by a tenth or more on the squeezed field",
            Part(
                "the adjoint's gradient has an error of {} of its size",
                _ERROR,
                _by(_SQUEEZED, "adjoint"),
                supports=(0.1, _INF),
                scale="log",
                unit="%",
            ),
        ),
        Control(
            "a reversible Euler method misses the gradient by more than a reversible rk4",
            ratio(
                "the error of the reversible Euler method's gradient is {} that of rk4",
                _ERROR,
                _COUPLED.but("euler", solver="euler"),
                _COUPLED,
                supports=(1.5, _INF),
            ),
        ),
        Control(
            "at the default coupling of 0.99 the reversible method does not even solve the squeezed field",
            Part(
                "at a coupling of 0.99 the solution is wrong by {} of its size",
                final("solution_error"),
                _by(_SQUEEZED, "reversible"),
                supports=(1.0, _INF),
                scale="log",
                unit="%",
            ),
        ),
        Control(
            "its training step takes no longer than with one level of checkpoints, which the source does not claim",
            _faster("checkpoint", 10),
        ),
        Control("its training step takes no longer than with direct", _faster("direct", 20, step_size=0.063)),
        Control("on the squeezed field in float32 the gradient is right to 1 %, too", _wrong(_SQUEEZED_32)),
    ),
    traps=(
        "the source's gain in time and memory is over recursive checkpoints (diffrax), which take steps again more "
        "often as memory shrinks, and is not judged: the checkpoints of the control, 4 on one level, take each step "
        "again once, and their memory grows with the steps",
        "with adaptive steps and one output interval, a training step with the reversible form was faster than with "
        "one level of checkpoints (study pareto); these checkpoints restart the solver in each segment",
        "a reversible step has two increments in each direction: it makes four evaluations where direct makes one and "
        "checkpoints make two",
        "the seconds are of nodebench's own reversible form, in torch on a CPU, with a field of two components",
        "the error is against the solution of the differential equation, so that it has the error of the steps too",
        "adaptive steps of the reversible form end at each output time",
    ),
    fairness="Equal step sizes or tolerances. Coupling 0.99, the default here; on the squeezed field 0.5, the best of "
    "0.5, 0.9, 0.99 and 1: with the others the method itself is unstable there, in float64 too.",
)

_EXACT_AT_LESS = Claim(
    id="aca-mali-symplectic",
    kind=Kind.UNIVERSAL,
    topic=Topic.GRADIENTS,
    sentence="ACA, MALI and the symplectic adjoint have gradients as exact as direct ones (at most 1.1 times their "
    "error) at less memory where the ODE sets the peak; MALI's does not grow with the steps, and with steps of rk4 the "
    "symplectic adjoint makes at most two calls backwards for each one forwards.",
    source=SYMPLECTIC,
    published="symplectic adjoint: memory O(MN + s) + O(L), 4 units of work against 2; "
    "ACA: about 5 % error against 10 %",
    home="gradients of adaptive solves (of fixed steps for MALI), and the memory of a training step",
    studies=("pareto",),
    parts=(
        *(
            _lower_peak(gradient, arm, label, home={})
            for gradient in ("aca", "symplectic")
            for arm, label in ((_BLOCK, "MNIST"), (_FLOW, "FFJORD"))
        ),
        *(
            _as_exact(gradient, arm, label, home={})
            for gradient in ("aca", "symplectic")
            for arm, label in ((_SQUEEZED, "squeezed field"), (_OSCILLATOR, "Van der Pol"))
        ),
        _as_exact(
            "reversible", _LEAPFROG.but("direct", step_size=0.063, steps_per_epoch=20), "leapfrog (MALI)", home={}
        ),
        _flat("reversible", _LEAPFROG, "leapfrog (MALI)"),
        _calls("symplectic", _RK4, (0.0, 2.0)),
    ),
    controls=(
        Control(
            "the adjoint's error on the squeezed field is 1.5 times that of direct or more",
            ratio(
                "the adjoint's error is {} that of direct",
                _ERROR,
                _by(_SQUEEZED, "adjoint"),
                _SQUEEZED,
                supports=(1.5, _INF),
            ),
        ),
        *(
            Control(f"{gradient} on the squeezed field in float32", _as_exact(gradient, _SQUEEZED_32, "float32"))
            for gradient in ("aca", "symplectic")
        ),
        *(
            Control(
                f"{gradient} saves nothing on ECG, where another part than the ODE sets the peak",
                replace(_lower_peak(gradient, _BEATS, "ECG"), supports=(0.99, 1.01), refutes=None),
            )
            for gradient in ("aca", "symplectic")
        ),
        Control("ACA makes one call backwards for each one forwards", _calls("aca", _RK4, (0.99, 1.01))),
        Control(
            "the symplectic adjoint peaks below ACA on the MNIST block",
            ratio(
                "symplectic peaks at {} the memory of ACA",
                _PEAK,
                _by(_BLOCK, "symplectic"),
                _by(_BLOCK, "aca"),
                supports=(-_INF, 1.0),
            ),
        ),
    ),
    traps=(
        _FIRST,
        "direct differentiates torchdiffeq's choice of the first step too, the others do not: on the squeezed field "
        "the first step is given",
        "a symplectic step of s stages makes 2 s - 1 calls backwards; the last stage's is not made twice",
        "stem, head, parameters and the batch of the MNIST network are in both arms, and limit what can be saved",
        "an accepted step of dopri5 makes 13 calls backwards for 6 forwards, slightly more than two for each",
        "all three are nodebench's own code, not the authors' packages",
    ),
    fairness="The same steps in every arm: those that the library takes, or those of one step size.",
)

CLAIMS = (_REVERSIBLE_EXACT, _EXACT_AT_LESS)
