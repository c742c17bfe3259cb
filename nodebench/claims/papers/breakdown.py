"""Claims of Alexandr Honchar's article "Neural ODEs: breakdown of another deep learning breakthrough" (2019).

Trajectory errors are mean|ŷ − y| / mean|y − ȳ|: at most 0.10 *fits*, at least 0.50 *fails*. These two limits are ours.
"""

import math

from nodebench.analysis.readings import Reading, exceeds, final, within
from nodebench.claims.contract import Arm, Claim, Control, Gate, Kind, Part, Scope, Topic, Wanted, Where, ratio
from nodebench.claims.papers.chen2018_accuracy import LOOSENED, TRAINED, loosened
from nodebench.claims.papers.sources import breakdown
from nodebench.spec.trial import Scalar

_INF = math.inf
_FIT_LIMIT, _FAIL_LIMIT = 0.10, 0.50
_FITS, _FAILS = (-_INF, _FIT_LIMIT), (_FAIL_LIMIT, _INF)

TOY: dict[str, Wanted] = {
    "solver": "dopri5",
    "rtol": 1e-7,
    "training": "windows",
    "missing": 0.0,
    "irregular": False,
    "noise": 0.0,
    "loss_scale": (1.0, None),
}


def _scope(preset: str) -> Scope:
    return "paper" if preset == "paper" else "default"


def _toy(task: str, model: str = "small", **where: Scalar) -> Arm:
    return Arm(model, {**TOY, "task": task, "model": model, **where})


ERROR = final("trajectory_error")
_SETUP = {
    "paper": "Network, optimiser, windows, learning rate and number of iterations of the article; its number of "
    "iterations is the setting under test, so that no gate on convergence applies.",
    "default": "Network, optimiser and windows of the article; 1,000 iterations instead of its 5,000, at a learning "
    "rate that starts at 5e-3 and falls, instead of a constant 1e-3. No gate on convergence applies: the training loss "
    "may still fall.",
}
_ITS_TRAINING = {"paper": "training", "default": "windows; the training is shorter (see the setup)"}


def _error(
    words: str,
    arm: Arm,
    supports: tuple[float, float],
    refutes: tuple[float, float],
    reading: Reading = ERROR,
    joint: str = "",
) -> Part:
    return Part(
        words + " has an error of {} of the trajectory's spread",
        reading,
        arm,
        supports=supports,
        refutes=(refutes,),
        home={},
        scale="log",
        label=joint,
        joint=joint,
    )


_UNSTABLE = Control(
    "no field is unstable: the states of none grow tenfold over the span",
    Part(
        "{} of the random fields are unstable",
        exceeds(final("growth"), 10.0),
        _toy("toy/random", stable=True),
        supports=(-_INF, 0.5),
        scale="share",
        unit="%",
    ),
)


def _fits(
    id: str, arm: Arm, field: str, preset: str = "quick", controls: tuple[Control, ...] = (), trap: str = ""
) -> Claim:
    scope = _scope(preset)
    return Claim(
        id=id,
        scope=scope,
        topic=Topic.ACCURACY,
        sentence=f"A small network (2–50–2) learns {field} from windows of one trajectory "
        + ("at the article's setting." if scope == "paper" else "within 1,000 iterations."),
        source=breakdown("linear fields"),
        published="shown in a figure",
        home=f"the article's field, network and {_ITS_TRAINING[scope]}",
        studies=("toys",),
        preset=preset,
        parts=(_error("the small network", arm, _FITS, _FAILS),),
        controls=controls,
        traps=(
            "trained on windows of ten points, tested over the whole span, where errors add up",
            "at a constant learning rate RMSprop's noise decides; quick lets it fall, paper keeps it constant",
            *([trap] if trap else []),
        ),
        fairness=_SETUP[scope],
    )


_SPIRAL = "the linear spiral"
_FIELDS = (
    _fits("fits-spiral", _toy("toy/spiral"), _SPIRAL),
    _fits("fits-spiral", _toy("toy/spiral"), _SPIRAL, "paper"),
    _fits(
        "fits-random-linear",
        _toy("toy/random", stable=True),
        "a random linear field that is stable over the span",
        controls=(_UNSTABLE,),
        trap="most fields of the article's recipe are unstable and left out: fields are drawn until the real parts of "
        "their eigenvalues are at most 0.02; on the unstable ones that were measured the network failed",
    ),
    _fits(
        "fits-lotka-volterra",
        _toy("toy/lotka-volterra-linear"),
        "the article's “Volterra–Lotka” field, which is linear,",
    ),
)


def _nonlinear(preset: str) -> Claim:
    small, affine = _toy("toy/nonlinear"), _toy("toy/nonlinear", "affine")
    scope = _scope(preset)
    return Claim(
        id="nonlinear-not-learned",
        scope=scope,
        topic=Topic.ACCURACY,
        sentence="A small network does not learn the process of the nonlinear field "
        + ("at the article's setting" if scope == "paper" else "within 1,000 iterations")
        + ": from new starts and beyond the span its error is at least half of the trajectory's spread.",
        source=breakdown("nonlinear field", "can't learn the process"),
        published="shown in a figure",
        home=f"the article's nonlinear field, network and {_ITS_TRAINING[scope]}",
        studies=("toys",),
        preset=preset,
        parts=tuple(
            _error(words, small, _FAILS, _FITS, final(name), joint="new starts and beyond the span")
            for words, name in (
                ("from new starts the network", "held_out_error"),
                ("beyond the span the network", "extrapolation_error"),
            )
        ),
        controls=(
            Control("it fails on the trained trajectory too", _error("the network", small, _FAILS, _FITS)),
            Control(
                "an affine field fails on the trained trajectory", _error("an affine field", affine, _FAILS, _FITS)
            ),
            Control(
                "an affine field fails from new starts",
                _error("from new starts an affine field", affine, _FAILS, _FITS, final("held_out_error")),
            ),
        ),
        traps=(
            "the article's trajectory is a short arc: fitting it does not mean that the field was learned",
            "the default scope trains for fewer iterations and at another learning rate than the paper scope, which "
            "changes the error",
            "all networks are tested from the same eight starts, whose choice the interval leaves out",
        ),
        fairness=_SETUP[scope],
    )


def _share_fitted(
    model: str,
    words: str,
    label: str,
    supports: tuple[float, float],
    refutes: tuple[float, float],
    epochs: int = 10,
    home: Where | None = None,
) -> Part:
    """The share of random fields that a network fits; an epoch is 100 iterations."""
    sees = model.endswith("-t")
    trained: dict[str, Scalar] = {"epochs": epochs, **({"window_times": "own"} if sees else {})}
    return Part(
        f"{words} fits {{}} of the random fields",
        within(ERROR, _FIT_LIMIT),
        _toy("toy/mlp", model, **trained),
        supports=supports,
        refutes=(refutes,),
        home=home,
        scale="share",
        unit="%",
        label=label,
    )


_FEW, _MANY = (-_INF, 0.25), (0.50, _INF)
_CONFOUNDED = (
    "the target depends on the time and the article's networks do not see it: depth, sight of the time and the times "
    "of "
    "the windows change together in the article; the conditions separate them"
)
_ITERATIONS = (
    "the article gives no number of iterations for this field, and a deep network fits more fields after 5,000 "
    "iterations than after 1,000"
)
_NETWORK_SETUP = (
    "Networks, optimiser and windows of the article. Fields are drawn by the seed; the article shows one. The learning "
    "rate is that of all toys at this preset, and falls to 0."
)
_NETWORK_FIELD = (
    Claim(
        id="small-network-fails",
        topic=Topic.ACCURACY,
        sentence="On the field of a random network the small network (2–50–2) fails: after 1,000 iterations it fits at "
        "most a quarter of such fields.",
        source=breakdown("network field"),
        published="shown in a figure, for one field",
        home="the article's small network, which does not see the time",
        studies=("toys",),
        parts=(
            _share_fitted("small", "the small network", "without time", _FEW, _MANY, home={}),
            _share_fitted("small-t", "the small network that sees the time", "with time", _FEW, _MANY),
        ),
        controls=(
            Control(
                "the deep network fits at least half after as many iterations; otherwise size is not the cause",
                _share_fitted("deep", "the deep network", "deep, 1,000 iterations", _MANY, _FEW),
            ),
            Control(
                "after five times the iterations it fits at most a quarter, too",
                _share_fitted("small", "the small network", "5,000 iterations", _FEW, _MANY, epochs=50),
            ),
        ),
        traps=(
            _CONFOUNDED,
            _ITERATIONS,
        ),
        fairness=_NETWORK_SETUP,
    ),
    Claim(
        id="deep-network-works",
        topic=Topic.ACCURACY,
        sentence="On the field of a random network the deep network (2–150–50–50–2) works: it fits at least half of "
        "such fields.",
        source=breakdown("network field"),
        published="shown in a figure, for one field",
        home="the article's deep network, which does not see the time",
        studies=("toys",),
        parts=(
            _share_fitted(
                "deep", "the deep network", "without time, 5,000 iterations", _MANY, _FEW, epochs=50, home={}
            ),
            _share_fitted("deep", "the deep network", "without time, 1,000 iterations", _MANY, _FEW),
            _share_fitted("deep-t", "the deep network that sees the time", "with time", _MANY, _FEW),
        ),
        controls=(
            Control(
                "the small network that sees the time has a smaller error than the deep one that does not",
                ratio(
                    "the error of the small network that sees the time is {} that of the deep one that does not",
                    ERROR,
                    _toy("toy/mlp", "small-t", window_times="own", epochs=10),
                    _toy("toy/mlp", "deep", window_times="own", epochs=10),
                    supports=(-_INF, 1.0),
                ),
            ),
        ),
        traps=(_CONFOUNDED, _ITERATIONS),
        fairness=_NETWORK_SETUP,
    ),
)

_EULER = Arm(
    "Euler",
    {"task": "toy/spiral", "solver": "euler", "gradient": "direct", "dtype": "float64", "step_size": (0.05, 0.1)},
)
_METHOD = (
    Claim(
        id="resnet-is-euler",
        kind=Kind.IDENTITY,
        topic=Topic.GRADIENTS,
        sentence="A chain of residual blocks with shared weights is Euler's method.",
        source=breakdown("introduction"),
        published="an identity",
        published_value=0.0,
        home="residual blocks of shared weights",
        studies=("flows",),
        parts=(
            Part(
                "output and gradient of the two differ by {}, relatively",
                final("residual_error"),
                _EULER,
                supports=(-_INF, 1e-12),
                conditions=("step_size",),
                home={},
            ),
        ),
        traps=(
            "true by construction; a ResNet of the literature has weights of its own in each block, and steps of 1",
            "in float64; the chain is written out by hand and differentiated by the same library",
        ),
    ),
    Claim(
        id="faster-at-test",
        topic=Topic.ACCURACY,
        sentence="An ODE layer trades evaluations for accuracy after training: it saves a quarter of them for half a "
        "point or less.",
        source=breakdown("practical applications", "different while training and inference"),
        published="stated, no number",
        home="a trained classifier",
        studies=("tolerance",),
        parts=loosened(TRAINED, "trained at 1e-3", home={}),
        traps=("the same measurements as looser-at-test", *LOOSENED),
        fairness="The network is trained as in Table 1, by backpropagation through the solver; only its test differs.",
        gate=Gate(final("test_error"), Arm("MLP", {"task": "mnist", "dataset": "mnist-5k", "model": "mlp"})),
        counts_with="looser-at-test (default)",
    ),
)

CLAIMS = (*_METHOD, *_FIELDS, _nonlinear("quick"), _nonlinear("paper"), *_NETWORK_FIELD)
