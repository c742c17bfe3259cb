"""The claims of the article "Neural ODEs: breakdown of another deep learning breakthrough" (the Breakdown article).

Its words for a trajectory error, mean|ŷ − y| / mean|y − ȳ|: it *fits* at 0.10 or less, and *fails* at 0.50 or more.
"""

import math

from nodebench.analysis.claims.accuracy import TRAINED, loosened
from nodebench.analysis.claims.contract import (
    SOLVING,
    Arm,
    Claim,
    Control,
    Part,
    Reading,
    Wanted,
    exceeds,
    final,
    where,
)
from nodebench.analysis.claims.sources import breakdown
from nodebench.spec.trial import Scalar

_INF = math.inf
_FITS, _FAILS = (-_INF, 0.10), (0.50, _INF)


_TOY: dict[str, Wanted] = {
    "solver": "dopri5",
    "rtol": 1e-7,
    "training": "windows",
    "missing": 0.0,
    "irregular": False,
    "noise": 0.0,
    "loss_scale": (1.0, None),
}


def _toy(task: str, model: str = "small", **where: Scalar) -> Arm:
    return Arm(model, {**_TOY, "task": task, "model": model, **where})


_ERROR = final("trajectory_error")


def _error(
    words: str, arm: Arm, supports: tuple[float, float], refutes: tuple[float, float], reading: Reading = _ERROR
) -> Part:
    return Part(
        f"{words} errs by {{}} of the trajectory's spread",
        reading,
        arm,
        supports=supports,
        refutes=(refutes,),
        scale="log",
    )


_UNSTABLE = Control(
    "fewer than half of the fields are unstable: their states grow tenfold over the span",
    Part(
        "{} of the random fields are unstable",
        exceeds(final("growth"), 10.0),
        _toy("toy/random"),
        supports=(-_INF, 0.5),
        scale="share",
        unit="%",
    ),
)


def _fits(
    id: str,
    task: str,
    field: str,
    preset: str = "quick",
    reading: Reading = _ERROR,
    controls: tuple[Control, ...] = (),
) -> Claim:
    return Claim(
        id,
        "paper" if preset == "paper" else "default",
        f"A small network (2–50–2) learns {field} from windows of one trajectory.",
        breakdown("linear fields"),
        "shown in a figure",
        ("toys",),
        (_error("the small network", _toy(task), _FITS, _FAILS, reading),),
        controls,
        (
            "trained on windows of ten points, tested over the whole span, where errors add up",
            "at a constant learning rate RMSprop's noise decides; quick lets it fall, paper has it constant",
        ),
        preset=preset,
    )


_FIELDS = (
    _fits("seed-fits-spiral", "toy/spiral", "the linear spiral"),
    _fits("seed-fits-spiral", "toy/spiral", "the linear spiral", "paper"),
    _fits(
        "seed-fits-random",
        "toy/random",
        "a random linear field, where it is stable over the span",
        reading=where(final("trajectory_error"), "growth", 10.0),
        controls=(_UNSTABLE,),
    ),
    _fits(
        "seed-fits-lotka-volterra",
        "toy/lotka-volterra-linear",
        "the article's “Volterra–Lotka” field, which is linear,",
    ),
)


def _nonlinear(preset: str) -> Claim:
    return Claim(
        "seed-nonlinear-hard",
        "paper" if preset == "paper" else "default",
        "A small network cannot fit a trajectory of the nonlinear field.",
        breakdown("nonlinear field"),
        "shown in a figure",
        ("toys",),
        (_error("the small network", _toy("toy/nonlinear"), (0.10, _INF), _FITS),),
        (
            Control(
                "it fits from starts that it never saw",
                _error("from new starts the network", _toy("toy/nonlinear"), _FITS, _FAILS, final("held_out_error")),
            ),
            Control(
                "it fits beyond the span",
                _error("beyond the span it", _toy("toy/nonlinear"), _FITS, _FAILS, final("extrapolation_error")),
            ),
        ),
        (
            "the article's trajectory covers a small part of the plane: fitting it is not to have learned the field",
            "quick lets the learning rate fall, which is ours; the article's constant rate stands at paper scope",
        ),
        preset=preset,
    )


_SIGHT = Control(
    "the small network fits once it is told the time",
    _error("the small network that sees the time", _toy("toy/mlp", "small-t", window_times="own"), _FITS, _FAILS),
)
_TRAP_15 = (
    "the target depends on the time and the article's networks do not see it: depth, sight of the time and the times "
    "of the windows change at once in the article"
)

_NETWORK_FIELD = (
    Claim(
        "seed-mlp-shallow-fails",
        "default",
        "On a random network's field the small network (2–50–2) fails.",
        breakdown("network field"),
        "shown in a figure",
        ("toys",),
        (_error("the small network", _toy("toy/mlp", "small"), _FAILS, (-_INF, 0.50)),),
        (_SIGHT,),
        (_TRAP_15,),
    ),
    Claim(
        "seed-mlp-deep-works",
        "default",
        "On a random network's field the deep network (2–150–50–50–2) works.",
        breakdown("network field"),
        "shown in a figure",
        ("toys",),
        (_error("the deep network", _toy("toy/mlp", "deep"), _FITS, _FAILS),),
        (
            Control(
                "the deep network fits once it is told the time",
                _error(
                    "the deep network that sees the time", _toy("toy/mlp", "deep-t", window_times="own"), _FITS, _FAILS
                ),
            ),
            Control(
                "the small one that sees the time errs less than the deep one that does not",
                Part(
                    "the small network that sees the time errs by {} what the deep one without errs by",
                    final("trajectory_error"),
                    _toy("toy/mlp", "small-t", window_times="own"),
                    _toy("toy/mlp", "deep", window_times="own"),
                    supports=(-_INF, 1.0),
                    scale="log",
                    unit="×",
                ),
            ),
        ),
        (_TRAP_15,),
    ),
)

_OBSERVED = Arm(
    "neural ODE",
    {**_TOY, "task": "toy/spiral", "model": "small", "missing": (0.0, 0.6, 0.9), "irregular": (False, True)},
)

_SERIES = (
    Claim(
        "seed-missing-points",
        "default",
        "Missing and irregular observations are handled naturally: better than by an RNN that is told each gap.",
        breakdown("irregular time series"),
        "stated",
        ("observations",),
        (
            Part(
                "the neural ODE errs by {} what a GRU that is told each gap errs by",
                final("trajectory_error"),
                _OBSERVED,
                _OBSERVED.but("GRU", model="gru-dt", solver=None, rtol=None),
                supports=(-_INF, 1.0),
                conditions=("missing", "irregular"),
                may_differ=SOLVING,
                scale="log",
                unit="×",
            ),
        ),
        traps=(
            "one noise-free trajectory of a linear field: the easiest case for a vector field",
            "a window is ten observations, however long that lasts: with 90 % missing each spans ten times as much",
        ),
    ),
    Claim(
        "seed-vae-spirals",
        "default",
        "A latent ODE recovers noisy spirals: its reconstruction is nearer to the truth than the observations are.",
        breakdown("latent ODE on spirals"),
        "shown in a figure",
        ("table2",),
        (
            Part(
                "the reconstruction errs by {} the noise",
                final("rmse_over_noise"),
                Arm(
                    "latent ODE",
                    {"task": "latent-spirals", "model": "latent-ode", "variant": "script", "observations": 100},
                ),
                supports=(-_INF, 1.0),
                scale="log",
                unit="×",
            ),
        ),
        traps=("on spirals never seen, at their observed times, against the clean curve",),
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
        within=(0.0, 1.0),
        unit="%",
    )


_ECG = (
    Claim(
        "seed-ecg-collapse",
        "default",
        "A latent ODE of heart beats overfits to a single shape.",
        breakdown("ECG"),
        "shown in a figure",
        ("ecg",),
        (
            Part(
                "decoded beats spread {} as far as true ones",
                final("diversity_ratio"),
                _BEATS,
                supports=(-_INF, 0.25),
                refutes=((0.70, _INF),),
                scale="log",
                unit="×",
            ),
        ),
        (
            Control(
                "nor is it so of a real heart, record 100 of MIT-BIH: its beats keep a quarter of their spread",
                Part(
                    "decoded beats of a real heart spread {} as far as true ones",
                    final("diversity_ratio"),
                    _BEATS.but("latent ODE", dataset="mitdb"),
                    supports=(0.25, _INF),
                    scale="log",
                    unit="×",
                ),
            ),
        ),
        ("the article's data are its own; here they are McSharry's synthetic heart and record 100 of MIT-BIH",),
    ),
    Claim(
        "seed-ecg-diverges",
        "default",
        "Extrapolated to either side, a beat runs off to infinity.",
        breakdown("ECG"),
        "shown in a figure",
        ("ecg",),
        (_escapes("before", _BEATS), _escapes("after", _BEATS)),
        (
            Control(
                "a bounded activation (tanh) runs off less, backwards",
                Part(
                    "backwards the share that runs off under tanh less that under ELU is {}",
                    final("escape_share_before"),
                    _BEATS.but("tanh", model="latent-ode-tanh"),
                    _BEATS,
                    "difference",
                    supports=(-_INF, -0.25),
                ),
            ),
            Control(
                "so does a damped field",
                Part(
                    "backwards the share that runs off under a damped field less that under ELU is {}",
                    final("escape_share_before"),
                    _BEATS.but("damped", model="latent-ode-damped"),
                    _BEATS,
                    "difference",
                    supports=(-_INF, -0.25),
                ),
            ),
        ),
        (
            "an ELU field is unbounded, and nothing holds it outside the trained window",
            "within four beats; slower escapes are not seen",
        ),
    ),
)

_EULER = Arm(
    "Euler",
    {"task": "toy/spiral", "solver": "euler", "gradient": "direct", "dtype": "float64", "step_size": (0.05, 0.1)},
)
_METHOD = (
    Claim(
        "seed-euler-resnet",
        "default",
        "A chain of residual blocks of shared weights is Euler's method.",
        breakdown("introduction"),
        "an identity",
        ("flows",),
        (
            Part(
                "output and gradient of the two differ by {}, relatively",
                final("residual_error"),
                _EULER,
                supports=(-_INF, 1e-12),
                conditions=("step_size",),
            ),
        ),
        traps=(
            "true by construction; a ResNet of the literature has weights of its own in each block, and steps of 1",
            "in float64; the chain is written out by hand and differentiated by the same library",
        ),
        published_value=0.0,
    ),
    Claim(
        "seed-speed-accuracy",
        "default",
        "An ODE layer lets one buy speed after training: a quarter of the evaluations for half a point or less.",
        breakdown("practical applications"),
        "stated",
        ("tolerance",),
        loosened(TRAINED),
        traps=(
            "the same measurements as looser-at-test: a trade that costs nothing and one that saves nothing fail alike",
        ),
    ),
)

CLAIMS = (*_METHOD, *_FIELDS, _nonlinear("quick"), _nonlinear("paper"), *_NETWORK_FIELD, *_SERIES, *_ECG)
