"""Claims on the families that came after the first neural ODEs: augmented, second-order and heavy-ball fields."""

import math

from nodebench.analysis.readings import Reading, at_epoch, final
from nodebench.claims.contract import SOLVING, Arm, Claim, Control, Part, Topic, Wanted, Where, ratio
from nodebench.claims.papers.sources import AUGMENTED, HEAVY_BALL, SECOND_ORDER

_INF = math.inf
# Of a cost or a loss over that of the other arm. Between 0.9 (0.8 for losses) and 1 the part is partly true.
_FEWER, _LOWER, _NOT = (-_INF, 0.9), (-_INF, 0.8), ((1.0, _INF),)
_EVALUATIONS, _LOSS = at_epoch("nfe_forward", -1), at_epoch("loss", -1)
_DOPRI5: dict[str, Wanted] = {"solver": "dopri5", "rtol": 1e-3, "gradient": "direct"}
_RELU: dict[str, Wanted] = {"activation": "relu"}

_ANNULI = Arm("plain flow", {"task": "toy/annuli", "model": "odenet", "epochs": 12, **_DOPRI5})
_AUGMENTED = _ANNULI.but("augmented flow", model="augmented")
_RESNET = Arm("residual network", {"task": "toy/annuli", "model": "resnet", "epochs": 12, **_RELU})
_CROSSING = Arm("plain flow", {"task": "toy/crossing", "model": "odenet", **_DOPRI5})
_DIGITS: dict[str, Wanted] = {"task": "mnist", "dataset": "mnist-5k"}
_MNIST = Arm("ODE-Net", {**_DIGITS, **_DOPRI5, "model": "odenet", "gradient": "adjoint"})
_WIDER = _MNIST.but("augmented ODE-Net", model="augmented")
_COSINE = Arm("first-order field", {"task": "toy/damped-cosine", "model": "odenet", **_DOPRI5})
_ACCELERATION = _COSINE.but("second-order field", model="second-order")
_ENLARGED = _COSINE.but("augmented field", model="augmented")
_BALL = _COSINE.but("heavy-ball field", model="heavy-ball")


def _ratio(
    words: str,
    reading: Reading,
    arm: Arm,
    against: Arm,
    supports: tuple[float, float],
    label: str,
    conditions: tuple[str, ...] = (),
    home: Where | None = None,
) -> Part:
    """A metric of one family over that of another; the parts of one label hold or fail together."""
    return ratio(
        f"the {arm.name} {words} of the {against.name}",
        reading,
        arm,
        against,
        supports=supports,
        refutes=_NOT,
        conditions=conditions,
        home=home,
        label=label,
        joint=label,
    )


_TAKES = "takes {} the evaluations a solve, in its last epoch,"
_ENDS = "ends with {} the training loss"
_MISSES = "has {} the error from starts never seen"


def _map_error(arm: Arm, supports: tuple[float, float], refutes: tuple[tuple[float, float], ...] | None = None) -> Part:
    return Part(
        f"the {arm.name} maps x to −x with an error of {{}} of its size",
        final("map_error"),
        arm,
        supports=supports,
        refutes=refutes,
        unit="%",
        label="x to −x",
    )


def _digits(arm: Arm, against: Arm) -> Part:
    return Part(
        f"the test error of the {arm.name} minus that of the {against.name} is {{}}",
        final("test_error"),
        arm,
        against,
        "difference",
        supports=(-1.0, 1.0),
        may_differ=SOLVING,
        unit="points",
        test_set=True,
    )


_SAME = "All families have the same data, width, optimiser and number of steps; none was tuned."
_EQUAL_STEPS = "compared after equal numbers of steps, at which the losses may still fall"
_SIXES = "evaluations come in sixes (dopri5)"

_AUGMENTED_HELPS = Claim(
    id="augmented-helps",
    topic=Topic.EVALUATIONS,
    sentence="A flow with an extra dimension tells a disc from the ring around it with at least 10 % fewer evaluations "
    "and a training loss at least 20 % lower than a flow of the plane.",
    source=AUGMENTED,
    published="plain: evaluations rise from 20 to 26, loss 0.022 after 12 epochs; augmented: 20, loss 0.008 after 6",
    published_value=20 / 26,
    home="a disc and a ring, ReLU, dopri5 at 1e-3, as in the authors' notebook",
    studies=("augmented",),
    parts=(
        _ratio(_TAKES, _EVALUATIONS, _AUGMENTED, _ANNULI, _FEWER, "annuli", ("activation",), _RELU),
        _ratio(_ENDS, _LOSS, _AUGMENTED, _ANNULI, _LOWER, "annuli", ("activation",), _RELU),
        _map_error(_CROSSING.but("augmented flow", model="augmented"), (-_INF, 0.1), ((0.5, _INF),)),
        _ratio(_TAKES, _EVALUATIONS, _WIDER, _MNIST, _FEWER, "MNIST"),
    ),
    controls=(
        Control("no flow on a line maps x to −x", _map_error(_CROSSING, (0.99, _INF))),
        Control(
            "a residual network does, without an extra dimension",
            _map_error(Arm("residual network", {"task": "toy/crossing", "model": "resnet"}), (-_INF, 0.1)),
        ),
        Control(
            "a residual network gains nothing by the extra dimension",
            ratio(
                "with the extra dimension the residual network ends with {} the training loss",
                _LOSS,
                _RESNET.but("residual network with the extra dimension", model="resnet-augmented"),
                _RESNET,
                supports=(0.8, _INF),
            ),
        ),
        Control(
            "at a tolerance of 1e-5 the augmented flow still takes fewer evaluations",
            _ratio(
                "takes, at 1e-5 on a fixed batch, {} the evaluations",
                at_epoch("nfe_probe_tight", -1),
                _AUGMENTED.but("augmented flow", **_RELU),
                _ANNULI.but("plain flow", **_RELU),
                _FEWER,
                "at 1e-5",
            ),
        ),
        Control(
            "after 48 epochs the plain flow, too, misclassifies at most 1 % of the points",
            Part(
                "it misclassifies {} % of them",
                final("test_error"),
                _ANNULI.but("plain flow", epochs=48, **_RELU),
                supports=(-_INF, 1.0),
            ),
        ),
        Control("the extra channels do not change the error on digits", _digits(_WIDER, _MNIST)),
        Control(
            "nor do they in a residual network",
            _digits(
                Arm("ResNet with extra channels", _DIGITS | {"model": "resnet-augmented"}),
                Arm("ResNet", _DIGITS | {"model": "resnet"}),
            ),
        ),
    ),
    traps=(
        "the notebook stops the augmented flow at epoch 6 and the plain one at 12; here both have 12",
        _EQUAL_STEPS,
        _SIXES,
        "ReLU is not smooth, and costs an adaptive solver rejected steps",
        "only evaluations of the forward solve are counted; the source also speaks of the backward pass",
        "the augmented field has more weights: one input, one output and one read-out more",
    ),
    fairness=_SAME + " Data, network and training on annuli are those of the authors' notebook.",
)

_SECOND_ORDER = Claim(
    id="second-order",
    topic=Topic.ACCURACY,
    sentence="A second-order field learns second-order dynamics faster and better than an augmented field: after "
    "equal training its loss, and its error from starts never seen, are at least 20 % lower.",
    source=SECOND_ORDER,
    published="no number in the abstract",
    home="a damped oscillator, trained on whole trajectories",
    studies=("second-order",),
    parts=(
        *(
            _ratio(
                words,
                reading,
                _ACCELERATION,
                _ENLARGED,
                _LOWER,
                "damped cosine",
                ("training",),
                {"training": "trajectory"},
            )
            for words, reading in ((_ENDS, _LOSS), (_MISSES, final("held_out_error")))
        ),
        _ratio(
            _ENDS,
            _LOSS,
            _AUGMENTED.but("second-order flow", model="second-order", **_RELU),
            _AUGMENTED.but("augmented flow", **_RELU),
            _LOWER,
            "annuli",
        ),
    ),
    controls=(
        Control(
            "it has fewer weights",
            ratio(
                "it has {} the weights of the augmented field",
                final("parameters"),
                _ACCELERATION.but("second-order field", training="windows"),
                _ENLARGED.but("augmented field", training="windows"),
                supports=(-_INF, 1.0),
            ),
        ),
        Control(
            "the first-order field of position and velocity is no better",
            _ratio(
                _MISSES,
                final("held_out_error"),
                _ACCELERATION.but("second-order field", training="trajectory"),
                _COSINE.but("first-order field", training="trajectory"),
                _LOWER,
                "first-order",
            ),
        ),
    ),
    traps=(
        _EQUAL_STEPS,
        "the authors train on 30 oscillators with Adam; here there is one oscillator, and RMSprop",
        "position and velocity are both observed, so that no family has to infer the velocity",
        "on annuli the second-order flow has a network more, for its initial velocity",
    ),
    fairness=_SAME + " Networks on the oscillator are those of the authors' code.",
)

_HEAVY_BALL = Claim(
    id="heavy-ball",
    topic=Topic.EVALUATIONS,
    sentence="A heavy-ball field takes at least 10 % fewer evaluations than a first-order field, and is at least 20 % "
    "more accurate.",
    source=HEAVY_BALL,
    published="no number in the abstract",
    home="learning the dynamics of an oscillator, trained on whole trajectories",
    studies=("second-order",),
    parts=(
        *(
            _ratio(words, reading, _BALL, _COSINE, supports, "damped cosine", ("training",), {"training": "trajectory"})
            for words, reading, supports in (
                (_TAKES, _EVALUATIONS, _FEWER),
                (_MISSES, final("held_out_error"), _LOWER),
            )
        ),
        *(
            _ratio(
                words,
                reading,
                _ANNULI.but("heavy-ball flow", model="heavy-ball", **_RELU),
                _ANNULI.but("plain flow", **_RELU),
                supports,
                "annuli",
            )
            for words, reading, supports in ((_TAKES, _EVALUATIONS, _FEWER), (_ENDS, _LOSS, _LOWER))
        ),
    ),
    traps=(
        _EQUAL_STEPS,
        _SIXES,
        "the force on an oscillator depends on the position alone, which is what a heavy-ball field assumes",
        "forward evaluations only: the gradient is direct",
        "on annuli the heavy-ball flow has a network more, for its initial velocity",
    ),
    fairness=_SAME,
)

CLAIMS = (_AUGMENTED_HELPS, _SECOND_ORDER, _HEAVY_BALL)
