"""A torch vector field as a JAX function of its parameters, time and state.

The module is exported to torch's core operators, and each operator is replaced by its JAX counterpart. The weights
stay torch tensors. An operator without a counterpart raises an error that names the operator.
"""

import operator
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

if torch.get_num_threads() == 1:
    # JAX reads this variable when it starts; without it JAX uses every core.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import torch.utils.dlpack
from jax import Array, lax
from torch import Tensor, nn
from torch.export.graph_signature import InputKind

from nodebench.errors import first_line
from nodebench.solvers.contract import BOUND, takes_one
from nodebench.solvers.jax_convolution import convolution
from nodebench.solvers.precision import NoCopy, copy_in_float64
from nodebench.spec import SolveFailed, Status

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_enable_compilation_cache", False)  # the first step always includes compilation

# Largest relative difference between the torch field and the JAX field in float64.
SAME = 1e-12

Weights = list[Array]
JaxField = Callable[[Weights, Array, Array], Array]


class Translation:
    """The JAX version of one field for one state shape.

    Args:
        field: module ``(t, y) -> dy/dt``.
        t: a time, scalar.
        y: a state with the shape and dtype that the function will receive.

    Attributes:
        function: maps weights, time and state to dy/dt.
        names: names of the parameters and buffers that are its weights, in order.

    Raises:
        SolveFailed: the field has an operator that is not translated, or the JAX field differs from the torch field.
    """

    def __init__(self, field: nn.Module, t: Tensor, y: Tensor) -> None:
        if not takes_one(field, t, y):
            raise SolveFailed(Status.UNSUPPORTED, BOUND)
        program = _exported(field, t, y)
        specs = program.graph_signature.input_specs
        self.names = [str(spec.target) for spec in specs if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER)]
        self.function = _interpreter(program)
        self._check(field, t, y)

    def weights(self, field: nn.Module) -> list[Tensor]:
        """The tensors of ``field`` that are the function's weights."""
        tensors: dict[str, Tensor] = {}
        tensors |= field.named_parameters(remove_duplicate=False)
        tensors |= field.named_buffers(remove_duplicate=False)
        return [tensors[name] for name in self.names]

    def _check(self, field: nn.Module, t: Tensor, y: Tensor) -> None:
        """Compare the JAX field with the torch field in float64."""
        try:
            double, t, y = copy_in_float64(field), t.double(), y.double()
        except NoCopy as error:
            raise SolveFailed(Status.UNSUPPORTED, f"the JAX field cannot be compared with torch's: {error}") from None
        function = self.function if field_dtype(field, y) is torch.float64 else _interpreter(_exported(double, t, y))
        with torch.no_grad():
            exact = double(t, y).cpu().numpy()
        weights = [jnp.asarray(to_jax(weight)) for weight in self.weights(double)]
        found = np.asarray(function(weights, jnp.asarray(to_jax(t)), jnp.asarray(to_jax(y))))
        difference = np.linalg.norm(found - exact) / max(float(np.linalg.norm(exact)), 1e-300)
        if not difference <= SAME and np.isfinite(exact).all():
            raise SolveFailed(Status.ERROR, f"the JAX field differs from torch's by {difference:.1e} (relative)")


def field_dtype(field: nn.Module, y: Tensor) -> torch.dtype:
    """Return the dtype of a field's parameters, or of the state if it has none."""
    return next((p.dtype for p in field.parameters()), y.dtype)


def to_jax(tensor: Tensor) -> Any:
    """Convert a tensor for a compiled JAX function; on the CPU to a NumPy array that shares its memory.

    Conversion through DLPack takes 0.1 ms, longer than many solves.
    """
    tensor = tensor.detach()
    return tensor.numpy() if tensor.device.type == "cpu" else jnp.from_dlpack(tensor.contiguous())


def to_torch(array: Array, device: torch.device) -> Tensor:
    """Copy an array to a tensor: torch may modify it in place, but JAX assumes that arrays are constant."""
    if device.type == "cpu":
        return torch.from_numpy(np.array(array))
    return torch.utils.dlpack.from_dlpack(array).clone()


def _exported(field: nn.Module, t: Tensor, y: Tensor) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(field, (t.detach(), y.detach())).run_decompositions()
    except Exception as error:  # of many kinds: a branch on a value, a call of NumPy, an operator without a rule
        message = f"torch.export cannot translate the field: {type(error).__name__}: {first_line(error)}"
        raise SolveFailed(Status.UNSUPPORTED, message) from error


def _interpreter(program: torch.export.ExportedProgram) -> JaxField:
    """Return a function that evaluates the graph of an exported field with JAX operators."""
    nodes = list(program.graph.nodes)
    for node in nodes:
        if node.op == "call_function" and _name(node) not in _OPERATORS and node.users:
            raise SolveFailed(Status.UNSUPPORTED, f"the field's operator {_name(node)} is not translated to JAX")
    fixed = {
        spec.arg.name: jnp.asarray(to_jax(program.constants[str(spec.target)]))
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.CONSTANT_TENSOR
    }

    def function(weights: Weights, t: Array, y: Array) -> Array:
        inputs = iter([*weights, t, y])
        known: dict[Any, Any] = {}
        for node in nodes:
            if node.op == "placeholder":
                known[node] = fixed[node.name] if node.name in fixed else next(inputs)
            elif node.op == "output":
                return known[node.args[0][0]]
            elif node.users:  # an assertion has no users
                arguments = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
                known[node] = _OPERATORS[_name(node)](*arguments[0], **arguments[1])
        raise AssertionError("a graph without an output")

    return function


def _name(node: torch.fx.Node) -> str:
    """``addmm`` for ``aten.addmm.default``; ``getitem`` for Python's."""
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else str(getattr(node.target, "__name__", node.target))


def _dtype(given: torch.dtype | None) -> Any:
    return None if given is None else jnp.dtype(str(given).removeprefix("torch."))


def _convolution(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Sequence[int],
    groups: int,
) -> Array:
    if transposed:
        raise SolveFailed(Status.UNSUPPORTED, "a transposed convolution is not translated to JAX")
    out = convolution(x, weight, stride, padding, dilation, groups)
    return out if bias is None else out + bias.reshape(-1, *[1] * (x.ndim - 2))


def _normalised(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    centred = x - x.mean(axes, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(axes, keepdims=True) + epsilon)


def _group_norm(
    x: Array, weight: Array | None, bias: Array | None, n: int, c: int, _hw: int, groups: int, epsilon: float
) -> tuple[Array]:
    out = _normalised(x.reshape(n, groups, -1), (2,), epsilon).reshape(x.shape)
    shape = (1, c, *[1] * (x.ndim - 2))
    out = out if weight is None else out * weight.reshape(shape)
    return (out if bias is None else out + bias.reshape(shape),)


def _layer_norm(
    x: Array, shape: Sequence[int], weight: Array | None, bias: Array | None, epsilon: float
) -> tuple[Array]:
    out = _normalised(x, tuple(range(-len(shape), 0)), epsilon)
    out = out if weight is None else out * weight
    return (out if bias is None else out + bias,)


def _elu(x: Array, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Array:
    # expm1 gets the negative part only: otherwise the unused branch overflows and its gradient is NaN.
    return scale * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0) * input_scale))


def _softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    return jnp.where(x * beta > threshold, x, jnp.logaddexp(x * beta, 0) / beta)


def _slice(x: Array, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    return x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]


def _select_scatter(x: Array, part: Array, axis: int, index: int) -> Array:
    return x.at[(slice(None),) * (axis % x.ndim) + (index,)].set(part)


def _slice_scatter(
    x: Array, part: Array, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    return x.at[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)].set(part)


def _expand(x: Array, shape: Sequence[int], **_: Any) -> Array:
    lead = len(shape) - x.ndim
    whole = [x.shape[i - lead] if size == -1 else size for i, size in enumerate(shape)]
    return jnp.broadcast_to(x, whole)


def _arange(start: int, end: int, step: int = 1, dtype: torch.dtype | None = None, **_: Any) -> Array:
    return jnp.arange(start, end, step, _dtype(dtype))


def _full(shape: Sequence[int], value: float, dtype: torch.dtype | None = None, **_: Any) -> Array:
    return jnp.full(shape, value, _dtype(dtype))


def _like(value: float | None) -> Callable[..., Array]:
    def filled(x: Array, given: float | None = None, dtype: torch.dtype | None = None, **_: Any) -> Array:
        return jnp.full_like(x, given if value is None else value, dtype=_dtype(dtype))

    return filled


def _cast(x: Array, dtype: torch.dtype | None = None, **_: Any) -> Array:
    return x if dtype is None else x.astype(_dtype(dtype))


def _same(x: Array, *_: Any, **__: Any) -> Array:
    return x


def _reduced(reduction: Callable[..., Array]) -> Callable[..., Array]:
    def over(x: Array, axes: Sequence[int] | None = None, keep: bool = False, **_: Any) -> Array:
        return reduction(x, axis=tuple(axes) if axes else None, keepdims=keep)

    return over


def _scaled(operation: Callable[[Any, Any], Array]) -> Callable[..., Array]:
    return lambda x, y, alpha=1: operation(x, y if alpha == 1 else alpha * y)


_NUMPY = ("abs", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "maximum", "minimum", "where")
_OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(jnp, name) for name in _NUMPY},
    **{name: getattr(operator, name) for name in ("getitem", "mul", "gt", "ge", "lt", "le", "eq")},
    **dict.fromkeys(("mm", "bmm", "mv"), jnp.matmul),
    **dict.fromkeys(("t", "permute"), jnp.transpose),
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), jnp.reshape),
    **dict.fromkeys(("clone", "alias", "detach", "lift_fresh_copy"), _same),
    "add": _scaled(lambda x, y: x + y),
    "sub": _scaled(lambda x, y: x - y),
    "div": lambda x, y: x / y,
    "neg": jnp.negative,
    "reciprocal": lambda x: 1 / x,
    "pow": jnp.power,
    "rsqrt": lax.rsqrt,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "elu": _elu,
    "softplus": _softplus,
    "gelu": lambda x, approximate="none": jax.nn.gelu(x, approximate == "tanh"),
    "erf": jax.scipy.special.erf,
    "clamp": lambda x, low=None, high=None: jnp.clip(x, low, high),
    "addmm": lambda bias, x, y, beta=1, alpha=1: beta * bias + alpha * (x @ y),
    "convolution": _convolution,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    "sum": _reduced(jnp.sum),
    "mean": _reduced(jnp.mean),
    "amax": _reduced(jnp.max),
    "amin": _reduced(jnp.min),
    "transpose": jnp.swapaxes,
    "unsqueeze": jnp.expand_dims,
    "squeeze": lambda x, axes=None: jnp.squeeze(x, axes if axes is None or isinstance(axes, int) else tuple(axes)),
    "expand": _expand,
    "cat": lambda parts, axis=0: jnp.concatenate(parts, axis),
    "stack": lambda parts, axis=0: jnp.stack(parts, axis),
    "select": lambda x, axis, index: jnp.take(x, index, axis),
    "slice": _slice,
    "select_scatter": _select_scatter,
    "slice_scatter": _slice_scatter,
    "unbind": lambda x, axis=0: [jnp.take(x, i, axis) for i in range(x.shape[axis])],
    "arange": _arange,
    "full": _full,
    "full_like": _like(None),
    "ones_like": _like(1),
    "zeros_like": _like(0),
    "copy": lambda x, y, *_: jnp.broadcast_to(y, x.shape).astype(x.dtype),
    "_to_copy": _cast,
}
