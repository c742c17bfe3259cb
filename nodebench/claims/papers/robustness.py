"""The claim that ODE-Nets resist noise and attacks better than networks of equal size."""

import math

from nodebench.analysis.readings import Reading, final
from nodebench.claims.contract import SOLVING, Arm, Claim, Control, Gate, Part, Topic, Wanted
from nodebench.claims.papers.sources import ROBUST

_INF = math.inf
_SAME = (-1.0, 1.0)  # points
_DIGITS: dict[str, Wanted] = {"task": "mnist", "dataset": "mnist-5k", "noise": 100 / 255, "attack": 0.15}
_EULER = Arm(
    "ODE-Net of ten Euler steps",
    {**_DIGITS, "model": "odenet", "solver": "euler", "step_size": 0.1, "gradient": "direct"},
)
_DOPRI5 = Arm("ODE-Net of dopri5", {**_DIGITS, "model": "odenet", "solver": "dopri5", "gradient": "adjoint"})
_BLOCK = Arm("network of one residual block", {**_DIGITS, "model": "resnet-1"})


def _more(
    error: str, on: str, who: Arm, label: str, supports: tuple[float, float] = (-_INF, 0.0), home: bool = False
) -> Part:
    """How many more test images one network misclassifies than the residual one."""
    return Part(
        f"the {who.name} misclassifies {{}} more {on} than the {_BLOCK.name}",
        final(error),
        who,
        _BLOCK,
        "difference",
        supports=supports,
        home={} if home else None,
        may_differ=SOLVING,
        unit="points",
        test_set=True,
        label=label,
    )


def _pgd_minus_fgsm() -> Reading:
    """PGD error minus FGSM error, in points."""
    fgsm, pgd = final("fgsm_error"), final("pgd_error")
    return Reading(
        "pgd_error",
        lambda record: None if (one := fgsm.get(record)) is None or (ten := pgd.get(record)) is None else ten - one,
        "PGD error − FGSM error",
    )


CLAIMS = (
    Claim(
        id="odenet-robust",
        topic=Topic.ACCURACY,
        sentence="An ODE-Net misclassifies fewer noisy and fewer attacked digits than a network of equal size that has "
        "a residual block in place of the ODE.",
        source=ROBUST,
        published="the authors' log, networks trained with noise, FGSM 0.15, 1,000 test images: 93.3 to 94.1 % right "
        "against 85.5 to 85.7 % (three networks each)",
        home="MNIST, ten Euler steps, differentiated through the solver, as in the authors' code",
        studies=("robustness",),
        parts=(
            _more("noise_error", "noisy digits", _EULER, "noise of 100 in 255", home=True),
            _more("fgsm_error", "attacked digits", _EULER, "FGSM 0.15", home=True),
            _more("noise_error", "noisy digits", _DOPRI5, "noise of 100 in 255, dopri5"),
            _more("fgsm_error", "attacked digits", _DOPRI5, "FGSM 0.15, dopri5"),
        ),
        controls=(
            Control(
                "the test errors on clean digits differ by at most one point",
                _more("test_error", "digits", _EULER, "", _SAME),
            ),
            Control(
                "PGD misclassifies at least as many images as FGSM; fewer would mean that gradients are masked",
                Part(
                    "PGD misclassifies {} more than FGSM",
                    _pgd_minus_fgsm(),
                    _EULER,
                    supports=(0.0, _INF),
                    unit="points",
                ),
            ),
            Control(
                "both networks have equal size: their numbers of parameters differ by at most 1 %",
                Part(
                    "it has {} the parameters",
                    final("parameters"),
                    _EULER,
                    _BLOCK,
                    supports=(0.99, 1.01),
                    may_differ=SOLVING,
                    unit="×",
                ),
            ),
        ),
        traps=(
            "all networks are tested on the same images; the sampling error of that test set is part of the interval",
            "the attacks differentiate through the solver or through the adjoint, as the network was trained",
            "stem and head are those of Table 1; the authors' have one stage of down-sampling fewer",
            "networks trained on clean images only; the authors' logs are of networks that were trained with noise",
        ),
        fairness="Both networks have the same data, batches, epochs and learning-rate schedule; none was tuned for "
        "robustness.",
        gate=Gate(final("test_error"), _BLOCK.but("MLP", model="mlp")),
    ),
)
