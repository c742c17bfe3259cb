"""Compare forms of a convolution in XLA, on one CPU thread, inside the loop of a diffrax solve.

    python benchmarks/convolutions.py [--rounds N] [--out FILE]

diffrax's dopri5 solves the MNIST block (64 channels, 6 × 6) on [0, 1] at a tolerance of 1e-3 in float32. Recursive
checkpointing gives the gradient with respect to the initial state and all parameters. The forms:

- ``as written``: ``lax.conv_general_dilated`` with torch's layout, channels first;
- ``channels last``: the same with channels last, as https://github.com/jax-ml/jax/issues/12868 advises;
- ``matrix product, channels first``: a matrix product of the kernel with shifted copies of the input;
- ``matrix product, channels last``: the same with the channels innermost, which nodebench uses.

torchdiffeq's dopri5 with the gradient ``direct`` is measured for comparison. Seconds are CPU time of the process, since
other load increases wall time. Each round runs all arms in random order. ``steps`` is the number of solver steps, which
must be equal for all forms. The script prints the medians and writes them with their ranges and the description of the
machine.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"  # for torch; JAX uses one thread if torch does

import jax
import jax.numpy as jnp
import torch
from jax import Array, lax
from torch import Tensor

from nodebench.instruments import NfeCounter, describe_environment
from nodebench.models.digits import ConvField
from nodebench.solvers import Integrator, StepControl, find_solver, jax_field
from nodebench.solvers.diffrax_solve import Compiled, Way
from nodebench.solvers.jax_convolution import convolution
from nodebench.solvers.jax_field import Translation, to_jax
from nodebench.spec import Gradient

RTOL = 1e-3
UNIT = torch.tensor([0.0, 1.0])
BATCHES = (8, 32)

Sizes = list[int]
Form = Callable[[Array, Array, Sizes, Sizes, Sizes, int], Array]
Round = Callable[[], tuple[float, float]]  # CPU seconds forwards and backwards


def as_written(x: Array, weight: Array, stride: Sizes, padding: Sizes, dilation: Sizes, _groups: int) -> Array:
    """Call ``lax.conv_general_dilated`` in torch's layout, channels first."""
    return lax.conv_general_dilated(x, weight, stride, [(p, p) for p in padding], rhs_dilation=dilation)


def channels_last(x: Array, weight: Array, stride: Sizes, padding: Sizes, dilation: Sizes, _groups: int) -> Array:
    """Call ``lax.conv_general_dilated`` with channels last."""
    out = lax.conv_general_dilated(
        x.transpose(0, 2, 3, 1),
        weight.transpose(2, 3, 1, 0),
        stride,
        [(p, p) for p in padding],
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return out.transpose(0, 3, 1, 2)


def channels_first_product(
    x: Array, weight: Array, stride: Sizes, padding: Sizes, dilation: Sizes, _groups: int
) -> Array:
    """Multiply the kernel by shifted copies in torch's layout; for 3 × 3 kernels with stride and dilation 1."""
    assert stride == dilation == padding == [1, 1]
    batch, channels, height, width = x.shape
    outputs = weight.shape[0]
    padded = jnp.pad(x.transpose(1, 0, 2, 3), [(0, 0), (0, 0), (1, 1), (1, 1)])
    parts = [padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    columns = jnp.stack(parts, 1).reshape(9 * channels, -1)
    out = weight.reshape(outputs, -1) @ columns
    return out.reshape(outputs, batch, height, width).transpose(1, 0, 2, 3)


FORMS: dict[str, Form] = {
    "as written": as_written,
    "channels last": channels_last,
    "matrix product, channels first": channels_first_product,
    "matrix product, channels last": convolution,
}


def of_diffrax(form: Form, field: ConvField, y0: Tensor) -> tuple[Round, dict[str, float | int]]:
    """Compile a solve with a form of the convolution; return one round, its steps and the CPU seconds to compile."""
    control = StepControl("dopri5", RTOL, RTOL, gradient=Gradient.CHECKPOINT)
    began = time.process_time()
    with patch.object(jax_field, "convolution", form):
        compiled = Compiled(Translation(field, UNIT[0], y0), Way.of(control, True, True, True))
        weights = [to_jax(weight) for weight in compiled.translation.weights(field)]
        given = weights, to_jax(y0), to_jax(UNIT), {"rtol": RTOL, "atol": RTOL}
        states, vjp, statistics = compiled.forward(*given)
        jax.block_until_ready(compiled.backward(vjp, states))

    def work() -> tuple[float, float]:
        start = time.process_time()
        states, vjp, _ = jax.block_until_ready(compiled.forward(*given))
        middle = time.process_time()
        jax.block_until_ready(compiled.backward(vjp, states))
        return middle - start, time.process_time() - middle

    return work, {"steps": int(statistics["steps"]), "compile_seconds": time.process_time() - began}


def of_torchdiffeq(field: ConvField, y0: Tensor) -> Round:
    """Return one round of torchdiffeq."""
    adapter, method, _ = find_solver("dopri5")
    solve = Integrator(adapter, StepControl(method, RTOL, RTOL, gradient=Gradient.DIRECT), NfeCounter())

    def work() -> tuple[float, float]:
        y = y0.clone().requires_grad_()
        start = time.process_time()
        end = solve(field, y, UNIT)[-1]
        middle = time.process_time()
        (end * end.detach()).sum().backward()
        return middle - start, time.process_time() - middle

    return work


def compared(batch: int, rounds: int) -> dict[str, dict[str, object]]:
    """Measure the CPU seconds of each arm at one batch size."""
    torch.manual_seed(0)
    field, y0 = ConvField(64), torch.randn(batch, 64, 6, 6)
    works: dict[str, Round] = {}
    found: dict[str, dict[str, object]] = {}
    for name, form in FORMS.items():
        works[name], about = of_diffrax(form, field, y0)
        found[name] = {**about}
    works["torchdiffeq"], found["torchdiffeq"] = of_torchdiffeq(field, y0), {}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name in random.sample(list(works), len(works)):
            taken[name].append(works[name]())
    for name, pairs in taken.items():
        for direction, seconds in zip(("forward_seconds", "backward_seconds"), zip(*pairs, strict=True), strict=True):
            low, *_, high = sorted(seconds)
            found[name][direction] = {"median": statistics.median(seconds), "low": low, "high": high, "n": rounds}
        print(f"batch {batch}, {name}: {json.dumps(found[name])}", flush=True)
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("results/published/convolutions.json"))
    options = parser.parse_args()
    load = os.getloadavg()[0]
    metrics = {f"batch {batch}": compared(batch, options.rounds) for batch in BATCHES}
    found = {"metrics": metrics, "load_before": load, "environment": describe_environment()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
