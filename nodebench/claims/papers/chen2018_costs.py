"""Claims of Chen et al. 2018 on costs: evaluations and time of training (sections 1 to 3, Figure 3)."""

import math
from typing import Literal

from nodebench.analysis.readings import (
    Reading,
    at_epoch,
    at_tolerance,
    axis,
    final,
    profile_power,
    quotient,
    relative,
    scaled,
)
from nodebench.claims.contract import Arm, Claim, Control, Fit, Gate, Part, Topic, Wanted, Where, ratio
from nodebench.claims.papers.chen2018_accuracy import ODENET
from nodebench.claims.papers.chen2018_memory import BARELY_TRAINED
from nodebench.claims.papers.sources import chen2018
from nodebench.spec.metrics import short

_INF = math.inf

RESTARTS = (
    "the backward solve restarts at each output time: once on MNIST and for flows, 9 times on the spiral, 99 times on "
    "series"
)

# --- Figure 3a and 3b: tolerance, error, time

_TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_CLOSED_FORM = Arm("closed form", {"task": "toy/exponential", "solver": "dopri5"})


def _error_at(rtol: float) -> Part:
    """The error of one trained network at a tolerance, over that tolerance."""
    label = f"tolerance {short(rtol)}"
    reading = scaled(at_tolerance("solution_error", rtol), 1 / rtol, f"solution error / {short(rtol)}")
    return ratio(
        "the error is {} the tolerance",
        reading,
        ODENET,
        supports=(-_INF, 10.0),
        home={},
        label=label,
    )


def _power(arm: Arm) -> Part:
    """The power of the tolerance that the error follows."""
    return Part(
        "the error falls as the tolerance to the power {}",
        final("solution_error"),
        arm,
        supports=(0.7, 1.3),
        fit=Fit("rtol", axis("rtol"), logs=True),
    )


_SHORT = Arm("ODE-Net", {"task": "mnist", "model": "odenet", "solver": "dopri5", "gradient": "adjoint"})


def _time_over_evaluations(words: str, take: Literal["r_squared", "offset"], supports: tuple[float, float]) -> Part:
    """A line of forward time over evaluations; both relative to tolerance 1e-3, interleaved in one process."""
    baseline: dict[str, Wanted] = {"rtol": 1e-3, "gradient": "adjoint"}
    return Part(
        words,
        relative("forward_seconds", **baseline),
        _SHORT.but("ODE-Net", rtol=_TOLERANCES),
        supports=supports,
        home={},
        within=(0.0, 1.0) if take == "r_squared" else (0.0, _INF),
        fit=Fit("rtol", relative("nfe_forward", **baseline), take),
        unit="%",
        joint="proportional",
        label="proportional",
    )


_FIGURE_3AB = (
    Claim(
        id="error-follows-tolerance",
        topic=Topic.EVALUATIONS,
        sentence="The tolerance controls the error of a trained network's solution: the error falls with the "
        "tolerance, if only as a small power of it, and is at most ten times the tolerance.",
        source=chen2018(
            "section 3, Figure 3a",
            "ODE solvers can approximately ensure that the output is within a given tolerance of the true solution. "
            "Changing this tolerance changes the behavior of the network. We first verify that error can indeed be "
            "controlled in Figure 3a.",
        ),
        published="“within a given tolerance”: a factor of about 1; the figure has no number",
        home="a trained ODE-Net on MNIST, tolerances 1e-1 to 1e-5",
        studies=("table1", "fig3", "solvers"),
        parts=(
            *(_error_at(rtol) for rtol in _TOLERANCES),
            Part(
                "the error falls as the tolerance to the power {}",
                profile_power("solution_error"),
                ODENET,
                supports=(1e-9, _INF),
                home={},
                label="monotone on average",
            ),
        ),
        controls=(
            Control(
                "it is in proportion to the tolerance where the solution is known, x' = 1 − x", _power(_CLOSED_FORM)
            ),
        ),
        traps=(
            "float32 has a floor near 1e-6: tolerances from 1e-1 to 1e-5 only",
            "the norm is a mean over the batch, so that a hard image counts less",
            "the field contains ReLU, on which a method of order five loses its order",
            "dopri5 steps past the end and interpolates, with an error that the tolerance does not control",
            "the error is that of the final state, relative, against float64 at 1e-7; the reference has an error of "
            "its own, which counts most at 1e-5",
            "the factor of ten is ours, since the source says “approximately”; the solver bounds an estimate for each "
            "step, by absolute plus relative tolerance, not the error at the end",
        ),
        fairness="One trained network, solved at each tolerance, as in the figure.",
    ),
    Claim(
        id="time-follows-nfe",
        topic=Topic.TIME,
        sentence="The time of the forward call is proportional to the number of evaluations.",
        source=chen2018(
            "section 3, Figure 3b",
            "The time spent by the forward call is proportional to the number of function evaluations",
        ),
        published="drawn; no number",
        home="an ODE-Net on MNIST, tolerances 1e-1 to 1e-5",
        studies=("fig3",),
        parts=(
            _time_over_evaluations(
                "evaluations explain {} of the variance of the forward time", "r_squared", (0.95, _INF)
            ),
            _time_over_evaluations(
                "the line of time over evaluations misses the origin by {} of the mean time", "offset", (-_INF, 0.10)
            ),
        ),
        traps=(
            "each tolerance alternates with tolerance 1e-3 in one process, so that a slow minute cancels",
            "stem, head and loss take a constant time without an evaluation: they can refute the second part even if "
            "the time of the solver is proportional",
            "each tolerance trains its own network, for a few steps; the paper's figure is of one trained network",
            "the loosest tolerances take almost the fewest evaluations possible, so that the tightest one decides the "
            "line",
        ),
        fairness="The forward call alone, as the paper says; both arms in one process, in alternating blocks.",
    ),
)

# --- Figure 3c: the backward pass


_RATIO = quotient(final("nfe_backward"), final("nfe_forward"))
_LAST_EPOCH = quotient(at_epoch("nfe_backward", -1), at_epoch("nfe_forward", -1))


def _backward(
    arm: Arm, conditions: tuple[str, ...], label: str = "", home: Where | None = None, reading: Reading = _RATIO
) -> Part:
    return ratio(
        "the backward solve takes {} the evaluations of the forward one",
        reading,
        arm,
        supports=(0.4, 0.6),
        refutes=((-_INF, 0.3), (0.75, _INF)),
        conditions=conditions,
        home=home,
        label=label,
    )


_VODE = Arm(
    "VODE Adams",
    {
        "task": "mnist",
        "model": "odenet",
        "solver": "scipy:vode-adams",
        "gradient": "adjoint",
        "rtol": _TOLERANCES,
        "loss_scale": (1.0, 32.0),
    },
)
# Tolerances at which study gradients measures each task.
_MEASURED: dict[str, tuple[float, ...]] = {
    "mnist": (1e-3, 1e-5),
    "toy/spiral": (1e-3, 1e-7),
    "latent-spirals": (1e-7,),
    "ecg": (1e-5,),
}


_DOPRI5: dict[str, Wanted] = {"solver": "dopri5", "loss_scale": (1.0, None)}


def each_task(gradient: str) -> list[Arm]:
    """An arm for each task of study gradients, at the tolerances measured there."""
    common = {**_DOPRI5, "gradient": gradient}
    return [Arm(gradient, {**common, "task": task, "rtol": rtol}) for task, rtol in _MEASURED.items()]


def timed_tasks() -> list[Arm]:
    """An arm of the adjoint for each task on which its steps were interleaved with those of direct."""
    flow = {**_DOPRI5, "task": "density", "model": "ffjord", "gradient": "adjoint", "rtol": 1e-4}
    # Other studies time MNIST with batches of 8.
    tasks = [arm.but(arm.name, batch_size=64) if arm.where["task"] == "mnist" else arm for arm in each_task("adjoint")]
    return [*tasks, Arm("adjoint", flow)]


_INTERVALS = Arm(
    "output intervals",
    {"task": "toy/spiral", "solver": "dopri5", "gradient": "adjoint", "rtol": 1e-3, "training": "trajectory"},
)
_HALF = chen2018(
    "section 3, Figure 3c",
    "Figure 3c) shows a surprising result: the number of evaluations in the backward pass is roughly half of the "
    "forward pass.",
)
_FIRST_AUTHOR = (
    "the first author writes in torchdiffeq issue 77 that fewer evaluations backward than forward were seen only in "
    "the initial MNIST experiments"
)
_LOSS_SCALE = "the scale of the loss changes the backward count through the absolute tolerance"
_FIGURE_3C = (
    Claim(
        id="backward-half",
        scope="paper",
        topic=Topic.EVALUATIONS,
        sentence="The backward pass needs about half the evaluations of the forward pass (the paper's solver, the "
        "implicit Adams method of VODE, on the MNIST block).",
        source=_HALF,
        published="about half",
        published_value=0.5,
        home="the trained MNIST block, VODE's Adams method at the paper's tolerance of 1e-3, one interval, mean loss",
        studies=("fig3",),
        parts=(
            _backward(
                _VODE.but("VODE Adams", train_images=4000, epochs=4, loss_scale=(1.0, 64.0)),
                ("rtol", "loss_scale"),
                "VODE's Adams method, trained",
                home={"loss_scale": 1.0, "rtol": 1e-3},
                reading=_LAST_EPOCH,
            ),
        ),
        controls=(
            Control(
                "the same holds for networks of random weights",
                _backward(
                    _VODE.but("VODE Adams", train_images=64),
                    ("rtol", "loss_scale"),
                    "VODE's Adams method, random weights",
                ),
            ),
        ),
        traps=(
            _FIRST_AUTHOR,
            "with random weights the ratio falls with the tolerance; for trained networks the home is one tolerance of "
            "the figure's many",
            "the first author writes in torchdiffeq issue 97 that the paper's results used SciPy's odeint, which is "
            "LSODA; the paper names LSODE and VODE. LSODA is not measured: with its default, dense Jacobian it stores "
            "the square of the state, more than 100 GiB for a batch of 64 images",
            "one network for each tolerance, counted over its last epoch; the source solves one trained network",
            "the solver's error norm is over state, adjoint and parameters",
            _LOSS_SCALE + "; a summed loss of a batch of 64 images is 64 times the mean one",
            "trained for 4 epochs of 4,000 images: less than the paper's networks",
        ),
        fairness="SciPy's interface to VODE with method adams, as in the paper; forward and backward at one tolerance.",
        gate=Gate(final("test_error"), limit=10.0, still_falling=_INF),
    ),
    Claim(
        id="backward-half",
        topic=Topic.EVALUATIONS,
        sentence="The backward pass needs about half the evaluations of the forward pass (dopri5, torchdiffeq's "
        "default).",
        source=_HALF,
        published="about half, measured with another solver",
        published_value=0.5,
        home="the MNIST block, one interval, at tolerances of 1e-3 and 1e-5",
        studies=("gradients", "intervals", "fig3"),
        parts=(
            *(_backward(arm, ("task", "rtol"), home={"task": "mnist"}) for arm in each_task("adjoint")),
            _backward(
                Arm("adjoint", {**_DOPRI5, "gradient": "adjoint", "task": "mnist", "rtol": (1e-1, 1e-2, 1e-4)}),
                ("task", "rtol"),
            ),
            _backward(_INTERVALS, ("points",)),
        ),
        controls=(
            Control(
                "a loss a thousand times larger needs the same backward evaluations",
                ratio(
                    "a loss 1,000 times larger takes {} the backward evaluations",
                    final("nfe_backward"),
                    Arm("loss × 1000", {"task": "toy/spiral", "gradient": "adjoint", "loss_scale": 1000.0}),
                    Arm("loss × 1", {"task": "toy/spiral", "gradient": "adjoint", "loss_scale": 1.0}),
                    supports=(0.95, 1.05),
                    conditions=("rtol",),
                ),
            ),
        ),
        traps=(RESTARTS, _FIRST_AUTHOR, BARELY_TRAINED, _LOSS_SCALE, "the adjoint's norm includes the parameters"),
        fairness="Forward and backward at one tolerance.",
    ),
)

_TIME = (
    Claim(
        id="adjoint-cheaper",
        topic=Topic.TIME,
        sentence="A training step through the adjoint takes no longer than one backpropagated through the solver.",
        source=chen2018(
            "section 3",
            "This suggests that the adjoint sensitivity method is not only more memory efficient, but also more "
            "computationally efficient than directly backpropagating through the integrator",
        ),
        published="stated, no number",
        published_value=1.0,
        home="the MNIST block",
        studies=("gradients", "pareto"),
        parts=tuple(
            ratio(
                "a step through the adjoint takes {} the time of one through the solver",
                relative(gradient="direct"),
                arm,
                supports=(-_INF, 1.0),
                conditions=("task", "rtol"),
                home={"task": "mnist"},
            )
            for arm in timed_tasks()
        ),
        traps=(
            "the ratio grows with the number of output times; " + RESTARTS,
            BARELY_TRAINED,
            "the paper infers it from backward solves of half the evaluations; dopri5's are not half (backward-half)",
            "where memory is short the adjoint may be the only way, whatever its time",
            "all times are torchdiffeq's",
            "the paper's own solver cannot be backpropagated directly; the ratio is that of dopri5 on a CPU",
        ),
        fairness="Both arms in one process at one tolerance, in alternating blocks of steps.",
    ),
)

CLAIMS = (*_FIGURE_3AB, *_FIGURE_3C, *_TIME)
