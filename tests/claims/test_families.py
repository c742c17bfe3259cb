"""The claims on later families, on planted records: what the papers say is supported, the opposite refuted."""

import pytest
from evidence import evidence

from nodebench.claims import Verdict, judge
from nodebench.claims.papers import families
from nodebench.spec.record import DataCard

AUGMENTED, SECOND_ORDER, HEAVY_BALL = families.CLAIMS
DATA = DataCard(name="points", train=1, test=1000, sha256="0")


def networks(task: str, figures: dict[str, tuple[float, float]], options, **more) -> list:
    """Records of several models: evaluations and loss in the last epoch, which vary a little over seeds."""
    return [
        evidence(
            seed,
            task=task,
            model=model,
            atol=1e-3,
            study=None,
            options=options,
            data_card=DATA,
            history=[{"epoch": 12.0, "nfe_forward": nfe + 0.1 * (seed % 3), "loss": loss * (1 + 0.02 * (seed % 4))}],
            metrics={name: value * (1 + 0.02 * (seed % 3)) for name, value in more.get(model, {}).items()},
        )
        for seed in range(10)
        for model, (nfe, loss) in figures.items()
    ]


def annuli(figures, activation="relu"):
    return networks("toy/annuli", figures, {"epochs": 12, "activation": activation})


@pytest.mark.parametrize(
    ("augmented", "verdict"),
    [
        ((20, 0.008), Verdict.SUPPORTED),  # as published
        ((27, 0.03), Verdict.REFUTED),
        ((20, 0.03), Verdict.REFUTED),  # fewer evaluations, but no lower loss
    ],
)
def test_fewer_evaluations_and_a_lower_loss_hold_together(augmented, verdict):
    (found,) = judge([AUGMENTED], annuli({"odenet": (26, 0.022), "augmented": augmented}))
    assert found.verdict is verdict


def test_the_activation_is_a_condition_and_the_crossing_another():
    figures = {"odenet": (26, 0.022), "augmented": (20, 0.008)}
    same = {"odenet": (20, 0.02), "augmented": (26, 0.03)}
    crossing = networks("toy/crossing", figures, {}, odenet={"map_error": 1.0}, augmented={"map_error": 0.01})
    (found,) = judge([AUGMENTED], [*annuli(figures), *annuli(same, "softplus"), *crossing])
    words = {condition.label: condition.verdict for condition in found.conditions}
    assert words["annuli, activation relu"] is Verdict.SUPPORTED
    assert words["annuli, activation softplus"] is Verdict.REFUTED
    assert words["x to −x"] is Verdict.SUPPORTED
    assert found.verdict is Verdict.DEPENDS


@pytest.mark.parametrize(
    ("claim", "model", "rival"), [(SECOND_ORDER, "second-order", "augmented"), (HEAVY_BALL, "heavy-ball", "odenet")]
)
@pytest.mark.parametrize("better", [True, False])
def test_second_order_fields_are_compared_with_their_rivals(claim, model, rival, better):
    good, bad = ((50, 0.01), {"held_out_error": 0.02}), ((90, 0.05), {"held_out_error": 0.2})
    mine, theirs = (good, bad) if better else (bad, good)
    records = networks(
        "toy/damped-cosine",
        {model: mine[0], rival: theirs[0]},
        {"training": "trajectory"},
        **{model: mine[1], rival: theirs[1]},
    )
    (found,) = judge([claim], records)
    assert found.verdict is (Verdict.SUPPORTED if better else Verdict.REFUTED)
