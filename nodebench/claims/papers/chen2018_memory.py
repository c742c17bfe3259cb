"""Claims of Chen et al. 2018 on the memory of training (sections 2 and 3)."""

import math

from nodebench.analysis.readings import (
    axis,
    final,
)
from nodebench.claims.contract import SOLVING, Arm, Claim, Control, Fit, Part, Topic, Where, ratio
from nodebench.claims.papers.chen2018_accuracy import ODENET, RESNET
from nodebench.claims.papers.sources import chen2018

_INF = math.inf

BARELY_TRAINED = "measured after 15 to 100 training steps, on MNIST at chance: costs of a field that is hardly trained"

_WINDOWS = Arm(
    "adjoint",
    {"task": "toy/spiral", "solver": "rk4", "gradient": "adjoint", "training": "windows", "steps_per_epoch": 2},
)
_TRAJECTORY = _WINDOWS.but("adjoint", training="trajectory", step_size=0.1)
_BLOCK = Arm("adjoint", {"task": "mnist", "solver": "rk4", "gradient": "adjoint", "train_images": 128})
MNIST_ADJOINT = Arm(
    "adjoint", {"task": "mnist", "model": "odenet", "solver": "dopri5", "gradient": "adjoint", "rtol": (1e-3, 1e-5)}
)
_SERIES = Arm("adjoint", {"task": ("latent-spirals", "ecg"), "solver": "dopri5", "gradient": "adjoint"})


def _direct(arm: Arm) -> Arm:
    return arm.but("direct", gradient="direct")


def _memory_slope(words: str, label: str, arm: Arm, fit: Fit, home: Where | None = None) -> Part:
    """The growth of the adjoint's memory over the growth of direct's."""
    return Part(
        words,
        final("tensor_peak_bytes"),
        arm,
        _direct(arm),
        supports=(-_INF, 0.05),
        refutes=((0.25, _INF),),
        fit=fit,
        home=home,
        unit="%",
        label=label,
    )


_STEPS = Fit("step_size", final("nfe_forward"))
_MEMORY = (
    Claim(
        id="memory-constant",
        scope="paper",
        topic=Topic.MEMORY,
        sentence="Training through the adjoint needs memory that does not grow with the number of solver steps: its "
        "growth is at most 5 % of that of backpropagation through the solver.",
        source=chen2018(
            "section 1, “Memory efficiency”",
            "allows us to train our models with constant memory cost as a function of depth",
        ),
        published="O(1) against O(L)",
        published_value=0.0,
        home="the MNIST block over solver steps",
        studies=("memory",),
        parts=(
            _memory_slope(
                "with the adjoint, a further evaluation adds {} of the memory that it adds with direct",
                "MNIST block",
                _BLOCK,
                _STEPS,
                home={},
            ),
            _memory_slope(
                "with the adjoint, a further evaluation adds {} of the memory that it adds with direct",
                "spiral",
                _WINDOWS,
                _STEPS,
            ),
        ),
        controls=(
            Control(
                "the adjoint's memory does not grow with the number of output times",
                _memory_slope(
                    "with the adjoint, a further output time adds {} of the memory that it adds with direct",
                    "output times",
                    _TRAJECTORY,
                    Fit("points", axis("points")),
                ),
            ),
        ),
        traps=(
            "the solution at each output time is stored: with many of them the adjoint's memory grows too, the likely "
            "cause of torchdiffeq issue 259",
            "with few steps and many outputs the adjoint needs more memory than direct",
            "peak of live tensors, exact on the CPU; an allocator holds more",
        ),
        fairness="Fixed steps of rk4, so that both gradients take the same steps.",
    ),
    Claim(
        id="memory-constant",
        topic=Topic.MEMORY,
        sentence="The whole MNIST ODE-Net trains in at least a quarter less memory through the adjoint, in batches of "
        "64.",
        source=chen2018(
            "section 3",
            "the adjoint sensitivity method is not only more memory efficient, but also more computationally efficient",
        ),
        published="O(1) against O(L); no figure for a whole network",
        home="the MNIST ODE-Net",
        studies=("gradients", "table1"),
        parts=(
            ratio(
                "a training step by the adjoint has {} the peak memory of one by direct",
                final("tensor_peak_bytes"),
                MNIST_ADJOINT,
                _direct(MNIST_ADJOINT),
                supports=(-_INF, 0.75),
                refutes=((1.0, _INF),),
                conditions=("rtol",),
                home={},
            ),
        ),
        controls=(
            Control(
                "a latent ODE saves a quarter too",
                ratio(
                    "a training step by the adjoint has {} the peak memory of one by direct",
                    final("tensor_peak_bytes"),
                    _SERIES,
                    _direct(_SERIES),
                    supports=(-_INF, 0.75),
                    conditions=("task",),
                ),
            ),
            Control(
                "the ODE-Net needs less memory than the ResNet that it replaces",
                ratio(
                    "the ODE-Net with the adjoint peaks at {} the memory of the ResNet",
                    final("tensor_peak_bytes"),
                    ODENET,
                    RESNET,
                    supports=(-_INF, 1.0),
                    may_differ=SOLVING,
                ),
            ),
        ),
        traps=(
            "stem, head, parameters and the batch are in both arms, and limit what can be saved",
            "with batches of 8 the adjoint saves little memory or needs more than direct (studies pareto and "
            "gradients-all): its state holds the gradients of all parameters",
            "the quarter is our threshold, not the paper's",
            BARELY_TRAINED,
        ),
    ),
)

CLAIMS = _MEMORY
