"""The plots of each study's page; ``nodebench.reporting.study_charts`` draws them."""

from collections.abc import Iterable

from nodebench.analysis.fairness import trained_with_fixed_steps
from nodebench.analysis.readings import final, total
from nodebench.reporting.charts import Look
from nodebench.reporting.classical_plots import CLASSICAL
from nodebench.reporting.comparison_plots import COMPARISONS
from nodebench.reporting.published import TABLE_1, TABLE_2
from nodebench.reporting.study_charts import Plot, Points, by_axis, category, each, rows
from nodebench.spec import Record


def _refined(record: Record) -> Iterable[tuple[float, float]]:
    """Yield the refinement factor of the step size, relative to training, and the test error at that step size."""
    if not trained_with_fixed_steps(record):
        return
    trained = max((row["step_size"] or 0 for row in record.profile if row.get("step_size")), default=0)
    for row in record.profile:
        step, error = row.get("step_size"), row.get("test_error")
        if trained and step and error is not None:
            yield round(trained / step), error


_MODELS = ("odenet", "rknet", "resnet", "resnet-tied", "resnet-1", "no-block", "mlp")
_TOYS = ("toy/spiral", "toy/random", "toy/lotka-volterra-linear", "toy/lotka-volterra", "toy/nonlinear", "toy/mlp")
_BEATS = ("latent-ode", "latent-ode-tanh", "latent-ode-damped", "gru-vae")
_SERIES = ("latent-ode", "ode-rnn", "gru-d", "rnn-dt", "constant", "last-value", "linear")
_FLOWS = ("planar-cnf", "planar-nf", "gmm")
_TASKS = ("mnist", "toy/spiral", "latent-spirals", "ecg")
_NFE, _PEAK = final("nfe_forward"), final("tensor_peak_bytes")
_BOTH = total(final("nfe_forward"), final("nfe_backward"))
_GRADIENT = ("gradient",)

_DIVERSITY = Plot(
    "diversity",
    "Spread of decoded beats divided by the spread of true beats; 0 means a collapse to one shape",
    category("model", _BEATS, final("diversity_ratio")),
    ("dataset", "objective"),
    Look("", "spread of decoded / true beats", joined=False, from_zero=True, categories=_BEATS),
)

PLOTS: dict[str, tuple[Plot, ...]] = (
    COMPARISONS
    | CLASSICAL
    | {
        "table1": (
            Plot(
                "error",
                "Test error of each model: measured (solid) and published for the full data set (hollow)",
                category("model", _MODELS, final("test_error")),
                (),
                Look("", "test error (%)", joined=False, from_zero=True, categories=_MODELS),
                where=(("solver", ("dopri5", None)),),
                published=(("", tuple((_MODELS.index(model), error) for model, (error, _) in TABLE_1.items())),),
            ),
            Plot(
                "nfe",
                "Evaluations of a fixed batch over training: Figure 3d of Chen et al.",
                rows("history", "epoch", "nfe_probe"),
                ("model", "solver"),
                Look("epoch", "NFE of a fixed batch", from_zero=True, whole=True),
                where=(("solver", ("dopri5",)),),
            ),
        ),
        "mnist-full": (
            Plot(
                "error",
                "Test error over training on the 60,000 images",
                rows("history", "epoch", "test_error"),
                ("model",),
                Look("epoch", "test error (%)", from_zero=True, whole=True),
            ),
            Plot(
                "nfe",
                "Evaluations of a fixed batch over training on the 60,000 images",
                rows("history", "epoch", "nfe_probe"),
                ("model",),
                Look("epoch", "NFE of a fixed batch", from_zero=True, whole=True),
            ),
        ),
        "fig3": (
            Plot(
                "a",
                "Figure 3a: error of the solution against forward evaluations, tolerances 1e-1 to 1e-5",
                each(_NFE, final("solution_error")),
                ("rtol",),
                Look("NFE, forward", "relative solution error", "xy", joined=False),
                ("mnist",),
            ),
            Plot(
                "b",
                "Figure 3b: time of a training step against forward plus backward evaluations",
                each(_BOTH, final("step_seconds")),
                ("rtol",),
                Look("NFE, forward and backward", "step (s)", joined=False, from_zero=True),
                ("mnist",),
            ),
            Plot(
                "c",
                "Figure 3c: backward against forward evaluations; dotted line: the paper's ratio of one half",
                each(_NFE, final("nfe_backward")),
                ("task", "solver"),
                Look(
                    "NFE, forward",
                    "NFE, backward",
                    guides=(("half", 0.5), ("equal", 1.0)),
                    joined=False,
                    from_zero=True,
                ),
                over=("rtol",),
            ),
            Plot(
                "d",
                "Figure 3d: evaluations of a fixed batch over training, from study table1",
                rows("history", "epoch", "nfe_probe"),
                ("model",),
                Look("epoch", "NFE of a fixed batch", from_zero=True, whole=True),
                study="table1",
                where=(("solver", ("dopri5",)),),
            ),
        ),
        "memory": (
            Plot(
                "steps",
                "Peak memory of a training step against evaluations, rk4 on a two-dimensional field",
                each(_NFE, _PEAK, 1e-6),
                _GRADIENT,
                Look("NFE, forward", "peak of live tensors (MB)", "xy"),
                ("steps",),
                over=("step_size",),
            ),
            Plot(
                "outputs",
                "Peak memory of a training step against the number of output times, at a fixed step size",
                by_axis("points", _PEAK, 1e-6),
                _GRADIENT,
                Look("output times", "peak of live tensors (MB)", "xy"),
                ("outputs",),
            ),
            Plot(
                "network",
                "Peak memory of a training step of the whole MNIST network against evaluations, rk4",
                each(_NFE, _PEAK, 1e-6),
                _GRADIENT,
                Look("NFE, forward", "peak of live tensors (MB)", from_zero=True),
                ("network",),
                over=("step_size",),
            ),
            Plot(
                "time",
                "Time of a training step against evaluations, rk4 on a two-dimensional field",
                each(_NFE, final("step_seconds")),
                _GRADIENT,
                Look("NFE, forward", "step (s)", "xy"),
                ("steps",),
                over=("step_size",),
            ),
        ),
        "table2": (
            Plot(
                "extrapolation",
                "RMSE beyond the window: measured (solid) and published in Table 2 of Chen et al. (hollow)",
                by_axis("observations", final("extrapolation_rmse")),
                ("model",),
                Look("observations", "RMSE on 100 points beyond the window", from_zero=False, logs="y"),
                where=(("variant", ("paper",)),),
                published=tuple((model, tuple(known.items())) for model, known in TABLE_2.items()),
            ),
            Plot(
                "reconstruction",
                "RMSE at the observed points of spirals that were not used in training",
                by_axis("observations", final("reconstruction_rmse")),
                ("model",),
                Look("observations", "RMSE where observed", from_zero=True),
                where=(("variant", ("paper",)),),
            ),
        ),
        "toys": (
            Plot(
                "error",
                "Error over the whole span of each field, by network; a network fits below 0.1 and fails above 0.5",
                category("task", _TOYS, final("trajectory_error")),
                ("model", "window_times"),
                Look(
                    "",
                    "trajectory error",
                    "y",
                    joined=False,
                    categories=("spiral", "random", "“Volterra–\nLotka”", "Lotka–\nVolterra", "nonlinear", "network"),
                ),
            ),
        ),
        "ecg": (
            _DIVERSITY,
            Plot(
                "escapes",
                "Share of extrapolations backwards in time that exceed ten times the signal's range within four beats",
                category("model", _BEATS, final("escape_share_before")),
                ("dataset", "objective"),
                Look("", "share that diverges, backwards", joined=False, from_zero=True, categories=_BEATS),
            ),
        ),
        "ecg-mitdb": (_DIVERSITY,),
        "densities": (
            Plot(
                "excess",
                "Nats above the entropy after ten epochs: planar continuous flow, planar layers and Gaussian mixture",
                category("model", _FLOWS, final("excess_nats")),
                ("density", "layers_start", "steps_per_epoch"),
                Look("", "nats above the entropy", "y", joined=False, categories=_FLOWS),
                groups=(
                    "planar",
                    "mixture",
                    "planar-layers",
                    "planar-layers-long",
                    "planar-layers-published",
                ),
                over=("solver", "rtol", "atol", "gradient", "learning_rate"),
            ),
        ),
        "series": (
            Plot(
                "interpolation",
                "Sines: mean squared error at the hidden points against the share of given points",
                by_axis("observed", final("hidden_mse")),
                ("model",),
                Look("share of given points", "MSE at hidden points", "xy"),
                groups=("periodic", "periodic-gru-d", "periodic-ode-rnn"),
                over=("solver", "rtol", "atol", "step_size", "gradient"),
            ),
            Plot(
                "forecast-sines",
                "Sines: RMSE on the second half of each series, given half of the points of the first half",
                category("model", _SERIES, final("hidden_rmse")),
                (),
                Look("", "RMSE", "y", joined=False, categories=_SERIES),
                groups=("periodic-forecast", "periodic-forecast-ode-rnn"),
            ),
            Plot(
                "forecast-spirals",
                "Spirals: error on 100 points beyond the window",
                category("model", _SERIES, final("extrapolation_rmse")),
                ("observations",),
                Look("", "RMSE beyond the window", "y", joined=False, categories=_SERIES),
                groups=("spirals", "spirals-others", "spirals-ode-rnn"),
            ),
        ),
        "solvers": tuple(
            Plot(
                f"{group}-{name}",
                f"Work-precision, {about}: error of the solution against {label}",
                each(reading, final("solution_error"), 1.0),
                ("solver",),
                Look(label, "relative solution error", "xy"),
                (group,),
                over=(over,),
            )
            for group, about, over in (
                ("adaptive", "adaptive methods on x' = 1 − x", "rtol"),
                ("fixed", "fixed-step methods on x' = 1 − x", "step_size"),
                ("van-der-pol", "a learned oscillator", "rtol"),
            )
            for name, reading, label in (
                ("nfe", _NFE, "NFE, forward"),
                ("seconds", final("step_seconds"), "seconds per step"),
                ("bytes", _PEAK, "peak of live tensors (bytes)"),
            )
        ),
        "gradients": (
            Plot(
                "time",
                "Time of a training step by task, at its tightest and loosest tolerance",
                category("task", _TASKS, final("step_seconds")),
                ("gradient", "rtol"),
                Look("", "step (s)", "y", joined=False, categories=_TASKS),
                where=(("loss_scale", (1.0, None)),),
            ),
            Plot(
                "memory",
                "Peak memory of a training step by task",
                category("task", _TASKS, _PEAK),
                ("gradient", "rtol"),
                Look("", "peak of live tensors (bytes)", "y", joined=False, categories=_TASKS),
                where=(("loss_scale", (1.0, None)),),
            ),
            Plot(
                "contraction",
                "Error of the gradient against the contraction rate of a field, at two tolerances",
                by_axis("rate", final("gradient_error")),
                ("gradient", "rtol"),
                Look("rate", "relative gradient error", "y"),
                ("contracting",),
            ),
            Plot(
                "backward",
                "Backward against forward evaluations; dotted line: the paper's ratio of one half",
                each(_NFE, final("nfe_backward")),
                ("task",),
                Look("NFE, forward", "NFE, backward", "xy", guides=(("half", 0.5), ("equal", 1.0)), joined=False),
                over=("rtol", "loss_scale", "rate"),
            ),
        ),
        "coarse": (
            Plot(
                "refined",
                "Test error of trained networks with steps 1, 2 and 4 times smaller than in training",
                Points(_refined),
                ("solver", "step_size"),
                Look("training step size / test step size", "test error (%)", from_zero=True),
                where=(("task", ("mnist",)),),
            ),
        ),
        "tolerance": (
            Plot(
                "error",
                "Test error against the tolerance at test time, by the tolerance in training",
                rows("profile", "rtol", "test_error"),
                ("rtol",),
                Look("rtol at test time", "test error (%)", "x", from_zero=True, reverse=True),
            ),
            Plot(
                "nfe",
                "Evaluations against the tolerance at test time, by the tolerance in training",
                rows("profile", "rtol", "nfe"),
                ("rtol",),
                Look("rtol at test time", "NFE per batch", "x", from_zero=True, reverse=True),
            ),
        ),
        "flows": (
            Plot(
                "batch",
                "Evaluations for 32 Van der Pol oscillators solved as one state, relative to solving each one alone",
                by_axis("mu", final("joint_over_single")),
                ("rtol",),
                Look("μ", "joint / single", from_zero=True),
                ("van-der-pol",),
            ),
            Plot(
                "reverse",
                "Error of the initial state after a forward and a backward solve; dotted line: error equal to rtol",
                by_axis("rtol", final("reverse_error")),
                ("task", "model"),
                Look("rtol", "relative error of the initial state", "xy", guides=(("rtol", 1.0),)),
                ("lotka-volterra", "trained", "trained-stiff"),
            ),
            Plot(
                "order",
                "Share of neighbouring trajectories on a line that cross, by the step size of Euler's method",
                by_axis("step_size", final("inversions")),
                ("solver",),
                Look("step size", "share that cross", "x", from_zero=True),
                ("line-coarse",),
            ),
        ),
        "observations": (
            Plot(
                "missing",
                "Error over the whole span against the share of missing points",
                by_axis("missing", final("trajectory_error")),
                ("model", "irregular"),
                Look("share missing", "trajectory error", "y"),
            ),
        ),
    }
)
