"""The claim that ODE-Nets resist noise and attacks better than networks of equal size."""

import math

from nodebench.analysis.readings import change, final
from nodebench.claims.contract import SOLVING, Arm, Claim, Control, Gate, Part, Topic, Wanted
from nodebench.claims.papers.sources import ROBUST

_INF = math.inf
_SAME = (-1.0, 1.0)  # points
_DIGITS: dict[str, Wanted] = {"task": "mnist", "dataset": "mnist-5k", "noise": 100 / 255, "attack": 0.15}
_EULER = Arm(
    "ODE-Net of ten Euler steps",
    {**_DIGITS, "model": "odenet", "solver": "euler", "step_size": 0.1, "gradient": "direct"},
)
# One step applies the layers of the field once, as a residual block applies its layers.
_ONE_STEP = _EULER.but("same network with one Euler step", step_size=1.0)
_DOPRI5 = Arm("ODE-Net of dopri5", {**_DIGITS, "model": "odenet", "solver": "dopri5", "gradient": "adjoint"})
_BLOCK = Arm("network of one residual block", {**_DIGITS, "model": "resnet-1"})


def _more(
    error: str,
    on: str,
    who: Arm,
    label: str = "",
    supports: tuple[float, float] = (-_INF, 0.0),
    home: bool = False,
    whom: Arm = _BLOCK,
) -> Part:
    """The error of one network on the test images minus that of another."""
    return Part(
        f"the error of the {who.name} on {on} minus that of the {whom.name} is {{}}",
        final(error),
        who,
        whom,
        "difference",
        supports=supports,
        home={} if home else None,
        may_differ=SOLVING,
        unit="points",
        test_set=True,
        label=label,
    )


_PGD_MINUS_FGSM = change(final("pgd_error"), final("fgsm_error"))


def _pgd_is_stronger(arm: Arm) -> Control:
    return Control(
        f"{arm.name}: PGD misclassifies at least as many images as FGSM; fewer would mean that gradients are masked",
        Part(
            "the error under PGD minus that under FGSM is {}", _PGD_MINUS_FGSM, arm, supports=(0.0, _INF), unit="points"
        ),
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
            Control(
                "ten Euler steps misclassify fewer than one step of the same network; otherwise the layers of the "
                "field explain the difference, not the ODE",
                _more(error, on, _EULER, whom=_ONE_STEP),
            ),
            Control(
                "one Euler step of the same network misclassifies as many as a residual block, to within one point; "
                "otherwise its layers have an effect of their own",
                _more(error, on, _ONE_STEP, whom=_BLOCK, supports=_SAME),
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
            "all networks are tested on the same images",
            *traps,
            "the field ends in a normalisation that the residual block lacks; in the authors' code both have the same "
            "layers, apart from the time and biases",
            "equal size is not equal computation: ten evaluations of the field against one block",
            "equal epochs do not give equal training losses; a better fit may explain a part",
            "trained on 4,000 digits with SGD; the authors used all of MNIST and Adam",
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
        "stated in the abstract, no number",
        (),
        (
            "the interval contains only a lower bound of the sampling error of the test set",
            "all networks see one draw of the noise, which is repeated for every 250 images",
            "the claim compares whole networks: unless the same network with one Euler step is less robust (a "
            "control), the layers of the field may explain the difference, not the ODE",
        ),
    ),
    _claim(
        "odenet-robust",
        "fgsm_error",
        "digits under FGSM attack of 0.15",
        "the authors' log, networks trained with noise, FGSM 0.15, 1,000 test images: 93.3 to 94.1 % right against "
        "85.5 to 85.7 % (three networks each)",
        (
            _pgd_is_stronger(_EULER),
            _pgd_is_stronger(_BLOCK),
            Control(
                "under PGD, too, the ODE-Net misclassifies fewer digits",
                _more("pgd_error", "digits under PGD attack of 0.15", _EULER),
            ),
        ),
        (
            "for attacked images, the interval contains only a lower bound of the sampling error of the test set",
            "the attacks differentiate through the solver or through the adjoint, as the network was trained",
            "the authors' step follows the gradient of the margin between the right class and the next; here it "
            "follows the gradient of the cross-entropy",
            "PGD has no random start, and no attack without gradients was made, so masked gradients are not excluded",
            "the claim is relative: it does not say that either network resists the attack",
        ),
    ),
)
