"""Plots of the solver studies: output times, norms and tolerances of the adjoint, precision, stiffness, DETEST."""

from nodebench.analysis.readings import at_epoch, final, quotient
from nodebench.reporting.charts import Look
from nodebench.reporting.study_charts import Plot, by_axis, category, each, rows

_NFE, _BACKWARD, _GRADIENT = final("nfe_forward"), final("nfe_backward"), final("gradient_error")
_FALL = quotient(at_epoch("loss", -1), at_epoch("loss", 1))
_FORMAT = ("dtype", "autocast")
_TASKS = (("spiral", "Spiral"), ("lotka-volterra", "Lotka–Volterra"), ("mnist", "MNIST"))
_CLASSES = (
    ("A", "single equations"),
    ("B", "small systems"),
    ("C", "moderate systems"),
    ("D", "orbits"),
    ("E", "higher-order equations"),
)


def _outputs(name: str, about: str, group: tuple[str, ...], by: tuple[str, ...]) -> tuple[Plot, Plot]:
    """Return the plots of evaluations against the number of output times, forward and backward."""
    return (
        Plot(
            f"{name}-forward",
            f"{about}: calls of the field in the forward solve against the number of output times",
            by_axis("points", _NFE),
            by,
            Look("output times", "NFE, forward", "xy"),
            group,
        ),
        Plot(
            f"{name}-backward",
            f"{about}: calls of the field in the adjoint's backward solve against the number of output times",
            by_axis("points", _BACKWARD),
            by,
            Look("output times", "NFE, backward", "xy"),
            group,
        ),
    )


CLASSICAL: dict[str, tuple[Plot, ...]] = {
    "outputs": (
        *_outputs("spiral", "Spiral", ("spiral", "torchdyn"), ("solver",)),
        *_outputs("lv", "Lotka–Volterra, known rates", ("lotka-volterra",), ("gradient",)),
        *_outputs(
            "rk4",
            "rk4 with step size 0.1, and with one step per output",
            ("fixed-step", "a-step-an-output"),
            ("step_size",),
        ),
    ),
    "own-times": (
        Plot(
            "forward",
            "Error of the direct gradient against evaluations of the forward solves of a batch",
            each(_NFE, _GRADIENT),
            ("solver", "own_times", "window"),
            Look("NFE, forward", "gradient error", "xy"),
            where=(("gradient", ("direct",)),),
            over=("batching",),
        ),
        Plot(
            "backward",
            "Peak tensor memory of a training step with the adjoint against evaluations of its backward solves",
            each(_BACKWARD, final("tensor_peak_bytes"), 1e-6),
            ("solver", "own_times", "window"),
            Look("NFE, backward", "peak (MB)", "xy"),
            ("torchdiffeq", "fixed-step"),
        ),
    ),
    "seminorm": tuple(
        Plot(
            f"backward{suffix}",
            f"Evaluations of the backward solve with the full norm and without the parameters (seminorm), {tolerance}",
            category("task", ("toy/chirality", "toy/pendulum", "density"), _BACKWARD),
            ("gradient",),
            Look("", "NFE, backward", "y", joined=False, categories=("neural CDE", "Hamiltonian\nnetwork", "flow")),
            (f"cde{suffix}", f"hamiltonian{suffix}", f"flow{suffix}"),
            over=("model", "rtol", "atol"),
        )
        for suffix, tolerance in (
            ("", "at the tolerances of the claim"),
            ("-small-atol", "at 1e-4 and an atol of 1e-8"),
        )
    ),
    "euler-adjoint": (
        Plot(
            "fall",
            "Loss of the last epoch divided by that of the first, against the step size; above 1, training diverged",
            by_axis("step_size", _FALL),
            ("gradient",),
            Look("step size of Euler's method", "loss, last / first epoch", "xy", reverse=True),
            ("one-interval",),
        ),
        Plot(
            "error",
            "Trajectory error after training against the step size, solved with the same settings as in training",
            by_axis("step_size", final("trajectory_error")),
            ("gradient",),
            Look("step size of Euler's method", "trajectory error", "xy", reverse=True),
            ("one-interval",),
        ),
    ),
    "precision": (
        *(
            Plot(
                gradient,
                f"Spiral, rk4, {gradient}: gradient error against the step size, by number format",
                by_axis("step_size", _GRADIENT),
                _FORMAT,
                Look("step size", "gradient error", "xy", reverse=True),
                ("steps",),
                where=(("gradient", (gradient,)),),
            )
            for gradient in ("direct", "adjoint", "reversible")
        ),
        Plot(
            "bytes",
            "Memory saved for the backward pass against the step size, gradient direct",
            by_axis("step_size", final("saved_bytes"), 1e-3),
            _FORMAT,
            Look("step size", "saved (kB)", "xy", reverse=True),
            ("steps",),
            where=(("gradient", ("direct",)),),
        ),
        Plot(
            "tolerance",
            "Spiral, dopri5: evaluations per solve against the tolerance, by number format",
            by_axis("rtol", _NFE),
            _FORMAT,
            Look("rtol", "NFE, forward", "xy", reverse=True),
            ("tolerances",),
            where=(("gradient", ("direct",)),),
        ),
        *(
            Plot(
                f"training-{gradient}",
                f"Training loss by epoch, {gradient}, by number format",
                rows("history", "epoch", "loss"),
                _FORMAT,
                Look("epoch", "loss", "y", whole=True),
                ("training",),
                where=(("gradient", (gradient,)),),
            )
            for gradient in ("direct", "adjoint")
        ),
    ),
    "backward-tolerance": tuple(
        Plot(
            group,
            f"{name}: gradient error against backward evaluations; each curve varies the adjoint's absolute tolerance",
            each(_BACKWARD, _GRADIENT),
            ("gradient", "adjoint_rtol"),
            Look("NFE, backward", "gradient error", "xy"),
            (group,),
            along="adjoint_atol",
        )
        for group, name in _TASKS
    ),
    "stiff-gradient": (
        Plot(
            "sensitivity",
            "Derivative of one step with respect to the decay rate λ, divided by the step size h, against |hλ|",
            by_axis("stiffness", final("sensitivity")),
            ("solver",),
            Look("|hλ|", "|R′(hλ)|", "xy"),
        ),
    ),
    "stiff-learning": (
        Plot(
            "loss",
            "Robertson's reaction: training loss by epoch",
            rows("history", "epoch", "loss"),
            ("model", "solver", "gradient"),
            Look("epoch", "loss", "y", whole=True),
            ("robertson-torch", "robertson-diffrax"),
        ),
    ),
    "detest": tuple(
        Plot(
            f"class-{letter}",
            f"Class {letter}, {about}: RMS error against calls of the field; medians over five problems",
            each(_NFE, final("rms_error")),
            ("solver",),
            Look("NFE", "RMS error", "xy"),
            where=(("problem", tuple(f"{letter}{i}" for i in range(1, 6))),),
            along="rtol",
            over=("problem", "atol"),
        )
        for letter, about in _CLASSES
    ),
}
