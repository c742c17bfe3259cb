"""A task's metrics as plain numbers."""

from collections.abc import Mapping
from numbers import Real
from typing import Any

from torch import Tensor


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Convert each metric to a number; a tensor or array with one element may have any shape.

    Raises:
        TypeError: a metric is not a number, or the metrics are not a mapping; the message names the metric.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f"metrics() returned {type(metrics).__name__}; allowed: a dictionary of numbers")
    return {str(name): _number_of(name, value) for name, value in metrics.items()}


def _number_of(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, Tensor) or hasattr(value, "__array__"):
        if _size(value) != 1:
            raise TypeError(f"metric '{name}' has the shape {tuple(value.shape)}; allowed: one number or None")
        value = value.item()
    if not isinstance(value, Real):
        raise TypeError(f"metric '{name}' is of type {type(value).__name__}; allowed: one number or None")
    return float(value)


def _size(value: Any) -> int:
    return int(value.numel() if isinstance(value, Tensor) else value.size)
