"""Plots of the studies of solvers, libraries, gradients, batching, compilation and devices."""

from nodebench.analysis.readings import Reading, final, quotient, relative, scaled
from nodebench.reporting.charts import Look
from nodebench.reporting.study_charts import Plot, by_axis, category, each
from nodebench.spec import Record

_SECONDS, _PEAK = final("step_seconds"), final("tensor_peak_bytes")
_SOLUTION, _GRADIENT = final("solution_error"), final("gradient_error")
_PROCESS = final("process_peak_bytes")
_LOOPS = (
    "dopri5",
    "torchdyn:dopri5",
    "torchode:dopri5 each",
    "torchode:dopri5 each compiled",
    "diffrax:dopri5 each",
)
_BY_LIBRARY, _BY_GRADIENT = ("solver", "batching"), ("gradient",)


def _both_directions(record: Record) -> float | None:
    """Return forward plus backward calls of the field, or None if unknown.

    Without a gradient and with ``direct`` there are no backward calls.
    """
    forward, backward = record.costs.get("nfe_forward"), record.costs.get("nfe_backward")
    gradient = record.trial.gradient
    unknown = backward is None and gradient is not None and gradient != "direct"
    return None if forward is None or unknown else forward + (backward or 0)


_CALLS = Reading("nfe_forward", _both_directions, "calls of the field, both directions")


def _work_precision(name: str, task: str, groups: tuple[str, ...], by: tuple[str, ...]) -> tuple[Plot, ...]:
    """Return the work-precision plots of the solution and of the gradient; each curve varies the tolerance."""
    costs = (
        ("evaluations", final("sample_evaluations"), "evaluations per sample, forward", 1.0, _SOLUTION),
        ("seconds", _SECONDS, "training step (s)", 1.0, _SOLUTION),
        ("gradient-evaluations", _CALLS, "calls of the field, both directions", 1.0, _GRADIENT),
        ("gradient-seconds", _SECONDS, "training step (s)", 1.0, _GRADIENT),
        ("gradient-bytes", _PEAK, "peak of live tensors (MB)", 1e-6, _GRADIENT),
    )
    return tuple(
        Plot(
            f"{name}-{kind}",
            f"{task}: relative error of the {'gradient' if error is _GRADIENT else 'solution'} against {label}",
            each(scaled(cost, scale, label), error),
            by,
            Look(label, f"{'gradient' if error is _GRADIENT else 'solution'} error", "xy"),
            groups,
            along="rtol",
        )
        for kind, cost, label, scale, error in costs
    )


def _with_diffrax(group: str) -> tuple[str, ...]:
    """The groups of a task: all libraries, diffrax, and diffrax with an explicit first step."""
    return group, f"{group}-diffrax", f"{group}-diffrax-first-step"


def _fronts(name: str, task: str, **baseline: str) -> tuple[Plot, ...]:
    """Return the Pareto plots of gradients: error against memory, error against time, time against memory.

    Args:
        name: of the group.
        task: name of the task for the caption.
        baseline: further axes of the baseline arm, whose gradient is direct. Times are ratios to that arm's times.
    """
    memory = "peak of live tensors (MB)"
    time = relative(gradient="direct", **baseline)
    step = f"training step (× {' '.join([*baseline.values(), 'direct'])})"
    pairs = (
        ("error-memory", _PEAK, 1e-6, memory, _GRADIENT, "gradient error"),
        ("error-time", time, 1.0, step, _GRADIENT, "gradient error"),
        ("time-memory", _PEAK, 1e-6, memory, time, step),
    )
    return tuple(
        Plot(
            f"{name}-{kind}",
            f"{task}: {y_label} against {x_label} by gradient; the dotted line is the Pareto front",
            each(scaled(x, scale, x_label), y),
            ("gradient", "solver"),
            Look(x_label, y_label, "xy", joined=False, front=True),
            (name,),
            over=("rtol", "atol", "adjoint_rtol", "adjoint_atol", "step_size"),
            along="gradient",
        )
        for kind, x, scale, x_label, y, y_label in pairs
    )


COMPARISONS: dict[str, tuple[Plot, ...]] = {
    "libraries": (
        *_work_precision("spiral", "Spiral", _with_diffrax("spiral"), _BY_LIBRARY),
        *_work_precision("lv", "Lotka–Volterra", _with_diffrax("lotka-volterra"), _BY_LIBRARY),
        *_work_precision("mnist", "MNIST", _with_diffrax("mnist"), _BY_LIBRARY),
        Plot(
            "first-step",
            "Time of the first training step, including compilation, against the tolerance",
            by_axis("rtol", final("first_step_seconds")),
            ("task", "solver"),
            Look("rtol", "first step (s)", "xy"),
            ("mnist", "mnist-diffrax", "spiral", "spiral-diffrax"),
        ),
        Plot(
            "process",
            "MNIST: growth of process memory in a training step, a measurement that exists for every library",
            by_axis("rtol", _PROCESS, 1e-6),
            _BY_LIBRARY,
            Look("rtol", "process peak (MB)", "x", from_zero=True),
            ("mnist", "mnist-diffrax"),
        ),
    ),
    "pareto": tuple(
        plot
        for name, task, baseline in (
            ("contracting", "Field that contracts by a factor of exp(20)", {}),
            ("van-der-pol", "Van der Pol, trajectory fit", {}),
            ("spiral", "Spiral, rk4 and the asynchronous leapfrog at the same step size", {"solver": "rk4"}),
            ("mnist", "MNIST", {}),
            ("density", "FFJORD on two circles", {}),
            ("ecg", "Latent ODE of heart beats", {}),
        )
        for plot in _fronts(name, task, **baseline)
    ),
    "gradients-all": (
        *_work_precision("spiral", "Spiral", ("spiral",), _BY_GRADIENT),
        *_work_precision("lv", "Lotka–Volterra", ("lotka-volterra",), _BY_GRADIENT),
        *_work_precision("mnist", "MNIST", ("mnist",), _BY_GRADIENT),
        Plot(
            "steps-memory",
            "Peak memory of a training step against the step size of rk4",
            by_axis("step_size", _PEAK, 1e-6),
            _BY_GRADIENT,
            Look("step size", "peak of live tensors (MB)", "xy", reverse=True),
            ("steps",),
        ),
        Plot(
            "steps-time",
            "Time of a training step against the step size of rk4",
            by_axis("step_size", _SECONDS),
            _BY_GRADIENT,
            Look("step size", "training step (s)", "xy", reverse=True),
            ("steps",),
        ),
        Plot(
            "segments",
            "Peak memory of a training step against the number of checkpointing segments of a solve of 160 steps",
            by_axis("segments", _PEAK, 1e-6),
            _BY_GRADIENT,
            Look("segments", "peak of live tensors (MB)", "xy"),
            ("segments",),
        ),
        Plot(
            "contracting",
            "Error of the gradient against the contraction rate of the field",
            by_axis("rate", _GRADIENT),
            ("gradient", "rtol"),
            Look("rate", "gradient error", "xy"),
            ("contracting",),
        ),
    ),
    "batching": (
        Plot(
            "calls",
            "Calls of the field for 32 oscillators against their stiffness",
            by_axis("mu", final("nfe_forward")),
            _BY_LIBRARY,
            Look("μ", "calls of the field", "xy"),
            ("stiffness",),
        ),
        Plot(
            "samples",
            "Evaluations per sample for 32 oscillators against their stiffness",
            by_axis("mu", final("sample_evaluations")),
            _BY_LIBRARY,
            Look("μ", "evaluations per sample", "xy"),
            ("stiffness",),
        ),
        Plot(
            "size",
            "Evaluations per sample against the size of the batch, μ = 10",
            by_axis("starts", final("sample_evaluations")),
            _BY_LIBRARY,
            Look("samples in the batch", "evaluations per sample", "xy"),
            ("size",),
        ),
        Plot(
            "size-time",
            "Time of a solve against the size of the batch, μ = 10",
            by_axis("starts", _SECONDS),
            _BY_LIBRARY,
            Look("samples in the batch", "solve (s)", "xy"),
            ("size",),
        ),
        Plot(
            "loop",
            "Time per call of the field, including the library's overhead: 256 oscillators, μ = 2",
            category(
                "solver_label", _LOOPS, scaled(quotient(_SECONDS, final("nfe_forward")), 1e6, "time per call (µs)")
            ),
            (),
            Look("", "time per call (µs)", "y", joined=False, categories=_LOOPS),
            ("loop", "loop-compiled", "loop-diffrax"),
        ),
    ),
    "stiffness": (
        Plot(
            "evaluations",
            "Calls of the field against stiffness; a curve ends where its method failed",
            by_axis("mu", final("nfe_forward")),
            ("solver",),
            Look("μ", "calls of the field", "xy"),
        ),
        Plot(
            "time",
            "Time of a solve against stiffness; a curve ends where its method failed",
            by_axis("mu", _SECONDS),
            ("solver",),
            Look("μ", "solve (s)", "xy"),
        ),
    ),
    "compile": tuple(
        Plot(
            group,
            f"{about}: time of a later training step against that of the first",
            each(final("first_step_seconds"), _SECONDS),
            ("solver_label",),
            Look("first step (s)", "later step (s)", "xy", joined=False),
            (group, f"{group}-diffrax"),
            over=("gradient",),
        )
        for group, about in (("spiral", "Spiral"), ("flow", "Continuous flow"), ("mnist", "MNIST"))
    ),
    "devices": tuple(
        Plot(
            group,
            f"Continuous flow, {about}: time of a training step against the size of the batch, by device and width",
            by_axis("batch_size", _SECONDS),
            ("device", "hidden", "gradient"),
            Look("samples in the batch", "step (s)", "xy"),
            (group,),
        )
        for group, about in (("flow", "dopri5"), ("flow-fixed-steps", "ten steps of rk4"))
    ),
}
