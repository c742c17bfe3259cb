"""Definitions of all metrics: name, unit, label and direction of improvement.

Terminal tables, exports and reports all use this table. ``about`` defines each metric; instruments and tasks use only
the names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Unit = Literal["1", "calls", "s", "bytes", "%", "order"]


class Kind(StrEnum):
    """How a metric varies between repetitions with the same seed.

    A ``counted`` metric is a count or a mean of counts; a ``computed`` metric is a result of floating-point arithmetic.
    Both are bitwise reproducible on the same CPU with the same software. A ``sampled`` metric varies from run to run.
    """

    COUNTED = "counted"
    COMPUTED = "computed"
    SAMPLED = "sampled"


@dataclass(frozen=True)
class Metric:
    """The definition of one metric.

    Attributes:
        name: name in records.
        label: label in tables and plots.
        unit: unit of the value in records.
        better: direction of improvement.
        about: definition in words.
    """

    name: str
    label: str
    unit: Unit
    better: Literal["lower", "higher", "neither"]
    about: str

    @property
    def is_time(self) -> bool:
        """Whether the metric is a wall time, which other load on the machine distorts."""
        return self.unit == "s"

    @property
    def kind(self) -> Kind:
        """How the metric varies between repetitions with the same seed."""
        if self.is_time or self.name in _SAMPLED:
            return Kind.SAMPLED
        return Kind.COUNTED if self.unit in ("calls", "bytes") or self.name in _COUNTED else Kind.COMPUTED

    def format(self, value: float | None) -> str:
        """Format a value with its unit; a dash if it was not measured."""
        return "–" if value is None else _FORMATS[self.unit](value)


def short(value: float, digits: int = 6) -> str:
    """Format a number without unit: ``1e-5``, ``0.25``."""
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e")


def percent(share: float) -> str:
    """Format a fraction or a relative change as a percentage: ``0.25 %``, ``3.1 %``, ``140 %``, ``> 1000 %``."""
    if share > 10:
        return "> 1000 %"
    return f"{100 * share:.0f} %" if abs(share) >= 0.995 else f"{short(100 * share, 2)} %"


def several(number: int, noun: str) -> str:
    """Format a count with its noun: ``1 thread``, ``2 threads``."""
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

# Sampled metrics besides times: allocated memory does not depend on the program alone.
_SAMPLED = ("process_peak_bytes", "accelerator_peak_bytes")
# Counted metrics besides calls and bytes.
_COUNTED = ("parameters", "timed_steps")

_ALL = (
    # Metrics of the tasks.
    Metric("loss", "loss", "1", "lower", "mean training loss of the last epoch"),
    Metric("test_error", "test error", "%", "lower", "share of test items put in the wrong class"),
    Metric("noise_error", "noise error", "%", "lower", "test error on images with Gaussian noise"),
    Metric(
        "fgsm_error", "FGSM error", "%", "lower", "test error on images moved along the sign of the loss's gradient"
    ),
    Metric("pgd_error", "PGD error", "%", "lower", "test error after ten projected gradient steps"),
    Metric("test_loss", "test loss", "1", "lower", "loss on the test items; of classifiers, mean cross-entropy"),
    Metric("map_error", "map error", "1", "lower", "RMS error of a learned map on a line, divided by target RMS"),
    Metric("trajectory_error", "traj. error", "1", "lower", "mean|ŷ − y| / mean|y − ȳ| over the whole span"),
    Metric(
        "extrapolation_error",
        "extrap. error",
        "1",
        "lower",
        "trajectory error beyond the span, from the same start: half a span (toy/hybrid-lotka-volterra: four)",
    ),
    Metric("held_out_error", "held-out error", "1", "lower", "trajectory error from held-out initial states"),
    Metric(
        "field_error",
        "field error",
        "1",
        "lower",
        "relative L2 error of the learned field in the bounding box of the trajectory",
    ),
    Metric(
        "interaction_error",
        "interaction error",
        "1",
        "lower",
        "relative L2 error of the learned interaction along the true trajectory within the span",
    ),
    Metric(
        "energy_error",
        "energy error",
        "1",
        "lower",
        "largest change of the true energy along the learned trajectory, divided by its initial value",
    ),
    Metric(
        "stiffness",
        "stiffness",
        "1",
        "neither",
        "largest absolute eigenvalue of the learned field's Jacobian along the true trajectory, times the span",
    ),
    Metric("stiffness_ratio", "stiffness/ true", "1", "neither", "stiffness divided by that of the true field"),
    Metric(
        "sensitivity",
        "sensitivity",
        "1",
        "neither",
        "absolute derivative of one step by the rate λ, divided by the step size h: |R′(hλ)| of a Runge–Kutta method",
    ),
    Metric("exact_sensitivity", "exact sens.", "1", "neither", "sensitivity of the exact solution, exp(hλ)"),
    Metric("growth", "growth", "1", "neither", "largest norm of the true state in the span, relative to the start"),
    Metric(
        "extrapolation_rmse", "extrap. RMSE", "1", "lower", "RMSE to the clean curve on 100 points beyond the window"
    ),
    Metric("extrapolation_rmse_noisy", "extrap. noisy", "1", "lower", "RMSE to 100 noisy points beyond the window"),
    Metric("reconstruction_rmse", "recon. RMSE", "1", "lower", "RMSE at the observed points of held-out series"),
    Metric("interpolation_rmse", "interp. RMSE", "1", "lower", "RMSE at the missing points inside held-out beats"),
    Metric("extrapolation_rmse_before", "RMSE before", "1", "lower", "RMSE on the part of a beat before the given one"),
    Metric("extrapolation_rmse_after", "RMSE after", "1", "lower", "RMSE on the part of a beat after the given one"),
    Metric("rmse_over_noise", "RMSE/ noise", "1", "lower", "RMSE of the signal divided by the estimated data noise"),
    Metric(
        "mean_beat_over_noise",
        "mean beat/ noise",
        "1",
        "lower",
        "RMSE of the mean training beat as prediction, divided by the data noise",
    ),
    Metric(
        "linear_over_noise",
        "PCA/ noise",
        "1",
        "lower",
        "RMSE of a PCA of the training beats with as many components as the latent state, divided by the data noise",
    ),
    Metric("rmse", "RMSE", "1", "lower", "RMSE at the hidden times of your held-out series, in SD"),
    Metric(
        "rmse_given",
        "RMSE given",
        "1",
        "lower",
        "RMSE at the given times of held-out series; in SD for your own series",
    ),
    Metric("mae", "MAE", "1", "lower", "mean absolute error at the hidden times of held-out series, in SD"),
    Metric("hidden_mse", "hidden MSE", "1", "lower", "mean squared error at the hidden points of held-out series"),
    Metric("hidden_rmse", "hidden RMSE", "1", "lower", "square root of the hidden MSE"),
    Metric("hidden_mse_clean", "clean MSE", "1", "lower", "hidden MSE against the points without noise"),
    Metric("all_mse", "MSE", "1", "lower", "mean squared error at all points of held-out series, given or hidden"),
    Metric("nats", "nats", "1", "lower", "negative mean log-density of held-out points"),
    Metric("excess_nats", "excess nats", "1", "lower", "nats minus those of the exact density at the same points"),
    Metric("excess_nats_error", "± nats", "1", "lower", "standard error of the excess nats, over the points"),
    Metric("density_mass", "mass", "1", "neither", "integral of the density over the box of the data; 1 is right"),
    Metric("round_trip_error", "round trip", "1", "lower", "relative error of points mapped to the base and back"),
    Metric("end_time", "end time", "1", "neither", "time of the data in a continuous flow"),
    Metric("estimate_bias", "est. bias", "1", "neither", "mean log-density error: estimated trace minus exact trace"),
    Metric("estimate_bias_error", "± est. bias", "1", "lower", "standard error of the bias over the points"),
    Metric("estimate_spread", "est. spread", "1", "lower", "SD of the log-density error, normal noise"),
    Metric("rademacher_spread", "Rad. spread", "1", "lower", "SD of the log-density error, Rademacher noise"),
    Metric("elbo", "ELBO", "1", "higher", "mean evidence lower bound of held-out series, in nats"),
    Metric("kl", "KL", "1", "neither", "KL divergence of the latent posterior from its prior, in nats"),
    Metric(
        "diversity_ratio",
        "diversity",
        "1",
        "neither",
        "spread of decoded beats divided by that of true beats; 0 means collapse",
    ),
    Metric(
        "escape_share",
        "escapes",
        "1",
        "lower",
        "share of extrapolations that leave 10 × the signal's range within 4 beats",
    ),
    Metric("escape_share_before", "escapes before", "1", "lower", "share of backward extrapolations that escape"),
    Metric("escape_share_after", "escapes after", "1", "lower", "share of forward extrapolations that escape"),
    Metric(
        "escape_time", "escape time", "1", "higher", "median time until escape, of those that escape, in beat lengths"
    ),
    Metric("inversions", "inversions", "1", "lower", "share of neighbouring trajectories on a line that cross"),
    Metric("rms_error", "RMS error", "1", "lower", "RMS error of the final state's components against DOP853 at 1e-12"),
    Metric("observed_order", "order", "order", "neither", "slope of log error against log step size"),
    Metric("parameters", "params", "1", "lower", "trainable parameters"),
    # Costs of one training step.
    Metric("nfe_forward", "NFE fwd", "calls", "lower", "calls of the vector field in the forward solve, mean"),
    Metric(
        "sample_evaluations",
        "sample evals",
        "calls",
        "lower",
        "evaluations of the field per sample in the forward solve, mean over the batch; equal to the calls if the "
        "batch is stepped as one",
    ),
    Metric("nfe_backward", "NFE bwd", "calls", "lower", "calls of the vector field in the backward solve, mean"),
    Metric(
        "vjp_calls",
        "VJPs",
        "calls",
        "lower",
        "vector-Jacobian products of the field in the backward pass of the last step",
    ),
    Metric("step_seconds", "step", "s", "lower", "wall time of a training step after warm-up, median"),
    Metric("step_seconds_q1", "step q1", "s", "lower", "lower quartile of the step time"),
    Metric("step_seconds_q3", "step q3", "s", "lower", "upper quartile of the step time"),
    Metric("data_seconds", "data", "s", "lower", "median time to fetch a batch"),
    Metric("forward_seconds", "forward", "s", "lower", "median time of the forward pass"),
    Metric("backward_seconds", "backward", "s", "lower", "median time of the backward pass"),
    Metric("optimiser_seconds", "optimiser", "s", "lower", "median time of the optimiser step"),
    Metric(
        "first_step_seconds",
        "first step",
        "s",
        "lower",
        "wall time of the first training step, its compilation included",
    ),
    Metric("timed_steps", "steps", "1", "neither", "training steps timed, warm-up left out"),
    # Memory of one training step.
    Metric("tensor_peak_bytes", "peak", "bytes", "lower", "peak of live tensor storage, parameters included"),
    Metric("saved_bytes", "saved", "bytes", "lower", "bytes the autograd graph holds after the forward pass"),
    Metric("accelerator_peak_bytes", "GPU peak", "bytes", "lower", "peak of the accelerator's allocator"),
    Metric("process_peak_bytes", "process", "bytes", "lower", "growth of the process's peak resident size"),
    # Numerics.
    Metric("solution_error", "sol. error", "1", "lower", "relative L2 error of the final state against float64"),
    Metric(
        "gradient_error",
        "grad. error",
        "1",
        "lower",
        "relative L2 error of the full gradient against float64",
    ),
    Metric(
        "gradient_cosine",
        "grad. cosine",
        "1",
        "higher",
        "cosine between the gradient and its float64 reference",
    ),
    Metric(
        "reverse_error",
        "rev. error",
        "1",
        "lower",
        "relative L2 error of the initial state after a forward solve and a backward solve from its final state",
    ),
    Metric(
        "joint_over_single",
        "joint/ single",
        "1",
        "lower",
        "evaluations of a batch solved as one state, divided by the mean of its members solved alone",
    ),
    Metric(
        "residual_error",
        "res. error",
        "1",
        "lower",
        "relative L2 difference, in output or gradient, between Euler's method and explicit residual blocks",
    ),
    # Of the whole trial.
    Metric("passes_seconds", "passes", "s", "lower", "wall time of setup and passes, without start and reference load"),
    Metric("duration_seconds", "trial", "s", "lower", "wall time of the whole trial, all passes"),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


def metric(name: str) -> Metric:
    """Return the definition of a metric; unknown ones get a generic one, a time if the name ends in ``_seconds``."""
    unit: Unit = "s" if name.endswith("_seconds") else "1"
    return METRICS.get(name) or Metric(name, name.replace("_", " "), unit, "neither", "a metric of the task")
