"""What users of the field ask, and the claims and commands that answer it."""

from dataclasses import dataclass

from nodebench.claims import Verdict

_ISSUES = "https://github.com/{}/issues/{}"
_REPOSITORIES = {
    "torchdiffeq": "rtqichen/torchdiffeq",
    "torchdyn": "DiffEqML/torchdyn",
    "diffrax": "patrick-kidger/diffrax",
    "torchode": "martenlienen/torchode",
    "torchsde": "google-research/torchsde",
    "DiffEqFlux": "SciML/DiffEqFlux.jl",
}
YES_NO = {Verdict.SUPPORTED: "Yes.", Verdict.REFUTED: "No.", Verdict.PARTLY: "In part.", Verdict.DEPENDS: "It depends."}
NO_YES = YES_NO | {Verdict.SUPPORTED: "No.", Verdict.REFUTED: "Yes."}


@dataclass(frozen=True)
class Question:
    """A question, as users put it.

    Attributes:
        text: the question.
        asked: where, as ``library number``.
        claims: the names of the claims that answer it, the one that answers it best first.
        answers: the word that begins the answer, by the verdict of the first of these claims.
        advice: what to do, or what to look at; empty where the measured figure says all.
        command: measures the answer on the reader's machine.
        studies: whose pages have figures beside the claims.
        guides: pages of the documentation, under ``docs``.
    """

    text: str
    asked: tuple[str, ...]
    claims: tuple[str, ...]
    answers: dict[Verdict, str]
    advice: str
    command: str
    studies: tuple[str, ...] = ()
    guides: tuple[str, ...] = ()

    @property
    def links(self) -> list[tuple[str, str]]:
        """The issues where it was asked: their names and addresses."""
        found = []
        for one in self.asked:
            library, number = one.split()
            found.append((f"{library} #{number}", _ISSUES.format(_REPOSITORIES[library], number)))
        return found


QUESTIONS = (
    Question(
        "Does training through the adjoint really use constant memory?",
        ("torchdiffeq 259", "torchdiffeq 54", "torchdiffeq 247", "torchdyn 138", "diffrax 685"),
        ("memory-constant (paper)", "memory-constant (default)"),
        YES_NO,
        "Constant is meant in the number of solver steps. The solution at each output time is stored, so that many "
        "output times need memory with any gradient; ask for the last state alone where that is enough.",
        "nodebench study run memory",
    ),
    Question(
        "Is the adjoint slower than backpropagation through the solver?",
        ("torchdiffeq 243",),
        ("adjoint-cheaper (default)", "discretise-then-optimise (default)"),
        NO_YES,
        "The adjoint solves the state once more, backwards. Use it where memory is short, not to save time. The "
        "study times small networks in the first steps of their training.",
        "nodebench study run gradients",
    ),
    Question(
        "Does the backward pass need half of the forward evaluations?",
        ("torchdiffeq 97", "torchdiffeq 77"),
        ("backward-half (default)", "backward-half (paper)"),
        YES_NO,
        "Each output time restarts the backward solve, and the adjoint's absolute tolerance does not grow with the "
        "gradient: a summed loss asks for more steps than a mean. The study counts in the first steps of training.",
        "nodebench study run gradients",
    ),
    Question(
        "Is the ODE block needed at all, or do one or two residual blocks do as well?",
        ("torchdiffeq 25", "torchdiffeq 32", "torchdiffeq 10", "torchdiffeq 65"),
        ("mnist-parameters (default)", "mnist-parity (default)"),
        {
            Verdict.SUPPORTED: "It is needed.",
            Verdict.REFUTED: "One residual block does as well.",
            Verdict.PARTLY: "One residual block comes close.",
            Verdict.DEPENDS: "It depends on the data.",
        },
        "Compare with a network of as many parameters, and with one that has no block at all.",
        "nodebench study run table1",
    ),
    Question(
        "Does a latent ODE predict beyond the observed window better than an RNN?",
        ("torchdiffeq 117", "torchdiffeq 91", "torchdiffeq 230"),
        ("latent-ode-extrapolates (default)", "latent-ode-extrapolates (paper)"),
        YES_NO,
        "The public script is not the setting of the paper's Table 2: its dynamics and its noise differ. Say whether "
        "an RMSE is to the clean or to the noisy points.",
        "nodebench study run table2",
    ),
    Question(
        "Does the number of evaluations grow during training?",
        ("torchdiffeq 153", "torchdiffeq 120", "torchdyn 82"),
        ("nfe-grows (default)", "regularised-faster (default)", "augmented-helps (default)"),
        YES_NO,
        "Draw the noise of a trace estimator once for each solve. Penalties on the field and extra dimensions are "
        "meant to keep the evaluations down.",
        "nodebench study run growth",
    ),
    Question(
        "Can I train with one tolerance and test with a looser one?",
        (),
        ("looser-at-test (default)", "faster-at-test (default)", "coarse-solver-collapse (default)"),
        YES_NO,
        "Check first that the accuracy holds under a finer solver: a network trained with coarse steps is no ODE.",
        "nodebench study run tolerance",
    ),
    Question(
        "Which tolerance do I need in training?",
        (),
        ("looser-in-training (default)", "error-follows-tolerance (default)"),
        {
            Verdict.SUPPORTED: "1e-3 is enough for a classifier.",
            Verdict.REFUTED: "1e-3 is not enough for a classifier.",
            Verdict.PARTLY: "1e-3 costs a little accuracy.",
            Verdict.DEPENDS: "It depends on the task.",
        },
        "float32 has no error below about 1e-6, whatever the tolerance.",
        "nodebench study run tolerance",
    ),
    Question(
        "Does batching samples into one state cost evaluations?",
        (),
        ("batching-free (default)", "torchode-batching (default)", "torchode-compiled (default)"),
        NO_YES,
        "All samples of a batch share their steps, so that the hardest sample sets them. torchode and diffrax can step "
        "each sample by itself.",
        "nodebench study run batching",
    ),
    Question(
        "Is another library faster?",
        ("torchdiffeq 200", "torchdiffeq 169", "diffrax 82", "diffrax 187", "diffrax 466"),
        ("diffrax-faster (default)",),
        YES_NO | {Verdict.SUPPORTED: "Yes, diffrax is, for small networks on a CPU."},
        "Compare at equal error, not at equal tolerance, and count the compilation apart. Measure your own field: on "
        "MNIST, with convolutions, the comparison is not decided.",
        "nodebench study run libraries",
    ),
    Question(
        "How long does compilation take, and when does it pay?",
        ("diffrax 94", "diffrax 111", "diffrax 606"),
        (),
        YES_NO,
        "The first step is timed apart. The page of the study compile gives the number of training steps "
        "after which a compiled configuration has taken no more time in all than an eager one.",
        "nodebench study run compile",
        studies=("compile",),
        guides=("libraries",),
    ),
    Question(
        "Is a GPU slower than a CPU?",
        (
            "torchdiffeq 15",
            "torchdiffeq 174",
            "torchdiffeq 186",
            "torchdyn 161",
            "torchsde 114",
            "DiffEqFlux 102",
            "torchode 34",
        ),
        (),
        YES_NO,
        "A solve is a chain of small steps. Measure both devices at your batch size and width; the study runs once on "
        "each.",
        "nodebench study run devices --device cuda",
    ),
    Question(
        "Is the gradient of the adjoint right?",
        (),
        ("anode-memory-gradient (default)",),
        {
            Verdict.SUPPORTED: "Not for fields that contract strongly.",
            Verdict.REFUTED: "Yes, also for fields that contract.",
            Verdict.PARTLY: "In part.",
            Verdict.DEPENDS: "It depends on the field.",
        },
        "Checkpoints keep the gradient of the solve exact, at a part of direct's memory. A tighter adjoint tolerance "
        "helps only where the backward solve has the larger error.",
        "nodebench study run gradients-all",
        studies=("gradients-all",),
    ),
    Question(
        "Which tolerance does the backward solve need?",
        ("torchdiffeq 77", "torchdiffeq 100"),
        (),
        YES_NO,
        "Begin with that of the forward solve, and draw the error of the gradient against the evaluations.",
        "nodebench study run backward-tolerance",
        studies=("backward-tolerance",),
        guides=("tolerances",),
    ),
    Question(
        "Underflow in dt, or a solve that does not end: is my field stiff?",
        (
            "torchdiffeq 27",
            "torchdiffeq 57",
            "torchdiffeq 132",
            "torchdiffeq 184",
            "torchdiffeq 244",
            "diffrax 284",
            "diffrax 319",
            "diffrax 368",
        ),
        (),
        YES_NO,
        "An explicit method takes ever more evaluations on a stiff field. A step size that underflows more often comes "
        "from a solution that runs off, or from a field that is not finite.",
        "nodebench study run stiffness",
        studies=("stiffness", "stiff-learning"),
        guides=("stiffness",),
    ),
    Question(
        "Do more output times cost evaluations?",
        ("torchdiffeq 86",),
        ("outputs-are-free (default)",),
        NO_YES | {Verdict.DEPENDS: "It depends on the solve, forward or backward, and on the library."},
        "A method with interpolation solves forwards as if there were one output. The backward solve of the adjoint "
        "starts anew at each output time.",
        "nodebench study run outputs",
    ),
    Question(
        "Each sample has output times of its own: is one solve over the union of the times the best way?",
        ("torchdiffeq 86", "torchdiffeq 122", "torchdiffeq 242", "torchode 21", "torchsde 129", "diffrax 500"),
        ("union-of-times (default)",),
        YES_NO | {Verdict.DEPENDS: "It depends on the solve, forward or backward."},
        "Rescaled: each sample's intervals are mapped to [0, 1], so that a batch shares them. The backward solve of "
        "the adjoint restarts at each output time: of B windows of W times, rescaled intervals have W − 1, the union "
        "up to B (W − 1).",
        "nodebench study run own-times",
        guides=("tasks",),
    ),
    Question(
        "Does training through the adjoint with a coarse fixed step diverge?",
        ("torchdiffeq 88", "torchdiffeq 211"),
        ("euler-adjoint-diverges (default)",),
        YES_NO | {Verdict.DEPENDS: "With very few steps."},
        "The adjoint of a coarse solve is not the gradient of that solve. Use the direct gradient, or a finer step.",
        "nodebench study run euler-adjoint",
    ),
    Question(
        "Which gradient is as exact as backpropagation through the solver, in less memory?",
        ("diffrax 549", "diffrax 564", "diffrax 668", "diffrax 593", "diffrax 603", "diffrax 727"),
        ("aca-mali-symplectic (default)", "reversible-exact (default)"),
        YES_NO
        | {
            Verdict.SUPPORTED: "ACA, MALI and the symplectic adjoint.",
            Verdict.REFUTED: "Not all of ACA, MALI and the symplectic adjoint.",
        },
        "Reversible Runge–Kutta methods keep constant memory, too; the second claim says what a step takes. The page "
        "of the study pareto draws the error of each gradient against its memory and its time.",
        "nodebench study run pareto",
    ),
    Question(
        "Are fewer evaluations needed if the adjoint's error norm leaves the parameters out?",
        (),
        ("seminorm-saves (default)",),
        YES_NO | {Verdict.DEPENDS: "It depends on the field and the tolerances."},
        "It concerns the backward solve alone; the error norm of the forward solve stays as it is. Try it where the "
        "absolute tolerance is far below the relative one.",
        "nodebench study run seminorm",
    ),
    Question(
        "Does a continuous normalizing flow fit better than a flow of layers, and which trace estimator is right?",
        ("torchdiffeq 95", "diffrax 256", "diffrax 574", "DiffEqFlux 413"),
        (
            "cnf-beats-nf (default)",
            "planar-layers-moons (default)",
            "hutchinson-unbiased (default)",
            "cnf-density (default)",
        ),
        YES_NO,
        "Compare at equal iterations and at equal time. The exact trace is cheap in two dimensions.",
        "nodebench study run densities",
    ),
    Question(
        "Are irregular observations handled naturally?",
        (),
        ("missing-points (default)", "constant-beats-ode (default)"),
        YES_NO,
        "Look at the conditions: whether the times are regular, and how many points are missing. Compare with a "
        "forecast that learns nothing: a constant, the last value, a line.",
        "nodebench study run observations",
    ),
)
