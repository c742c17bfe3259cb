"""Claims of Chen et al. 2018: what training costs in memory, evaluations and time (sections 2 and 3, Figure 3)."""

import math

from nodebench.analysis.claims.accuracy import ODENET, RESNET
from nodebench.analysis.claims.contract import (
    SOLVING,
    Arm,
    Claim,
    Control,
    Fit,
    Part,
    Wanted,
    axis,
    final,
    quotient,
    total,
)
from nodebench.analysis.claims.sources import chen2018

_INF = math.inf

RESTARTS = "each output interval restarts the backward solve at any rtol: 1 on MNIST, 9 on the spiral, 99 on series"
BARELY_TRAINED = "measured after 20 to 100 training steps (MNIST still at chance): costs of a barely trained field"

# --- memory

_WINDOWS = Arm(
    "adjoint",
    {"task": "toy/spiral", "solver": "rk4", "gradient": "adjoint", "training": "windows", "steps_per_epoch": 2},
)
_TRAJECTORY = _WINDOWS.but("adjoint", training="trajectory", step_size=0.1)
_NETWORK_STEPS = Arm("adjoint", {"task": "mnist", "solver": "rk4", "gradient": "adjoint", "train_images": 128})
_NETWORK = Arm(
    "adjoint",
    {"task": "mnist", "model": "odenet", "solver": "dopri5", "gradient": "adjoint", "rtol": (1e-3, 1e-5)},
)


_SERIES = Arm("adjoint", {"task": ("latent-spirals", "ecg"), "solver": "dopri5", "gradient": "adjoint"})


def _direct(arm: Arm) -> Arm:
    return arm.but("direct", gradient="direct")


def _memory_slope(words: str, arm: Arm, fit: Fit) -> Part:
    """How fast the adjoint's memory grows, over how fast that of direct does."""
    return Part(words, final("tensor_peak_bytes"), arm, _direct(arm), supports=(-_INF, 0.05), fit=fit, unit="%")


_MEMORY = (
    Claim(
        "memory-constant",
        "paper",
        "Training through the adjoint needs memory that does not grow with the steps (here: rk4 on a spiral).",
        chen2018("sections 1 and 2"),
        "O(1) against O(L)",
        ("memory",),
        (
            _memory_slope(
                "a further evaluation costs the adjoint {} of the bytes that it costs direct",
                _WINDOWS,
                Fit("step_size", final("nfe_forward")),
            ),
        ),
        (
            Control(
                "nor does it grow with the number of output times",
                _memory_slope(
                    "a further output time costs the adjoint {} of the bytes that it costs direct",
                    _TRAJECTORY,
                    Fit("points", axis("points")),
                ),
            ),
            Control(
                "nor with the steps of a convolutional ODE block",
                _memory_slope(
                    "a further evaluation of the MNIST block costs the adjoint {} of the bytes that it costs direct",
                    _NETWORK_STEPS,
                    Fit("step_size", final("nfe_forward")),
                ),
            ),
        ),
        (
            "the solution at each output time is stored: with many of them the adjoint's memory grows too, the likely "
            "cause of torchdiffeq issue 259",
            "with few steps and many outputs the adjoint needs more memory than direct",
            "peak of live tensors, exact on the CPU; an allocator keeps more",
        ),
        published_value=0.0,
    ),
    Claim(
        "memory-constant",
        "default",
        "The MNIST ODE-Net, stem and head and all, trains in at least a quarter less memory through the adjoint.",
        chen2018("section 3"),
        "O(1) against O(L); no figure for a whole network",
        ("gradients", "table1"),
        (
            Part(
                "with the adjoint a step of MNIST peaks at {} the bytes",
                final("tensor_peak_bytes"),
                _NETWORK,
                _direct(_NETWORK),
                supports=(-_INF, 0.75),
                conditions=("rtol",),
                scale="log",
                unit="×",
            ),
        ),
        (
            Control(
                "so does a latent ODE",
                Part(
                    "with the adjoint a step peaks at {} the bytes",
                    final("tensor_peak_bytes"),
                    _SERIES,
                    _direct(_SERIES),
                    supports=(-_INF, 0.75),
                    conditions=("task",),
                    scale="log",
                    unit="×",
                ),
            ),
            Control(
                "and it needs less than the ResNet that it stands in for",
                Part(
                    "the ODE-Net through the adjoint peaks at {} the bytes of the ResNet",
                    final("tensor_peak_bytes"),
                    ODENET,
                    RESNET,
                    supports=(-_INF, 1.0),
                    may_differ=SOLVING,
                    scale="log",
                    unit="×",
                ),
            ),
        ),
        ("stem, head, parameters and the batch stand in both arms, and bound what can be saved", BARELY_TRAINED),
    ),
)

# --- Figure 3: tolerance, error, time, evaluations

_SHORT = Arm("ODE-Net", {"task": "mnist", "model": "odenet", "solver": "dopri5", "gradient": "adjoint"})
_BOTH_WAYS = total(final("nfe_forward"), final("nfe_backward"))
_BACKWARD_OVER_FORWARD = quotient(final("nfe_backward"), final("nfe_forward"))
# Tolerances at which study gradients measures each task.
_MEASURED: dict[str, tuple[float, ...]] = {
    "mnist": (1e-3, 1e-5),
    "toy/spiral": (1e-3, 1e-7),
    "latent-spirals": (1e-7,),
    "ecg": (1e-5,),
}


def _power(arm: Arm) -> Part:
    """To which power of the tolerance the error falls."""
    return Part(
        "the error falls as the tolerance to the power {}",
        final("solution_error"),
        arm,
        supports=(0.7, 1.3),
        fit=Fit("rtol", axis("rtol"), logs=True),
    )


def _backward(arm: Arm, conditions: tuple[str, ...]) -> Part:
    return Part(
        "the backward solve takes {} the evaluations of the forward one",
        _BACKWARD_OVER_FORWARD,
        arm,
        supports=(0.4, 0.6),
        refutes=((0.75, _INF),),
        conditions=conditions,
        scale="log",
        unit="×",
    )


_LSODA = Arm(
    "LSODA",
    {
        "task": "toy/spiral",
        "solver": "scipy:LSODA",
        "gradient": "adjoint",
        "rtol": (1e-2, 1e-3, 1e-4, 1e-5),
    },
)


def each_task(gradient: str) -> list[Arm]:
    """An arm for each task of study gradients, at the tolerances measured there."""
    common: dict[str, Wanted] = {"solver": "dopri5", "gradient": gradient, "loss_scale": (1.0, None)}
    return [Arm(gradient, {**common, "task": task, "rtol": rtol}) for task, rtol in _MEASURED.items()]


_FIGURE_3 = (
    Claim(
        "error-follows-tolerance",
        "default",
        "The error of the solution is proportional to the solver's tolerance (here: MNIST networks after 31 steps).",
        chen2018("section 3, Figure 3a"),
        "stated, and drawn",
        ("fig3", "solvers"),
        (_power(_SHORT),),
        (
            Control(
                "the error is nowhere above the tolerance, if not in proportion to it",
                Part(
                    "the error is {} the tolerance",
                    quotient(final("solution_error"), axis("rtol")),
                    _SHORT,
                    supports=(-_INF, 1.0),
                    conditions=("rtol",),
                    scale="log",
                    unit="×",
                ),
            ),
            Control(
                "it is proportional on the spiral",
                _power(Arm("spiral", {"task": "toy/spiral", "solver": "dopri5", "gradient": "adjoint"})),
            ),
            Control(
                "so it is where the solution is known, x' = 1 − x in float64",
                _power(Arm("closed form", {"task": "toy/exponential", "solver": "dopri5"})),
            ),
        ),
        (
            "after 31 steps these networks classify at chance, and each tolerance has a network of its own",
            "the error falls with each tolerance in every seed, but slowly: loose ones are met with much to spare",
            "float32 has a floor near 1e-6: tolerances from 1e-1 to 1e-5 only",
            "the norm is a mean over the batch, so that a hard image is diluted",
            "dopri5 steps past the end and interpolates, with an error that the tolerance does not control",
            "relative error of the final state against float64 at 1e-7, on a network trained at that tolerance",
        ),
        published_value=1.0,
    ),
    Claim(
        "time-follows-nfe",
        "default",
        "The time of a step is proportional to the number of evaluations.",
        chen2018("section 3, Figure 3b"),
        "stated, and drawn",
        ("fig3",),
        (
            Part(
                "evaluations explain {} of the variance of the step time over tolerances",
                final("step_seconds"),
                _SHORT,
                supports=(0.95, _INF),
                within=(0.0, 1.0),
                fit=Fit("rtol", _BOTH_WAYS, "r_squared"),
                unit="%",
            ),
            Part(
                "the line of time on evaluations misses the origin by {} of the mean step",
                final("step_seconds"),
                _SHORT,
                supports=(-_INF, 0.10),
                fit=Fit("rtol", _BOTH_WAYS, "offset"),
                unit="%",
            ),
        ),
        traps=(
            "trials run in random order, each in a process of its own; those whose machine drifted are left out",
            "stem, head and optimiser take time without evaluating the field: the second part is theirs",
            "an evaluation backward costs a vector-Jacobian product too: the mix of both is what is regressed on",
        ),
    ),
    Claim(
        "backward-half",
        "paper",
        "The backward pass needs about half the forward evaluations (SciPy's Adams method; here on a spiral).",
        chen2018("section 3, Figure 3c"),
        "about half",
        ("fig3",),
        (_backward(_LSODA, ("rtol",)),),
        traps=(
            "LSODA changes between Adams and BDF by itself; the paper says an implicit Adams method",
            RESTARTS,
            "the state is two-dimensional here, and a trained image classifier in the paper",
            "the loss's scale changes the backward count through the absolute tolerance",
        ),
        published_value=0.5,
    ),
    Claim(
        "backward-half",
        "default",
        "The backward pass needs about half the evaluations of the forward pass (dopri5, torchdiffeq's default).",
        chen2018("section 3, Figure 3c"),
        "about half, measured with another solver",
        ("gradients",),
        tuple(_backward(arm, ("task", "rtol")) for arm in each_task("adjoint")),
        (
            Control(
                "a loss a thousand times larger needs the same backward evaluations",
                Part(
                    "a loss 1,000 times larger takes {} the backward evaluations",
                    final("nfe_backward"),
                    Arm("loss × 1000", {"task": "toy/spiral", "gradient": "adjoint", "loss_scale": 1000.0}),
                    Arm("loss × 1", {"task": "toy/spiral", "gradient": "adjoint", "loss_scale": 1.0}),
                    supports=(0.95, 1.05),
                    conditions=("rtol",),
                    scale="log",
                    unit="×",
                ),
            ),
        ),
        (
            RESTARTS,
            BARELY_TRAINED,
            "the loss's scale changes the backward count through the absolute tolerance",
            "the adjoint's error norm includes the parameters' part",
        ),
        published_value=0.5,
    ),
    Claim(
        "adjoint-cheaper",
        "default",
        "A training step through the adjoint takes no longer than one through the solver.",
        chen2018("inferred from sections 2 and 3"),
        "not claimed in the paper; inferred from it",
        ("gradients",),
        tuple(
            Part(
                "a step through the adjoint takes {} the time of one through the solver",
                final("step_seconds"),
                arm,
                _direct(arm),
                supports=(-_INF, 1.0),
                conditions=("task", "rtol"),
                scale="log",
                unit="×",
            )
            for arm in each_task("adjoint")
        ),
        traps=(
            "with one output time, as on MNIST, the ratio is smallest; " + RESTARTS,
            BARELY_TRAINED,
            "where memory is short the adjoint may be the only way, whatever its time",
            "an evaluation backward costs a forward one and a vector-Jacobian product",
        ),
    ),
)

CLAIMS = (
    *_MEMORY,
    *_FIGURE_3,
)
