"""Claims about libraries, and about what the norm of an error leaves out."""

import math

from nodebench.analysis.claims.contract import Arm, Claim, Control, Match, Part, Wanted, final, quotient
from nodebench.analysis.claims.sources import DIFFRAX, SEMINORM, TORCHODE

_INF = math.inf

_TASKS = ("toy/spiral", "toy/lotka-volterra", "mnist")
_DIFFRAX = Arm("diffrax", {"task": _TASKS, "solver": "diffrax:dopri5", "gradient": "checkpoint"})
_TORCHDIFFEQ = Arm("torchdiffeq", {"task": _TASKS, "solver": "dopri5", "gradient": "direct"})


def _faster(words: str, error: str) -> Part:
    """A training step of diffrax over one of torchdiffeq, where both err equally."""
    return Part(
        words,
        final("step_seconds"),
        _DIFFRAX,
        _TORCHDIFFEQ,
        supports=(-_INF, 1 / 1.3),
        conditions=("task",),
        match=Match("rtol", final(error)),
        scale="log",
        unit="×",
    )


_OSCILLATOR: dict[str, Wanted] = {"task": "toy/flow", "model": "van-der-pol", "rtol": 1e-5}
_JOINT = Arm(
    "torchdiffeq, one step for all",
    {**_OSCILLATOR, "solver": "dopri5", "batching": None, "starts": 32, "mu": (10.0, 25.0, 50.0)},
)
_EACH = _JOINT.but("torchode, a step for each", solver="torchode:dopri5", batching="each")
_LOOP = Arm("torchdiffeq", {**_OSCILLATOR, "solver": "dopri5", "batching": None, "starts": 256, "dtype": "float32"})


def _a_call(words: str, supports: tuple[float, float], **arm: str) -> Part:
    """Seconds of one evaluation with all that the library does around it, over torchdiffeq's."""
    return Part(
        words,
        quotient(final("step_seconds"), final("nfe_forward")),
        _LOOP.but("the other library", **arm),
        _LOOP,
        supports=supports,
        scale="log",
        unit="×",
    )


CLAIMS = (
    Claim(
        "diffrax-faster",
        "default",
        "At equal achieved error diffrax trains faster than torchdiffeq, by a factor of 1.3 or more.",
        DIFFRAX,
        "1.3 to 20 × faster",
        ("libraries",),
        (_faster("at equal error of the solution a step takes {} the time of torchdiffeq's", "solution_error"),),
        (
            Control(
                "at equal error of the gradient it is faster as well",
                _faster("at equal error of the gradient a step takes {} the time", "gradient_error"),
            ),
        ),
        (
            "compilation, seconds for each shape of the state, stands apart as first_step_seconds",
            "one thread of a CPU; states cross between torch and JAX at each step, the rest of the network is torch's",
            "diffrax differentiates by its default, recursive checkpointing; torchdiffeq through all of its operations",
            "XLA on a CPU runs a convolution inside a loop, as every solve is, some 25 × slower than outside",
            "diffrax 0.7 always begins with a step of 0.01",
        ),
        published_value=1 / 1.3,
    ),
    Claim(
        "torchode-batching",
        "default",
        "Where each sample steps on its own, a stiff batch takes half the evaluations or less, and a compiled loop is "
        "faster.",
        TORCHODE,
        "up to 4 × fewer steps; per step 3.58 ms torchdiffeq, 3.21 torchode, 1.63 compiled",
        ("batching",),
        (
            Part(
                "a sample that steps on its own takes {} the evaluations of a joint batch",
                final("sample_evaluations"),
                _EACH,
                _JOINT,
                supports=(-_INF, 0.5),
                conditions=("mu",),
                scale="log",
                unit="×",
            ),
            _a_call(
                "compiled whole, an evaluation with all around it takes {} the time of torchdiffeq's",
                (-_INF, 0.75),
                solver="torchode:dopri5",
                batching="each",
                compile="solver",
            ),
        ),
        (
            Control(
                "eager, it takes no longer than torchdiffeq",
                _a_call("eager, it takes {} the time", (-_INF, 1.0), solver="torchode:dopri5", batching="each"),
            ),
            Control(
                "diffrax takes a quarter of the time",
                _a_call("diffrax takes {} the time", (-_INF, 0.35), solver="diffrax:dopri5", batching="each"),
            ),
        ),
        (
            "samples whose solve is over are evaluated along with the others: fewer are needed, not fewer made",
            "the paper's times are of one accelerator; these are of one thread of a CPU",
            "equal tolerances, each library's own first step; the error of a stiff solve is not measured",
        ),
        published_value=0.25,
    ),
    Claim(
        "seminorm-saves",
        "default",
        "Leaving the parameters out of the adjoint's error norm saves a fifth of the backward evaluations or more.",
        SEMINORM,
        "median 40 %, up to 62 % fewer",
        ("gradients-all",),
        (
            Part(
                "without the parameters in its norm the backward solve takes {} the evaluations",
                final("nfe_backward"),
                Arm("adjoint-seminorm", {"task": _TASKS, "solver": "dopri5", "gradient": "adjoint-seminorm"}),
                Arm("adjoint", {"task": _TASKS, "solver": "dopri5", "gradient": "adjoint"}),
                supports=(-_INF, 0.8),
                conditions=("task", "rtol"),
                scale="log",
                unit="×",
            ),
        ),
        traps=(
            "the paper's networks are neural controlled equations, flows and Hamiltonian networks",
            "the step of a backward solve over a short interval is bound by its restart, whatever the norm",
            "measured after few training steps",
        ),
        published_value=0.6,
    ),
)
