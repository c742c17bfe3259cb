"""Claims about libraries, and about the norm of an adjoint's error."""

import math
from typing import Any

from nodebench.analysis.readings import at_epoch, final, quotient, relative
from nodebench.claims.contract import Arm, Claim, Control, Match, Part, Topic, Wanted, Where, ratio
from nodebench.claims.papers.sources import DIFFRAX, SEMINORM, TORCHODE

_INF = math.inf

_TASKS = ("toy/spiral", "toy/lotka-volterra", "mnist")
_DIFFRAX = Arm("diffrax", {"task": _TASKS, "solver": "diffrax:dopri5", "gradient": "checkpoint"})
_TORCHDIFFEQ = Arm("torchdiffeq", {"task": _TASKS, "solver": "dopri5", "gradient": "direct"})
# One baseline for every arm and tolerance of a task: torchdiffeq at 1e-5 on the toys, at 1e-3 on MNIST.
_BASELINE: dict[str, Wanted] = {"solver": "dopri5", "gradient": "direct", "rtol": (1e-5, 1e-3)}
_LOOP_BASELINE: dict[str, Wanted] = {"solver": "dopri5", "rtol": 1e-5}
_FULL_NORM = Arm("adjoint", {"solver": "dopri5", "gradient": "adjoint"})
_SEMINORM = _FULL_NORM.but("adjoint-seminorm", gradient="adjoint-seminorm")
# Kinds of tasks of the seminorm's authors: the CDE at the first and the last of their three tolerances, the Hamiltonian
# network at theirs, the flow at the default of FFJORD, with whose code they ran it.
_CDE: dict[str, Wanted] = {"task": "toy/chirality", "model": "cde"}
_HAMILTONIAN: dict[str, Wanted] = {"task": "toy/pendulum", "model": "hamiltonian"}
_FFJORD: dict[str, Wanted] = {"task": "density", "model": "ffjord"}
_SEMINORM_CASES: dict[str, dict[str, Wanted]] = {
    "neural CDE, rtol 1e-3, atol 1e-6": {**_CDE, "rtol": 1e-3, "atol": 1e-6},
    "neural CDE, rtol 1e-5, atol 1e-8": {**_CDE, "rtol": 1e-5, "atol": 1e-8},
    "Hamiltonian network, rtol 1e-4, atol 1e-4": {**_HAMILTONIAN, "rtol": 1e-4, "atol": 1e-4},
    "flow, rtol 1e-5, atol 1e-5": {**_FFJORD, "rtol": 1e-5, "atol": 1e-5},
}


def _seminorm(where: dict[str, Wanted], supports: tuple[float, float] = (-_INF, 0.8), **rest: Any) -> Part:
    """Backward evaluations with the seminorm over those with the full norm."""
    return ratio(
        "with the seminorm the backward solve takes {} the evaluations that it takes with the full norm",
        final("nfe_backward"),
        _SEMINORM.but(_SEMINORM.name, **where),
        _FULL_NORM.but(_FULL_NORM.name, **where),
        supports=supports,
        **rest,
    )


def _same_loss(name: str, where: dict[str, Wanted]) -> Control:
    return Control(
        f"{name.partition(',')[0]}: the seminorm changes the loss of the first epoch by less than a twentieth",
        ratio(
            "the loss of the first epoch is {} that with the full norm",
            at_epoch("loss", 1),
            _SEMINORM.but(_SEMINORM.name, **where),
            _FULL_NORM.but(_FULL_NORM.name, **where),
            supports=(0.95, 1.05),
            label=f"{name}, training",
        ),
    )


def _faster(words: str, error: str, arm: Arm, home: Where | None = None) -> Part:
    """A training step of diffrax over one of torchdiffeq, at equal error.

    Both are measured against one baseline in one process, so that the speed of the machine cancels.
    """
    return ratio(
        words,
        relative(**_BASELINE),
        arm,
        _TORCHDIFFEQ,
        supports=(-_INF, 1 / 1.3),
        refutes=((1.0, _INF),),
        conditions=("task",),
        home=home,
        match=Match("rtol", final(error)),
    )


_OSCILLATOR: dict[str, Wanted] = {"task": "toy/flow", "model": "van-der-pol", "rtol": 1e-5}
_CYCLE: dict[str, Wanted] = {"model": "van-der-pol-cycle", "mu": 25.0}
# As in the source: float32 with equal tolerances.
_AS_IN_SOURCE: dict[str, Wanted] = {**_CYCLE, "starts": (4, 32, 256), "atol": 1e-5, "dtype": "float32"}
_BOX: dict[str, Wanted] = {"model": "van-der-pol", "mu": (10.0, 25.0, 50.0), "starts": 32}
_JOINT = Arm("torchdiffeq, one step for all", {**_OSCILLATOR, "solver": "dopri5", "batching": None, "dtype": "float64"})
_EACH = _JOINT.but("torchode, a step for each", solver="torchode:dopri5", batching="each")
_LOOP = Arm("torchdiffeq", {**_OSCILLATOR, "solver": "dopri5", "batching": None, "starts": 256, "dtype": "float32"})


def _own_steps(words: str, metric: str) -> tuple[Part, ...]:
    """A metric of torchode, where each sample steps on its own, over that of a joint batch."""

    def of(problem: dict[str, Wanted], **rest: Any) -> Part:
        return ratio(
            words,
            final(metric),
            _EACH.but(_EACH.name, **problem),
            _JOINT.but(_JOINT.name, **problem),
            supports=(-_INF, 0.5),
            refutes=((1.0, _INF),),
            **rest,
        )

    return (
        of(_AS_IN_SOURCE, conditions=("starts",), home={"starts": 256}, label="one cycle, mu 25"),
        of(_BOX, conditions=("mu",), label="random starts"),
    )


def _own_time(problem: dict[str, Wanted], **rest: Any) -> Part:
    """The time of a solve by torchode, where each sample steps on its own, over that of a joint batch."""
    tolerances = (1e-3, 1e-5, 1e-7)
    return ratio(
        "at equal error a solve takes {} the time of a joint batch",
        relative(**_LOOP_BASELINE),
        _EACH.but(_EACH.name, **problem, rtol=tolerances),
        _JOINT.but(_JOINT.name, **problem, rtol=tolerances),
        supports=(-_INF, 0.75),
        refutes=((1.0, _INF),),
        match=Match("rtol", final("solution_error")),
        **rest,
    )


def _a_call(words: str, supports: tuple[float, float], home: Where | None = None, **arm: str | None) -> Part:
    """Seconds of one evaluation with all that the library does around it, over torchdiffeq's."""
    return ratio(
        words,
        quotient(relative(**_LOOP_BASELINE), relative("nfe_forward", **_LOOP_BASELINE)),
        _LOOP.but("the other library", **arm),
        supports=supports,
        home=home,
    )


_OWN_CONTROLLER = "The library's own controller; the same method and tolerance."
_ONE_CYCLE = "one period of Van der Pol oscillators with a stiffness of 25, from starts on the limit cycle, 256 samples"
_TRAPS_OF_OWN_STEPS = (
    "a mildly stiff problem saves less",
    "at the same tolerance the errors of the two arms differ, mostly in favour of torchode; in float32 the error is "
    "not measured",
    "torchode's documentation suggests its PID controller for stiff problems; this is its integral controller, which "
    "the paper used",
    "the starts on the cycle are drawn uniformly in time; the source spaces them evenly over half a cycle, and has up "
    "to 1,024 samples",
    "the two arms are different libraries, whose controllers may explain a part of the difference",
)
_RANDOM_STARTS = (
    "the conditions with random starts are ours: float64, an absolute tolerance of 1e-7, and less than a cycle"
)
_COMPILED = {"solver": "torchode:dopri5", "batching": "each", "compile": "solver"}

CLAIMS = (
    Claim(
        id="diffrax-faster",
        topic=Topic.LIBRARIES,
        sentence="At equal error diffrax trains small networks faster than torchdiffeq by a factor of 1.3 or more (XLA "
        "on a CPU).",
        source=DIFFRAX,
        published="1.3 to 20 × faster",
        published_value=1 / 1.3,
        home="two small networks; the documentation's own benchmarks are of other tasks",
        studies=("libraries",),
        parts=(
            _faster(
                "at equal error of the solution a step takes {} the time of torchdiffeq's",
                "solution_error",
                _DIFFRAX,
                home={"task": ("toy/spiral", "toy/lotka-volterra")},
            ),
        ),
        controls=(
            Control(
                "at equal error of the gradient it is faster as well",
                _faster("at equal error of the gradient a step takes {} the time", "gradient_error", _DIFFRAX),
            ),
        ),
        traps=(
            "compilation, seconds for each shape of the state, is not included; it is first_step_seconds",
            "one thread of a CPU; states pass between torch and JAX at each step, the rest of the network is torch's",
            "diffrax differentiates by its default, recursive checkpointing; torchdiffeq through all of its operations",
            "torchdiffeq runs eagerly; MNIST, a condition, has convolutions, which are slow in a loop of XLA on a CPU",
        ),
        fairness="Set up by the list in diffrax's documentation (Further details, FAQ): one compiled function, "
        "compiled "
        "before it is timed, the same method and tolerances; convolutions are written so that XLA on a CPU runs them "
        "well. Each library has its default first step: torchdiffeq estimates it, diffrax always begins with 0.01.",
    ),
    Claim(
        id="torchode-batching",
        topic=Topic.LIBRARIES,
        sentence="Where each sample steps on its own, a sample of a stiff batch takes on average at most half the "
        "evaluations.",
        source=TORCHODE,
        published="other solvers take up to 4 × as many steps, counted for the longest sample",
        home=_ONE_CYCLE,
        studies=("batching",),
        parts=_own_steps(
            "a sample that steps on its own takes {} the evaluations of a joint batch", "sample_evaluations"
        ),
        traps=(
            *_TRAPS_OF_OWN_STEPS,
            _RANDOM_STARTS,
            "torchode still evaluates samples whose solve is over; these evaluations are not counted",
            "the source counts the steps of the longest sample, as torchode-batching-calls does; this is a mean over "
            "samples",
        ),
        fairness=_OWN_CONTROLLER,
    ),
    Claim(
        id="torchode-batching-calls",
        topic=Topic.LIBRARIES,
        sentence="Where each sample steps on its own, the field is called at most half as often for a stiff batch.",
        source=TORCHODE,
        published="up to 4 × fewer steps",
        published_value=0.25,
        home=_ONE_CYCLE,
        studies=("batching",),
        parts=_own_steps("the field is called {} as often as for a joint batch", "nfe_forward"),
        traps=(*_TRAPS_OF_OWN_STEPS, _RANDOM_STARTS),
        fairness=_OWN_CONTROLLER,
    ),
    Claim(
        id="torchode-batching-time",
        topic=Topic.LIBRARIES,
        sentence="At equal error, a stiff batch whose samples step on their own takes at most 0.75 × the time of a "
        "joint batch.",
        source=TORCHODE,
        published="no time of this problem; per step, 4.3 × for a compiled graph network on an accelerator",
        home="ours: the problem on which the source counts steps, with 32 samples",
        studies=("batching",),
        parts=(
            _own_time({**_CYCLE, "starts": 32}, home={}, label="one cycle, mu 25"),
            _own_time(_BOX, conditions=("mu",), label="random starts"),
        ),
        traps=(
            *_TRAPS_OF_OWN_STEPS,
            "float64 with an absolute tolerance of a hundredth of the relative one, where the source has float32 and "
            "equal tolerances",
            "at 1e-3 some solves are out of phase, with an error of the size of the solution or more",
            "one thread of a CPU; the paper's times are of one accelerator",
        ),
        fairness=_OWN_CONTROLLER,
    ),
    Claim(
        id="torchode-compiled",
        topic=Topic.LIBRARIES,
        sentence="Solving Van der Pol oscillators, torchode's compiled loop takes at most 0.75 × the time per "
        "evaluation of torchdiffeq's eager solve.",
        source=TORCHODE,
        published="per step 3.58 ms torchdiffeq, 3.21 torchode, 1.63 compiled",
        published_value=1.63 / 3.58,
        home="Van der Pol oscillators",
        studies=("batching",),
        parts=(
            _a_call(
                "compiled whole, one evaluation with all around it takes {} the time of torchdiffeq's",
                (-_INF, 0.75),
                home={},
                **_COMPILED,
            ),
        ),
        controls=(
            Control(
                "eager, it takes no longer than torchdiffeq",
                _a_call(
                    "eager, it takes {} the time",
                    (-_INF, 1.0),
                    solver="torchode:dopri5",
                    batching="each",
                    compile=None,
                ),
            ),
            Control(
                "diffrax takes at most 0.35 × the time",
                _a_call("diffrax takes {} the time", (-_INF, 0.35), solver="diffrax:dopri5", batching="each"),
            ),
        ),
        traps=(
            "the paper's times are of one accelerator; these are of one thread of a CPU",
            "compilation is not included, and torchdiffeq runs eagerly",
            "only forward solves of one known field are timed; the gain in training is not judged",
            "the paper compiles with the tools of its time; here it is torch.compile",
            "the threshold of 0.75 is ours",
        ),
        fairness="The library's own controller; compiled as its documentation advises; the same method and tolerance.",
    ),
    Claim(
        id="seminorm-saves",
        topic=Topic.GRADIENTS,
        sentence="Leaving the parameters out of the adjoint's error norm saves at least a fifth of the backward "
        "evaluations.",
        source=SEMINORM,
        published="median 40 %, up to 62 % fewer",
        published_value=0.6,
        home="a neural controlled equation, a continuous flow and a Hamiltonian network",
        studies=("seminorm", "gradients-all"),
        parts=tuple(
            _seminorm(where, refutes=((0.95, _INF),), home={}, label=name) for name, where in _SEMINORM_CASES.items()
        ),
        controls=(
            *(
                Control(
                    f"{name}: with an rtol of 1e-4 and an atol of 1e-8 it saves at least a fifth",
                    _seminorm({**where, "rtol": 1e-4, "atol": 1e-8}, label=f"{name}, rtol 1e-4, atol 1e-8"),
                )
                for name, where in (("neural CDE", _CDE), ("Hamiltonian network", _HAMILTONIAN), ("flow", _FFJORD))
            ),
            *(_same_loss(name, where) for name, where in _SEMINORM_CASES.items() if where["atol"] != 1e-8),
            Control(
                "on toys and images it saves less than a twentieth",
                _seminorm(
                    {"task": _TASKS, "model": ("small", "odenet"), "rtol": 1e-3}, (0.95, _INF), conditions=("task",)
                ),
            ),
        ),
        traps=(
            "a backward solve over a short interval takes two or three steps, whatever the norm: with the flow and the "
            "Hamiltonian network there is almost nothing to save",
            "the source states a median over its tasks; which of its tasks have which tolerance decides that median",
            "measured after few training steps",
            "the threshold of a fifth is ours, and the authors' middle tolerance is not measured",
            "torchdiffeq's full norm is the largest of those of state, adjoint and each parameter",
            "the paper's networks are larger: 90 components and 20 channels, or layers of 300 and 400 units",
            "the paper's windows of Hamiltonian networks have 8 times, ours 5",
        ),
        fairness="torchdiffeq's own option adjoint_options=dict(norm='seminorm'). The CDE has the first and the last "
        "of the authors' three tolerances, the Hamiltonian network theirs, the flow FFJORD's default; networks and "
        "data are smaller.",
    ),
)
