"""What a model made of a few examples, as arrays: all that a figure of it needs."""

import dataclasses
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Trajectories:
    """Examples with their true and fitted trajectories; NaN where there is none.

    Attributes:
        times: ``(T,)``.
        true, fitted: ``(N, T, D)``, N examples of D components.
        observed_times, observed: what the model was given, ``(N, M)`` and ``(N, M, D)``.
        trained: first and last time that training saw.
        time_label, labels: of the time and of the D components, units included.
        axes, field: a learned field in the plane of the first two components, on the grid of
            ``axes[0]`` ``(X,)`` and ``axes[1]`` ``(Y,)``: ``(Y, X, 2)``; empty where there is none.
        names: of the N examples, where ``true`` and ``fitted`` are known at points and not as lines; empty elsewhere.
        given_until: where the forecast of each example starts, ``(N,)``; empty where nothing is forecast.
        density: a learned density on that grid, ``(Y, X)``; empty where there is none.
        moved: points of the base of a flow at ``times``, ``(T, P, 2)``; empty where there is none.
        surface: a learned function of the same plane on the same grid, ``(Y, X)``; empty where there is none.
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
        """Whether something is known over the plane of the first two components."""
        return bool(self.field.size or self.surface.size)


# Trajectories by the epoch after which they were taken; 0 is before training.
Film = dict[int, Trajectories]
