"""Claims of Alexandr Honchar's article (2019) on series: missing points, latent spirals and heart beats."""

import math

from nodebench.analysis.readings import final
from nodebench.claims.contract import SOLVING, Arm, Claim, Control, Gate, Part, Topic, ratio
from nodebench.claims.papers.breakdown import ERROR, TOY
from nodebench.claims.papers.sources import breakdown

_INF = math.inf

_OBSERVED = Arm(
    "neural ODE",
    {**TOY, "task": "toy/spiral", "model": "small", "missing": (0.0, 0.6, 0.9), "irregular": (False, True)},
)


def _against(model: str, name: str) -> Part:
    return _smaller(_OBSERVED, model, name)


def _smaller(who: Arm, model: str, name: str) -> Part:
    """The error of one model over that of another."""
    return ratio(
        f"the error of the {who.name} is {{}} that of {name}",
        ERROR,
        who,
        _OBSERVED.but(name, model=model, solver=None, rtol=None),
        supports=(-_INF, 1.0),
        conditions=("missing", "irregular"),
        home={"irregular": True} if model == "gru-dt" else None,
        may_differ=SOLVING,
    )


_SERIES_GATE = Gate(final("rmse_over_noise"), limit=1.5)
_SERIES = (
    Claim(
        id="missing-points",
        topic=Topic.SERIES,
        sentence="Trained on missing and irregular observations, a neural ODE reproduces the trajectory from its first "
        "state with a smaller error than a GRU that is given each gap.",
        source=breakdown("irregular time series"),
        published="stated, no number",
        home="irregular observations",
        studies=("observations",),
        parts=(_against("gru-dt", "a GRU with Δt"),),
        controls=(
            Control(
                "the GRU has a smaller error than the mean of the observations; otherwise it is no baseline",
                _smaller(
                    _OBSERVED.but("GRU with Δt", model="gru-dt", solver=None, rtol=None), "constant", "a constant"
                ),
            ),
            Control("also than the mean of the observations", _against("constant", "a constant")),
            Control("also than the last observed value", _against("last-value", "the last value")),
            Control("also than linear interpolation of the observations", _against("linear", "linear interpolation")),
        ),
        traps=(
            "one noise-free trajectory of a linear field: the easiest case for a vector field",
            "both see only the first state; the GRU feeds back its own output and gets no later observation",
            "the GRU learns windows of ten points and is tested over the whole regular grid",
            "at equal steps the neural ODE takes far longer to train; the GRU is not tuned",
            "interpolation sees all observations; the networks start from the first state",
            "a window is ten observations, however long that lasts: with 90 % missing each spans ten times as much",
        ),
        fairness="Both see the same observations and take the same number of training steps.",
    ),
    Claim(
        id="recovers-spirals",
        topic=Topic.SERIES,
        sentence="A latent ODE recovers the noisy spirals of the authors' script: its reconstruction is closer to the "
        "truth than the observations are.",
        source=breakdown("latent ODE on spirals"),
        published="shown in a figure",
        home="the authors' script, 100 observations",
        preset="paper",
        studies=("table2",),
        parts=(
            ratio(
                "the error of the reconstruction is {} the noise",
                final("rmse_over_noise"),
                Arm(
                    "latent ODE",
                    {"task": "latent-spirals", "model": "latent-ode", "variant": "script", "observations": 100},
                ),
                supports=(-_INF, 1.0),
                home={},
            ),
        ),
        traps=(
            "on spirals never seen, at their observed times, against the clean curve; the script draws a spiral of the "
            "training",
            "one error over all spirals, of which a few badly fitted ones can make up the most",
            "every spiral, in training and test, is a part of one of the same two curves, and all its points are "
            "observed, so that nothing is interpolated",
            "a moving average of neighbours may be closer than single noisy points too; no such baseline is measured",
            "the outcome depends on the data: the spirals of the paper's section, which have fewer observations, are "
            "not recovered to this limit (study table2)",
        ),
        fairness="The authors' script with its 1,000 spirals and 2,000 iterations, except that the encoder also gets "
        "the time between observations, which is constant here; the article gives no other setting.",
        gate=Gate(final("rmse_over_noise")),
    ),
)

_BEATS = Arm("latent ODE", {"task": "ecg", "model": "latent-ode", "objective": "reconstruct", "dataset": "ecgsyn"})


def _escapes(side: str, arm: Arm) -> Part:
    words = "backwards" if side == "before" else "forwards"
    return Part(
        f"{words} in time {{}} of the extrapolations leave ten times the signal's range",
        final(f"escape_share_{side}"),
        arm,
        supports=(0.5, _INF),
        refutes=((-_INF, 0.1),),
        home={},
        within=(0.0, 1.0),
        unit="%",
        label=words,
    )


def _fewer_escapes(model: str, name: str) -> Control:
    return Control(
        f"{name} leaves the range less often backwards",
        Part(
            f"backwards the share that leaves the range with {name}, minus that with ELU, is {{}}",
            final("escape_share_before"),
            _BEATS.but(name, model=model),
            _BEATS,
            "difference",
            supports=(-_INF, -0.25),
        ),
    )


def _spread(words: str, arm: Arm, label: str) -> Part:
    return ratio(
        words + " spread {} as far as true ones",
        final("diversity_ratio"),
        arm,
        supports=(-_INF, 0.25),
        refutes=((0.70, _INF),),
        home={},
        label=label,
    )


_ECG = (
    Claim(
        id="ecg-one-shape",
        topic=Topic.SERIES,
        sentence="A latent ODE of heart beats overfits to a single shape: decoded beats spread at most a quarter as "
        "far as "
        "true ones.",
        source=breakdown("ECG"),
        published="shown in a figure",
        home="a latent ODE of heart beats",
        studies=("ecg", "ecg-mitdb"),
        parts=(
            _spread("decoded beats", _BEATS, "synthetic heart (ECGSYN)"),
            _spread("decoded beats", _BEATS.but("latent ODE", dataset="mitdb"), "MIT-BIH record 100"),
        ),
        traps=("the article's data are its own; here they are McSharry's synthetic heart and record 100 of MIT-BIH",),
        fairness="Trained until the reconstruction error is at most 1.5 times the noise, or not judged.",
        gate=_SERIES_GATE,
    ),
    Claim(
        id="ecg-diverges",
        topic=Topic.SERIES,
        sentence="Extrapolated to either side, a beat runs off to infinity: at least half of the extrapolations "
        "leave ten "
        "times the signal's range.",
        source=breakdown("ECG"),
        published="shown in a figure",
        home="a latent ODE of heart beats, forwards and backwards",
        studies=("ecg",),
        parts=(_escapes("before", _BEATS), _escapes("after", _BEATS)),
        controls=(
            _fewer_escapes("latent-ode-tanh", "a bounded activation (tanh)"),
            _fewer_escapes("latent-ode-damped", "a damped field"),
        ),
        traps=(
            "an ELU field is unbounded, and nothing holds it outside the trained window",
            "within four beats; slower escapes are not seen",
        ),
        fairness="Trained until the reconstruction error is at most 1.5 times the noise, or not judged.",
        gate=_SERIES_GATE,
    ),
)

CLAIMS = (*_SERIES, *_ECG)
