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
    error: str, on: str, who: Arm, label: str = "", supports: tuple[float, float] = (-_INF, 0.0), home: bool = False
) -> Part:
    """How many more test images one network misclassifies than the network of one residual block."""
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


def _claim(
    id: str, error: str, on: str, published: str, controls: tuple[Control, ...], traps: tuple[str, ...]
) -> Claim:
    return Claim(
        id=id,
        topic=Topic.ACCURACY,
        sentence=f"An ODE-Net misclassifies fewer {on} than a network of equal size that has a residual block in place "
        "of the ODE.",
        source=ROBUST,
        published=published,
        home="MNIST, ten Euler steps, differentiated through the solver, as in the authors' code",
        studies=("robustness",),
        parts=(_more(error, on, _EULER, "ten Euler steps", home=True), _more(error, on, _DOPRI5, "dopri5")),
        controls=(
            Control(
                "the test errors on clean digits differ by at most one point",
                _more("test_error", "digits", _EULER, supports=_SAME),
            ),
            *controls,
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
            *traps,
            "stem and head are those of Table 1; the authors' have one stage of down-sampling fewer",
            "networks trained on clean images only; the authors' logs are of networks that were trained with noise",
        ),
        fairness="Both networks have the same data, batches, epochs and learning-rate schedule; none was tuned for "
        "robustness.",
        gate=Gate(final("test_error"), _BLOCK.but("MLP", model="mlp")),
    )


CLAIMS = (
    _claim(
        "odenet-robust-noise",
        "noise_error",
        "digits under Gaussian noise of 100 in 255",
        "stated, no number",
        (),
        (),
    ),
    _claim(
        "odenet-robust",
        "fgsm_error",
        "digits under FGSM attack of 0.15",
        "the authors' log, networks trained with noise, FGSM 0.15, 1,000 test images: 93.3 to 94.1 % right against "
        "85.5 to 85.7 % (three networks each)",
        (
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
        ),
        ("the attacks differentiate through the solver or through the adjoint, as the network was trained",),
    ),
)
