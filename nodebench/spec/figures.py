"""Every measured figure once: its name, unit, label and which way is better.

The terminal table, the exports and the reports all read this table. What each figure *is* stands in
``about``; instruments and tasks only ever use the names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Unit = Literal["1", "calls", "s", "bytes", "%", "order"]


class Kind(StrEnum):
    """What a figure owes to chance, at one seed.

    A ``counted`` figure is a count, or a mean of counts; a ``computed`` one is what arithmetic gives. One CPU and one
    software give both the same each time, to the last bit. A ``sampled`` one depends on the moment.
    """

    COUNTED = "counted"
    COMPUTED = "computed"
    SAMPLED = "sampled"


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: in records.
        label: in tables and plots.
        unit: of the value in records.
        better: the direction in which it is better.
        about: its definition.
    """

    name: str
    label: str
    unit: Unit
    better: Literal["lower", "higher", "neither"]
    about: str

    @property
    def is_time(self) -> bool:
        """Whether it is a wall time, which other load on the machine spoils."""
        return self.unit == "s"

    @property
    def kind(self) -> Kind:
        """What it owes to chance."""
        if self.is_time or self.name in _SAMPLED:
            return Kind.SAMPLED
        return Kind.COUNTED if self.unit in ("calls", "bytes") or self.name in _COUNTED else Kind.COMPUTED

    def format(self, value: float | None) -> str:
        """Render a value for a person, unit included; a dash for what was not measured."""
        return "–" if value is None else _FORMATS[self.unit](value)


def short(value: float, digits: int = 6) -> str:
    """A plain number, for a person: ``1e-5``, ``0.25``."""
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e")


def percent(share: float) -> str:
    """A share or a relative change, for a person: ``0.25 %``, ``3.1 %``, ``140 %``, ``> 1000 %``."""
    if share > 10:
        return "> 1000 %"
    return f"{100 * share:.0f} %" if abs(share) >= 0.995 else f"{short(100 * share, 2)} %"


def several(number: int, noun: str) -> str:
    """So many of something, for a person: ``1 thread``, ``2 threads``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _seconds(value: float) -> str:
    if value >= 100:
        return f"{value:.0f} s"
    if value >= 1:
        return f"{value:.2f} s"
    return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1000 else f"{value:.3g}"


_FORMATS: dict[str, Callable[[float], str]] = {
    "1": _number,
    "calls": lambda value: f"{value:,.1f}".removesuffix(".0"),
    "s": _seconds,
    "bytes": _bytes,
    "%": lambda value: f"{value:.2f} %",
    "order": lambda value: f"{value:.2f}",
}

# Beside seconds: what an allocator takes is not up to the program alone.
_SAMPLED = ("process_peak_bytes", "accelerator_peak_bytes")
# Beside evaluations and bytes.
_COUNTED = ("parameters", "timed_steps")

_ALL = (
    # Metrics of the tasks.
    Figure("loss", "loss", "1", "lower", "mean training loss of the last epoch"),
    Figure("test_error", "test error", "%", "lower", "share of test items put in the wrong class"),
    Figure("noise_error", "noise error", "%", "lower", "test error on images with Gaussian noise"),
    Figure(
        "fgsm_error", "FGSM error", "%", "lower", "test error on images moved along the sign of the loss's gradient"
    ),
    Figure("pgd_error", "PGD error", "%", "lower", "test error after ten projected gradient steps"),
    Figure("test_loss", "test loss", "1", "lower", "loss on the test items; of classifiers, mean cross-entropy"),
    Figure("map_error", "map error", "1", "lower", "RMS error of a learned map on a line, over the RMS of its targets"),
    Figure("trajectory_error", "traj. error", "1", "lower", "mean|ŷ − y| / mean|y − ȳ| over the whole span"),
    Figure(
        "extrapolation_error",
        "extrap. error",
        "1",
        "lower",
        "the same beyond the span, from the same start: half a span, of toy/hybrid-lotka-volterra four",
    ),
    Figure("held_out_error", "held-out error", "1", "lower", "the same over the span from initial states never seen"),
    Figure(
        "field_error", "field error", "1", "lower", "relative L2 error of the learned field in the trajectory's box"
    ),
    Figure(
        "interaction_error",
        "interaction error",
        "1",
        "lower",
        "relative L2 error of the learned interaction along the true trajectory within the span",
    ),
    Figure(
        "energy_error",
        "energy error",
        "1",
        "lower",
        "largest change of the true energy along the learned trajectory, over the energy at its start",
    ),
    Figure(
        "stiffness",
        "stiffness",
        "1",
        "neither",
        "largest eigenvalue of the learned field's Jacobian along the true trajectory, in size, times the span",
    ),
    Figure("stiffness_ratio", "stiffness/ true", "1", "neither", "the same over that of the true field"),
    Figure(
        "sensitivity",
        "sensitivity",
        "1",
        "neither",
        "size of the derivative of one step in the rate λ, over its length h: |R′(hλ)| of a Runge–Kutta method",
    ),
    Figure("exact_sensitivity", "exact sens.", "1", "neither", "the same of the exact solution, exp(hλ)"),
    Figure("growth", "growth", "1", "neither", "largest norm of the true state over the span, over that of its start"),
    Figure(
        "extrapolation_rmse", "extrap. RMSE", "1", "lower", "RMSE on 100 points beyond the window, to the clean curve"
    ),
    Figure("extrapolation_rmse_noisy", "extrap. noisy", "1", "lower", "the same to the noisy points"),
    Figure("reconstruction_rmse", "recon. RMSE", "1", "lower", "RMSE at the observed points of series never seen"),
    Figure("interpolation_rmse", "interp. RMSE", "1", "lower", "RMSE at the missing points inside beats never seen"),
    Figure("extrapolation_rmse_before", "RMSE before", "1", "lower", "RMSE on the part of a beat before the given one"),
    Figure("extrapolation_rmse_after", "RMSE after", "1", "lower", "RMSE on the part of a beat after the given one"),
    Figure("rmse_over_noise", "RMSE/ noise", "1", "lower", "RMSE of the signal over the noise estimated in the data"),
    Figure(
        "mean_beat_over_noise", "mean beat/ noise", "1", "lower", "the same of one beat for all: the mean training beat"
    ),
    Figure(
        "linear_over_noise",
        "PCA/ noise",
        "1",
        "lower",
        "the same of as many principal components of the training beats as the latent state has",
    ),
    Figure("rmse", "RMSE", "1", "lower", "of your own series: RMSE at the hidden times of series never seen, in SD"),
    Figure("rmse_given", "RMSE given", "1", "lower", "the same at the given times"),
    Figure("mae", "MAE", "1", "lower", "mean absolute error at the hidden times of series never seen, in SD"),
    Figure("hidden_mse", "hidden MSE", "1", "lower", "mean squared error at the hidden points of series never seen"),
    Figure("hidden_rmse", "hidden RMSE", "1", "lower", "its root"),
    Figure("hidden_mse_clean", "clean MSE", "1", "lower", "the same as the hidden MSE, to the points without noise"),
    Figure("all_mse", "MSE", "1", "lower", "mean squared error at all points of series never seen, given or hidden"),
    Figure("nats", "nats", "1", "lower", "negative mean log-density of points never seen"),
    Figure("excess_nats", "excess nats", "1", "lower", "the same less that of the exact density, at the same points"),
    Figure("excess_nats_error", "± nats", "1", "lower", "standard error of the excess over the points"),
    Figure("density_mass", "mass", "1", "neither", "integral of the density over the box of the data; 1 is right"),
    Figure("round_trip_error", "round trip", "1", "lower", "relative error of points after a way to the base and back"),
    Figure("end_time", "end time", "1", "neither", "time of the data in a continuous flow"),
    Figure("estimate_bias", "est. bias", "1", "neither", "log-density by an estimated trace less the exact one, mean"),
    Figure("estimate_bias_error", "± est. bias", "1", "lower", "standard error of the bias over the points"),
    Figure("estimate_spread", "est. spread", "1", "lower", "standard deviation of the same, normal noise"),
    Figure("rademacher_spread", "Rad. spread", "1", "lower", "standard deviation of the same, Rademacher noise"),
    Figure("elbo", "ELBO", "1", "higher", "evidence lower bound on series never seen, mean over them, nats"),
    Figure("kl", "KL", "1", "neither", "divergence of the posterior of the latent start from its prior, nats"),
    Figure(
        "diversity_ratio",
        "diversity",
        "1",
        "neither",
        "spread of decoded beats over that of true ones; 0: collapse",
    ),
    Figure(
        "escape_share",
        "escapes",
        "1",
        "lower",
        "share of extrapolations leaving 10 × the signal's range in 4 beats",
    ),
    Figure("escape_share_before", "escapes before", "1", "lower", "the same, backwards from the trained window only"),
    Figure("escape_share_after", "escapes after", "1", "lower", "the same, forwards from the trained window only"),
    Figure("escape_time", "escape time", "1", "higher", "beat lengths until they leave it, median of those that do"),
    Figure("inversions", "inversions", "1", "lower", "share of neighbours on a line whose order a solve turned round"),
    Figure("rms_error", "RMS error", "1", "lower", "RMS error of the final state's components against DOP853 at 1e-12"),
    Figure("observed_order", "order", "order", "neither", "slope of log error on log step size"),
    Figure("parameters", "params", "1", "lower", "trainable parameters"),
    # Costs of one training step.
    Figure("nfe_forward", "NFE fwd", "calls", "lower", "calls of the vector field in the forward solve, mean"),
    Figure(
        "sample_evaluations",
        "sample evals",
        "calls",
        "lower",
        "evaluations of the field that one sample took in the forward solve, mean over the batch; the calls, where "
        "the batch is stepped as one",
    ),
    Figure("nfe_backward", "NFE bwd", "calls", "lower", "calls of the vector field in the backward solve, mean"),
    Figure(
        "vjp_calls",
        "VJPs",
        "calls",
        "lower",
        "vector-Jacobian products of the field in the backward pass of the last step",
    ),
    Figure("step_seconds", "step", "s", "lower", "wall time of a training step after warm-up, median"),
    Figure("step_seconds_q1", "step q1", "s", "lower", "lower quartile of the step time"),
    Figure("step_seconds_q3", "step q3", "s", "lower", "upper quartile of the step time"),
    Figure("data_seconds", "data", "s", "lower", "median time to fetch a batch"),
    Figure("forward_seconds", "forward", "s", "lower", "median time of the forward pass"),
    Figure("backward_seconds", "backward", "s", "lower", "median time of the backward pass"),
    Figure("optimiser_seconds", "optimiser", "s", "lower", "median time of the optimiser step"),
    Figure(
        "first_step_seconds",
        "first step",
        "s",
        "lower",
        "wall time of the first training step, its compilation included",
    ),
    Figure("timed_steps", "steps", "1", "neither", "training steps timed, warm-up left out"),
    # Memory of one training step.
    Figure("tensor_peak_bytes", "peak", "bytes", "lower", "peak of live tensor storage, parameters included"),
    Figure("saved_bytes", "saved", "bytes", "lower", "bytes the autograd graph holds after the forward pass"),
    Figure("accelerator_peak_bytes", "GPU peak", "bytes", "lower", "peak of the accelerator's allocator"),
    Figure("process_peak_bytes", "process", "bytes", "lower", "growth of the process's peak resident size"),
    # Numerics.
    Figure("solution_error", "sol. error", "1", "lower", "relative L2 error of the final state against float64"),
    Figure(
        "gradient_error",
        "grad. error",
        "1",
        "lower",
        "relative L2 error of the full gradient against float64",
    ),
    Figure(
        "gradient_cosine",
        "grad. cosine",
        "1",
        "higher",
        "cosine between the gradient and its float64 reference",
    ),
    Figure(
        "reverse_error",
        "rev. error",
        "1",
        "lower",
        "relative L2 error of the initial state after a solve forwards and one back from where it ended",
    ),
    Figure(
        "joint_over_single",
        "joint/ single",
        "1",
        "lower",
        "evaluations of a batch solved as one state, over the mean of its members solved alone",
    ),
    Figure(
        "residual_error",
        "res. error",
        "1",
        "lower",
        "relative L2 difference, in output or gradient, of Euler's method from residual blocks written out",
    ),
    # Of the whole trial.
    Figure("passes_seconds", "passes", "s", "lower", "wall time of setup and passes; start and calibration left out"),
    Figure("duration_seconds", "trial", "s", "lower", "wall time of the whole trial, all passes"),
)

FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}


def figure(name: str) -> Figure:
    """Look a figure up; a third-party task's own metric gets a plain entry, a time if its name ends so."""
    unit: Unit = "s" if name.endswith("_seconds") else "1"
    return FIGURES.get(name) or Figure(name, name.replace("_", " "), unit, "neither", "a metric of the task")
