"""Claims of later papers on gradients and on coarse solvers."""

import math

from nodebench.analysis.readings import at_tolerance, change, exceeds, final, probed, relative
from nodebench.claims.contract import Arm, Claim, Control, Gate, Part, Topic, Where, ratio
from nodebench.claims.papers.chen2018_accuracy import ODENET
from nodebench.claims.papers.chen2018_costs import RESTARTS, timed_tasks
from nodebench.claims.papers.chen2018_memory import BARELY_TRAINED, MNIST_ADJOINT
from nodebench.claims.papers.sources import ANODE, DISCRETISE, RESNET_AFTER_ALL

_INF = math.inf

_SPHERES = Arm("Euler, 2 steps", {"task": "toy/spheres", "model": "odenet", "solver": "euler", "step_size": 0.5})
_IMAGES = Arm(
    "Euler, 2 steps",
    {"task": "mnist", "dataset": "mnist-5k", "model": "odenet", "solver": "euler", "step_size": 0.5},
)


def _refined(arm: Arm, supports: tuple[float, float], label: str = "", home: Where | None = None) -> Part:
    """How a network trained with fixed steps classifies when it is solved by dopri5."""
    return Part(
        "solved by dopri5 instead of its own steps, its test error changes by {}",
        change(at_tolerance("test_error", 1e-5), final("test_error")),
        arm,
        supports=supports,
        home=home,
        unit="points",
        test_set=True,
        label=label,
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
_RELU = MNIST_ADJOINT.but("adjoint", model="relu-field", learning_rate=1e-6)


def _gradient_error(
    words: str, arm: Arm, supports: tuple[float, float], label: str = "", joint: str = "", home: Where | None = None
) -> Part:
    return Part(
        words + " has an error of {} of its size",
        final("gradient_error"),
        arm,
        supports=supports,
        conditions=("rtol",) if isinstance(arm.where.get("rtol"), tuple) else (),
        home=home,
        scale="log",
        unit="%",
        label=label,
        joint=joint,
    )


_CONTRACTING = "contracting field, exp(20)"
_WRONG, _RIGHT = (0.1, _INF), (-_INF, 0.01)

CLAIMS = (
    Claim(
        id="coarse-solver-collapse",
        topic=Topic.ACCURACY,
        sentence="A network trained with a coarse solver is no ODE: under a finer solver it loses a point of "
        "accuracy or "
        "more.",
        source=RESNET_AFTER_ALL,
        published="figures per data set",
        home="concentric spheres, classified by an ODE block on the points and a linear layer",
        studies=("coarse",),
        parts=(
            _refined(_SPHERES, (1.0, _INF), "concentric spheres, two Euler steps", home={}),
            _refined(_IMAGES, (1.0, _INF), "ODE-Net of Table 1, two Euler steps"),
            _refined(_IMAGES.but("Euler, 1 step", step_size=1.0), (1.0, _INF), "ODE-Net of Table 1, one Euler step"),
        ),
        controls=tuple(
            Control(
                f"{where}: one trained with {steps} loses less than a point",
                _refined(arm.but(steps, solver=solver, step_size=size), (-1.0, 1.0)),
            )
            for where, arm in (("concentric spheres", _SPHERES), ("ODE-Net of Table 1", _IMAGES))
            for steps, solver, size in (("four steps of rk4", "rk4", 0.25), ("eight Euler steps", "euler", 0.125))
        ),
        traps=(
            "the source's image data are CIFAR-10, and its networks have no layer before the ODE. The ODE-Net of "
            "Table 1 has a stem, the time as an input of its field, and a normalisation at the end of the field",
            "the threshold of one point is not from the source",
            "no flow of the plane separates the spheres, so that training rewards the error of any solver, also with "
            "small steps",
            "the source names a critical step size for each data set and solver; this claim tests two step sizes on "
            "images and one on spheres",
        ),
        fairness="Each network is trained as the others of its task, and tested with its own steps and with dopri5.",
        gate=Gate(final("test_error")),
    ),
    Claim(
        id="discretise-then-optimise",
        topic=Topic.TIME,
        sentence="Differentiating through the solver takes at least 39 % less time than the adjoint, which then takes "
        "at least 1.64 × the time.",
        source=DISCRETISE,
        published="39 to 97 % less time, on six of seven problems",
        published_value=1 / 0.61,
        home="time series and continuous normalizing flows; here latent ODEs on spirals and ECG, and FFJORD on two "
        "circles",
        studies=("gradients", "pareto"),
        parts=tuple(
            ratio(
                "a step through the adjoint takes {} the time of one through the solver",
                relative(gradient="direct"),
                arm,
                supports=(1 / 0.61, _INF),
                refutes=((-_INF, 1.0),),
                conditions=("task", "rtol"),
                home={"task": ("latent-spirals", "ecg", "density")},
            )
            for arm in timed_tasks()
        ),
        traps=(
            "the paper's figures are of whole trainings of its own models, on a GPU too",
            RESTARTS,
            BARELY_TRAINED,
            "per step: nothing is said of the number of steps to a given loss",
            "the source's sentence is about six of seven problems, and the classification of images is not among them",
        ),
        fairness="Both arms in one process at one tolerance, in alternating blocks of steps.",
        counts_with="adjoint-cheaper (default)",
    ),
    Claim(
        id="anode-memory-gradient",
        topic=Topic.GRADIENTS,
        sentence="Solving backwards gives the adjoint a wrong gradient (a tenth or more of its size): in ordinary "
        "convolution blocks with ReLU, and in fields that contract strongly, where checkpoints give the right one.",
        source=ANODE,
        published="examples",
        home="ordinary convolution blocks with ReLU, at random weights, after 15 training steps and after the training "
        "of Table 1",
        studies=("gradients-all", "gradients", "table1"),
        parts=(
            _gradient_error(
                "the adjoint's gradient",
                MNIST_ADJOINT.but("adjoint", train_images=1000),
                _WRONG,
                "convolution block, 15 steps of training",
                home={},
            ),
            _gradient_error("the adjoint's gradient", ODENET, _WRONG, "convolution block, trained", home={}),
            _gradient_error("the adjoint's gradient", _RELU, _WRONG, "ReLU convolution, random weights", home={}),
            _gradient_error("the adjoint's gradient", _FORCED, _WRONG, _CONTRACTING, _CONTRACTING),
            _gradient_error("the gradient with checkpoints", _CHECKPOINTED, _RIGHT, _CONTRACTING, _CONTRACTING),
            ratio(
                "with checkpoints a step peaks at {} the memory of direct",
                final("tensor_peak_bytes"),
                _CHECKPOINTED,
                _FORCED.but("direct", gradient="direct"),
                supports=(-_INF, 1.0),
                label=_CONTRACTING,
                joint=_CONTRACTING,
            ),
        ),
        controls=(
            *(
                Control(
                    f"at most a tenth of the ReLU convolutions of random weights have {words} that is wrong by a tenth",
                    Part(
                        f"{words} is wrong by a tenth or more in {{}} of them",
                        exceeds(final("gradient_error"), 0.1),
                        arm,
                        supports=(-_INF, 0.1),
                        refutes=((0.2, _INF),),
                        conditions=("rtol",),
                        scale="share",
                        unit="%",
                    ),
                )
                for words, arm in (
                    ("an adjoint gradient", _RELU),
                    ("a direct gradient", _RELU.but("direct", gradient="direct")),
                )
            ),
            Control(
                "the direct gradient of a network trained from the same seed is right to 1 %",
                _gradient_error("the direct gradient", _FORCED.but("direct", gradient="direct"), _RIGHT),
            ),
            Control(
                "on the ReLU convolution the image that is solved backwards is wrong by a tenth of its size or more",
                Part(
                    "solved backwards, the image is wrong by {} of its size",
                    probed("reverse_error"),
                    _RELU,
                    supports=(0.1, _INF),
                    conditions=("rtol",),
                    scale="log",
                    unit="%",
                ),
            ),
            Control(
                "on the ReLU convolution the adjoint's error is 1.5 times that of direct or more",
                ratio(
                    "the adjoint's error is {} that of direct",
                    final("gradient_error"),
                    _RELU,
                    _RELU.but("direct", gradient="direct"),
                    supports=(1.5, _INF),
                    conditions=("rtol",),
                ),
            ),
            Control(
                "a field that hardly contracts leaves the adjoint right to 1 %",
                _gradient_error("the adjoint's gradient", _FORCED.but("adjoint", rate=1.0), _RIGHT),
            ),
            Control(
                "a tolerance a thousand times tighter makes the adjoint right to 1 %",
                _gradient_error("the adjoint's gradient", _FORCED.but("adjoint", rtol=1e-6), _RIGHT),
            ),
        ),
        traps=(
            "the contracting field is made for it; trained fields need not be so",
            "contracted by exp(10), the state is lost backwards too, and the gradient is wrong by a few per cent only",
            "relative to the gradient's size, which shrinks as the network fits",
            "the threshold of a tenth is ours, and the source says that the gradient may be wrong",
            "the convolution block of Table 1 ends in a normalisation; the ReLU convolution has one channel, and its "
            "gradient is that of its nine weights alone",
            "a part of the adjoint's error on convolutions is that of the forward solve, which direct has too; direct "
            "also differentiates torchdiffeq's choice of the first step",
            "means over seeds are geometric; the share of ReLU convolutions with a wrong gradient is a control",
        ),
        fairness="dopri5 at the tolerance of each task, forwards and backwards alike.",
    ),
)
