"""Predictions of a model for a few examples, as arrays: all data that a plot of them needs."""

import dataclasses
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trajectories:
    """Examples with their true and fitted trajectories; NaN where there is none.

    Attributes:
        times: ``(T,)``.
        true, fitted: ``(N, T, D)``, N examples of D components.
        observed_times, observed: times ``(N, M)`` and values ``(N, M, D)`` of the observations given to the model.
        trained: first and last time used in training.
        time_label, labels: labels of the time and of the D components, units included.
        axes, field: a learned field ``(Y, X, 2)`` in the plane of the first two components, on the grid of
            ``axes[0]`` ``(X,)`` and ``axes[1]`` ``(Y,)``; empty if there is none.
        names: names of the N examples if ``true`` and ``fitted`` are known at points and not as lines; otherwise empty.
        given_until: start time of the forecast of each example, ``(N,)``; empty if nothing is forecast.
        density: a learned density ``(Y, X)`` on the grid of ``axes``; empty if there is none.
        moved: points of the base of a flow at ``times``, ``(T, P, 2)``; empty if there are none.
        surface: a learned function ``(Y, X)`` of the same plane on the same grid; empty if there is none.
    """

    times: np.ndarray
    true: np.ndarray
    fitted: np.ndarray
    observed_times: np.ndarray
    observed: np.ndarray
    trained: tuple[float, float]
    time_label: str
    labels: tuple[str, ...]
    axes: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((2, 0)))
    field: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 0, 2)))
    density: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 0)))
    moved: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 0, 2)))
    given_until: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    names: tuple[str, ...] = ()
    surface: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 0)))

    @property
    def planar(self) -> bool:
        """Whether there is a field or a surface over the plane of the first two components."""
        return bool(self.field.size or self.surface.size)


# Snapshots of trajectories by epoch; 0 is before training.
Snapshots = dict[int, Trajectories]
