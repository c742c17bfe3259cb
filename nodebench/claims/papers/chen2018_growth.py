"""Claims of Chen et al. 2018 on the evaluations during training: Figure 3d."""

import math
from dataclasses import replace

from nodebench.analysis.readings import at_epoch, quotient
from nodebench.claims.contract import Arm, Claim, Control, Part, Scope, Topic, Where, ratio
from nodebench.claims.papers.chen2018_accuracy import DIGITS, FULL_DIGITS, WHOLE, gate_on, odenet_on
from nodebench.claims.papers.sources import chen2018

_INF = math.inf


def _grows(arm: Arm, metric: str, since: int, home: Where | None = None) -> Part:
    """Evaluations of a fixed batch at the end of training, over those at an earlier epoch."""
    when = "before training" if since == 0 else f"after epoch {since}"
    at = ", both at tolerance 1e-5" if metric == "nfe_probe_tight" else ""
    return ratio(
        f"a fixed batch needs {{}} the evaluations after training that it needed {when}{at}",
        quotient(at_epoch(metric, -1), at_epoch(metric, since)),
        arm,
        supports=(1.2, _INF),
        refutes=((-_INF, 1.0),),
        home=home,
    )


def _training_batches(arm: Arm) -> Part:
    """Evaluations of the training batches of the last epoch, over those of the first."""
    words = "a training step of the last epoch takes {} the evaluations of one of the first"
    return replace(_grows(arm, "nfe_forward", 1), words=words)


def _nfe_grows(
    scope: Scope, data: Where, study: str, where: str, gradient: str, batch: str, caveats: tuple[str, ...]
) -> Claim:
    odenet = odenet_on(data).but("ODE-Net", gradient=gradient)
    return Claim(
        id="nfe-grows",
        scope=scope,
        topic=Topic.EVALUATIONS,
        sentence="After its first epoch, an ODE-Net needs more evaluations as it trains: at least 1.2 × from the end "
        f"of the first epoch to the last ({where}).",
        source=chen2018(
            "section 3, Figure 3d",
            "the number of function evaluations increases throughout training, presumably adapting to increasing "
            "complexity of the model",
        ),
        published="from about 7 to 16 over training, read off the figure",
        published_value=16 / 7,
        home="the MNIST block",
        studies=(study,),
        parts=(_grows(odenet, "nfe_probe_tight", 1, home={}),),
        controls=(
            Control("counted from random weights", _grows(odenet, "nfe_probe_tight", 0)),
            Control("counted from epoch 5", _grows(odenet, "nfe_probe_tight", 5)),
            Control("counted at the tolerance of training, 1e-3, in steps of six", _grows(odenet, "nfe_probe", 1)),
            Control("counted on the training batches, at the tolerance of training", _training_batches(odenet)),
        ),
        traps=(
            "evaluations come in sixes (dopri5), also at 1e-5: the interval does not contain this rounding",
            "counted on 16 training images, the same for all networks, with a counter of its own, apart from "
            "evaluation calls",
            *caveats,
            "the paper's solver is an implicit Adams method; dopri5 is the default of the authors' library",
            "the threshold of 1.2 is ours",
        ),
        fairness=f"One epoch of warm-up, then a cosine to 0; batches of {batch}, no random crops. The authors' script "
        "divides the rate by ten three times, and has batches of 128 and random crops.",
        gate=gate_on(data),
        any_device=scope == "paper",
    )


_SMALL = (
    "evaluations come in sixes, so the networks can end at the same count; the spread of the ratio is then that of the "
    "count after the first epoch",
    "the end of the first epoch is the lowest point: evaluations fall from the untrained network to there. By the "
    "first declaration, which compared with the untrained network, these records refute the claim (see the controls)",
    "after the first epoch of 4,000 images the networks still misclassify about half of the digits or more; the "
    "control from epoch 5 starts with trained networks",
    "the growth ends before the training does, when the 4,000 images are nearly fitted; the paper trained for 160 "
    "epochs of 60,000 images",
)
CLAIMS = (
    _nfe_grows(
        "default", {**DIGITS, "epochs": 20}, "growth", "4,000 training digits, 20 epochs", "direct", "64", _SMALL
    ),
    _nfe_grows(
        "paper",
        FULL_DIGITS,
        "mnist-full",
        WHOLE,
        "adjoint",
        "128",
        ("the paper trained for 160 epochs: growth that comes later is not seen here",),
    ),
)
