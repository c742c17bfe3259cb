"""Claims of Chen et al. 2018 on solving itself (sections 2 and 6)."""

import math
from dataclasses import replace

from nodebench.analysis.readings import axis, final, probed, quotient
from nodebench.claims.contract import Arm, Claim, Control, Part, Topic, Wanted, Where, ratio
from nodebench.claims.papers.chen2018_accuracy import ODENET
from nodebench.claims.papers.sources import chen2018

_INF = math.inf

_FLOW: dict[str, Wanted] = {"task": "toy/flow", "dtype": "float64"}
_TRAINED_FIELDS = Arm(
    "trained field", {"task": ("toy/lotka-volterra", "toy/van-der-pol"), "model": "small", "rtol": (1e-3, 1e-5)}
)
# A solve depends on the weights alone: networks trained with either gradient are read, each as a condition.
_EITHER = ODENET.but("ODE-Net", gradient=("adjoint", "direct"))
# In float64: its tolerance, 1e-7, is that of a number in float32.
_LATENT = Arm(
    "latent ODE",
    {
        "task": "latent-spirals",
        "model": "latent-ode",
        "variant": "paper",
        "observations": 100,
        "rtol": 1e-7,
        "dtype": "float64",
    },
)
_CNF = Arm(
    "continuous flow",
    {
        "task": "density",
        "model": ("ffjord", "planar-cnf"),
        "density": "circles",
        "solver": "dopri5",
        "rtol": 1e-5,
        "gradient": "adjoint",
        "trace": "exact",
    },
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


def _batch(words: str, label: str, arm: Arm, conditions: tuple[str, ...] = (), home: Where | None = None) -> Part:
    return ratio(
        words + " as one state take {} the evaluations of each alone",
        final("joint_over_single"),
        arm,
        supports=(-_INF, 1.1),
        refutes=((1.5, _INF),),
        conditions=conditions,
        home=home,
        label=label,
    )


def _back(arm: Arm, label: str, conditions: tuple[str, ...] = (), home: Where | None = None) -> Part:
    return ratio(
        "the initial state is recovered to {} the tolerance",
        quotient(probed("reverse_error"), axis("rtol")),
        arm,
        supports=(-_INF, 10.0),
        refutes=((100.0, _INF),),
        conditions=conditions,
        home=home,
        label=label,
    )


def _inversions(
    arm: Arm, label: str, conditions: tuple[str, ...], supports: tuple[float, float], exact: bool = True
) -> Part:
    return Part(
        "{} of 199 neighbouring trajectories on a line cross",
        replace(final("inversions"), exact=exact),
        arm,
        supports=supports,
        conditions=conditions,
        home={},
        within=(0.0, 1.0),
        unit="%",
        label=label,
    )


_LINE = Arm(
    "adaptive", {**_FLOW, "model": "line", "solver": ("dopri5", "bosh3", "adaptive_heun"), "rtol": (1e-3, 1e-5)}
)

CLAIMS = (
    Claim(
        id="batching-free",
        topic=Topic.EVALUATIONS,
        sentence="Solving a batch as one state hardly increases the number of evaluations.",
        source=chen2018(
            "section 6, “Minibatching”",
            "However, in practice the number of evaluations did not increase substantially when using minibatches.",
        ),
        published="stated, no number; up to K times more in the worst case",
        published_value=1.0,
        home="the paper's own tasks: trained MNIST and latent ODE batches",
        studies=("flows", "table1", "tolerance", "batching"),
        parts=(
            _batch("16 images", "MNIST", _EITHER, ("gradient",), home={}),
            _batch("8 series", "latent spirals", _LATENT, home={}),
            _batch("32 oscillators", "Van der Pol", Arm("Van der Pol", _OSCILLATORS), ("mu",)),
        ),
        controls=(
            Control(
                "where the worst sample decides the step, a batch takes no fewer evaluations than where the mean does",
                ratio(
                    "decided by its worst sample, a batch takes {} the evaluations",
                    final("nfe_forward"),
                    Arm("worst", {**_OSCILLATORS, "batching": "worst"}),
                    Arm("joint", _OSCILLATORS),
                    supports=(1.0, _INF),
                    conditions=("mu",),
                ),
            ),
        ),
        traps=(
            "the norm is a mean over the batch: one hard member sets the step of all, and easy ones dilute it",
            "members of a batch start at random places, as they do in training",
            "the absolute tolerance is that of the task: equal to rtol on MNIST, a hundredth of it on series",
            "16 images, 8 series, 32 oscillators; training batches are larger",
            "MNIST networks trained through the solver are judged apart from those trained by the adjoint; the "
            "source's networks were trained by the adjoint",
            "on MNIST a joint solve takes 20 or 26 evaluations: evaluations come in sixes (dopri5)",
            "forward evaluations only",
        ),
    ),
    Claim(
        id="reverse-reconstruct",
        topic=Topic.GRADIENTS,
        sentence="The initial state can be recovered by solving backwards in time, to ten times the tolerance.",
        source=chen2018(
            "section 6, “Reconstructing forward trajectories”",
            "reversing many layers of continuous normalizing flows with default tolerances recovered the initial "
            "states",
        ),
        published="stated, no number",
        home="trained continuous normalizing flows at the paper's tolerance for densities, 1e-5",
        studies=("flows", "table1", "tolerance"),
        parts=(
            ratio(
                "the initial points are recovered to {} the tolerance",
                quotient(final("round_trip_error"), axis("rtol")),
                _CNF,
                supports=(-_INF, 10.0),
                refutes=((100.0, _INF),),
                conditions=("model",),
                home={},
                label="continuous flow on two circles",
            ),
            _back(_LATENT, "latent spirals"),
            _back(_EITHER, "MNIST", ("gradient",)),
            _back(_TRAINED_FIELDS, "trained field", ("task", "rtol")),
        ),
        controls=(
            Control(
                "the same holds for the true predator–prey system, where nothing was learned",
                _back(Arm("Lotka–Volterra", {**_FLOW, "model": "lotka-volterra", "rtol": (1e-3, 1e-5)}), "", ("rtol",)),
            ),
            Control(
                "the same holds for the true oscillator, the hard case",
                _back(Arm("Van der Pol", _OSCILLATORS), "", ("mu",)),
            ),
        ),
        traps=(
            "what a flow contracts forwards it expands backwards: the error grows with the length of the solve",
            "a backward solve that fails counts as an infinite error",
            "ten times is our limit: rtol bounds the error of one step, and a forward solve of many steps ends several "
            "times rtol from the exact state",
            "the absolute tolerance equals rtol on flows and MNIST and is a hundredth of it elsewhere: multiples of "
            "rtol compare within a condition only",
            "the source's check was informal, of many layers at default tolerances (1.5e-8); here it is one flow at "
            "the tolerance of its densities",
            "of a continuous flow the points are compared, not the change of their log-density",
        ),
    ),
    Claim(
        id="order-preserved",
        topic=Topic.EVALUATIONS,
        sentence="Trajectories cannot cross: a flow on a line keeps the order of its states, in one joint batch "
        "(where all share their steps) and with each start solved alone.",
        source=chen2018(
            "section 6, “Uniqueness”",
            "the solution to an initial value problem exists and is unique if the differential equation is uniformly "
            "Lipschitz continuous in z and continuous in t",
        ),
        published="a theorem on the exact flow",
        published_value=0.0,
        home="any field with finite weights and Lipschitz nonlinearities",
        studies=("flows",),
        parts=(
            _inversions(_LINE.but("joint batch", alone=False), "joint batch", ("solver", "rtol"), (-_INF, 0.0)),
            # With steps of their own, whether two cross depends on the starts, which the seed draws.
            _inversions(
                _LINE.but("each alone", alone=True), "each alone", ("solver", "rtol"), (-_INF, 0.0), exact=False
            ),
        ),
        controls=(
            Control(
                "Euler's method with steps that are too long does let neighbours cross",
                _inversions(
                    Arm("coarse", {**_FLOW, "model": "line", "solver": "euler", "step_size": 0.5, "alone": False}),
                    "",
                    (),
                    (1e-9, _INF),
                ),
            ),
        ),
        traps=(
            "one field, whose slopes are ±6 over a span of 1: its flow brings neighbours closer than the tolerance",
            "the theorem is about the exact flow; numerical solutions that are computed apart each have an error of "
            "their own and may change places",
            "where each start is solved alone, replicates without any crossing leave a condition undecided",
        ),
    ),
)
