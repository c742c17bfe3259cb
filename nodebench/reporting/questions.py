"""Questions that users ask, with the claims and commands that answer them."""

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
        asked: the issues that ask it, as ``library number``.
        claims: the names of the claims that answer it, the one that answers it best first.
        answers: the word that begins the answer, by the verdict of the first of these claims.
        advice: what to do or to check; empty if the measurement is sufficient.
        command: measures the answer on the reader's machine.
        studies: the studies whose pages show further measurements.
        guides: pages of the documentation, under ``docs``.
        matters: for whom the answer matters, a sentence; empty if the question is not for the front page.
        unclaimed: where to look, for a question that no claim tests.
    """

    text: str
    asked: tuple[str, ...]
    claims: tuple[str, ...]
    answers: dict[Verdict, str]
    advice: str
    command: str
    studies: tuple[str, ...] = ()
    guides: tuple[str, ...] = ()
    matters: str = ""
    unclaimed: str = ""

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
        "“Constant” refers to the number of solver steps. The solution at each output time is stored, so memory grows "
        "with the number of output times, whichever gradient method is used. Request only the final state if that is "
        "enough.",
        "nodebench study run memory",
        matters="This matters if memory limits your batch or the number of solver steps.",
    ),
    Question(
        "Is the adjoint slower than backpropagation through the solver?",
        ("torchdiffeq 243",),
        ("adjoint-cheaper (default)", "discretise-then-optimise (default)"),
        NO_YES,
        "The adjoint solves the state a second time, backwards. Use it to save memory, not to save time. The study "
        "measures small networks in the first training steps.",
        "nodebench study run gradients",
        matters="This matters if you train through the adjoint although memory would suffice without it.",
    ),
    Question(
        "Is the ODE block necessary, or are one or two residual blocks as accurate?",
        ("torchdiffeq 25", "torchdiffeq 32", "torchdiffeq 10", "torchdiffeq 65"),
        ("mnist-parameters (default)", "mnist-parity (default)"),
        {
            Verdict.SUPPORTED: "On 4,000 digits of MNIST it is necessary.",
            Verdict.REFUTED: "On 4,000 digits of MNIST one residual block is as accurate.",
            Verdict.PARTLY: "On 4,000 digits of MNIST one residual block is nearly as accurate.",
            Verdict.DEPENDS: "It depends on the data.",
        },
        "Compare with a network that has the same number of parameters, and with a network without any block.",
        "nodebench study run table1",
        matters="This matters if you choose an ODE-Net to save parameters.",
    ),
    Question(
        "Does a latent ODE predict beyond the observed window better than an RNN?",
        ("torchdiffeq 117", "torchdiffeq 91", "torchdiffeq 230"),
        ("latent-ode-extrapolates (default)", "latent-ode-extrapolates (paper)"),
        YES_NO,
        "The public script does not use the setting of the paper's Table 2: its dynamics and its noise differ. When "
        "you report an RMSE, state whether it refers to the clean or to the noisy points. The page of the study has "
        "the RMSE of each network, beside that of the paper.",
        "nodebench study run table2",
        studies=("table2",),
    ),
    Question(
        "Does the number of evaluations grow during training?",
        ("torchdiffeq 153", "torchdiffeq 120", "torchdyn 82"),
        ("nfe-grows (default)", "regularised-faster (default)", "augmented-helps (default)"),
        YES_NO | {Verdict.SUPPORTED: "Yes, after the first epoch."},
        "During the first epoch the number can fall below that of the untrained network, and stay below it: see the "
        "controls of the claim. "
        "Sample the noise of a trace estimator once per solve. Regularisation of the field and extra dimensions are "
        "intended to reduce the number of evaluations.",
        "nodebench study run growth",
        matters="This matters if you estimate the cost of a long training from its first epochs.",
    ),
    Question(
        "Can I train with one tolerance and test with a looser one?",
        (),
        ("looser-at-test (default)", "faster-at-test (default)"),
        YES_NO,
        "First check that the accuracy stays the same with smaller steps: a network trained with coarse steps need "
        "not be an ODE.",
        "nodebench study run tolerance",
        matters="This matters if you deploy a trained network and its cost per prediction counts.",
    ),
    Question(
        "Does the backward pass need half as many evaluations as the forward pass?",
        ("torchdiffeq 97", "torchdiffeq 77"),
        ("backward-half (default)", "backward-half (paper)"),
        YES_NO,
        "The backward solve restarts at each output time. The adjoint's absolute tolerance does not scale with the "
        "gradient, so the scale of the loss can change the count. The study counts evaluations in the first training "
        "steps.",
        "nodebench study run gradients",
        matters="This matters if you estimate the cost of training from the forward pass.",
    ),
    Question(
        "Is a network that was trained with a few fixed steps still an ODE?",
        (),
        ("coarse-solver-collapse (default)",),
        {
            Verdict.SUPPORTED: "No.",
            Verdict.REFUTED: "Yes.",
            Verdict.PARTLY: "Nearly.",
            Verdict.DEPENDS: "It depends on the step, the network and the task.",
        },
        "Test the trained network with a finer solver. If its accuracy falls, it relies on the error of its own steps: "
        "train with smaller steps or with an adaptive solver, and test again.",
        "nodebench study run coarse",
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
        "In float32, the error does not fall below about 1e-6 at any tolerance.",
        "nodebench study run tolerance",
    ),
    Question(
        "Does solving a batch as one state need more evaluations?",
        (),
        (
            "batching-free (default)",
            "torchode-batching (default)",
            "torchode-batching-calls (default)",
            "torchode-batching-time (default)",
            "torchode-compiled (default)",
        ),
        NO_YES,
        "All samples of a batch share the same steps, so the hardest sample determines the step size. torchode and "
        "diffrax can choose the steps of each sample separately.",
        "nodebench study run batching",
    ),
    Question(
        "Is another library faster?",
        ("torchdiffeq 200", "torchdiffeq 169", "diffrax 82", "diffrax 187", "diffrax 466"),
        ("diffrax-faster (default)",),
        YES_NO | {Verdict.SUPPORTED: "Yes, diffrax is, for small networks on a CPU."},
        "Compare at equal error, not at equal tolerance, and count compilation time separately. Measure your own "
        "field: on MNIST, with convolutions, the comparison is not decided.",
        "nodebench study run libraries",
    ),
    Question(
        "How long does compilation take, and when does it pay off?",
        ("diffrax 94", "diffrax 111", "diffrax 606"),
        (),
        YES_NO,
        "The first training step is timed separately. The break-even point is the number of training steps after which "
        "the total time of a compiled configuration is at most that of an eager one.",
        "nodebench study run compile",
        studies=("compile",),
        guides=("libraries",),
        unclaimed="No claim tests this. The page of the study compile has the time of the first step and the "
        "break-even point of each configuration.",
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
        "A solve is a sequence of small steps. Measure both devices at your batch size and network width: run the "
        "study once on each device.",
        "nodebench study run devices --device cuda",
    ),
    Question(
        "Is the gradient of the adjoint accurate?",
        (),
        ("anode-memory-gradient (default)",),
        {
            Verdict.SUPPORTED: "Not for fields that contract strongly.",
            Verdict.REFUTED: "Yes, also for fields that contract.",
            Verdict.PARTLY: "In part.",
            Verdict.DEPENDS: "It depends on the field.",
        },
        "Checkpointing gives the exact gradient of the solve and needs only part of the memory of direct. A tighter "
        "adjoint tolerance helps only if the backward solve has the larger error.",
        "nodebench study run gradients-all",
        studies=("gradients-all",),
    ),
    Question(
        "Which tolerance does the backward solve need?",
        ("torchdiffeq 77", "torchdiffeq 100"),
        (),
        YES_NO,
        "Start with the tolerance of the forward solve, and plot the gradient error against the number of evaluations. "
        "What a looser tolerance saves and costs depends on the problem.",
        "nodebench study run backward-tolerance",
        studies=("backward-tolerance",),
        guides=("tolerances",),
        unclaimed="No claim tests this. The page of the study backward-tolerance compares looser and tighter ones on "
        "three problems.",
    ),
    Question(
        "The solver reports an underflow in dt, or the solve does not end: is my field stiff?",
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
        "An explicit method needs more evaluations the stiffer the field is: if a solve takes long, try an implicit "
        "method, such as scipy:LSODA. Stiffness alone does not make the step size underflow: look for a solution that "
        "becomes infinite, or a field that returns NaN.",
        "nodebench study run stiffness",
        studies=("stiffness", "stiff-learning"),
        guides=("stiffness",),
        unclaimed="No claim tests this. The pages of the studies show the evaluations and the failures of explicit and "
        "implicit methods, by stiffness.",
    ),
    Question(
        "Do more output times need more evaluations?",
        ("torchdiffeq 86",),
        ("outputs-are-free (default)",),
        NO_YES | {Verdict.DEPENDS: "It depends on the solve, forward or backward, and on the library."},
        "In the forward solve, a method with interpolation takes the same steps as for a single output. The backward "
        "solve of the adjoint restarts at each output time.",
        "nodebench study run outputs",
    ),
    Question(
        "Each sample has its own output times: is one solve over the union of all times the best option?",
        ("torchdiffeq 86", "torchdiffeq 122", "torchdiffeq 242", "torchode 21", "torchsde 129", "diffrax 500"),
        ("union-of-times (default)",),
        YES_NO | {Verdict.DEPENDS: "It depends on the solve, forward or backward."},
        "The alternative is rescaling: the intervals of each sample are mapped to [0, 1], so that all samples of a "
        "batch share them. The backward solve of the adjoint restarts at each output time. For B windows of W times, "
        "rescaled intervals have W − 1 restarts and the union has up to B (W − 1).",
        "nodebench study run own-times",
        guides=("tasks",),
    ),
    Question(
        "Does training through the adjoint with a coarse fixed step diverge?",
        ("torchdiffeq 88", "torchdiffeq 211"),
        ("euler-adjoint-diverges (default)",),
        YES_NO | {Verdict.DEPENDS: "Only with very few steps."},
        "The adjoint of a coarse solve does not give the gradient of that solve. Use the direct gradient or a finer "
        "step.",
        "nodebench study run euler-adjoint",
    ),
    Question(
        "Which gradient is as exact as backpropagation through the solver, but needs less memory?",
        ("diffrax 549", "diffrax 564", "diffrax 668", "diffrax 593", "diffrax 603", "diffrax 727"),
        ("aca-mali-symplectic (default)", "reversible-exact (default)"),
        YES_NO
        | {
            Verdict.SUPPORTED: "ACA, MALI and the symplectic adjoint.",
            Verdict.REFUTED: "Not all of ACA, MALI and the symplectic adjoint.",
        },
        "Reversible Runge–Kutta methods also need constant memory; the controls of the second claim give the time of "
        "their training step. Where another part of the network sets the peak, no gradient saves memory. The page of "
        "the study pareto plots the error of each gradient against its memory and its time.",
        "nodebench study run pareto",
    ),
    Question(
        "Does the adjoint need fewer evaluations if its error norm excludes the parameters (seminorm)?",
        (),
        ("seminorm-saves (default)",),
        YES_NO | {Verdict.DEPENDS: "It depends on the field and the tolerances."},
        "The seminorm affects only the backward solve; the error norm of the forward solve is unchanged. Try it if the "
        "absolute tolerance is much smaller than the relative one.",
        "nodebench study run seminorm",
    ),
    Question(
        "Does a continuous normalizing flow fit better than a layered flow, and which trace estimator should I use?",
        ("torchdiffeq 95", "diffrax 256", "diffrax 574", "DiffEqFlux 413"),
        (
            "cnf-beats-nf (default)",
            "planar-layers-moons (default)",
            "hutchinson-unbiased (default)",
            "cnf-density (default)",
        ),
        YES_NO,
        "Compare at equal iterations and at equal time. The study does not measure the time of the trace estimators.",
        "nodebench study run densities",
    ),
    Question(
        "Do neural ODEs handle irregular observations better than RNNs?",
        (),
        ("missing-points (default)", "constant-beats-ode (default)"),
        YES_NO,
        "The result depends on the conditions: whether the times are regular, and how many points are missing. Compare "
        "with forecasts that need no training: a constant, the last value, a line.",
        "nodebench study run observations",
    ),
)
